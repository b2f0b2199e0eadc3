import { expect } from 'chai';
import { Deadline } from '../../src/clock.ts';
import { readConfig } from '../../src/config.ts';
import { endPodsSooner } from '../../src/effects/end-pods-sooner.ts';
import { acquirePoolLock, PoolLock } from '../../src/state/lock.ts';
import { createInMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import type { InMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import { attemptLabel, effects, plan, podsOn, three } from '../fixtures/restarts.ts';
import { trainCluster } from '../fixtures/train-world.ts';
import type { TrainWorldOptions } from '../fixtures/train-world.ts';

const config = readConfig({ CLUSTERS: trainCluster });
const replacing = { slices: three, jobs: [{ backoffLimit: 6 }] };

interface Asked {
  graceSeconds?: number;
  isLeaderDeleted?: boolean;
  deadlineMs?: number;
}

/** What came of it, the waits between the looks, and how often a deletion was about to begin. */
async function end(world: InMemoryWorld, asked: Asked = {}) {
  const { graceSeconds = 0, isLeaderDeleted = false, deadlineMs = 240_000 } = asked;
  const planned = { ...(await plan(world)), graceSeconds };
  const waits: number[] = [];
  world.clock.sleep = async (ms) => {
    waits.push(ms);
    world.clock.advance(ms);
  };
  const lock = await acquirePoolLock(world.kubernetes, world.clock, 'slice-a', { id: 'a', claimId: '1' });
  if (!(lock instanceof PoolLock)) throw new Error(`the lock is ${lock.heldBy.id}'s`);
  const lists = () => world.emulator.requests.filter(({ path }) => path.endsWith('/pods')).length;
  const before = lists();
  let begun = 0;
  const outcome = await endPodsSooner(planned, isLeaderDeleted, {
    kubernetes: world.kubernetes,
    lock,
    clock: world.clock,
    deadline: new Deadline(world.clock, deadlineMs),
    config,
    beforeDeletion: async () => void begun++,
  });
  const waited = waits.reduce((sum, ms) => sum + ms, 0);
  return { outcome, waits, waited, begun, lists: lists() - before };
}

describe('endPodsSooner', () => {
  it('deletes the live pods of the attempt at once where the Job has lost its leader and fails by that', async () => {
    const world = createInMemoryWorld();
    const [ended, newer] = podsOn(world, 'slice-a').map(({ metadata }) => metadata.name);
    const done = await end(world, { isLeaderDeleted: true });
    expect(done).to.deep.equal({ outcome: { ended_sooner: 4 }, waits: [], waited: 0, begun: 1, lists: 1 });
    expect(effects(world)).to.deep.equal({ 'DELETE pods': 4 });
    const other = createInMemoryWorld();
    other.cluster.change('pods', 'default', ended ?? '', ({ status }) => (status.phase = 'Failed'));
    other.cluster.change('pods', 'default', newer ?? '', ({ metadata }) => {
      metadata.labels = { ...metadata.labels, [attemptLabel]: '1' };
    });
    expect((await end(other, { isLeaderDeleted: true })).outcome).to.deep.equal({ ended_sooner: 2 });
    const left = other.cluster.pods('default').map(({ metadata }) => metadata.name);
    expect(left).to.include.members([ended, newer]);
  });

  it('deletes none, and so begins no deletion, where the pods have no more time of their own', async () => {
    const world = createInMemoryWorld();
    const done = await end(world, { isLeaderDeleted: true, graceSeconds: 30 });
    expect(done).to.deep.equal({ outcome: {}, waits: [], waited: 0, begun: 0, lists: 1 });
    expect(effects(world)).to.deep.equal({});
  });

  for (const [what, options, isLeaderDeleted] of [
    ['would replace its pods', replacing, true],
    ['has its leader still', {}, false],
  ] as [string, TrainWorldOptions, boolean][]) {
    it(`deletes no pod of a Job that ${what}, and looks for it often at first, then each second`, async () => {
      const world = createInMemoryWorld(options);
      const { outcome, waits, begun, lists } = await end(world, { isLeaderDeleted });
      expect(waits).to.deep.equal([...Array<number>(12).fill(250), ...Array<number>(6).fill(1_000)]);
      expect(outcome).to.deep.equal({
        warning:
          'Jobs train-workers-0 had not begun to end when the action was answered, so their pods end with their own grace',
      });
      expect({ begun, lists, ...effects(world) }).to.deep.equal({ begun: 0, lists: 0 });
    });
  }

  it('waits 10 s longer than the grace, but not longer than 70 s, nor into the last 15 s of the action', async () => {
    for (const [graceSeconds, deadlineMs, most] of [
      [5, 240_000, 15_000],
      [100, 240_000, 70_000],
      [0, 20_000, 5_000],
      [0, 10_000, 0],
    ] as const) {
      const { waited } = await end(createInMemoryWorld(replacing), { graceSeconds, deadlineMs });
      expect(waited, String(most)).to.equal(Math.max(0, most - 1_000));
    }
  });

  it('looks once for the pods of a Job that is ending, while it waits for another', async () => {
    const world = createInMemoryWorld({ slices: three, jobs: [{ name: 'a' }, { name: 'b' }] });
    world.cluster.change('jobs', 'default', 'train-a-0', ({ spec }) => (spec.backoffLimit = 6));
    const { outcome, lists, begun } = await end(world, { isLeaderDeleted: true });
    // Of the two, b fails by a lost pod.
    expect({ ...outcome, lists, begun }).to.deep.equal({
      ended_sooner: 4,
      warning:
        'Jobs train-a-0 had not begun to end when the action was answered, so their pods end with their own grace',
      lists: 1,
      begun: 1,
    });
    expect(effects(world)).to.deep.equal({ 'DELETE pods': 4 });
  });

  for (const [count, more] of [
    [5, ''],
    [7, ' and 2 more'],
  ] as const) {
    it(`names the first five of ${count} Jobs`, async () => {
      const world = createInMemoryWorld({
        jobSet: { exclusiveTopology: '' },
        jobs: [
          { name: 'a', parallelism: 1, backoffLimit: 6 },
          { name: 'b', replicas: count - 1, parallelism: 1, resources: {}, backoffLimit: 6 },
        ],
      });
      const { outcome } = await end(world, {});
      expect(outcome.warning).to.equal(
        `Jobs train-a-0, train-b-0, train-b-1, train-b-2, train-b-3${more} had not begun to end when the action was answered, so their pods end with their own grace`,
      );
    });
  }
});
