import { expect } from 'chai';
import { hashAction } from '../../src/request/action.ts';
import { toAlert } from '../../src/alert/alert.ts';
import type { Alert } from '../../src/alert/alert.ts';
import { readConfig } from '../../src/config.ts';
import { FailoverError } from '../../src/errors.ts';
import { Ignored } from '../../src/ignored.ts';
import { readNotification, unpack } from '../../src/alert/notification.ts';
import {
  capturedNames,
  conditions,
  createNotification,
  readCaptured,
  toPush,
} from '../fixtures/notification.ts';
import type { NotificationOptions } from '../fixtures/notification.ts';

const now = Date.parse('2026-11-23T03:00:00Z');
const demo = 'projects/demo-project/locations/us-central1/clusters/demo';
const prod = 'projects/prod-project/locations/us-central1/clusters/prod';
const zonal = 'projects/demo-project/locations/us-central1-b/clusters/zonal';
const config = readConfig({ CLUSTERS: demo });

function read(payload: unknown, clusters = demo, at = now): Alert {
  return toAlert(readNotification(unpack(payload)), readConfig({ CLUSTERS: clusters }), at);
}

function construct(options: Partial<NotificationOptions>, clusters?: string): Alert {
  return read(createNotification({ startedAt: now - 60_000, ...options }), clusters);
}

/** What comes of a notification, in a word or two. */
function outcomeOf(act: () => unknown): string {
  try {
    act();
    return 'acts';
  } catch (error) {
    if (error instanceof Ignored) return `ignored: ${error.message}`;
    if (error instanceof FailoverError) return `${error.code}: ${error.message}`;
    throw error;
  }
}

/** As it travels: what is undefined is not there. */
function toJson(value: object): unknown {
  return JSON.parse(JSON.stringify(value));
}

const restart = 'cordon_nodepool_and_restart_jobset';

describe('toAlert', () => {
  describe('captured notifications', () => {
    // Nobody's policy but ours has our labels, so each of them is somebody else's alert on the same channel.
    const untouched = Object.keys(capturedNames) as (keyof typeof capturedNames)[];
    for (const name of untouched) {
      it(`ignores ${name} as it was captured, bare and pushed`, () => {
        const reason =
          name === 'test'
            ? 'a test notification; the channel works'
            : 'its alert policy has no user label failover_action';
        const payload = readCaptured(name);
        expect(outcomeOf(() => read(payload))).to.equal(`ignored: ${reason}`);
        expect(outcomeOf(() => read(toPush(payload, { publishedAt: now })))).to.equal(`ignored: ${reason}`);
      });
    }

    it('ignores the test notification even with our labels: version "test", state "OPEN", documentation a string', () => {
      const payload = readCaptured('test', { policy_user_labels: { failover_action: 'cordon_nodepool' } });
      expect(outcomeOf(() => read(payload))).to.match(/^ignored: a test notification/);
    });

    it('says which label the aggregation of the captured container alert removed, and how to keep it', () => {
      const payload = readCaptured('containerClosed', {
        state: 'open',
        started_at: now / 1000,
        policy_user_labels: { failover_action: 'cordon_nodepool' },
      });
      const outcome = outcomeOf(() => read(payload));
      expect(outcome).to.match(/^invalid_action: the k8s_container has no resource label location, pod_name/);
      expect(outcome).to.include('add resource.label.location, resource.label.pod_name to groupByFields');
    });

    it('looks for the captured machine in the clusters of its project and region, because no label names its cluster', () => {
      const clusters =
        'projects/flanksource-sandbox/locations/europe-west1/clusters/hub,projects/flanksource-sandbox/locations/europe-west1-b/clusters/zonal,' +
        `projects/flanksource-sandbox/locations/us-east1/clusters/far,${demo}`;
      const payload = readCaptured('machine', {
        started_at: now / 1000,
        policy_user_labels: { failover_action: 'cordon_and_repair_nodepool' },
      });
      const { action, clusters: candidates } = read(payload, clusters);
      expect(candidates.map(({ name }) => name)).to.deep.equal(['hub', 'zonal']);
      expect(action.incident.subject).to.deep.equal({
        kind: 'instance',
        instanceId: '1943820386402233898',
        zone: 'europe-west1-b',
      });
      expect(action).to.include({
        id: '0.nrwotmyokd9n',
        requestor: 'Test-incident-canary',
        type: 'cordon_and_repair_nodepool',
      });
      expect(action.reason).to.match(/^Sent packets for flanksource-sandbox gke-hub-cluster/);
    });

    it('refuses an alert about a cloud function, because it names nothing to act on', () => {
      const payload = readCaptured('cloudFunction', {
        started_at: now / 1000,
        policy_user_labels: { failover_action: 'cordon_nodepool' },
      });
      expect(outcomeOf(() => read(payload))).to.match(
        /^invalid_action: resource type "cloud_function" does not name a node/,
      );
    });
  });

  describe('targets', () => {
    const cases: { name: string; options: Partial<NotificationOptions>; target: object; subject?: object }[] =
      [
        {
          name: 'a node',
          options: { type: 'k8s_node', resource: { node_name: 'gke-tpu-1' } },
          target: { nodeName: 'gke-tpu-1', nodePool: undefined, namespace: 'default' },
        },
        {
          name: 'a node pool',
          options: { type: 'k8s_node_pool', resource: { node_pool_name: 'slice-a' } },
          target: { nodePool: 'slice-a', nodeName: undefined },
        },
        {
          name: 'a pod',
          options: { type: 'k8s_pod', resource: { namespace_name: 'research', pod_name: 'train-0' } },
          target: { namespace: 'research', nodeName: undefined, jobSetName: undefined },
          subject: { kind: 'pod', namespace: 'research', podName: 'train-0' },
        },
        {
          name: 'a container',
          options: {
            type: 'k8s_container',
            resource: { namespace_name: 'research', pod_name: 'train-0', container_name: 'main' },
          },
          target: { namespace: 'research' },
          subject: { kind: 'pod', namespace: 'research', podName: 'train-0' },
        },
        {
          name: 'a JobSet',
          options: {
            type: 'k8s_entity',
            resource: { entity_type: 'jobset', entity_namespace: 'research', entity_name: 'train' },
            labels: { failover_action: restart },
          },
          target: { namespace: 'research', jobSetName: 'train', type: restart },
          subject: { kind: 'jobset' },
        },
        {
          name: 'a cluster, with the JobSet in the label',
          options: {
            type: 'k8s_cluster',
            labels: { failover_action: restart, failover_jobset: 'train', failover_namespace: 'research' },
          },
          target: { namespace: 'research', jobSetName: 'train' },
          subject: { kind: 'jobset' },
        },
      ];
    for (const { name, options, target, subject } of cases) {
      for (const condition of Object.keys(conditions) as (keyof typeof conditions)[]) {
        it(`are read from ${name}, for a ${condition} condition`, () => {
          const { action, clusters } = construct({ ...options, condition });
          expect(action).to.deep.include(target);
          expect(action.incident.subject).to.deep.equal(subject);
          expect(clusters.map(({ fullName }) => fullName)).to.deep.equal([demo]);
        });
      }
    }

    it('takes every other field that the policy’s labels set', () => {
      const { action } = construct({
        resource: { node_name: 'gke-tpu-1' },
        labels: {
          failover_action: restart,
          failover_jobset: 'train',
          failover_namespace: 'research',
          failover_cluster: 'demo',
          failover_dry_run: 'true',
          failover_expected_node_counts: 'true',
          failover_on_close: 'uncordon_nodepool',
          team: 'training',
        },
      });
      expect(action).to.deep.include({
        id: '0.constructed01',
        type: restart,
        jobSetName: 'train',
        namespace: 'research',
        dryRun: true,
        expectedNodeCounts: true,
        requestor: 'constructed policy',
        reason: 'a constructed incident',
      });
      expect(action.incident).to.include({
        id: '0.constructed01',
        startedAt: now - 60_000,
        uncordonsOnClose: true,
        isClosed: false,
      });
    });

    it('turns a close that must uncordon into an uncordon with an id of its own', () => {
      const labels = { failover_action: restart, failover_on_close: 'uncordon_nodepool' };
      const { action } = construct({ state: 'closed', resource: { node_name: 'gke-tpu-1' }, labels });
      expect(action).to.include({ id: '0.constructed01.closed', type: 'uncordon_nodepool' });
      expect(action.incident).to.include({ id: '0.constructed01', isClosed: true });
    });

    it('gives two pods different hashes, and two deliveries of one alert the same hash', () => {
      const hashOf = (podName: string, summary: string) => {
        const payload = createNotification({
          startedAt: now,
          type: 'k8s_pod',
          resource: { namespace_name: 'default', pod_name: podName },
        });
        return hashAction(read({ ...payload, incident: { ...payload.incident, summary } }).action);
      };
      expect(hashOf('train-0', 'first')).to.equal(hashOf('train-0', 'again'));
      expect(hashOf('train-0', 'first')).not.to.equal(hashOf('train-1', 'first'));
    });

    it('makes one log line of the texts that a workload wrote, with control characters, too long or empty', () => {
      const payload = createNotification({ startedAt: now, resource: { node_name: 'gke-tpu-1' } });
      const texts = { policy_name: 'a\npolicy\u0000\u2028x', summary: '😀'.repeat(600) };
      const { action } = read({ ...payload, incident: { ...payload.incident, ...texts } });
      expect(action.requestor).to.equal('a policy x');
      expect(action.reason).to.have.length(1024);
      expect(action.reason.isWellFormed()).to.equal(true);
      const none = read({ ...payload, incident: { ...payload.incident, policy_name: ' ', summary: null } });
      expect(none.action).to.include({
        requestor: 'an alert policy without a name',
        reason: 'an incident without a summary',
      });
    });
  });

  describe('refusals', () => {
    const node = { node_name: 'gke-tpu-1' };
    const act = { failover_action: 'cordon_nodepool' };
    const cases: {
      name: string;
      options: Partial<NotificationOptions>;
      outcome: RegExp;
      clusters?: string;
    }[] = [
      // F-1: a misspelt dry run, or `"true"` as a string, ran live.
      {
        name: 'a misspelt label',
        options: { resource: node, labels: { ...act, failover_dryrun: 'true' } },
        outcome:
          /^invalid_action: unknown label "failover_dryrun" of the alert policy, did you mean "failover_dry_run"\?/,
      },
      {
        name: 'a misspelt failover_action, which would otherwise be no action at all',
        options: { resource: node, labels: { failover_acton: 'cordon_nodepool' } },
        outcome: /^invalid_action: unknown label "failover_acton".*"failover_action"/,
      },
      {
        name: 'a label that is like no other',
        options: { resource: node, labels: { ...act, failover_zzz: 'x' } },
        outcome:
          /^invalid_action: unknown label "failover_zzz" of the alert policy; known labels: failover_action, /,
      },
      ...['yes', 'True', '1', ''].map((value) => ({
        name: `failover_dry_run=${JSON.stringify(value)}`,
        options: { resource: node, labels: { ...act, failover_dry_run: value } },
        outcome: /^invalid_action: label failover_dry_run of the alert policy must be true or false/,
      })),
      {
        name: 'another action on close',
        options: { resource: node, labels: { ...act, failover_on_close: 'repair_nodepool' } },
        outcome: /^invalid_action: label failover_on_close .* can only be uncordon_nodepool/,
      },
      {
        name: 'an unknown action',
        options: { resource: node, labels: { failover_action: 'delete_cluster' } },
        outcome: /^invalid_action: unknown action type: delete_cluster/,
      },
      {
        name: 'a node without its name',
        options: {},
        outcome:
          /^invalid_action: the k8s_node has no resource label node_name: add resource.label.node_name to groupByFields/,
      },
      {
        name: 'a resource without labels',
        options: { clusterLabels: null, resource: {} },
        outcome:
          /no resource label project_id, location, cluster_name, node_name: add resource.label.project_id, /,
      },
      {
        name: 'an empty label, as a reduced one may be',
        options: { resource: { node_name: '' } },
        outcome: /^invalid_action: the k8s_node has no resource label node_name/,
      },
      {
        name: 'a container of a kind of entity that is no JobSet',
        options: {
          type: 'k8s_entity',
          resource: { entity_type: 'slice', entity_namespace: 'default', entity_name: 'x' },
        },
        outcome: /^invalid_action: entity_type "slice" is not known/,
      },
      {
        name: 'a cluster without a JobSet',
        options: { type: 'k8s_cluster' },
        outcome: /^invalid_action: resource type k8s_cluster does not name a target; .* failover_jobset/,
      },
      {
        name: 'a resource type that is not known',
        options: { type: 'global', resource: node },
        outcome: /^invalid_action: resource type "global" does not name a node/,
      },
      {
        name: 'a resource type that every object has',
        options: { type: 'constructor', resource: node },
        outcome: /^invalid_action: resource type "constructor" does not name a node/,
      },
      // F-4: an empty pool name, `*` or a list became a selector that matched every node.
      ...['*', 'slice-a,slice-b', 'slice-a,!x', 'SLICE'].map((pool) => ({
        name: `node pool ${pool}`,
        options: { type: 'k8s_node_pool', resource: { node_pool_name: pool } },
        outcome: /^invalid_action: node_pool must be the name of one node pool/,
      })),
      {
        name: 'a node name that would be a path',
        options: { resource: { node_name: '../pods/x' } },
        outcome: /^invalid_action: node_name must be the name of one Kubernetes node/,
      },
      {
        name: 'a pod name that would be a selector',
        options: { type: 'k8s_pod', resource: { namespace_name: 'default', pod_name: 'a,metadata.name!=b' } },
        outcome: /^invalid_action: resource label pod_name must be the name of one pod/,
      },
      {
        name: 'a machine whose id is a name',
        options: {
          type: 'gce_instance',
          clusterLabels: null,
          resource: { project_id: 'demo-project', zone: 'us-central1-a', instance_id: 'gke-tpu-1' },
        },
        outcome: /^invalid_action: resource label instance_id must be a number/,
      },
      {
        name: 'a machine of a region without a cluster of ours',
        options: {
          type: 'gce_instance',
          clusterLabels: null,
          resource: { project_id: 'demo-project', zone: 'us-east1-b', instance_id: '1' },
        },
        outcome: /^forbidden: none of the configured clusters \(CLUSTERS\) is in project "demo-project"/,
      },
      {
        name: 'a cluster that is not configured',
        options: {
          resource: node,
          clusterLabels: { project_id: 'p-2', location: 'us-central1', cluster_name: 'demo' },
        },
        outcome:
          /^forbidden: cluster projects\/p-2\/locations\/us-central1\/clusters\/demo is not one of the configured/,
      },
      {
        name: 'cluster labels that name none',
        options: { resource: node, clusterLabels: { project_id: 'P!', location: 'x y', cluster_name: '\n' } },
        outcome:
          /^invalid_action: resource labels project_id, location and cluster_name do not name a cluster/,
      },
      // F-33: two clusters are configured and none is named: refused, never the first.
      {
        name: 'a node whose cluster was reduced away, with two clusters configured and with one',
        options: { resource: node, clusterLabels: { project_id: 'demo-project', location: 'us-central1' } },
        clusters: `${demo},${prod}`,
        outcome: /^invalid_action: the k8s_node has no resource label cluster_name/,
      },
      // F-42: a policy was pasted from prod to dev, with prod's cluster in its label.
      {
        name: "a policy pasted from prod to dev, with prod's cluster in its label",
        options: { resource: node, labels: { ...act, failover_cluster: 'prod' } },
        clusters: `${demo},${prod}`,
        outcome:
          /^target_mismatch: label failover_cluster of the alert policy says "prod", but the cluster of the incident is "demo"/,
      },
      {
        name: 'the same for a machine, which names its project and zone',
        options: {
          type: 'gce_instance',
          clusterLabels: null,
          resource: { project_id: 'demo-project', zone: 'us-central1-a', instance_id: '1' },
          labels: { ...act, failover_cluster: 'prod' },
        },
        clusters: `${demo},${prod}`,
        outcome:
          /^target_mismatch: label failover_cluster says "prod", which is not in project "demo-project"/,
      },
      {
        name: 'a machine, with the label of a cluster that is not configured',
        options: {
          type: 'gce_instance',
          clusterLabels: null,
          resource: { project_id: 'demo-project', zone: 'us-central1-a', instance_id: '1' },
          labels: { ...act, failover_cluster: 'else' },
        },
        outcome: /^target_not_found: cluster else is not one of the configured/,
      },
      {
        name: 'a namespace label that is not the pod’s',
        options: {
          type: 'k8s_pod',
          resource: { namespace_name: 'default', pod_name: 'train-0' },
          labels: { ...act, failover_namespace: 'research' },
        },
        outcome:
          /^target_mismatch: label failover_namespace of the alert policy says "research", but the namespace/,
      },
      {
        name: 'a JobSet label that is not the entity’s',
        options: {
          type: 'k8s_entity',
          resource: { entity_type: 'jobset', entity_namespace: 'default', entity_name: 'train' },
          labels: { failover_action: restart, failover_jobset: 'other' },
        },
        outcome: /^target_mismatch: label failover_jobset of the alert policy says "other", but the JobSet/,
      },
    ];
    for (const { name, options, outcome, clusters } of cases) {
      it(`are for ${name}`, () => {
        expect(outcomeOf(() => construct(options, clusters))).to.match(outcome);
      });
    }

    it('are for fields that are missing or of another type, each with its name', () => {
      const payload = createNotification({ startedAt: now, resource: node });
      const change = (changes: object) =>
        outcomeOf(() => read(toJson({ ...payload, incident: { ...payload.incident, ...changes } })));
      expect(change({ incident_id: undefined })).to.equal('invalid_action: incident.incident_id is missing');
      expect(change({ incident_id: 'a/b' })).to.match(
        /^invalid_action: incident.incident_id must have 1 to 120/,
      );
      expect(change({ incident_id: 'x'.repeat(121) })).to.match(
        /^invalid_action: incident.incident_id must have 1 to 120/,
      );
      expect(change({ state: 3 })).to.equal('invalid_action: incident.state must be a string');
      expect(change({ started_at: '1746178794' })).to.match(
        /^invalid_action: incident.started_at must be a number/,
      );
      expect(change({ started_at: -1 })).to.match(/^invalid_action: incident.started_at must be a number/);
      expect(change({ renotify: 'true' })).to.equal(
        'invalid_action: incident.renotify must be true or false',
      );
      expect(change({ policy_user_labels: ['failover_action'] })).to.match(
        /policy_user_labels must be an object/,
      );
      expect(change({ policy_user_labels: { failover_action: true } })).to.match(
        /failover_action must be a string/,
      );
      expect(change({ resource: 'gke-tpu-1' })).to.equal(
        'invalid_action: incident.resource must be an object',
      );
      expect(change({ resource: [] })).to.match(/^invalid_action: resource type "" does not name a node/);
      expect(change({ resource: { type: 'k8s_node', labels: { node_name: 1 } } })).to.match(
        /labels.node_name must be a string/,
      );
    });

    it('reads null as an absent field where Cloud Monitoring sends null', () => {
      const payload = createNotification({ startedAt: now, resource: node });
      const changes = {
        renotify: null,
        summary: null,
        policy_name: null,
        condition_name: null,
        documentation: 'text',
      };
      expect(outcomeOf(() => read({ ...payload, incident: { ...payload.incident, ...changes } }))).to.equal(
        'acts',
      );
      expect(
        outcomeOf(() => read({ ...payload, incident: { ...payload.incident, policy_user_labels: null } })),
      ).to.match(/^ignored/);
    });
  });

  describe('candidates of a machine', () => {
    const machine = {
      type: 'gce_instance',
      clusterLabels: null,
      resource: { project_id: 'demo-project', zone: 'us-central1-b', instance_id: '17' },
    };
    const names = (alert: Alert) => alert.clusters.map(({ name }) => name);

    it('are regional and zonal clusters of the region, and no other project’s', () => {
      expect(names(construct(machine, `${prod},${zonal},${demo}`))).to.deep.equal(['zonal', 'demo']);
    });

    it('are narrowed by the label failover_cluster', () => {
      const labels = { failover_action: 'cordon_nodepool', failover_cluster: 'demo' };
      expect(names(construct({ ...machine, labels }, `${zonal},${demo}`))).to.deep.equal(['demo']);
    });
  });

  describe('age', () => {
    const maxAgeMs = config.maxAlertAgeSeconds * 1000;
    const node = { node_name: 'gke-tpu-1' };
    const bare = (ageMs: number, options: Partial<NotificationOptions> = {}) =>
      outcomeOf(() => construct({ resource: node, startedAt: now - ageMs, ...options }));
    const pushed = (
      publishedAgeMs: number,
      startedAgeMs: number,
      options: Partial<NotificationOptions> = {},
    ) => {
      const payload = createNotification({ resource: node, startedAt: now - startedAgeMs, ...options });
      return outcomeOf(() => read(toPush(payload, { publishedAt: now - publishedAgeMs })));
    };
    const hourMs = 3_600_000;

    it('counts from the start of the incident for the webhook, to the second', () => {
      expect(bare(maxAgeMs)).to.equal('acts');
      expect(bare(maxAgeMs + 1000)).to.equal(
        'ignored: stale: its incident began 901 s ago, more than MAX_ALERT_AGE_SECONDS 900',
      );
    });

    it('counts from the publishing for Pub/Sub, whenever the incident began', () => {
      expect(pushed(maxAgeMs, 5 * hourMs)).to.equal('acts');
      expect(pushed(maxAgeMs + 1000, 5 * hourMs)).to.match(/^ignored: stale: it was published 901 s ago/);
    });

    it('counts from the start where the envelope does not say when it was published', () => {
      const payload = createNotification({ resource: node, startedAt: now - maxAgeMs - 1000 });
      const { message, ...rest } = toPush(payload, { publishedAt: now }) as { message: { data: string } };
      for (const publishTime of [undefined, 'yesterday']) {
        const envelope = { ...rest, message: { data: message.data, publishTime } };
        expect(outcomeOf(() => read(envelope))).to.match(/^ignored: stale: its incident began/);
      }
    });

    it('does not count from the start for a renotification, because it always comes late', () => {
      expect(bare(5 * hourMs, { renotify: true })).to.equal('acts');
      expect(pushed(0, 5 * hourMs, { renotify: true })).to.equal('acts');
      expect(pushed(maxAgeMs + 1000, 5 * hourMs, { renotify: true })).to.match(
        /^ignored: stale: it was published/,
      );
    });

    it('accepts a renotification as long as the record of its incident is kept', () => {
      expect(bare(24 * hourMs - 1000, { renotify: true })).to.equal('acts');
      expect(bare(24 * hourMs, { renotify: true })).to.match(
        /^ignored: stale: renotified after more than 24 h/,
      );
    });

    it('does not drop a late close', () => {
      const labels = { failover_action: 'cordon_nodepool', failover_on_close: 'uncordon_nodepool' };
      expect(bare(48 * hourMs, { state: 'closed', labels })).to.equal('acts');
    });

    it('refuses an incident that starts in the future, because every node would look older than it', () => {
      expect(bare(-maxAgeMs)).to.equal('acts');
      expect(bare(-maxAgeMs - 1000)).to.match(/^invalid_action: incident.started_at is in the future/);
    });
  });

  describe('state', () => {
    const labels = { failover_action: 'cordon_nodepool' };
    const node = { node_name: 'gke-tpu-1' };

    it('reads a state in upper case', () => {
      expect(outcomeOf(() => construct({ state: 'OPEN', resource: node }))).to.equal('acts');
    });

    it('ignores a state that is neither open nor closed', () => {
      expect(outcomeOf(() => construct({ state: 'acknowledged', resource: node }))).to.equal(
        'ignored: its state is "acknowledged", neither open nor closed',
      );
    });

    it('ignores an incomplete close when nothing has to be done on close', () => {
      expect(outcomeOf(() => construct({ state: 'closed', labels, resource: {} }))).to.equal(
        'ignored: closed',
      );
      const onClose = { ...labels, failover_on_close: 'uncordon_nodepool' };
      expect(outcomeOf(() => construct({ state: 'closed', labels: onClose }))).to.match(
        /^invalid_action: .*node_name/,
      );
    });

    it('ignores the close of a dry run, because there is nothing to undo', () => {
      const dry = { ...labels, failover_dry_run: 'true', failover_on_close: 'uncordon_nodepool' };
      expect(outcomeOf(() => construct({ state: 'closed', labels: dry, resource: node }))).to.match(
        /^ignored: closed; a dry run/,
      );
    });

    it('accepts a close without the texts that a cancelled incident lacks', () => {
      const payload = createNotification({
        startedAt: now,
        state: 'closed',
        resource: node,
        labels: { ...labels, failover_on_close: 'uncordon_nodepool' },
      });
      const observed = 'The incident was cancelled because the policy was changed.';
      expect(
        outcomeOf(() => read({ ...payload, incident: { ...payload.incident, observed_value: observed } })),
      ).to.equal('acts');
    });
  });
});
