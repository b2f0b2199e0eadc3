import { expect } from 'chai';
import { failoverNamespace } from '../../src/names.ts';
import type { EmulatedCluster } from '../emulator/cluster.ts';
import { AlertWorld } from '../fixtures/alert-world.ts';
import { countEffects, countWrites } from '../fixtures/count-writes.ts';
import { leader, podUids } from '../fixtures/train-run.ts';
import { countCordoned, nodeNames, whereTrainRuns } from '../fixtures/train-world.ts';
import { VirtualFailover } from '../fixtures/virtual-failover.ts';

// A restart that names a pool on which the JobSet has no pod.

const restart = {
  id: 'a',
  type: 'cordon_nodepool_and_restart_jobset',
  node_pool: 'slice-b',
  jobset_name: 'train',
};
const labels = {
  failover_action: 'cordon_nodepool_and_restart_jobset',
  failover_jobset: 'train',
};
const poolAlert = { type: 'k8s_node_pool', resource: { node_pool_name: 'slice-b' }, labels };
const elsewhere = {
  outcome: 'not_on_pool',
  attempt: 0,
  runs_on: ['slice-a'],
  warning:
    'JobSet default/train has no live pod on node pool slice-b; it runs on slice-a (attempt 0); nothing of it is restarted, ' +
    'and only slice-b is cordoned',
};

function warnings(cluster: EmulatedCluster): (string | undefined)[] {
  return cluster
    .events()
    .filter(({ type, source }) => type === 'Warning' && source?.component === 'autometric-failover')
    .map(({ reason, message, involvedObject }) => `${involvedObject.kind} ${reason}: ${message}`);
}

/** The JobSet restarts by itself and moves from slice-a to slice-b. */
async function createMoved(options = {}): Promise<VirtualFailover> {
  const world = new VirtualFailover({ slices: ['slice-a', 'slice-b', 'slice-c'], ...options });
  for (const name of nodeNames(world.cluster, 'slice-a')) world.cluster.cordonAs('somebody', name, true);
  world.cluster.finishPod('default', leader(world).metadata.name, 'Failed');
  await world.pass(5);
  expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #1']);
  world.newWrites();
  return world;
}

// F-153: the wrong pool was named: the spare was cordoned, the answer was 200 without a word, and the next restart had nowhere to go.
describe('a restart from a pool that the JobSet has never run on', () => {
  for (const isDryRun of [false, true]) {
    it(`is refused before anything is touched${isDryRun ? ', in a dry run too' : ''}`, async () => {
      const world = new VirtualFailover();
      const answer = await world.send({ ...restart, dry_run: isDryRun });
      expect(answer).to.include({
        status: 409,
        code: 'target_mismatch',
        error:
          'JobSet default/train has no live pod on node pool slice-b; it runs on slice-a (attempt 0); nothing was cordoned: name ' +
          'the pool that it runs on, or to cordon slice-b alone, send cordon_nodepool',
      });
      expect(countEffects(world.newWrites())).to.deep.equal({});
      const kinds = world.cluster
        .leases(failoverNamespace)
        .filter(({ metadata }) => metadata.name.startsWith('action-'));
      expect(kinds).to.deep.equal([]);
      // The right pool then works, under the same id.
      const right = await world.send({ ...restart, node_pool: 'slice-a' });
      expect(right.steps.at(-1)).to.include({ outcome: 'restarted', schedulable_elsewhere: 4 });
    });
  }

  it('is refused by the node that was named, too', async () => {
    const world = new VirtualFailover();
    const [node] = nodeNames(world.cluster, 'slice-b');
    const { node_pool: _, ...named } = { ...restart, node_name: node };
    expect(await world.send(named)).to.include({ status: 409, code: 'target_mismatch' });
    expect(countEffects(world.newWrites())).to.deep.equal({});
  });

  it('is refused where no pod of it runs yet', async () => {
    const world = new VirtualFailover({ jobs: [{ parallelism: 9 }] });
    const pods = world.cluster.pods('default');
    for (const { metadata } of pods) {
      world.cluster.change('pods', 'default', metadata.name, ({ spec }) => {
        delete spec.nodeName;
      });
    }
    const { error } = await world.send(restart);
    expect(error).to.include('; no pod of it runs on a node pool (attempt 0); nothing was cordoned');
  });

  it('lists all pools that it runs on', async () => {
    const slices = ['slice-a', 'slice-b', 'slice-c'];
    const world = new VirtualFailover({ slices, jobs: [{ replicas: 2 }] });
    const [free = ''] = slices.filter((pool) => !whereTrainRuns(world.cluster).includes(`${pool} #0`));
    const { error } = await world.send({ ...restart, node_pool: free });
    const others = slices.filter((pool) => pool !== free).join(', ');
    expect(error).to.include(`; it runs on ${others} (attempt 0);`);
  });

  it('goes on for an alert, with a warning and a Warning Event', async () => {
    const world = new AlertWorld({ slices: ['slice-a', 'slice-b'] });
    await world.pass(10);
    const before = world.cluster.pods('default').map(({ metadata }) => metadata.uid);
    world.effects();
    const { status, body } = await world.notify(poolAlert);
    expect(status).to.equal(200);
    expect(body.steps?.at(-1)).to.deep.include(elsewhere);
    expect(world.effects()).to.deep.equal({ 'PATCH nodes': 4 });
    expect(world.cluster.pods('default').map(({ metadata }) => metadata.uid)).to.deep.equal(before);
    expect(warnings(world.cluster)).to.deep.equal([
      `JobSet FailoverJobSetNotOnPool: ${restart.type}: ${elsewhere.warning} (action ${body.id} of constructed policy)`,
    ]);
    const again = await world.notify(poolAlert);
    expect(again.body.steps).to.deep.equal(body.steps);
    expect(warnings(world.cluster)).to.have.length(1);
  });
});

describe('a restart from a pool that the JobSet may have run on', () => {
  it('cordons the pool and warns where it has restarted since, in a dry run too', async () => {
    const world = await createMoved();
    const before = podUids(world);
    const warning = {
      outcome: 'not_on_pool',
      attempt: 1,
      runs_on: ['slice-b'],
      warning:
        'JobSet default/train has no live pod on node pool slice-c; it runs on slice-b (attempt 1); nothing of it is restarted, and ' +
        'only slice-c is cordoned',
    };
    const rehearsed = await world.send({ ...restart, node_pool: 'slice-c', dry_run: true });
    expect(rehearsed.steps.at(-1)).to.deep.include(warning);
    expect(warnings(world.cluster)).to.deep.equal([]);
    const { steps } = await world.send({ ...restart, node_pool: 'slice-c' });
    expect(steps.at(-1)).to.deep.include(warning);
    expect(countEffects(world.newWrites())).to.deep.equal({ 'PATCH nodes': 4 });
    expect(podUids(world)).to.deep.equal(before);
    expect(warnings(world.cluster)).to.deep.equal([
      `JobSet FailoverJobSetNotOnPool: ${restart.type}: ${warning.warning} (action a of test)`,
    ]);
  });

  it('keeps where it runs over a crash, and answers it on the resume', async () => {
    const world = await createMoved();
    world.once(/^PATCH .*\/nodes\//, () => world.instance.crash());
    const lost = world.begin({ ...restart, node_pool: 'slice-c' });
    await world.pass(75);
    expect(lost.answer).to.equal(undefined);
    const { steps } = await world.send({ ...restart, node_pool: 'slice-c' }, world.newInstance());
    expect(steps.at(-1)).to.deep.include({ outcome: 'not_on_pool', runs_on: ['slice-b'] });
    expect(countCordoned(world.cluster, 'slice-c')).to.equal(4);
  });

  it('goes on where its pods there have ended, or their node is gone', async () => {
    for (const prepare of [
      (world: VirtualFailover, pod: string) =>
        world.cluster.change('pods', 'default', pod, ({ status }) => (status.phase = 'Succeeded')),
      (world: VirtualFailover, pod: string) =>
        world.cluster.change('pods', 'default', pod, ({ spec }) => (spec.nodeName = 'gone')),
    ]) {
      const world = new VirtualFailover();
      const pod = leader(world).metadata.name;
      const [here = ''] = nodeNames(world.cluster, 'slice-b');
      world.cluster.change('pods', 'default', pod, ({ spec }) => (spec.nodeName = here));
      prepare(world, pod);
      const answer = await world.send({ ...restart, dry_run: true });
      expect(answer.status, answer.error).to.equal(200);
      expect(answer.steps.at(-1)).to.include({ outcome: 'not_on_pool' });
      expect(countWrites(world.newWrites())).to.deep.equal({ 'POST events': 1 });
    }
  });
});
