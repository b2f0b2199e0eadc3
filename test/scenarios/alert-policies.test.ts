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
import { unpackNotification } from '../../src/alert/notification.ts';
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

const now = Date.parse('2026-11-23T03:00:00Z');

/** The labels of the resource that the grouping keeps, with values that something may be called. */
function keptLabels({ conditions: [condition] }: Policy): { type: string; labels: Record<string, string> } {
  const filter = condition?.conditionThreshold?.filter ?? condition?.conditionMatchedLog?.filter ?? '';
  const type = /resource\.type\s*=\s*"([a-z0-9_]+)"/.exec(filter)?.[1] ?? '';
  const names: Record<string, string[]> = {
    k8s_node: [...Object.keys(demoClusterLabels), 'node_name'],
    k8s_node_pool: [...Object.keys(demoClusterLabels), 'node_pool_name'],
  };
  const fields = condition?.conditionThreshold?.aggregations.flatMap(({ groupByFields }) => groupByFields);
  // A log match has no aggregation, so it keeps all labels of its resource.
  const kept = fields?.map((field) => field.replace('resource.label.', '')) ?? names[type] ?? [];
  const values: Record<string, string> = {
    ...demoClusterLabels,
    node_name: 'gke-tpu-1',
    node_pool_name: 'slice-a',
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
        unpackNotification(notification),
        readConfig({ CLUSTERS: trainCluster }),
        now,
      );
      expect(action.type, policy.displayName).to.equal(policy.userLabels['failover_action']);
      expect(action.nodeName ?? action.nodePool, policy.displayName).to.be.oneOf(['gke-tpu-1', 'slice-a']);
    }
  });

  it('are accepted by gcloud unchanged', async function () {
    needs(this, 'gcloud');
    this.timeout(60_000);
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
