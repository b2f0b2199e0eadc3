import { expect } from 'chai';
import { failoverNamespace } from '../../src/names.ts';
import { countEffects } from '../fixtures/count-writes.ts';
import { findRecord, repairOfSlice, restartOfTrain } from '../fixtures/verdicts.ts';
import { VirtualFailover } from '../fixtures/virtual-failover.ts';

/** `npm run bench` has 100. */
const runs = 12;

const environment = { MAX_POOLS_PER_HOUR: '1000', COOLDOWN_SECONDS: '0' };

/** So many slices, each with a JobSet of its own, and with as many free ones if the runs are to have room. */
function createRuns(count: number, { isRoomy = false } = {}): VirtualFailover {
  const slices = Array.from({ length: count }, (_, index) => `slice-${index}`);
  const world = new VirtualFailover({ slices, jobSet: null, environment });
  for (let index = 0; index < count; index++) {
    world.cluster.addJobSet({
      name: `train-${index}`,
      exclusiveTopology: 'cloud.google.com/gke-nodepool',
      replicatedJobs: [{ name: 'workers', parallelism: 4, backoffLimit: 0 }],
    });
  }
  world.emulator.settle();
  if (isRoomy) {
    for (const slice of slices) world.cluster.addTpuSlice(`spare-${slice}`, { topology: '4x4' });
  }
  return world;
}

/** Restarts each run. */
async function restartAll(world: VirtualFailover): Promise<void> {
  for (const { metadata } of world.cluster.jobsets('default')) {
    const [index] = /\d+/.exec(metadata.name) ?? [];
    const { status, error } = await world.send({
      id: `a-${index}`,
      type: 'cordon_nodepool_and_restart_jobset',
      node_pool: `slice-${index}`,
      jobset_name: metadata.name,
    });
    expect(status, error).to.equal(200);
  }
}

/** The calls of one reconcile, as `METHOD collection`, each with how often it was sent. */
async function countCalls(world: VirtualFailover): Promise<{ open: number; calls: Record<string, number> }> {
  const before = world.emulator.requests.length;
  const { open, errors } = await world.reconcile();
  expect(errors).to.deep.equal([]);
  const calls: Record<string, number> = {};
  for (const { api, method, path } of world.emulator.requests.slice(before)) {
    const [, collection = path] = /\/(leases|jobsets|pods|jobs|nodes|events)\b/.exec(path) ?? [];
    const call = `${api} ${method} ${collection}`;
    calls[call] = (calls[call] ?? 0) + 1;
  }
  return { open, calls };
}

/** More records as the one of an action. */
function copyRecord(world: VirtualFailover, id: string, count: number): void {
  const record = findRecord(world, id);
  if (!record) throw new Error(`action ${id} has no record`);
  for (let index = 0; index < count; index++) {
    const { metadata, spec } = structuredClone(record);
    const annotations = { ...metadata.annotations, 'autometric-failover/id': `${id}-${index}` };
    const copy = {
      ...metadata,
      name: `${metadata.name}-${index}`,
      uid: '',
      resourceVersion: '',
      annotations,
    };
    world.cluster.put('leases', { ...record, metadata: copy, spec });
  }
}

describe('the calls of a reconcile', () => {
  it('of a cluster with 1,000 settled records and nothing open are one list', async () => {
    const world = new VirtualFailover({ jobSet: null });
    await world.send(repairOfSlice);
    await world.pass(600);
    expect((await world.reconcile()).settled).to.deep.equal([{ id: 'r', verdict: 'repaired' }]);
    copyRecord(world, 'r', 999);
    const settled = world.cluster
      .leases(failoverNamespace)
      .filter(({ metadata }) => metadata.annotations?.['autometric-failover/phase'] === 'settled');
    expect(settled).to.have.lengthOf(1000);
    expect(await countCalls(world)).to.deep.equal({ open: 0, calls: { 'kubernetes GET leases': 1 } });
  });

  it('of open restarts without room are the JobSet and the pods of each', async () => {
    const world = createRuns(runs);
    await restartAll(world);
    await world.pass(60);
    expect(await countCalls(world)).to.deep.equal({
      open: runs,
      calls: toCalls({ jobsets: runs, pods: runs }),
    });
  });

  it('of restarts that are back are the cordoned nodes of each besides, and then what the verdict writes', async () => {
    const world = createRuns(runs, { isRoomy: true });
    await restartAll(world);
    await world.pass(60);
    expect(await countCalls(world)).to.deep.equal({
      open: runs,
      calls: {
        ...toCalls({ jobsets: runs, pods: runs, nodes: runs }),
        'kubernetes PUT leases': 2 * runs,
        'kubernetes POST events': runs,
      },
    });
    expect(await countCalls(world)).to.deep.equal({ open: 0, calls: toCalls({}) });
  });

  // F-230: pods that were still saving a checkpoint were searched for a dead node each minute, with a call for each of their nodes.
  it('of restarts whose pods still end, on nodes that are well, are the nodes of each besides', async () => {
    const world = createRuns(runs);
    for (const { metadata } of world.cluster.pods('default')) {
      if (metadata.labels?.['batch.kubernetes.io/job-completion-index'] === '0') continue;
      world.cluster.change('pods', 'default', metadata.name, (pod) => {
        pod.metadata.finalizers = ['example.com/saves-a-checkpoint'];
      });
    }
    await restartAll(world);
    await world.pass(60);
    const { open, calls } = await countCalls(world);
    expect(open).to.equal(runs);
    expect(calls).to.deep.equal(toCalls({ jobsets: runs, pods: runs, nodes: runs }));
  });

  it('look for a dead node in the other pools of the run, too', async () => {
    const world = new VirtualFailover({
      slices: ['slice-a', 'slice-b', 'slice-c'],
      jobs: [{ name: 'workers' }, { name: 'others' }],
    });
    const elsewhere = world.cluster.pods('default').find(({ metadata, spec }) => {
      const node = world.cluster.get('nodes', undefined, spec.nodeName ?? '');
      const isFollower = metadata.labels?.['batch.kubernetes.io/job-completion-index'] === '2';
      return isFollower && node?.metadata.labels?.['cloud.google.com/gke-nodepool'] === 'slice-b';
    });
    world.cluster.killNode(elsewhere?.spec.nodeName ?? '');
    await world.pass(10);
    expect(await world.send(restartOfTrain)).to.include({ status: 200 });
    await world.pass(70);
    world.newWrites();
    await world.reconcile();
    expect(countEffects(world.newWrites())).to.deep.equal({ 'DELETE pods': 1 });
  });
});

/** One list of what is open, and these reads. */
function toCalls(reads: Record<string, number>): Record<string, number> {
  const all = Object.entries({ leases: 1, ...reads });
  return Object.fromEntries(all.map(([collection, count]) => [`kubernetes GET ${collection}`, count]));
}
