// Beside Kueue's own controller: `npm run test:kueue`. The first run builds it.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect } from 'chai';
import type { Answer, ServedFunction } from '../fixtures/served-function.ts';
import { ControlPlaneUnavailable } from './build-programs.ts';
import type { ControlPlane } from './capabilities.ts';
import { eventually } from './eventually.ts';
import { createFailoverRig } from './failover-rig.ts';
import type { FailoverRig } from './failover-rig.ts';
import { kueueApi, prepareKueue, toKueueObject } from './kueue.ts';
import type { Kueue, Workload } from './kueue.ts';
import type { KubernetesList, Pod } from './kubernetes-client.ts';
import { startOrSkip } from './start-or-skip.ts';
import { chipsPerNode, poolLabel } from './world.ts';
import type { JobSetSpec } from './world.ts';

const nodeCount = 2;
const hostname = 'kubernetes.io/hostname';
const who = { requestor: 'test', reason: 'a host is bad', node_pool: 'slice-a' };
/** Its queue has room for one run. */
const plain: Partial<JobSetSpec> = { queue: 'plain' };
/** Kueue chooses the node of each pod, all in one pool. */
const placed: Partial<JobSetSpec> = {
  queue: 'placed',
  exclusive: false,
  podAnnotations: { 'kueue.x-k8s.io/podset-required-topology': poolLabel },
};
let next = 0;

describe('the function beside Kueue', function () {
  let controlPlane: ControlPlane;
  let kueue: Kueue;
  let rig: FailoverRig;
  let failover: ServedFunction;

  before(async function () {
    controlPlane = await startOrSkip(this, 'the function beside Kueue');
    try {
      kueue = await prepareKueue(controlPlane);
    } catch (error) {
      if (!(error instanceof ControlPlaneUnavailable)) throw error;
      console.log(`  not run: the function beside Kueue, for ${error.message}`);
      this.skip();
    }
    await kueue.run();
    await createQueues();
    rig = await createFailoverRig(controlPlane);
    failover = await rig.serve();
  });

  afterEach(async () => {
    await rig.world.removeAll();
    await rig.forget();
  });

  after(async () => {
    await kueue?.stop();
    await rig?.stop();
    await controlPlane?.stop();
  });

  async function createQueues(): Promise<void> {
    const create = (plural: string, object: object) =>
      controlPlane.admin.post(`${kueueApi}/${plural}`, object);
    const levels = [{ nodeLabel: poolLabel }, { nodeLabel: hostname }];
    await create('topologies', toKueueObject('Topology', 'pools', { levels }));
    for (const [name, topologyName] of [['plain'], ['placed', 'pools']] as const) {
      const nodeLabels = { 'cloud.google.com/gke-tpu-accelerator': 'tpu-v6e-slice' };
      await create('resourceflavors', toKueueObject('ResourceFlavor', name, { nodeLabels, topologyName }));
      const quota = { name: 'google.com/tpu', nominalQuota: nodeCount * chipsPerNode };
      const resourceGroups = [{ coveredResources: [quota.name], flavors: [{ name, resources: [quota] }] }];
      const spec = { namespaceSelector: {}, resourceGroups };
      await create('clusterqueues', toKueueObject('ClusterQueue', name, spec));
      await create(
        'namespaces/default/localqueues',
        toKueueObject('LocalQueue', name, { clusterQueue: name }),
      );
    }
  }

  /** A run on slice-a, with slice-b free, or cordoned by somebody. */
  async function runOnSliceA(spec: Partial<JobSetSpec>, hasRoom = true): Promise<string> {
    const name = `train-${next++}`;
    await rig.world.addTpuSlice('slice-a', { nodes: nodeCount });
    await rig.world.addJobSet({ name, parallelism: nodeCount, ...spec });
    await rig.allRunOn(name, 'slice-a', nodeCount);
    await rig.world.addTpuSlice('slice-b', { nodes: nodeCount });
    if (!hasRoom) await setCordon('slice-b', true);
    return name;
  }

  async function setCordon(pool: string, unschedulable: boolean): Promise<void> {
    for (const { metadata } of await rig.nodesOf(pool)) {
      await controlPlane.admin.patch(`/api/v1/nodes/${metadata.name}`, { spec: { unschedulable } });
    }
  }

  async function workloadOf(jobSet: string): Promise<Workload> {
    const path = `${kueueApi}/namespaces/default/workloads`;
    const { items } = await controlPlane.admin.get<KubernetesList<Workload>>(path);
    const found = items?.find(({ metadata }) =>
      metadata.ownerReferences?.some(({ name }) => name === jobSet),
    );
    if (!found) throw new Error(`JobSet ${jobSet} has no Workload`);
    return found;
  }

  function conditionOf({ status }: Workload, type: string) {
    return status?.conditions?.find((condition) => condition.type === type);
  }

  function isTrue(workload: Workload, type: string): boolean {
    return conditionOf(workload, type)?.status === 'True';
  }

  function evictionsOf({ status }: Workload): string[] {
    return (status?.schedulingStats?.evictions ?? []).map(({ reason }) => reason);
  }

  const restart = (name: string) => ({
    ...who,
    id: name,
    type: 'cordon_nodepool_and_restart_jobset',
    jobset_name: name,
  });

  async function restarts(name: string): Promise<Answer['body']> {
    const { status, body } = await failover.send(restart(name));
    expect(status, JSON.stringify(body)).to.equal(200);
    return body;
  }

  /** Reconciles once: does the action still wait for its verdict? */
  async function waits(id: string): Promise<boolean> {
    const response = await fetch(`${failover.url}/reconcile`, { method: 'POST' });
    const { clusters } = (await response.json()) as { clusters: { waiting: string[] }[] };
    return clusters[0]?.waiting.includes(id) === true;
  }

  async function show(id: string): Promise<{
    verdict?: { verdict: string };
    observed?: { why?: string };
  }> {
    return (await (await fetch(`${failover.url}/actions/${id}`)).json()) as object;
  }

  async function isRecovered(id: string): Promise<void> {
    await eventually(
      `${id} is settled`,
      async () => !(await waits(id)) && (await show(id)).verdict !== undefined,
    );
    expect((await show(id)).verdict?.verdict).to.equal('recovered');
  }

  function setActive({ metadata }: Workload, active: boolean): Promise<unknown> {
    const path = `${kueueApi}/namespaces/default/workloads/${metadata.name}`;
    return controlPlane.admin.patch(path, { spec: { active } });
  }

  async function isSuspended(name: string): Promise<boolean> {
    return (await rig.readJobSet(name)).spec.suspend === true && (await rig.world.pods(name)).length === 0;
  }

  const ways: { way: string; spec: Partial<JobSetSpec> }[] = [
    { way: 'leader_pod', spec: {} },
    { way: 'job_deadline', spec: { backoffLimit: null } },
    { way: 'jobs_recreated', spec: { failurePolicy: null } },
  ];
  for (const { way, spec } of ways) {
    // F-258: nobody knew whether a restart gave the quota back.
    it(`restarts a run by ${way}, and its Workload stays as it is`, async () => {
      const name = await runOnSliceA({ ...plain, ...spec });
      const before = await workloadOf(name);
      const { steps } = await restarts(name);
      expect(steps?.[1]).to.include({ outcome: 'restarted', way });
      expect(steps?.[1]?.['queue']).to.include({ name: 'plain', admitted: true });
      await rig.allRunOn(name, 'slice-b', nodeCount);
      await isRecovered(name);
      const after = await workloadOf(name);
      expect(after.metadata.uid).to.equal(before.metadata.uid);
      expect(after.status?.admission).to.deep.equal(before.status?.admission);
      for (const type of ['QuotaReserved', 'Admitted', 'Evicted']) {
        expect(conditionOf(after, type), type).to.deep.equal(conditionOf(before, type));
      }
      expect(evictionsOf(after)).to.deep.equal([]);
    });
  }

  it('refuses a run that Kueue has not admitted, and says so', async () => {
    const first = await runOnSliceA(plain);
    const name = `train-${next++}`;
    await rig.world.addJobSet({ name, parallelism: nodeCount, ...plain });
    await eventually('it has a Workload', () => workloadOf(name));
    const { status, body } = await failover.send(restart(name));
    expect([status, body.code]).to.deep.equal([409, 'restart_refused']);
    expect(body.error).to.include('Kueue has not admitted its Workload in queue plain');
    await rig.allRunOn(first, 'slice-a', nodeCount);
  });

  // F-432: where the eviction comes before the JobSet has restarted, the run is resumed in the same attempt.
  for (const when of ['at once', 'after it has restarted']) {
    it(`waits with the verdict while somebody has evicted the run, ${when}`, async () => {
      const name = await runOnSliceA(plain);
      await restarts(name);
      if (when !== 'at once') await rig.allRunOn(name, 'slice-b', nodeCount);
      await setActive(await workloadOf(name), false);
      await eventually('the run is suspended', () => isSuspended(name));
      expect(await waits(name)).to.equal(true);
      expect((await show(name)).observed?.why).to.match(/is suspended, for example by a queue/);
      await setActive(await workloadOf(name), true);
      await rig.allRunOn(name, 'slice-b', nodeCount);
      await isRecovered(name);
    });
  }

  it('waits with the verdict while Kueue has evicted a run whose pods are not ready in time', async () => {
    const requeuingStrategy = { backoffBaseSeconds: 3 };
    await kueue.run({ waitForPodsReady: { timeout: '1h', recoveryTimeout: '3s', requeuingStrategy } });
    try {
      const name = await runOnSliceA(plain, false);
      await eventually('Kueue knows that it is ready', async () =>
        isTrue(await workloadOf(name), 'PodsReady'),
      );
      await restarts(name);
      await eventually('Kueue has evicted it', async () =>
        evictionsOf(await workloadOf(name)).includes('PodsReadyTimeout'),
      );
      await eventually('the run is suspended', () => isSuspended(name));
      expect(await waits(name)).to.equal(true);
      await setCordon('slice-b', false);
      await rig.allRunOn(name, 'slice-b', nodeCount);
      await isRecovered(name);
    } finally {
      await kueue.run();
    }
  });

  describe('that chooses the nodes of a run (topology-aware scheduling)', () => {
    async function deleteLeader(name: string): Promise<void> {
      const leader = (await rig.world.pods(name)).find(
        ({ metadata }) => metadata.labels?.['batch.kubernetes.io/job-completion-index'] === '0',
      );
      const path = `/api/v1/namespaces/default/pods/${leader?.metadata.name}`;
      await controlPlane.admin.request('DELETE', path, { body: { gracePeriodSeconds: 0 } });
    }

    async function cordons(): Promise<void> {
      const { status } = await failover.send({ ...who, id: `cordon-${next++}`, type: 'cordon_nodepool' });
      expect(status).to.equal(200);
      await eventually('the pool has the taint', async () =>
        (await rig.nodesOf('slice-a')).every(({ spec }) =>
          spec.taints?.some(({ key }) => key === 'node.kubernetes.io/unschedulable'),
        ),
      );
    }

    /** The lines that the refusal has. */
    async function refusedLines(name: string): Promise<string> {
      const { status, body } = await failover.send(restart(name));
      expect([status, body.code]).to.deep.equal([409, 'restart_refused']);
      const [, lines] = (body.error ?? '').split('To evict it: ');
      if (lines === undefined) throw new Error(`no lines in ${body.error}`);
      return lines;
    }

    async function runLines(lines: string): Promise<void> {
      const env = { ...process.env, KUBECONFIG: controlPlane.kubeconfigPath };
      await promisify(execFile)('bash', ['-ec', lines], { env });
    }

    // F-184: the assignment outlived the restart.
    it('is refused a restart, and the lines of the refusal move the run', async () => {
      const name = await runOnSliceA(placed);
      const lines = await refusedLines(name);
      expect(await rig.isCordoned('slice-a')).to.equal(false);
      await cordons();
      await runLines(lines);
      await rig.allRunOn(name, 'slice-b', nodeCount);
      expect(evictionsOf(await workloadOf(name))).to.deep.equal(['Deactivated']);
      expect((await rig.readJobSet(name)).status?.restarts).to.equal(0);
    });

    it('evicts a run by itself that restarts on a cordoned pool, and assigns it anew', async () => {
      const name = await runOnSliceA(placed);
      await cordons();
      await deleteLeader(name);
      await rig.allRunOn(name, 'slice-b', nodeCount);
      expect(evictionsOf(await workloadOf(name))).to.deep.equal(['NodeFailures']);
    });

    it('keeps a run on the cordoned pool without TASReplaceNodeOnNodeTaints, until the lines evict it', async () => {
      await kueue.run({ featureGates: { VisibilityOnDemand: false, TASReplaceNodeOnNodeTaints: false } });
      try {
        const name = await runOnSliceA(placed);
        const lines = await refusedLines(name);
        await cordons();
        await deleteLeader(name);
        const bad = new Set((await rig.nodesOf('slice-a')).map(({ metadata }) => metadata.name));
        const isStuck = ({ spec, status }: Pod) =>
          bad.has(spec.nodeSelector?.[hostname] ?? '') &&
          status.conditions?.some(({ reason }) => reason === 'Unschedulable') === true;
        await eventually('its new pods wait for the cordoned nodes', async () => {
          const pods = await rig.world.pods(name);
          return pods.length === nodeCount && pods.every(isStuck);
        });
        expect(evictionsOf(await workloadOf(name))).to.deep.equal([]);
        await runLines(lines);
        await rig.allRunOn(name, 'slice-b', nodeCount);
      } finally {
        await kueue.run();
      }
    });

    it('moves a run whose node is not Ready by itself, and the action that comes later restarts nothing', async () => {
      const name = await runOnSliceA(placed);
      await cordons();
      const [node] = await rig.nodesOf('slice-a');
      await rig.world.killNode(node?.metadata.name ?? '', { notReadyForSeconds: 120 });
      await eventually('Kueue has evicted it', async () =>
        evictionsOf(await workloadOf(name)).includes('NodeFailures'),
      );
      await rig.allRunOn(name, 'slice-b', nodeCount);
      const before = (await rig.world.runningPods(name)).map(({ metadata }) => metadata.uid).sort();
      // F-431: a pod that the dead node keeps counted as the run.
      const left = (await rig.world.pods(name)).filter(({ metadata }) => !before.includes(metadata.uid));
      expect(left.map(({ spec }) => spec.nodeName)).to.deep.equal([node?.metadata.name]);
      const { steps } = await restarts(name);
      expect(steps?.[1]).to.deep.include({ outcome: 'not_on_pool', runs_on: ['slice-b'] });
      const after = (await rig.world.runningPods(name)).map(({ metadata }) => metadata.uid).sort();
      expect(after).to.deep.equal(before);
    });
  });
});
