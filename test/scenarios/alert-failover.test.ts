import { expect } from 'chai';
import { AlertWorld } from '../fixtures/alert-world.ts';
import type { AlertAnswer } from '../fixtures/alert-world.ts';
import { createNotification, toPush } from '../fixtures/notification.ts';
import type { NotificationOptions } from '../fixtures/notification.ts';
import { countCordoned, nodeNames, trainCluster, whereTrainRuns } from '../fixtures/train-world.ts';
import type { TrainWorldOptions } from '../fixtures/train-world.ts';
import { addSystemNamespace } from '../emulator/scenario.ts';
import { withoutHistory } from '../fixtures/without-history.ts';

const restart = { failover_action: 'cordon_nodepool_and_restart_jobset' };
const repair = { failover_action: 'cordon_and_repair_nodepool' };
const cordon = { failover_action: 'cordon_nodepool' };
const secondCluster = 'projects/demo-project/locations/us-central1-a/clusters/second';

/** A world that is a minute old, so that what begins now is younger than everything in it. */
async function createWorld(options: ConstructorParameters<typeof AlertWorld>[0] = {}): Promise<AlertWorld> {
  const world = new AlertWorld(options);
  await world.pass(60);
  return world;
}

/** Three machines that have nothing to do with each other. */
function gpuPool(): ConstructorParameters<typeof AlertWorld>[0] {
  return {
    build: (emulator) => {
      const cluster = emulator.addCluster({ name: trainCluster });
      addSystemNamespace(cluster);
      cluster.addPool('gpus', { gpu: true, nodes: 3 });
      return cluster;
    },
  };
}

/** The steps of an answer, in short. */
function outcomes({ body }: AlertAnswer): unknown[] | string {
  return (
    body.steps?.map(
      ({ step, outcome, cordoned, uncordoned }) =>
        `${String(step)} ${String(outcome ?? cordoned ?? uncordoned)}`,
    ) ?? JSON.stringify(body)
  );
}

function podOnNode(world: AlertWorld, nodeName: string): string {
  return world.cluster.pods('default').find(({ spec }) => spec.nodeName === nodeName)?.metadata.name ?? '';
}

function instanceIdOf(world: AlertWorld, nodeName: string): string {
  const node = world.cluster.get('nodes', undefined, nodeName);
  return node?.metadata.annotations?.['container.googleapis.com/instance_id'] ?? '';
}

function machine(world: AlertWorld, nodeName: string): Partial<NotificationOptions> {
  return {
    type: 'gce_instance',
    clusterLabels: null,
    resource: {
      project_id: 'demo-project',
      zone: 'us-central1-a',
      instance_id: instanceIdOf(world, nodeName),
    },
  };
}

describe('an alert', () => {
  describe('acts on what its resource labels name', () => {
    const node = (world: AlertWorld) => nodeNames(world.cluster, 'slice-a')[1] ?? '';
    const cases: { name: string; options: (world: AlertWorld) => Partial<NotificationOptions> }[] = [
      { name: 'k8s_node', options: (world) => ({ resource: { node_name: node(world) } }) },
      {
        name: 'k8s_node_pool',
        options: () => ({ type: 'k8s_node_pool', resource: { node_pool_name: 'slice-a' } }),
      },
      ...['k8s_pod', 'k8s_container'].map((type) => ({
        name: type,
        options: (world: AlertWorld) => ({
          type,
          resource: { namespace_name: 'default', pod_name: podOnNode(world, node(world)) },
        }),
      })),
      {
        name: 'k8s_entity',
        options: () => ({
          type: 'k8s_entity',
          resource: { entity_type: 'jobset', entity_namespace: 'default', entity_name: 'train' },
        }),
      },
      {
        name: 'k8s_cluster',
        options: () => ({ type: 'k8s_cluster', labels: { ...restart, failover_jobset: 'train' } }),
      },
      {
        name: 'gce_instance, by its name and id',
        options: (world) => ({ ...machine(world, node(world)), displayName: node(world) }),
      },
      { name: 'gce_instance, by its id alone', options: (world) => machine(world, node(world)) },
    ];
    for (const { name, options } of cases) {
      it(`${name}: cordons the pool and moves the one JobSet on it`, async () => {
        const world = await createWorld();
        const answer = await world.notify({ labels: restart, ...options(world) });
        expect(outcomes(answer)).to.deep.equal(['cordon 4', 'restart restarted']);
        expect(answer.body.id).to.equal('0.constructed01');
        expect(world.effects()).to.deep.equal({ 'PATCH nodes': 4, 'DELETE pods': 1 });
        await world.pass(30);
        expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #1']);
        expect(world.lastLine).to.include({ event: 'done', outcome: 'done', action_id: '0.constructed01' });
      });
    }

    for (const { name, options } of cases.filter(({ name: each }) =>
      /^(k8s_node|k8s_pod|gce_instance)$|id$/.test(each),
    )) {
      it(`${name}: has the machine of that very node repaired`, async () => {
        const world = await createWorld();
        const answer = await world.notify({ ...options(world), labels: repair });
        expect(outcomes(answer)).to.deep.equal(['cordon 4', 'repair deletion_accepted']);
        expect(world.emulator.fleet.deletions.map(({ instance }) => instance.name)).to.deep.equal([
          node(world),
        ]);
      });
    }

    it('a machine in the second of two clusters of its region', async () => {
      const world = await createWorld({
        environment: { CLUSTERS: `${secondCluster},${trainCluster}` },
      });
      addSystemNamespace(world.emulator.addCluster({ name: secondCluster }));
      const options = { ...machine(world, node(world)), labels: repair };
      const answer = await world.notify(options);
      expect(outcomes(answer)).to.deep.equal(['cordon 4', 'repair deletion_accepted']);
      // Once its node is gone, the record says where it was.
      world.cluster.removeNode(node(world));
      const again = await world.notify(options);
      expect(again.body).to.include({ replayed: true });
      expect({ ...again, body: withoutHistory(again.body) }).to.deep.equal(answer);
      expect(world.emulator.fleet.deletions).to.have.length(1);
    });

    it('names a machine that is in no cluster', async () => {
      const world = await createWorld();
      const answer = await world.notify({
        type: 'gce_instance',
        clusterLabels: null,
        resource: { project_id: 'demo-project', zone: 'us-central1-a', instance_id: '4242' },
      });
      expect(answer.status).to.equal(404);
      expect(answer.body.error).to.match(
        /^no node of .*clusters\/demo has the machine 4242 of zone us-central1-a/,
      );
      expect(world.effects()).to.deep.equal({});
    });

    it('does not act on a machine of the same name in another zone', async () => {
      const world = await createWorld();
      const { resource, ...options } = { ...machine(world, node(world)), displayName: node(world) };
      const elsewhere = { ...resource, zone: 'us-central1-b', instance_id: '4242' };
      expect((await world.notify({ ...options, resource: elsewhere })).body.code).to.equal(
        'target_not_found',
      );
    });

    it('does not report a machine as missing when a cluster cannot be reached', async () => {
      const world = await createWorld({ environment: { CLUSTERS: `${secondCluster},${trainCluster}` } });
      addSystemNamespace(world.emulator.addCluster({ name: secondCluster }));
      world.emulator.faults.add({ cluster: secondCluster, times: Infinity, effect: { status: 503 } });
      const unknown = await world.notify({
        type: 'gce_instance',
        clusterLabels: null,
        resource: { project_id: 'demo-project', zone: 'us-central1-a', instance_id: '4242' },
      });
      expect(unknown).to.deep.include({ status: 502 });
      // What another cluster has is unambiguous all the same.
      const known = await world.notify({ ...machine(world, node(world)), labels: cordon });
      expect(outcomes(known)).to.deep.equal(['cordon 4']);
    });

    it('refuses a pod that is gone or on no node', async () => {
      const world = await createWorld({ slices: ['slice-a'], jobs: [{ parallelism: 5 }] });
      const ask = (podName: string) =>
        world.notify({ type: 'k8s_pod', resource: { namespace_name: 'default', pod_name: podName } });
      expect((await ask('train-gone')).body).to.include({
        code: 'target_not_found',
        error: 'pod train-gone of namespace default is gone, so its node pool is not known',
      });
      const pending = world.cluster.pods('default').find(({ spec }) => spec.nodeName === undefined);
      expect((await ask(pending?.metadata.name ?? '')).body.error).to.match(/ is on no node, /);
      expect(world.effects()).to.deep.equal({});
    });
  });

  describe('finds the JobSet to restart', () => {
    const pool = { type: 'k8s_node_pool', resource: { node_pool_name: 'slice-a' }, labels: restart };
    const small = { parallelism: 2, nodeSelector: { 'cloud.google.com/gke-nodepool': 'slice-a' } };

    it('refuses when there is none, and names the label that helps', async () => {
      const world = await createWorld({ jobSet: null });
      const { status, body } = await world.notify(pool);
      expect(status).to.equal(409);
      expect(body).to.include({ code: 'target_ambiguous' });
      expect(body.error).to.match(
        /^no JobSet of namespace default has live pods on node pool slice-a; .* failover_jobset/,
      );
      expect(world.effects()).to.deep.equal({});
    });

    it('refuses when there are several and names them; the label chooses one', async () => {
      const jobSet = {
        exclusiveTopology: '',
        replicatedJobs: [{ name: 'workers', ...small, backoffLimit: 0 }],
      };
      const world = await createWorld({ jobSet });
      world.cluster.addJobSet({ name: 'other', replicatedJobs: [{ name: 'workers', ...small }] });
      await world.pass(10);
      const { body } = await world.notify(pool);
      expect(body.error).to.match(
        /^several JobSets \(default\/other, default\/train\) have live pods on node pool slice-a/,
      );
      expect(world.effects()).to.deep.equal({});
      const chosen = await world.notify({
        ...pool,
        id: '0.2',
        labels: { ...restart, failover_jobset: 'train' },
      });
      // Its pods may run there only.
      expect(chosen.body).to.include({ code: 'restart_refused' });
    });

    it('counts neither pods that have ended nor those on other pools', async () => {
      const world = await createWorld({ slices: ['slice-a', 'slice-b', 'slice-c'] });
      const on = (nodePool: string) => ({
        parallelism: 1,
        backoffLimit: 0,
        resources: {},
        nodeSelector: { 'cloud.google.com/gke-nodepool': nodePool },
        tolerations: [{ key: 'google.com/tpu', operator: 'Exists' as const }],
      });
      world.cluster.addJobSet({ name: 'ended', replicatedJobs: [{ name: 'workers', ...on('slice-a') }] });
      world.cluster.addJobSet({ name: 'elsewhere', replicatedJobs: [{ name: 'workers', ...on('slice-c') }] });
      await world.pass(10);
      const podOf = (jobSet: string) =>
        world.cluster.pods('default').find(({ metadata }) => metadata.name.startsWith(jobSet));
      expect(podOf('elsewhere')?.status.phase).to.equal('Running');
      world.cluster.finishPod('default', podOf('ended')?.metadata.name ?? '', 'Succeeded');
      await world.pass(10);
      expect(podOf('ended')?.status.phase).to.equal('Succeeded');
      const answer = await world.notify(pool);
      expect(answer.body.steps?.at(-1)).to.include({ target: 'default/train', outcome: 'restarted' });
    });

    it('looks only in the allowed namespaces, or in the one that the label names', async () => {
      const world = await createWorld({ jobSet: null });
      for (const namespace of ['research', 'secret']) world.cluster.addNamespace(namespace);
      const jobs = [{ name: 'workers', parallelism: 2, backoffLimit: 0 }];
      world.cluster.addJobSet({ namespace: 'secret', name: 'hidden', replicatedJobs: jobs });
      world.cluster.addJobSet({ namespace: 'research', name: 'train', replicatedJobs: jobs });
      await world.pass(10);
      const settings = { ALLOWED_NAMESPACES: 'default,research' };
      const named = await world.notify(
        { ...pool, labels: { ...restart, failover_namespace: 'default' } },
        settings,
      );
      expect(named.body.error).to.match(/^no JobSet of namespace default has live pods/);
      expect(outcomes(await world.notify({ ...pool, id: '0.2' }, settings))).to.deep.equal([
        'cordon 4',
        'restart restarted',
      ]);
      const paths = world.emulator.requests.map(({ path }) => path);
      expect(paths.filter((path) => path.includes('/namespaces/secret/'))).to.deep.equal([]);
    });
  });

  describe('is limited by the configuration', () => {
    const pod = { type: 'k8s_pod', resource: { namespace_name: 'kube-system', pod_name: 'device-plugin' } };
    const cases = [
      { name: 'ALERT_ACTIONS', settings: { ALERT_ACTIONS: 'repair_nodepool' }, options: { labels: restart } },
      {
        name: 'ALLOWED_ACTIONS',
        settings: { ALLOWED_ACTIONS: 'repair_nodepool' },
        options: { labels: cordon },
      },
      {
        name: 'ALLOWED_NAMESPACES, of a JobSet',
        settings: {},
        options: { labels: { ...restart, failover_jobset: 'train', failover_namespace: 'secret' } },
      },
      {
        name: 'ALLOWED_NAMESPACES, where a JobSet would be looked for',
        settings: {},
        options: { labels: { ...restart, failover_namespace: 'secret' } },
      },
      { name: 'ALLOWED_NAMESPACES, of a pod', settings: {}, options: { labels: cordon, ...pod } },
      {
        name: 'CLUSTERS',
        settings: { CLUSTERS: 'projects/demo-project/locations/us-central1/clusters/else' },
        options: { labels: cordon },
      },
    ];
    for (const { name, settings, options } of cases) {
      it(`${name}: 403, and no API is asked`, async () => {
        const world = await createWorld();
        const before = world.emulator.requests.length;
        const { status, body } = await world.notify(
          { type: 'k8s_node_pool', resource: { node_pool_name: 'slice-a' }, ...options },
          settings,
        );
        expect({ status, code: body.code }).to.deep.equal({ status: 403, code: 'forbidden' });
        expect(world.emulator.requests.length).to.equal(before);
      });
    }

    it('accepts what ALERT_ACTIONS allows, and no more on close', async () => {
      const world = await createWorld();
      const labels = { ...cordon, failover_on_close: 'uncordon_nodepool' };
      const options = { type: 'k8s_node_pool', resource: { node_pool_name: 'slice-a' }, labels };
      const settings = { ALERT_ACTIONS: 'cordon_nodepool' };
      expect(outcomes(await world.notify(options, settings))).to.deep.equal(['cordon 4']);
      const { status } = await world.notify({ ...options, state: 'closed' }, settings);
      expect(status).to.equal(403);
      expect(countCordoned(world.cluster, 'slice-a')).to.equal(4);
    });

    it('never benefits from override-until', async () => {
      const world = await createWorld({ environment: { MAX_POOLS_PER_HOUR: '1' } });
      const of = (pool: string) => ({
        id: `0.${pool}`,
        type: 'k8s_node_pool',
        resource: { node_pool_name: pool },
        labels: cordon,
      });
      expect((await world.notify(of('slice-a'))).status).to.equal(200);
      const until = new Date(world.time.now + 1_800_000).toISOString();
      world.cluster.change('leases', 'autometric-failover-system', 'cluster', ({ metadata }) => {
        metadata.annotations = { ...metadata.annotations, 'autometric-failover/override-until': until };
      });
      const bare = await world.notify(of('slice-b'));
      expect(bare).to.include({ status: 429 }).and.have.nested.property('body.code', 'budget_exceeded');
      expect(bare.headers).to.have.keys('Retry-After');
      // Pub/Sub is to keep it, so it is told nothing about another time.
      const published = { publishedAt: world.time.now };
      const notification = createNotification({ startedAt: world.time.now, ...of('slice-b') });
      const pushed = await world.send(toPush(notification, published));
      expect(pushed).to.deep.equal({ status: 200, headers: {}, body: bare.body });
      expect(countCordoned(world.cluster, 'slice-b')).to.equal(0);
    });

    it('refuses while the cluster is paused', async () => {
      const world = await createWorld();
      world.cluster.change('leases', 'autometric-failover-system', 'cluster', ({ metadata }) => {
        metadata.annotations = { ...metadata.annotations, 'autometric-failover/paused': 'INC-42' };
      });
      const { status, body } = await world.notify({
        type: 'k8s_node_pool',
        resource: { node_pool_name: 'slice-a' },
      });
      expect({ status, code: body.code }).to.deep.equal({ status: 409, code: 'paused' });
      expect(world.effects()).to.deep.equal({});
    });

    it('writes nothing but an Event in a dry run, which may be repeated', async () => {
      const world = await createWorld();
      const before = world.emulator.writes().length;
      const options = {
        type: 'k8s_node_pool',
        resource: { node_pool_name: 'slice-a' },
        labels: { ...restart, failover_dry_run: 'true', failover_on_close: 'uncordon_nodepool' },
      };
      for (const renotify of [false, true]) {
        const answer = await world.notify({ ...options, renotify });
        expect(outcomes(answer)).to.deep.equal(['cordon would_cordon', 'restart would_restart']);
      }
      const closed = await world.notify({ ...options, state: 'closed' });
      expect(closed.body.ignored).to.equal('closed; a dry run has nothing to undo');
      const writes = world.emulator.writes().slice(before);
      expect(writes.map(({ method, path }) => `${method} ${path}`)).to.deep.equal(
        Array.from({ length: 2 }, () => 'POST /api/v1/namespaces/default/events'),
      );
    });
  });

  describe('is acknowledged to Pub/Sub', () => {
    const pool = { type: 'k8s_node_pool', resource: { node_pool_name: 'slice-a' } };
    const push = (world: AlertWorld, options: Partial<NotificationOptions>) =>
      world.send(
        toPush(createNotification({ startedAt: world.time.now, ...options }), {
          publishedAt: world.time.now,
        }),
      );

    // F-62: every failure was a 500, so that callers could not tell retryable from final.
    const refusals: {
      name: string;
      status: number;
      code: string;
      world?: TrainWorldOptions & { environment?: Record<string, string> };
      options: Partial<NotificationOptions>;
    }[] = [
      {
        name: 'an unknown action',
        status: 400,
        code: 'invalid_action',
        options: { ...pool, labels: { failover_action: 'x' } },
      },
      {
        name: 'a forbidden one',
        status: 403,
        code: 'forbidden',
        world: { environment: { ALERT_ACTIONS: 'repair_nodepool' } },
        options: pool,
      },
      {
        name: 'a node that is not there',
        status: 404,
        code: 'target_not_found',
        options: { resource: { node_name: 'gke-gone' } },
      },
      {
        name: 'no JobSet on the pool',
        status: 409,
        code: 'target_ambiguous',
        world: { jobSet: null },
        options: { ...pool, labels: restart },
      },
      {
        name: 'a JobSet that would not restart',
        status: 409,
        code: 'restart_refused',
        world: { jobSet: { failurePolicy: { maxRestarts: 3, restartStrategy: 'InPlaceRestart' } } },
        options: { ...pool, labels: restart },
      },
    ];
    for (const { name, status, code, world: worldOptions, options } of refusals) {
      it(`when the refusal is final: ${name} (${status} ${code} for the webhook)`, async () => {
        const world = await createWorld(worldOptions);
        const bare = await world.notify(options);
        expect({ status: bare.status, code: bare.body.code }).to.deep.equal({ status, code });
        expect(world.lastLine).to.include({
          severity: 'ERROR',
          event: 'refused',
          outcome: 'refused',
          code,
          status,
        });
        const pushed = await push(world, options);
        expect(pushed.status).to.equal(200);
        expect(pushed.body).to.deep.equal(bare.body);
        expect(pushed.body).to.have.keys('id', 'error', 'code');
        expect(pushed.body.id).to.equal('0.constructed01');
        expect(world.lastLine).to.include({
          severity: 'ERROR',
          event: 'refused',
          outcome: 'refused',
          code,
          status: 200,
        });
        expect(world.effects()).to.deep.equal({});
      });
    }

    it('but not when a bare notification only looks like an envelope', async () => {
      const world = await createWorld();
      const both = { ...createNotification({ startedAt: world.time.now }), message: {}, subscription: 's' };
      expect((await world.send(both)).status).to.equal(400);
    });

    it('when an envelope is broken, because no redelivery fixes it', async () => {
      const world = await createWorld();
      const message = (data: string) => ({ message: { data }, subscription: 'projects/p/subscriptions/s' });
      for (const body of [
        message('!'),
        message(Buffer.from('no JSON').toString('base64')),
        message(Buffer.from('{}').toString('base64')),
        message(Buffer.from('[1]').toString('base64')),
        { message: {}, subscription: 'projects/p/subscriptions/s' },
      ]) {
        const { status, body: answer } = await world.send(body);
        expect({ status, code: answer.code }, JSON.stringify(body)).to.deep.equal({
          status: 200,
          code: 'invalid_action',
        });
      }
    });

    it('but not when an API of Google or the cluster failed', async () => {
      const world = await createWorld();
      world.emulator.faults.add({ method: 'GET', path: /leases/, times: 5, effect: { status: 503 } });
      const { status, body } = await push(world, pool);
      expect({ status, code: body.code }).to.deep.equal({ status: 502, code: 'upstream_failed' });
      expect(world.lastLine).to.include({ severity: 'ERROR', outcome: 'failed', status: 502 });
      expect((await push(world, pool)).status).to.equal(200);
    });

    it('but not while another action has the pool: it is delivered again, and carried out then', async () => {
      const world = await createWorld();
      // A cordon that takes a quarter of a minute.
      world.emulator.faults.add({
        method: 'PATCH',
        path: /nodes/,
        times: 4,
        effect: { status: 503, headers: { 'retry-after': '15' } },
      });
      const first = world.publish(createNotification({ startedAt: world.time.now, id: '0.first', ...pool }));
      await world.pass(1);
      const second = world.publish(
        createNotification({ startedAt: world.time.now, id: '0.second', ...pool }),
      );
      await world.deliverAll([first, second]);
      expect([first.deliveries, second.deliveries]).to.deep.equal([1, 2]);
      expect(second.answer && outcomes(second.answer)).to.deep.equal(['cordon 0']);
      const refused = world.lines.filter(({ code }) => code === 'action_in_progress');
      expect(refused.map(({ severity, status }) => ({ severity, status }))).to.deep.equal([
        { severity: 'WARNING', status: 409 },
      ]);
    });
  });

  describe('that has been handled', () => {
    const pool = { type: 'k8s_node_pool', resource: { node_pool_name: 'slice-a' } };

    it('is answered from the record when it is delivered again, even if its pod is gone', async () => {
      const world = await createWorld();
      const [node = ''] = nodeNames(world.cluster, 'slice-a');
      const notification = createNotification({
        startedAt: world.time.now,
        type: 'k8s_pod',
        resource: { namespace_name: 'default', pod_name: podOnNode(world, node) },
        labels: restart,
      });
      const first = await world.send(notification);
      await world.pass(30);
      world.effects();
      const again = await world.send(notification);
      expect({ ...again, body: withoutHistory(again.body) }).to.deep.equal(first);
      expect(world.lastLine).to.include({ outcome: 'replayed' });
      expect(world.effects()).to.deep.equal({});
      expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #1']);
    });

    // F-14: the alert kept firing after success: five runs for one incident.
    it('is ignored when it is renotified, five times', async () => {
      const world = await createWorld();
      const startedAt = world.time.now;
      await world.notify({ ...pool, labels: restart });
      world.effects();
      for (let count = 0; count < 5; count++) {
        await world.pass(1800);
        const { status, body } = await world.notify({ ...pool, labels: restart, renotify: true, startedAt });
        expect(status).to.equal(200);
        expect(body.ignored).to.match(/^renotified: /);
        expect(world.lastLine).to.include({
          severity: 'INFO',
          event: 'ignored',
          outcome: 'ignored',
          status: 200,
        });
      }
      expect(world.effects()).to.deep.equal({});
    });

    it('is tried again by a renotification when the first delivery failed', async () => {
      const world = await createWorld();
      const startedAt = world.time.now;
      const allow = world.cluster.deny({ verb: 'patch', resource: 'nodes' });
      expect((await world.notify({ ...pool, labels: restart })).status).to.equal(502);
      allow();
      await world.pass(1800);
      const { body } = await world.notify({ ...pool, labels: restart, renotify: true, startedAt });
      expect(outcomes({ status: 200, headers: {}, body })).to.deep.equal(['cordon 4', 'restart restarted']);
    });

    it('is rejected as too old without a call to any API', async () => {
      const world = await createWorld();
      const before = world.emulator.requests.length;
      const { body } = await world.notify({ ...pool, startedAt: world.time.now - 901_000 });
      expect(body.ignored).to.match(/^stale: its incident began 901 s ago/);
      expect(world.emulator.requests.length).to.equal(before);
    });
  });

  describe('about something that has changed since', () => {
    const nodeAlert = (name: string, labels: Record<string, string>, startedAt: number) => ({
      resource: { node_name: name },
      labels,
      startedAt,
    });

    const recoveries: {
      name: string;
      happen: (world: AlertWorld, node: string) => void | Promise<void>;
      reason: RegExp;
    }[] = [
      {
        name: 'the node is Ready again',
        async happen(world, node) {
          world.cluster.killNode(node);
          await world.pass(60);
          world.cluster.reviveNode(node);
        },
        reason: /^recovered: node gke-tpu-\S+ is Ready since \S+Z, after the incident began at \S+Z$/,
      },
      {
        name: 'the node was registered anew',
        happen: (world, node) => void world.cluster.replaceInstance(node, 'reregistered'),
        reason: /^recovered: node gke-tpu-\S+ was created at /,
      },
      {
        name: 'the node is gone, and its machine with it',
        happen: (world, node) => world.cluster.removeNode(node),
        reason: /^recovered: node gke-tpu-\S+ and its machine are gone$/,
      },
    ];
    for (const { name, happen, reason } of recoveries) {
      for (const labels of [repair, { failover_action: 'repair_nodepool' }]) {
        it(`repairs no machine (${labels.failover_action}): ${name}`, async () => {
          const world = await createWorld();
          const [, node = ''] = nodeNames(world.cluster, 'slice-a');
          const startedAt = world.time.now;
          await world.pass(10);
          await happen(world, node);
          await world.pass(10);
          const { status, body } = await world.notify(nodeAlert(node, labels, startedAt));
          expect(status).to.equal(200);
          expect(body.ignored).to.match(reason);
          expect(world.effects()).to.deep.equal({});
          const ours = world.cluster
            .events()
            .filter(({ source }) => source?.component === 'autometric-failover');
          expect(ours).to.deep.equal([]);
          expect(
            world.cluster.leases('autometric-failover-system').map(({ metadata }) => metadata.name),
          ).to.deep.equal(['cluster']);
        });
      }
    }

    it('repairs a machine whose node recovered before the incident began and is Ready', async () => {
      const world = await createWorld();
      const [node = ''] = nodeNames(world.cluster, 'slice-a');
      world.cluster.killNode(node);
      await world.pass(60);
      world.cluster.reviveNode(node);
      await world.pass(10);
      const answer = await world.notify(nodeAlert(node, repair, world.time.now));
      expect(outcomes(answer)).to.deep.equal(['cordon 4', 'repair deletion_accepted']);
    });

    it('repairs a machine whose node went bad again', async () => {
      const world = await createWorld();
      const [node = ''] = nodeNames(world.cluster, 'slice-a');
      const startedAt = world.time.now;
      for (const happen of ['killNode', 'reviveNode', 'killNode'] as const) {
        await world.pass(20);
        world.cluster[happen](node);
      }
      const answer = await world.notify(nodeAlert(node, repair, startedAt));
      expect(outcomes(answer)).to.deep.equal(['cordon 4', 'repair deletion_accepted']);
    });

    it('repairs no machine of a slice that is complete again, even if its least healthy node never changed', async () => {
      const world = await createWorld();
      const [, node = ''] = nodeNames(world.cluster, 'slice-a');
      const startedAt = world.time.now;
      await world.pass(10);
      world.cluster.killNode(node);
      await world.pass(30);
      world.cluster.reviveNode(node);
      await world.pass(10);
      const pool = { type: 'k8s_node_pool', resource: { node_pool_name: 'slice-a' }, labels: repair };
      const { body } = await world.notify({ ...pool, startedAt });
      expect(body.ignored).to.match(new RegExp(`^recovered: node ${node} is Ready since`));
      // Another one is dead: it is repaired.
      const [dead = ''] = nodeNames(world.cluster, 'slice-a');
      world.cluster.killNode(dead);
      expect(outcomes(await world.notify({ ...pool, startedAt }))).to.deep.equal([
        'cordon 4',
        'repair deletion_accepted',
      ]);
      expect(world.emulator.fleet.deletions.map(({ instance }) => instance.name)).to.deep.equal([dead]);
    });

    // F-36: GKE replaced the machine; a redelivery or a renotification hours later leaves the replacement.
    for (const nodeObject of ['reregistered', 'survives'] as const) {
      it(`does not delete the replacement of a machine for a renotification hours later (Node ${nodeObject})`, async () => {
        const world = await createWorld();
        const [node = ''] = nodeNames(world.cluster, 'slice-a');
        const startedAt = world.time.now;
        world.cluster.killNode(node);
        const allow = world.cluster.deny({ verb: 'patch', resource: 'nodes' });
        expect((await world.notify(nodeAlert(node, repair, startedAt))).status).to.equal(502);
        allow();
        await world.pass(300);
        world.cluster.replaceInstance(node, nodeObject);
        await world.pass(3 * 3600);
        const { body } = await world.notify({ ...nodeAlert(node, repair, startedAt), renotify: true });
        expect(body.ignored).to.match(/^recovered: /);
        expect(world.emulator.fleet.deletions).to.deep.equal([]);
        expect(countCordoned(world.cluster, 'slice-a')).to.equal(0);
        // It stopped half-way, and nobody is asked to finish it any more.
        const again = await world.notify({ ...nodeAlert(node, repair, startedAt), renotify: true });
        expect(again.body.ignored).to.match(/^renotified: /);
      });
    }

    it('repairs no new machine that is not Ready yet', async () => {
      const world = await createWorld();
      const [node = ''] = nodeNames(world.cluster, 'slice-a');
      const startedAt = world.time.now;
      await world.pass(10);
      world.cluster.replaceInstance(node, 'reregistered');
      world.cluster.killNode(node);
      const { body } = await world.notify(nodeAlert(node, repair, startedAt));
      expect(body.ignored).to.match(/^recovered: node \S+ was created at /);
      expect(world.effects()).to.deep.equal({});
    });

    it('does not repair a new independent node in place of the one that the alert is about', async () => {
      const world = await createWorld(gpuPool());
      const startedAt = world.time.now;
      await world.pass(10);
      world.cluster.joinNode('gpus');
      const pool = { type: 'k8s_node_pool', resource: { node_pool_name: 'gpus' }, labels: repair };
      const { body } = await world.notify({ ...pool, startedAt });
      expect(body).to.include({ code: 'target_ambiguous' });
      // The one that is not Ready is singled out, whatever joined since.
      const [bad = ''] = nodeNames(world.cluster, 'gpus');
      world.cluster.killNode(bad);
      const answer = await world.notify({ ...pool, startedAt });
      expect(outcomes(answer)).to.deep.equal(['cordon 4', 'repair deletion_accepted']);
      const again = await world.notify({ ...pool, id: '0.again', startedAt });
      expect(again.body.ignored).to.match(new RegExp(`^handled: the machine of node ${bad} `));
    });

    it('detects by the numeric id that a machine was replaced under the same name', async () => {
      const world = await createWorld();
      const [node = ''] = nodeNames(world.cluster, 'slice-a');
      const options = { ...machine(world, node), displayName: node, labels: cordon };
      world.cluster.replaceInstance(node, 'survives');
      const { body } = await world.notify(options);
      expect(body.ignored).to.equal(
        `recovered: node ${node} has another machine than the incident was about`,
      );
      expect(world.effects()).to.deep.equal({});
    });

    // F-19: the JobSet restarts itself onto pool B before the alert for pool A arrives: its new leader lives.
    it('leaves a JobSet alone that has restarted itself on another pool', async () => {
      const world = await createWorld();
      const [node = ''] = nodeNames(world.cluster, 'slice-a');
      const startedAt = world.time.now;
      await restartByItself(world, 'slice-a');
      expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #1']);
      world.effects();
      await world.pass(120);
      const labels = { ...restart, failover_jobset: 'train' };
      const answer = await world.notify(nodeAlert(node, labels, startedAt));
      expect(outcomes(answer)).to.deep.equal(['cordon 4', 'restart not_on_pool']);
      expect(world.effects()).to.deep.equal({ 'PATCH nodes': 4 });
      expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #1']);
    });

    for (const [type, options] of Object.entries({
      k8s_entity: { resource: { entity_type: 'jobset', entity_namespace: 'default', entity_name: 'train' } },
      k8s_cluster: {},
    })) {
      for (const action of [restart, cordon, repair]) {
        it(`does nothing to the pool that a JobSet has moved to (${type}, ${action.failover_action})`, async () => {
          const world = await createWorld();
          const startedAt = world.time.now;
          await restartByItself(world, 'slice-a');
          world.effects();
          const labels = { ...action, failover_jobset: 'train' };
          const { body } = await world.notify({ type, ...options, labels, startedAt });
          expect(body.ignored).to.match(/^recovered: /);
          expect(world.effects()).to.deep.equal({});
          // An incident that began since is about this attempt.
          await world.pass(10);
          const answer = await world.notify({
            id: '0.next',
            type,
            ...options,
            labels: { ...cordon, failover_jobset: 'train' },
          });
          expect(outcomes(answer)).to.deep.equal(['cordon 4']);
        });
      }
    }

    it('restarts no run that began after the incident, on a node that recovered after it', async () => {
      const world = await createWorld({ slices: ['slice-a'] });
      const [node = ''] = nodeNames(world.cluster, 'slice-a');
      const startedAt = world.time.now;
      await world.pass(10);
      world.cluster.killNode(node);
      await world.pass(30);
      world.cluster.reviveNode(node);
      await restartByItself(world, undefined);
      expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-a #1']);
      world.effects();
      const { body } = await world.notify(nodeAlert(node, restart, startedAt));
      expect(body.ignored).to.match(/^recovered: JobSet default\/train has restarted \(attempt 1\) after/);
      expect(world.effects()).to.deep.equal({});
    });
  });

  describe('that another incident has already handled', () => {
    // F-43: sixteen nodes of one slice raise sixteen incidents: one machine is deleted.
    it('is ignored for each other node of a repaired slice, and nothing is deleted twice', async () => {
      const world = await createWorld({ slice: { topology: '8x8' }, jobs: [{ parallelism: 16 }] });
      const nodes = nodeNames(world.cluster, 'slice-a');
      for (const node of nodes) world.cluster.killNode(node);
      const deliveries = nodes.map((node, index) =>
        world.publish(
          createNotification({
            id: `0.node${index}`,
            startedAt: world.time.now,
            resource: { node_name: node },
            labels: repair,
          }),
        ),
      );
      await world.deliverAll(deliveries);
      expect(deliveries.filter(({ isAcknowledged }) => !isAcknowledged)).to.deep.equal([]);
      const ignored = deliveries.filter(({ answer }) =>
        answer?.body.ignored?.startsWith('handled: the slice of node pool slice-a'),
      );
      const done = deliveries.filter(({ answer }) => answer?.body.steps);
      expect([done.length, ignored.length]).to.deep.equal([1, 15]);
      expect(world.emulator.fleet.deletions).to.have.length(1);
      expect(world.lines.filter(({ severity }) => severity === 'ERROR')).to.deep.equal([]);
    });

    it('is ignored for the same machine, and rate limited for another, in a pool of independent nodes', async () => {
      const world = await createWorld(gpuPool());
      const [bad = '', other = ''] = nodeNames(world.cluster, 'gpus');
      const alert = (id: string, node: string) => ({ id, resource: { node_name: node }, labels: repair });
      expect(outcomes(await world.notify(alert('0.a', bad)))).to.deep.equal([
        'cordon 3',
        'repair deletion_accepted',
      ]);
      const { body } = await world.notify(alert('0.b', bad));
      expect(body.ignored).to.match(
        new RegExp(`^handled: the machine of node ${bad} is being repaired by action 0.a since`),
      );
      const limited = await world.notify(alert('0.c', other));
      expect(limited.body).to.include({ code: 'rate_limited' });
      expect(world.emulator.fleet.deletions).to.have.length(1);
    });

    it('is not ignored once the cooldown is over and the slice is bad again', async () => {
      const world = await createWorld();
      const [node = ''] = nodeNames(world.cluster, 'slice-a');
      const alert = (id: string) => ({ id, resource: { node_name: node }, labels: repair });
      await world.notify(alert('0.a'));
      await world.pass(3605);
      world.cluster.killNode(node);
      await world.pass(10);
      expect(outcomes(await world.notify(alert('0.b')))).to.deep.equal([
        'cordon 4',
        'repair deletion_accepted',
      ]);
      expect(world.emulator.fleet.deletions).to.have.length(2);
    });

    it('is ignored even after a short cooldown, as long as the alert may be accepted', async () => {
      const world = await createWorld({ environment: { COOLDOWN_SECONDS: '0' } });
      const [node = '', other = ''] = nodeNames(world.cluster, 'slice-a');
      await world.notify({ id: '0.a', resource: { node_name: node }, labels: repair });
      await world.pass(5);
      const { body } = await world.notify({ id: '0.b', resource: { node_name: other }, labels: repair });
      expect(body.ignored).to.match(/^handled: /);
    });
  });
});

/** The JobSet fails by itself, and comes back; elsewhere where a pool is closed to it meanwhile. */
async function restartByItself(world: AlertWorld, closedPool: string | undefined): Promise<void> {
  const { cluster } = world;
  await world.pass(5);
  const closed = closedPool === undefined ? [] : nodeNames(cluster, closedPool);
  for (const node of closed) cluster.cordonAs('kubectl', node, true);
  const [pod] = cluster.pods('default');
  cluster.finishPod('default', pod?.metadata.name ?? '', 'Failed');
  await world.pass(30);
  for (const node of closed) cluster.cordonAs('kubectl', node, false);
}
