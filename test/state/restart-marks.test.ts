import { expect } from 'chai';
import { readConfig } from '../../src/config.ts';
import { findJobSet, listJobs } from '../../src/gke/jobset.ts';
import type { RestartPlan } from '../../src/plan.ts';
import { readMark } from '../../src/state/cooldown.ts';
import { acquirePoolLock, PoolLock } from '../../src/state/lock.ts';
import {
  acceptRestartMark,
  judgeRestartMark,
  readMarkLease,
  readRestartMark,
  restartMarkEndsAt,
  writeRestartMark,
} from '../../src/state/restart-mark.ts';
import type { RestartMark } from '../../src/state/restart-mark.ts';
import { RestartMarks } from '../../src/state/restart-marks.ts';
import { createInMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import type { InMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import { trainCluster } from '../fixtures/train-world.ts';

const config = readConfig({ CLUSTERS: trainCluster });
const train = { namespace: 'default', name: 'train' };
const plan: RestartPlan = {
  outcome: 'restart',
  jobSet: { ...train, uid: 'u' },
  attempt: 1,
  job: { name: 'train-slice-0', uid: 'j', replicatedJob: 'slice' },
};

const createWorld = () => createInMemoryWorld({ slices: [], jobSet: null });

async function acquire({ kubernetes, clock }: InMemoryWorld): Promise<PoolLock> {
  const lock = await acquirePoolLock(kubernetes, clock, 'slice-a', { id: 'a', claimId: '1' });
  if (!(lock instanceof PoolLock)) throw new Error(`the lock is ${lock.heldBy.id}'s`);
  return lock;
}

/** The marks of action `a`, as one claim of it writes them. */
function marksOf({ kubernetes }: InMemoryWorld, lock: PoolLock, changes: Partial<RestartPlan> = {}) {
  return new RestartMarks({ ...plan, ...changes }, { kubernetes, lock, actionId: 'a' });
}

const poolMark = (lock: PoolLock) => readMark(lock.annotations, 'restart default/train');
const leaseOf = ({ kubernetes }: InMemoryWorld) => readMarkLease(kubernetes, train);
const markOf = async (world: InMemoryWorld) => readRestartMark(await leaseOf(world));

/** Which actions count as attempts to restart the JobSet. */
async function attemptsOf(world: InMemoryWorld): Promise<string[]> {
  const list = (await leaseOf(world))?.annotations['autometric-failover/attempts'] ?? '[]';
  return (JSON.parse(list) as { action: string }[]).map(({ action }) => action);
}

/** Another action restarts the JobSet for another pool. */
async function overtake(world: InMemoryWorld): Promise<RestartMark> {
  const at = new Date(world.clock.now()).toISOString();
  const mark: RestartMark = { action: 'b', at, jobSetUid: 'u', attempt: 1, jobUid: 'other', state: 'begun' };
  await writeRestartMark(world.kubernetes, train, mark, await leaseOf(world));
  return mark;
}

describe('RestartMarks', () => {
  it('begins both marks, and does not doubt what was accepted of the same attempt', async () => {
    const world = createWorld();
    const lock = await acquire(world);
    const first = marksOf(world, lock);
    expect(await first.begin(undefined)).to.equal(true);
    expect(poolMark(lock)?.state).to.equal('begun');
    expect((await leaseOf(world))?.labels).to.deep.equal({ 'autometric-failover/kind': 'jobset' });
    expect(await attemptsOf(world)).to.deep.equal([]);
    await first.accept();
    expect([poolMark(lock)?.state, (await markOf(world))?.state]).to.deep.equal(['accepted', 'accepted']);
    expect(await attemptsOf(world)).to.deep.equal(['a']);

    await marksOf(world, lock).begin(await leaseOf(world));
    expect([poolMark(lock)?.state, (await markOf(world))?.state]).to.deep.equal(['accepted', 'accepted']);
    await marksOf(world, lock, { attempt: 2 }).begin(await leaseOf(world));
    expect([poolMark(lock)?.state, (await markOf(world))?.state]).to.deep.equal(['begun', 'begun']);
  });

  it('tells on the pool which run was ended, where its Jobs are made anew in the same attempt', async () => {
    const world = createWorld();
    const lock = await acquire(world);
    await marksOf(world, lock).begin(undefined);
    expect(poolMark(lock)).not.to.have.property('jobUid');
    await marksOf(world, lock, { jobs: [{ name: 'train-slice-0', uid: 'j' }] }).begin(await leaseOf(world));
    expect(poolMark(lock)).to.include({ jobUid: 'j' });
    expect(await markOf(world)).to.include({ jobUid: 'j', isRecreation: true });
  });

  it('leaves no mark where another action was first', async () => {
    const world = createWorld();
    const lock = await acquire(world);
    const other = await overtake(world);
    const marks = marksOf(world, lock);
    expect(await marks.begin(undefined)).to.equal(false);
    expect(marks.isBegun).to.equal(false);
    expect(poolMark(lock)).to.equal(undefined);
    expect(await markOf(world)).to.deep.equal(other);
    await lock.release({ forget: false });
    expect(poolMark(await acquire(world))).to.equal(undefined);
  });

  it('counts its deletion as an attempt where another action has written the mark since, and leaves that mark', async () => {
    const world = createWorld();
    const marks = marksOf(world, await acquire(world));
    expect(marks.isBegun).to.equal(false);
    await marks.begin(undefined);
    expect(marks.isBegun).to.equal(true);
    const other = await overtake(world);
    await marks.accept();
    expect(await markOf(world)).to.deep.equal(other);
    expect(await attemptsOf(world)).to.deep.equal(['a']);
  });

  it('counts no attempt once it has taken its marks back', async () => {
    const world = createWorld();
    const lock = await acquire(world);
    const marks = marksOf(world, lock);
    await marks.begin(undefined);
    const other = await overtake(world);
    await marks.takeBack();
    expect(marks.isBegun).to.equal(false);
    expect(poolMark(lock)).to.equal(undefined);
    await marks.accept();
    expect(await markOf(world)).to.deep.equal(other);
    expect(await attemptsOf(world)).to.deep.equal([]);
  });

  it('takes back its own mark only, and not that of a later claim of the same action', async () => {
    const world = createWorld();
    const lock = await acquire(world);
    const first = marksOf(world, lock);
    await first.begin(undefined);
    world.clock.advance(1_000);
    await marksOf(world, lock).begin(await leaseOf(world));
    const later = await markOf(world);
    await first.takeBack();
    expect(await markOf(world)).to.deep.equal(later);

    const alone = createWorld();
    const marks = marksOf(alone, await acquire(alone));
    await marks.begin(undefined);
    await marks.takeBack();
    expect(await leaseOf(alone)).to.equal(undefined);
  });
});

describe('acceptRestartMark', () => {
  it('writes nothing where it is accepted already', async () => {
    const world = createWorld();
    const marks = marksOf(world, await acquire(world));
    await marks.begin(undefined);
    await marks.accept();
    const before = world.emulator.writes().length;
    await acceptRestartMark(world.kubernetes, train, 'a', { known: undefined, sent: await markOf(world) });
    expect(world.emulator.writes().length).to.equal(before);
  });
});

describe('judgeRestartMark', () => {
  async function judge(changes: Partial<RestartMark>, { laterMs = 0, isGone = false } = {}) {
    const { kubernetes, clock } = createInMemoryWorld();
    const jobSet = await findJobSet(kubernetes, train.namespace, train.name);
    const jobs = await listJobs(kubernetes, train);
    const [job] = jobs;
    if (!jobSet || !job) throw new Error('the run is gone');
    const mark: RestartMark = {
      action: 'b',
      at: new Date(clock.now()).toISOString(),
      jobSetUid: jobSet.metadata.uid,
      attempt: 0,
      jobUid: job.uid,
      state: 'accepted',
      ...changes,
    };
    const serverNow = restartMarkEndsAt(mark, config) + laterMs;
    const left = isGone ? jobs.slice(1) : jobs;
    return judgeRestartMark(mark, { jobSet, attempt: 0, jobs: left, config, serverNow });
  }

  it('counts a mark until the deadline of its action, that moment included', async () => {
    expect(await judge({})).to.equal('already_restarted');
    expect(await judge({ state: 'begun' })).to.equal('begun');
    expect(await judge({}, { laterMs: 1 })).to.equal(undefined);
  });

  it('takes it for another run only where all Jobs were to be made anew, and the marked one is gone', async () => {
    expect(await judge({ isRecreation: true }, { isGone: true })).to.equal(undefined);
    expect(await judge({ isRecreation: true })).to.equal('already_restarted');
    expect(await judge({}, { isGone: true })).to.equal('already_restarted');
    expect(await judge({ isRecreation: true, state: 'begun' }, { isGone: true })).to.equal('begun');
  });
});
