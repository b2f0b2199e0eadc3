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

interface Policy {
  displayName: string;
  userLabels: Record<string, string>;
  conditions: {
    conditionThreshold?: { filter: string; aggregations: { groupByFields: string[] }[] };
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
  const filter = condition?.conditionThreshold?.filter ?? condition?.conditionMatchedLog?.filter ?? '';
  const type = /resource\.type\s*=\s*"([a-z0-9_]+)"/.exec(filter)?.[1] ?? '';
  const names: Record<string, string[]> = {
    k8s_node: [...Object.keys(demoClusterLabels), 'node_name'],
    k8s_node_pool: [...Object.keys(demoClusterLabels), 'node_pool_name'],
    gce_instance: ['project_id', 'zone', 'instance_id'],
  };
  const fields = condition?.conditionThreshold?.aggregations.flatMap(({ groupByFields }) => groupByFields);
  // A log match has no aggregation, so it keeps all labels of its resource.
  const kept = fields?.map((field) => field.replace('resource.label.', '')) ?? names[type] ?? [];
  const values: Record<string, string> = {
    ...demoClusterLabels,
    node_name: 'gke-tpu-1',
    node_pool_name: 'slice-a',
    zone: 'us-central1-a',
    instance_id: '4217640023907412345',
  };
  return { type, labels: Object.fromEntries(kept.map((name) => [name, values[name] ?? 'unknown'])) };
}

describe('the example alert policies', () => {
  const policies = readPolicies();

  it('are of four kinds: a node that is not ready, a slice that is not available, an interruption, a log match', () => {
    const texts = policies.map(({ text }) => text);
    expect(texts).to.have.length(4);
    for (const kind of [
      'status_condition',
      'multi_host/available',
      'interruption_count',
      'conditionMatchedLog',
    ]) {
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
      const { subject } = action.incident;
      const target = subject?.kind === 'instance' ? subject.instanceId : (action.nodeName ?? action.nodePool);
      expect(target, policy.displayName).to.be.oneOf(['gke-tpu-1', 'slice-a', '4217640023907412345']);
    }
  });

  // F-150: the policy read a log that carries no Xid, so that it never fired.
  it('match the Xid of a device that fell off the bus on the serial console, and no other', () => {
    const policy = policies.find(({ text }) => text.includes('conditionMatchedLog'))?.policy;
    const matches = parseLoggingQuery(policy?.conditions[0]?.conditionMatchedLog?.filter ?? '');
    const read = () => JSON.parse(readFileSync(xidEntry, 'utf8')) as LogEntry & { textPayload: string };
    expect(matches(read())).to.equal(true);
    expect(matches({ ...read(), textPayload: read().textPayload.replace(': 79,', ': 48,') })).to.equal(false);
    expect(matches({ ...read(), textPayload: 'a job that talks about Xid 79' })).to.equal(false);
    const { resource } = read();
    expect(matches({ ...read(), resource: { ...resource, type: 'k8s_node' } })).to.equal(false);
    expect(matches({ ...read(), logName: 'projects/demo-project/logs/stdout' })).to.equal(false);
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
