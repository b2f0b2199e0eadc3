import { expect } from 'chai';
import { failoverNamespace } from '../../src/names.ts';
import { AlertWorld } from '../fixtures/alert-world.ts';
import { countEffects } from '../fixtures/count-writes.ts';
import { annotateCluster, restarts } from '../fixtures/train-run.ts';
import { nodeNames, whereTrainRuns } from '../fixtures/train-world.ts';
import { VirtualFailover } from '../fixtures/virtual-failover.ts';

const restart = {
  id: 'a',
  type: 'cordon_nodepool_and_restart_jobset',
  node_pool: 'slice-a',
  jobset_name: 'train',
};
const noPolicy = { failurePolicy: null };
const two = {
  slices: ['slice-a', 'slice-b', 'slice-c'],
  jobSet: noPolicy,
  jobs: [{ name: 'a' }, { name: 'b' }],
};

function verdictOf({ cluster }: VirtualFailover, id: string): Record<string, unknown> {
  const lease = cluster
    .leases(failoverNamespace)
    .find(({ metadata }) => metadata.annotations?.['autometric-failover/id'] === id);
  return JSON.parse(lease?.metadata.annotations?.['autometric-failover/verdict'] ?? '{}') as Record<
    string,
    unknown
  >;
}

/** A Job is deleted by hand, and made anew. */
function recreate({ cluster, emulator }: VirtualFailover): void {
  cluster.ask('DELETE', '/apis/batch/v1/namespaces/default/jobs/train-workers-0', {
    propagationPolicy: 'Foreground',
  });
  emulator.settle();
}

describe('a run that its own policy would end', () => {
  it('is moved, and its verdict is recovered although the attempt is the same', async () => {
    const world = new VirtualFailover({ jobSet: noPolicy });
    const { steps } = await world.send(restart);
    expect(steps.at(-1)).to.include({ outcome: 'restarted', way: 'jobs_recreated', attempt: 0, jobs: 1 });
    await world.pass(300);
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #0']);
    expect(restarts(world)).to.equal(0);
    await world.reconcile();
    expect(verdictOf(world, 'a')).to.include({ verdict: 'recovered', attempt: 0 });
  });

  it('has no verdict while only one of its Jobs was made anew', async () => {
    const world = new VirtualFailover({ ...two, slices: [...two.slices, 'slice-d'] });
    await world.pass(5);
    const follower = world.cluster
      .pods('default')
      .find(({ metadata }) => metadata.name.startsWith('train-a-0-2'));
    world.cluster.killNode(follower?.spec.nodeName ?? '');
    await world.send(restart);
    await world.pass(20);
    await world.reconcile();
    expect(verdictOf(world, 'a')).to.deep.equal({});
    // The dead node counts as dead after a minute. Then reconcile frees its pod, and the run comes back.
    await world.pass(120);
    await world.reconcile();
    await world.pass(60);
    await world.reconcile();
    expect(verdictOf(world, 'a')).to.include({ verdict: 'recovered', attempt: 0 });
  });

  it('has no verdict recovered where there is no room', async () => {
    const world = new VirtualFailover({ slices: ['slice-a'], jobSet: noPolicy });
    await world.send(restart);
    await world.pass(2000);
    await world.reconcile();
    expect(verdictOf(world, 'a')).to.include({ verdict: 'not_recovered' });
  });

  // It cannot have moved in its first attempt by itself, but this function has moved it.
  // F-272: the resent request was refused.
  it('is not on the pool any more, and its callers are told so', async () => {
    const world = new VirtualFailover({ jobSet: noPolicy });
    await world.send(restart);
    await world.pass(60);
    annotateCluster(world, 'override-until', new Date(world.time.now + 600_000).toISOString());
    const { status, steps } = await world.send({ ...restart, id: 'b' });
    expect(status).to.equal(200);
    expect(steps.at(-1)).to.deep.include({ outcome: 'not_on_pool', runs_on: ['slice-b'] });
  });

  it('is restarted once for two actions at once', async () => {
    const world = new VirtualFailover(two);
    const sent = [world.begin(restart), world.begin({ ...restart, id: 'b', node_pool: 'slice-b' })];
    for (const each of sent) await world.answerOf(each);
    await world.pass(60);
    expect(countEffects(world.newWrites())['DELETE jobs']).to.equal(2);
  });

  it('is restarted all the same where its Jobs were made anew on the pool between the decision and the cordon', async () => {
    const world = new VirtualFailover({ jobSet: noPolicy });
    world.once(/^POST .*\/events$/, () => {
      recreate(world);
      recreate(world);
      expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-a #0']);
    });
    const { steps } = await world.send(restart);
    expect(steps.at(-1)).to.include({ outcome: 'restarted', way: 'jobs_recreated' });
    await world.pass(5);
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #0']);
  });

  for (const lost of ['train-a-0', 'train-b-0']) {
    it(`is restarted once by an instance that dies before it has deleted Job ${lost}, and by reconcile`, async () => {
      const world = new VirtualFailover(two);
      const before = new Set(world.cluster.jobs('default').map(({ metadata }) => metadata.uid));
      const dying = world.newInstance();
      world.once(new RegExp(`^DELETE .*/jobs/${lost}`), () => {
        world.emulator.faults.add({ method: 'DELETE', path: new RegExp(lost), effect: 'hang' });
        world.time.after(500, () => dying.crash());
      });
      world.begin(restart, dying);
      await world.pass(400);
      for (let minute = 0; minute < 6; minute += 1) {
        await world.reconcile();
        await world.pass(60);
      }
      expect(verdictOf(world, 'a')).to.include({ verdict: 'recovered' });
      const jobs = world.cluster.jobs('default').map(({ metadata }) => metadata.uid);
      expect(jobs.filter((uid) => before.has(uid))).to.deep.equal([]);
      expect(restarts(world)).to.equal(0);
    });
  }

  it('is healthy for a late alert, because its Jobs are younger', async () => {
    const world = new AlertWorld({ jobSet: noPolicy });
    await world.pass(60);
    const startedAt = world.time.now;
    await world.pass(10);
    const [node = ''] = nodeNames(world.cluster, 'slice-a');
    for (const name of nodeNames(world.cluster, 'slice-b')) world.cluster.cordonAs('kubectl', name, true);
    world.cluster.killNode(node);
    await world.pass(20);
    world.cluster.reviveNode(node);
    await world.pass(20);
    world.cluster.ask('DELETE', '/apis/batch/v1/namespaces/default/jobs/train-workers-0', {
      propagationPolicy: 'Foreground',
    });
    await world.pass(30);
    world.effects();
    const labels = { failover_action: restart.type, failover_jobset: 'train' };
    const pool = { type: 'k8s_node_pool', resource: { node_pool_name: 'slice-a' } };
    const { body } = await world.notify({ ...pool, labels, startedAt });
    expect(body.ignored).to.match(/^recovered: /);
    expect(world.effects()).to.deep.equal({});
  });
});
