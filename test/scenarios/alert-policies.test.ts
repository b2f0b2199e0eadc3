import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { parse } from 'yaml';
import { toAlert } from '../../src/alert/alert.ts';
import { readConfig } from '../../src/config.ts';
import { readNotification, unpack } from '../../src/alert/notification.ts';
import { parseLoggingQuery } from '../deploy/logging-query.ts';
import type { LogEntry } from '../deploy/logging-query.ts';
import { needs, run } from '../deploy/run.ts';
import { createNotification, demoClusterLabels } from '../fixtures/notification.ts';
import { trainCluster } from '../fixtures/train-world.ts';

interface MetricCondition {
  filter: string;
  duration: string;
  aggregations: { groupByFields: string[] }[];
}

interface Policy {
  displayName: string;
  userLabels: Record<string, string>;
  conditions: {
    conditionThreshold?: MetricCondition;
    conditionAbsent?: MetricCondition;
    conditionMatchedLog?: { filter: string };
  }[];
}

const folder = new URL('../../deploy/examples/policies/', import.meta.url);

/** The alert policies that people pass to gcloud, each with the path of its file. */
function readPolicies(): { path: string; text: string; policy: Policy }[] {
  return readdirSync(folder)
    .toSorted()
    .map((name) => {
      const path = fileURLToPath(new URL(name, folder));
      const text = readFileSync(path, 'utf8');
      return { path, text, policy: parse(text) as Policy };
    });
}

/** CONSTRUCTED: the entry of a machine's serial console, as field reports of fault injections show it. */
const xidEntry = new URL('../fixtures/serial-console-xid.json', import.meta.url);

const now = Date.parse('2026-11-23T03:00:00Z');

/** The labels of the resource that the grouping keeps, with values that something may be called. */
function keptLabels({ conditions: [condition] }: Policy): { type: string; labels: Record<string, string> } {
  const metric = condition?.conditionThreshold ?? condition?.conditionAbsent;
  const filter = metric?.filter ?? condition?.conditionMatchedLog?.filter ?? '';
  const type = /resource\.type\s*=\s*"([a-z0-9_]+)"/.exec(filter)?.[1] ?? '';
  const names: Record<string, string[]> = {
    k8s_node: [...Object.keys(demoClusterLabels), 'node_name'],
    k8s_node_pool: [...Object.keys(demoClusterLabels), 'node_pool_name'],
    gce_instance: ['project_id', 'zone', 'instance_id'],
  };
  const fields = metric?.aggregations.flatMap(({ groupByFields }) => groupByFields);
  // A log match has no aggregation, so it keeps all labels of its resource.
  const kept = fields?.map((field) => field.replace('resource.label.', '')) ?? names[type] ?? [];
  const values: Record<string, string> = {
    ...demoClusterLabels,
    node_name: 'gke-tpu-1',
    node_pool_name: 'slice-a',
    zone: 'us-central1-a',
    instance_id: '4217640023907412345',
    entity_type: 'jobset',
    entity_namespace: 'default',
    entity_name: 'train',
  };
  return { type, labels: Object.fromEntries(kept.map((name) => [name, values[name] ?? 'unknown'])) };
}

describe('the example alert policies', () => {
  const policies = readPolicies();

  it('are of seven kinds, each for another sign of a fault', () => {
    const texts = policies.map(({ text }) => text);
    const kinds = [
      'status_condition',
      'multi_host/available',
      'node_pool/status',
      'interruption_count',
      'jobset/uptime',
      'Xid .*: 79,',
      'Xid .*: 48,',
    ];
    expect(texts).to.have.length(kinds.length);
    for (const kind of kinds) {
      expect(
        texts.filter((text) => text.includes(kind)),
        kind,
      ).to.have.length(1);
    }
  });

  it('have the labels and the grouping that the function needs to act on their incidents', () => {
    for (const { policy } of policies) {
      const { type, labels } = keptLabels(policy);
      const notification = createNotification({
        startedAt: now,
        type,
        clusterLabels: labels,
        labels: policy.userLabels,
      });
      const { action } = toAlert(
        readNotification(unpack(notification)),
        readConfig({ CLUSTERS: trainCluster }),
        now,
      );
      expect(action.type, policy.displayName).to.equal(policy.userLabels['failover_action']);
      expect(action.repair, policy.displayName).to.equal(policy.userLabels['failover_repair']);
      expect(action.fault, policy.displayName).to.equal(policy.userLabels['failover_fault']);
      expect(action.dryRun, policy.displayName).to.equal(policy.userLabels['failover_dry_run'] === 'true');
      const uncordons = policy.userLabels['failover_uncordon_when_repaired'] === 'true' ? true : undefined;
      expect(action.uncordonWhenRepaired, policy.displayName).to.equal(uncordons);
      const { subject } = action.incident;
      const named = action.nodeName ?? action.nodePool ?? action.jobSetName;
      const target = subject?.kind === 'instance' ? subject.instanceId : named;
      expect(target, policy.displayName).to.be.oneOf([
        'gke-tpu-1',
        'slice-a',
        '4217640023907412345',
        'train',
      ]);
    }
  });

  // F-150: the policy read a log that carries no Xid, so that it never fired.
  for (const [xid, other] of [
    ['79', '48'],
    ['48', '79'],
  ] as const) {
    it(`match Xid ${xid} on the serial console, and no other Xid and no other log`, () => {
      const policy = policies.find(({ text }) => text.includes(`Xid .*: ${xid},`))?.policy;
      const matches = parseLoggingQuery(policy?.conditions[0]?.conditionMatchedLog?.filter ?? '');
      const read = (): LogEntry & { textPayload: string } => {
        const entry = JSON.parse(readFileSync(xidEntry, 'utf8')) as LogEntry & { textPayload: string };
        return { ...entry, textPayload: entry.textPayload.replace(': 79,', `: ${xid},`) };
      };
      expect(matches(read())).to.equal(true);
      const { textPayload, resource } = read();
      const ofOther = textPayload.replace(`: ${xid},`, `: ${other},`);
      expect(matches({ ...read(), textPayload: ofOther })).to.equal(false);
      expect(matches({ ...read(), textPayload: `a job that talks about Xid ${xid}` })).to.equal(false);
      expect(matches({ ...read(), resource: { ...resource, type: 'k8s_node' } })).to.equal(false);
      expect(matches({ ...read(), logName: 'projects/demo-project/logs/stdout' })).to.equal(false);
    });
  }

  // F-280: Google repairs no host for an Xid that a reboot clears, and a report or a deletion gave the machine away.
  it('have the host of Xid 79 reported, and the node of Xid 48 rebooted', () => {
    const wayOf = (xid: string) =>
      policies.find(({ text }) => text.includes(`Xid .*: ${xid},`))?.policy.userLabels['failover_repair'];
    expect([wayOf('79'), wayOf('48')]).to.deep.equal(['report_faulty_host', 'reboot']);
  });

  // F-281: a metric that comes up to an hour late moved runs that had ended or were up again.
  it('act live on no metric that comes late', () => {
    const policy = policies.find(({ text }) => text.includes('jobset/uptime'))?.policy;
    expect(policy?.userLabels).to.include({ failover_dry_run: 'true' });
    const { duration = '0s' } = policy?.conditions[0]?.conditionAbsent ?? {};
    expect(Number.parseInt(duration, 10)).to.be.greaterThan(3_600);
  });

  // F-151: the policy fired on GKE's own upgrades, resizes and deletions of a slice.
  it('count only the reasons of an unavailable slice that are faults', () => {
    const policy = policies.find(({ text }) => text.includes('multi_host/available'))?.policy;
    const { filter = '' } = policy?.conditions[0]?.conditionThreshold ?? {};
    const [, list = ''] = /unavailability_reason = one_of\(([^)]*)\)/.exec(filter) ?? [];
    const counted = [...list.matchAll(/"(\w+)"/g)].map(([, reason]) => reason);
    const faults = ['Unhealthy', 'MachineNotRunning', 'Unallocatable', 'RebootEvent'];
    expect(counted).to.have.members(faults);
    for (const reason of ['Reconciling', 'Stopping', 'ProvisioningError', 'MaintenanceTaint', '']) {
      expect(counted, reason).not.to.include(reason);
    }
  });

  for (const reason of ['Unhealthy', 'MachineNotRunning', 'Unallocatable', 'RebootEvent']) {
    it(`move the run away from a slice that is unavailable as ${reason}`, () => {
      const policy = policies.find(({ text }) => text.includes('multi_host/available'))?.policy;
      const { incident, version } = createNotification({
        startedAt: now,
        type: 'k8s_node_pool',
        resource: { node_pool_name: 'slice-a' },
        labels: policy?.userLabels ?? {},
      });
      const type = 'kubernetes.io/node_pool/multi_host/available';
      const metric = { displayName: 'available', labels: { unavailability_reason: reason }, type };
      const notification = { version, incident: { ...incident, metric } };
      const { action } = toAlert(
        readNotification(unpack(notification)),
        readConfig({ CLUSTERS: trainCluster }),
        now,
      );
      expect(action).to.include({ type: 'cordon_nodepool_and_restart_jobset', nodePool: 'slice-a' });
      expect(action.incident).to.include({ uncordonsOnClose: true, startedAt: now });
    });
  }

  it('are accepted by gcloud unchanged', async function () {
    needs(this, 'gcloud');
    const created: Policy[] = [];
    const server = createServer((request, response) => {
      let body = '';
      request.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
      request.on('end', () => {
        created.push(JSON.parse(body) as Policy);
        response.writeHead(200, { 'content-type': 'application/json' }).end(body);
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const directory = await mkdtemp(join(tmpdir(), 'policies-'));
    try {
      await writeFile(join(directory, 'token'), 'a token of nobody');
      for (const { path, policy } of policies) {
        const { code, stderr } = await run(
          'gcloud',
          ['alpha', 'monitoring', 'policies', 'create', `--policy-from-file=${path}`],
          {
            env: {
              CLOUDSDK_CONFIG: directory,
              CLOUDSDK_CORE_PROJECT: 'demo-project',
              CLOUDSDK_CORE_DISABLE_PROMPTS: '1',
              CLOUDSDK_CORE_DISABLE_USAGE_REPORTING: '1',
              CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK: '1',
              CLOUDSDK_AUTH_ACCESS_TOKEN_FILE: join(directory, 'token'),
              CLOUDSDK_API_ENDPOINT_OVERRIDES_MONITORING: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
            },
          },
        );
        expect(code, stderr).to.equal(0);
        // What gcloud does not know of it would have been left out.
        expect(created.at(-1)).to.deep.include(JSON.parse(JSON.stringify(policy)) as object);
      }
    } finally {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await rm(directory, { recursive: true, force: true });
    }
  });
});
