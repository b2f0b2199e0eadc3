import { expect } from 'chai';
import type { ControlPlane } from './capabilities.ts';
import { eventually } from './eventually.ts';
import { createFailoverRig } from './failover-rig.ts';
import type { FailoverRig } from './failover-rig.ts';
import type { Job, KubernetesList } from './kubernetes-client.ts';
import { startOrSkip } from './start-or-skip.ts';

/** A slice of 4,096 chips. */
const nodeCount = 1024;
const pool = { node_pool: 'slice-a', requestor: 'test', reason: 'a host is bad' };
const slow = { timeoutMs: 900_000, intervalMs: 1000 };

// It takes minutes, so it has a script of its own.
describe(`a pool of ${nodeCount.toLocaleString('en')} nodes`, function () {
  this.timeout(1_200_000);
  let controlPlane: ControlPlane;
  let rig: FailoverRig;
  let restarted: Record<string, unknown>;

  before(async function () {
    controlPlane = await startOrSkip(this, 'a large pool');
    rig = await createFailoverRig(controlPlane);
    await took(`${nodeCount} nodes came up`, () => rig.world.addTpuSlice('slice-a', { nodes: nodeCount }));
    await rig.world.addJobSet({ name: 'train', parallelism: nodeCount });
    await took(`${nodeCount} pods started`, () => allReady(0));
    await took('as many nodes again came up', () => rig.world.addTpuSlice('slice-b', { nodes: nodeCount }));
  });

  after(async () => {
    await rig?.close();
    await controlPlane?.stop();
  });

  it('is cordoned, and its JobSet restarted, by one action', async () => {
    const failover = await rig.serve();
    const action = {
      ...pool,
      id: 'restart',
      type: 'cordon_nodepool_and_restart_jobset',
      jobset_name: 'train',
    };
    const { status, body } = await took('the action', () => failover.send(action));
    for (const { step, duration_ms: ms } of failover.lines) {
      if (typeof step === 'string') console.log(`        of which ${step}: ${Number(ms) / 1000} s`);
    }
    expect(status, JSON.stringify(body)).to.equal(200);
    expect(body.steps?.[0]).to.deep.include({ nodes: nodeCount, cordoned: nodeCount, already_cordoned: 0 });
    expect(body.steps?.[1]).to.deep.include({ outcome: 'restarted', schedulable_elsewhere: nodeCount });
    expect(JSON.stringify(body).length, 'a summary, not a row for each node').to.be.lessThan(1000);
    expect(await rig.isCordoned('slice-a')).to.equal(true);
    restarted = body;
  });

  it('is answered from the record', async () => {
    const action = {
      ...pool,
      id: 'restart',
      type: 'cordon_nodepool_and_restart_jobset',
      jobset_name: 'train',
    };
    const { body } = await took('the answer', async () => (await rig.serve()).send(action));
    expect(body).to.deep.equal(restarted);
  });

  it('has no pod left after one restart', async () => {
    await took('all pods ran elsewhere', () => allReady(1));
    const nodes = new Set((await rig.nodesOf('slice-b')).map(({ metadata }) => metadata.name));
    const running = await rig.world.runningPods('train');
    expect(running.filter(({ spec }) => nodes.has(spec.nodeName ?? ''))).to.have.length(nodeCount);
    expect((await rig.readJobSet('train')).status?.restarts).to.equal(1);
  });

  it('is uncordoned', async () => {
    const failover = await rig.serve();
    const action = { ...pool, id: 'uncordon', type: 'uncordon_nodepool' };
    const { status, body } = await took('the action', () => failover.send(action));
    expect(status, JSON.stringify(body)).to.equal(200);
    expect(body.steps?.[0]).to.deep.include({ nodes: nodeCount, uncordoned: nodeCount, kept: 0 });
  });

  /** Uses the Job's own count, because a list of this many pods takes the server too long. */
  async function allReady(attempt: number): Promise<void> {
    const selector = encodeURIComponent(`jobset.sigs.k8s.io/restart-attempt=${attempt}`);
    const path = `/apis/batch/v1/namespaces/default/jobs?labelSelector=${selector}`;
    const isReady = async (): Promise<boolean> => {
      const { items } =
        await controlPlane.admin.get<KubernetesList<Job & { status: { ready?: number } }>>(path);
      return items?.[0]?.status.ready === nodeCount;
    };
    await eventually('all pods are ready', isReady, slow);
  }
});

/** Prints how long it took. */
async function took<T>(what: string, work: () => Promise<T>): Promise<T> {
  const startedAt = performance.now();
  const result = await work();
  console.log(`      ${what}: ${((performance.now() - startedAt) / 1000).toFixed(1)} s`);
  return result;
}
