// The other side of emulator-process.ts: an emulator in a process of its own, so that it takes none of the function's time.
import { failoverNamespace } from '../../src/names.ts';
import { Emulator } from '../emulator/emulator.ts';
import type { EmulatedCluster } from '../emulator/cluster.ts';
import { addSystemNamespace, createDemoWorld, demoCluster, toRepairTimes } from '../emulator/scenario.ts';
import { serveEmulator } from '../emulator/server.ts';
import type { EmulatorServer } from '../emulator/server.ts';
import { tallyStorm, toStormNodes } from '../fixtures/storm.ts';
import type { Placement, Question, StormReport, Traffic, WorldSpec } from './emulator-process.ts';
import { createStormWorld } from './storm-world.ts';

let emulator = new Emulator();
let cluster: EmulatedCluster | undefined;
let server: EmulatorServer | undefined;

process.on('message', (question: Question) => {
  void answer(question).then((answered) => process.send?.(answered ?? null));
});
process.on('disconnect', () => process.exit(0));

async function answer(question: Question): Promise<unknown> {
  if (question.ask === 'build') return build(question.spec);
  if (question.ask === 'placements') return findPlacements();
  if (question.ask === 'reconcile') return emulator.reconcile();
  if (question.ask === 'nodes') return cluster && toStormNodes(cluster);
  if (question.ask === 'storm') return reportStorm();
  if (question.ask === 'copy-record') return copyRecord(question.count);
  if (question.ask === 'forget') return forget(question.keptRecords);
  if (question.ask === 'round-trips') return countRoundTrips(question.since, question.delayMs);
  return report();
}

async function build(spec: WorldSpec): Promise<Record<string, string>> {
  await server?.close();
  let behindMs = 0;
  emulator = new Emulator({ now: () => Date.now() - behindMs });
  cluster = spec.storm
    ? createStormWorld(emulator, spec.storm, (ms) => (behindMs = ms))
    : createWorld(emulator, spec);
  if (spec.throttled) {
    const { share, retryAfterSeconds } = spec.throttled;
    emulator.faults.add({
      api: 'kubernetes',
      method: 'PATCH',
      probability: share,
      times: Infinity,
      effect: { status: 429, headers: { 'retry-after': String(retryAfterSeconds) } },
    });
  }
  const { delayMs = 0, reconcileEveryMs } = spec;
  server = await serveEmulator(emulator, {
    delayMs,
    ...(reconcileEveryMs === undefined ? {} : { reconcileEveryMs }),
  });
  return { ...server.environment, CLUSTERS: cluster.name };
}

function createWorld(emulator: Emulator, spec: WorldSpec): EmulatedCluster {
  const { nodes, slices, sliceNodes = 16, otherNodes = 0, paddingBytes = 0, records = 0 } = spec;
  if (nodes === undefined && slices === undefined) return createDemoWorld(emulator, { paddingBytes });
  const cluster = emulator.addCluster({ name: demoCluster });
  addSystemNamespace(cluster);
  if (nodes !== undefined) {
    cluster.addTpuSlice('slice-a', { nodes, topology: `${nodes / 4}x4x4`, paddingBytes });
  }
  if (otherNodes > 0) cluster.addPool('others', { nodes: otherNodes, paddingBytes });
  for (let index = 0; index < (slices ?? 0); index++) {
    cluster.addTpuSlice(`slice-${index}`, { ...toSlice(sliceNodes), ...toRepairTimes(spec) });
    cluster.addJobSet({
      name: `train-${index}`,
      exclusiveTopology: 'cloud.google.com/gke-nodepool',
      failurePolicy: { maxRestarts: 1000 },
      replicatedJobs: [{ name: 'workers', parallelism: sliceNodes, backoffLimit: 0 }],
    });
  }
  for (let index = 0; index < (spec.spareSlices ?? 0); index++) {
    cluster.addTpuSlice(`spare-${index}`, toSlice(sliceNodes));
  }
  for (let index = 0; index < records; index++) addRecord(cluster, index);
  if (spec.isOverridden) override(cluster);
  emulator.settle();
  return cluster;
}

function toSlice(nodes: number): { nodes: number; topology: string } {
  return { nodes, topology: nodes === 1 ? '2x2' : `${nodes / 4}x4x4` };
}

/** What a person does who insists, for less than the hour that counts. */
function override(cluster: EmulatedCluster): void {
  const lease = cluster.leases(failoverNamespace).find(({ metadata }) => metadata.name === 'cluster');
  if (!lease) throw new Error('there is no Lease with the switches');
  const until = new Date(Date.now() + 50 * 60_000).toISOString();
  const annotations = { ...lease.metadata.annotations, 'autometric-failover/override-until': until };
  cluster.put('leases', { ...lease, metadata: { ...lease.metadata, annotations } });
}

/** The record of a restart and a repair, as the function leaves it. */
function addRecord(cluster: EmulatedCluster, index: number): void {
  const at = new Date(Date.now() - index * 60_000).toISOString();
  const pool = `pool-${index % 100}`;
  const instance = `gke-tpu-${String(index).padStart(8, '0')}-abcd`;
  const jobSet = { namespace: 'default', name: 'train', uid: `uid-of-train-${index}` };
  const machine = { projectId: 'demo-project', zone: 'us-central1-a', instanceName: instance };
  const restart = {
    step: 'restart',
    target: 'default/train',
    outcome: 'restarted',
    attempt: index,
    job: 'train-0',
  };
  const repair = {
    step: 'repair',
    target: instance,
    outcome: 'deletion_accepted',
    instance: `projects/demo-project/zones/us-central1-a/instances/${instance}`,
    why: 'the only node of the pool that is not Ready',
    replaces: 'all machines of the slice',
    cordon:
      'a node that registers anew loses its cordon, a Node object that survives keeps it: look, then uncordon_nodepool',
  };
  const values = {
    id: `bench-${index}`,
    hash: 'f'.repeat(32),
    type: 'cordon_nodepool_and_restart_jobset',
    requestor: 'bench@example.com',
    reason:
      'Xid 79: GPU has fallen off the bus; the driver says so on three of eight devices of this machine',
    'node-pool': pool,
    phase: 'settled',
    'done-at': at,
    'settled-at': at,
    plan: JSON.stringify({
      claimId: `claim-${index}`,
      restart: {
        outcome: 'restart',
        jobSet,
        attempt: index,
        job: { name: 'train-0', uid: 'u', replicatedJob: 'w' },
      },
      repair: { ...machine, node: { name: instance, uid: 'u' }, isMultiHost: true, why: repair.why },
    }),
    answer: JSON.stringify([
      { step: 'cordon', target: pool, nodes: 16, cordoned: 16, already_cordoned: 0 },
      restart,
      repair,
    ]),
    verdict: JSON.stringify({ verdict: 'recovered', at, recovered_at: at, seconds: 74, attempt: index + 1 }),
  };
  const annotations = Object.fromEntries(
    Object.entries(values).map(([key, value]) => [`autometric-failover/${key}`, value]),
  );
  const { status } = cluster.ask(
    'POST',
    '/apis/coordination.k8s.io/v1/namespaces/autometric-failover-system/leases',
    {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: { name: `action-${index}`, labels: { 'autometric-failover/kind': 'action' }, annotations },
      spec: { acquireTime: at.replace('Z', '000Z'), renewTime: at.replace('Z', '000Z') },
    },
  );
  if (status !== 201) throw new Error(`the record was not created: ${status}`);
}

function report(): Traffic {
  const patches = emulator.requests.filter(isNodePatch);
  const refusals = new Map<string, number>();
  for (const { path, status } of patches) {
    if (status === 429) refusals.set(path, (refusals.get(path) ?? 0) + 1);
  }
  return {
    requests: emulator.requests.length,
    patches: patches.filter(({ status }) => status !== 429).length,
    mostThrottled: Math.max(0, ...refusals.values()),
    otherCalls: emulator.requests
      .filter((request) => !isNodePatch(request))
      .map(({ api, method, path }) => `${api} ${method} ${path}`),
    connections: cluster ? (server?.connections(cluster).ip ?? 0) : 0,
    firstPatchAt: patches[0]?.at ?? null,
    schedulable: cluster?.nodes('slice-a').filter(({ spec }) => !spec.unschedulable).length ?? 0,
  };
}

function reportStorm(): StormReport {
  const cordoned = (cluster?.nodes() ?? []).filter(({ spec }) => spec.unschedulable);
  return {
    ...tallyStorm(emulator.requests),
    restarts: cluster?.jobsets('default')[0]?.status?.restarts ?? 0,
    cordonedPools: new Set(cordoned.map(({ metadata }) => metadata.labels?.['cloud.google.com/gke-nodepool']))
      .size,
  };
}

function copyRecord(count: number): void {
  const record = cluster
    ?.leases(failoverNamespace)
    .find(({ metadata }) => metadata.labels?.['autometric-failover/kind'] === 'action');
  if (!record) throw new Error('there is no action');
  for (let index = 0; index < count; index++) {
    const { metadata } = record;
    const copy = { ...metadata, name: `${metadata.name}-${index}`, uid: '', resourceVersion: '' };
    cluster?.put('leases', { ...record, metadata: copy });
  }
}

function forget(keptRecords: number): void {
  emulator.requests.length = 0;
  const settled = (cluster?.leases(failoverNamespace) ?? []).filter(
    ({ metadata: { labels = {}, annotations = {} } }) =>
      ['action', 'incident'].includes(labels['autometric-failover/kind'] ?? '') &&
      labels['autometric-failover/open'] === undefined &&
      annotations['autometric-failover/phase'] !== 'done',
  );
  const madeAt = ({ metadata }: { metadata: { creationTimestamp?: string } }) =>
    metadata.creationTimestamp ?? '';
  const oldest = settled.sort((a, b) => (madeAt(a) < madeAt(b) ? -1 : 1));
  for (const { metadata } of oldest.slice(0, -keptRecords)) {
    cluster?.ask(
      'DELETE',
      `/apis/coordination.k8s.io/v1/namespaces/${failoverNamespace}/leases/${metadata.name}`,
    );
  }
}

function isNodePatch({ method, path }: { method: string; path: string }): boolean {
  return method === 'PATCH' && path.startsWith('/api/v1/nodes/');
}

function findPlacements(): Placement[] {
  const poolOf = new Map(
    cluster
      ?.nodes()
      .map(({ metadata }) => [metadata.name, metadata.labels?.['cloud.google.com/gke-nodepool']]),
  );
  const placements = new Map<string, Placement>();
  for (const { metadata, spec } of cluster?.pods('default') ?? []) {
    const jobSet = metadata.labels?.['jobset.sigs.k8s.io/jobset-name'];
    const pool = poolOf.get(spec.nodeName ?? '');
    if (jobSet !== undefined && pool !== undefined) placements.set(jobSet, { jobSet, pool });
  }
  return [...placements.values()];
}

/** The length of the longest chain of requests in which each arrived after the answer to the one before. */
function countRoundTrips(since: number, delayMs: number): number {
  let count = 0;
  let answeredAt = -Infinity;
  for (const { at } of emulator.requests.slice(since)) {
    if (at < answeredAt) continue;
    count += 1;
    answeredAt = at + delayMs;
  }
  return count;
}
