import { setImmediate } from 'node:timers/promises';
import { expect } from 'chai';
import { FailoverError } from '../../src/errors.ts';
import { failoverNamespace } from '../../src/names.ts';
import { createInMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import type { InMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import { refusalOf } from '../fixtures/refusal-of.ts';
import { carryOut, cordon, effects, leaderOn, marks, plan, podsOn, three } from '../fixtures/restarts.ts';

const two = { slices: three, jobs: [{ name: 'a' }, { name: 'b' }] };
const ofB = { id: 'b', nodePool: 'slice-b' };
const restartKey = 'autometric-failover/restart';

function beginToFail({ cluster }: InMemoryWorld, job: string): void {
  cluster.change('jobs', 'default', job, ({ status }) => {
    const condition = { status: 'True', lastTransitionTime: '2026-11-23T03:00:00Z', reason: 'r' } as const;
    status.conditions = [{ type: 'FailureTarget', ...condition }];
  });
}

/** Plans a restart of each pool, and leaves the first as it is while nobody knows whether the leader was deleted. */
async function beginFirst(world: InMemoryWorld) {
  const plans = { first: await plan(world), second: await plan(world, { nodePool: 'slice-b' }) };
  world.emulator.faults.add({ method: 'DELETE', path: /\/pods\//, times: 5, effect: 'reset_before' });
  await refusalOf(carryOut(world, plans.first));
  expect(marks(world).jobSet).to.include({ action: 'a', state: 'begun' });
  return { ...plans, before: effects(world) };
}

describe('restartJobSet, where something changes before the deletion', () => {
  it('looks again, and at the switches too, where nodes that have joined were cordoned meanwhile', async () => {
    const world = createInMemoryWorld();
    let looks = 0;
    const work = carryOut(world, await plan(world), {
      async beforeDeletion() {
        if (++looks === 1) return 'cordoned';
        throw new FailoverError('paused', 'paused');
      },
    });
    expect(await refusalOf(work)).to.include({ code: 'paused' });
    expect(effects(world)).to.deep.equal({});
    expect(looks).to.equal(2);
  });

  it('finds the Job that has begun to fail while such nodes were cordoned', async () => {
    const world = createInMemoryWorld();
    const step = await carryOut(world, await plan(world), {
      async beforeDeletion() {
        for (let turn = 0; turn < 20; turn++) await setImmediate();
        beginToFail(world, 'train-workers-0');
        return 'cordoned';
      },
    });
    expect(step).to.include({ outcome: 'already_restarting' });
    expect(effects(world)).to.deep.equal({});
  });

  it('takes its marks back where the leader and its Job end before the deletion arrives', async () => {
    const world = createInMemoryWorld();
    const planned = await plan(world);
    const step = await carryOut(world, planned, {
      onRequest({ method, url }) {
        if (method !== 'DELETE' || !url.includes('/pods/')) return;
        world.cluster.remove('pods', 'default', planned.leader?.name ?? '');
        beginToFail(world, 'train-workers-0');
      },
    });
    expect(step).to.include({ outcome: 'already_restarting' });
    expect(effects(world)).to.deep.equal({ 'DELETE pods': 1 });
    expect(marks(world)).to.deep.equal({ jobSet: null, cooldown: undefined });
  });

  it('does not delete a leader that was made anew under its name', async () => {
    const world = createInMemoryWorld();
    const planned = await plan(world);
    world.cluster.change('pods', 'default', planned.leader?.name ?? '', ({ metadata }) => {
      metadata.uid = 'another';
    });
    expect(await carryOut(world, planned)).to.include({ outcome: 'restarted', way: 'job_deadline' });
    expect(effects(world)).to.deep.equal({ 'PATCH jobs': 1 });
  });

  it('leaves the Jobs of an attempt that the JobSet has left, which are there until they are deleted', async () => {
    const world = createInMemoryWorld();
    const planned = await plan(world);
    world.cluster.change('jobsets', 'default', 'train', ({ status }) => (status.restarts = 1));
    expect(await carryOut(world, planned)).to.include({ outcome: 'already_restarting' });
    expect(effects(world)).to.deep.equal({});
  });

  it('gives up where the JobSet’s mark can never be written', async () => {
    const world = createInMemoryWorld();
    let tries = 0;
    const work = carryOut(world, await plan(world), {
      onRequest({ method, body = '' }) {
        if (method !== 'POST' || !body.includes('jobset-')) return;
        if (++tries > 500) throw new Error('it never gives up');
        world.emulator.faults.add({ method: 'POST', path: /\/leases$/, effect: { status: 409 } });
      },
    });
    const { code, message } = await refusalOf(work);
    expect(code).to.equal('upstream_failed');
    expect(message).to.match(/is something else writing or refusing this Lease\?/);
    expect(effects(world)).to.deep.equal({});
    expect(marks(world)).to.deep.equal({ jobSet: null, cooldown: undefined });
  });
});

describe('restartJobSet, where another action has begun to restart', () => {
  it('waits for less than 10 s, and then says so', async () => {
    const world = createInMemoryWorld(two);
    const { second, before } = await beginFirst(world);
    const from = world.clock.now();
    expect(await refusalOf(carryOut(world, second, ofB))).to.include({ code: 'action_in_progress' });
    expect(world.clock.now() - from).to.equal(9_500);
    expect(effects(world)).to.deep.equal(before);
  });

  it('is done as soon as the other’s deletion is accepted', async () => {
    const world = createInMemoryWorld(two);
    const { second, before } = await beginFirst(world);
    const from = world.clock.now();
    world.clock.sleep = async (ms) => {
      world.clock.advance(ms);
      const [lease] = world.cluster
        .leases(failoverNamespace)
        .filter(({ metadata }) => metadata.name.startsWith('jobset-'));
      world.cluster.change('leases', failoverNamespace, lease?.metadata.name ?? '', ({ metadata }) => {
        const mark = { ...marks(world).jobSet, state: 'accepted' };
        metadata.annotations = { ...metadata.annotations, [restartKey]: JSON.stringify(mark) };
      });
    };
    expect(await carryOut(world, second, ofB)).to.include({ outcome: 'already_restarted' });
    expect(world.clock.now() - from).to.equal(500);
    expect(effects(world)).to.deep.equal(before);
  });

  it('is done at once where that Job has begun to fail', async () => {
    const world = createInMemoryWorld(two);
    const { second, before } = await beginFirst(world);
    beginToFail(world, 'train-a-0');
    expect(await carryOut(world, second, ofB)).to.include({ outcome: 'already_restarting' });
    expect(effects(world)).to.deep.equal(before);
    expect(marks(world, 'slice-b').cooldown).to.equal(undefined);
  });

  it('does not accept what it has begun itself once the JobSet is gone', async () => {
    const world = createInMemoryWorld(two);
    const { first } = await beginFirst(world);
    world.cluster.remove('jobsets', 'default', 'train');
    expect(await carryOut(world, first)).to.include({ outcome: 'jobset_gone' });
    expect(marks(world).jobSet).to.include({ state: 'begun' });
    expect(marks(world).cooldown).to.include({ state: 'begun' });
  });
});

describe('restartJobSet, and the other pods', () => {
  it('says nothing of the pods of a JobSet that was made anew under its name', async () => {
    const world = createInMemoryWorld();
    const planned = await plan(world);
    world.cluster.change('jobsets', 'default', 'train', ({ metadata }) => (metadata.uid = 'another'));
    world.cluster.killNode(podsOn(world, 'slice-a')[1]?.spec.nodeName ?? '');
    world.clock.advance(30_000);
    const step = await carryOut(world, planned);
    expect(step).to.include({ outcome: 'jobset_gone' });
    expect(step).not.to.have.property('may_hold_up_the_restart');
  });

  it('leaves what hangs on another pool where the JobSet is not on this one', async () => {
    const world = createInMemoryWorld(two);
    world.cluster.change('jobsets', 'default', 'train', ({ status }) => (status.restarts = 1));
    const [, stuck] = podsOn(world, 'slice-a');
    world.cluster.killNode(stuck?.spec.nodeName ?? '');
    world.clock.advance(120_000);
    const planned = await plan(world, { nodePool: 'slice-c' });
    expect(planned).to.include({ outcome: 'not_on_pool' });
    const step = await carryOut(world, planned, { nodePool: 'slice-c' });
    expect(step).not.to.have.property('deleted_on_dead_nodes');
    expect(effects(world)).to.deep.equal({});
  });

  it('shortens the grace only of pods whose Job is certain to end, where another action has restarted', async () => {
    const world = createInMemoryWorld(two);
    const planned = { ...(await plan(world)), graceSeconds: 0 };
    expect(planned).to.include({ way: 'leader_pod' });
    beginToFail(world, 'train-a-0');
    const step = await carryOut(world, planned);
    expect(step).to.include({ outcome: 'already_restarting', ended_sooner: 4 });
    expect(step.warning).to.match(/^Jobs train-b-0 had not begun to end /);
    const sent = world.emulator.writes().filter(({ method }) => method === 'DELETE');
    const uids = sent.map(({ body }) => (body as { preconditions: { uid: string } }).preconditions.uid);
    expect(uids.toSorted()).to.deep.equal(
      podsOn(world, 'slice-a')
        .map(({ metadata }) => metadata.uid)
        .toSorted(),
    );
  });

  it('shortens no grace before the Job fails, where the leader has finished and its Job got a deadline', async () => {
    const world = createInMemoryWorld();
    cordon(world, 'slice-a');
    const planned = { ...(await plan(world)), graceSeconds: 0 };
    world.cluster.finishPod('default', leaderOn(world, 'slice-a').metadata.name, 'Succeeded');
    const step = await carryOut(world, planned);
    expect(step).to.include({ outcome: 'restarted', way: 'job_deadline' });
    expect(step.warning).to.match(/^Jobs train-workers-0 had not begun to end /);
    expect(effects(world)).to.deep.equal({ 'PATCH jobs': 1 });
  });
});
