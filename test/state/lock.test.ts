import { expect } from 'chai';
import { cordonPool } from '../../src/effects/cordon.ts';
import { isDefiniteRefusal } from '../../src/errors.ts';
import { failoverNamespace } from '../../src/names.ts';
import { acquirePoolLock, PoolLock } from '../../src/state/lock.ts';
import { readPoolMarks } from '../../src/state/pool-lease.ts';
import type { SeenLease } from '../../src/state/pool-lease.ts';
import type { LockBusy } from '../../src/state/lock.ts';
import { countWrites } from '../fixtures/count-writes.ts';
import { createInMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import type { ConnectOptions, InMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import { refusalOf } from '../fixtures/refusal-of.ts';
import { countCordoned } from '../fixtures/train-world.ts';

function createWorld(): InMemoryWorld {
  return createInMemoryWorld({ slices: [], jobSet: null });
}

interface Taker extends ConnectOptions {
  id?: string;
  claimId?: string;
  seen?: SeenLease;
}

/** Takes the lock of slice-a as another instance of the function would. */
function tryAcquire(world: InMemoryWorld, taker: Taker = {}): Promise<PoolLock | LockBusy> {
  const { id = 'a', claimId = '1', skewMs = 0 } = taker;
  const clock = { now: () => world.clock.now() + skewMs, sleep: (ms: number) => world.clock.sleep(ms) };
  return acquirePoolLock(world.connect(taker), clock, 'slice-a', { id, claimId }, taker.seen);
}

async function acquire(world: InMemoryWorld, taker: Taker = {}): Promise<PoolLock> {
  const lock = await tryAcquire(world, taker);
  if (!(lock instanceof PoolLock)) throw new Error(`the lock is ${lock.heldBy.id}'s`);
  return lock;
}

function storedLease({ cluster }: InMemoryWorld) {
  return cluster.get('leases', failoverNamespace, 'pool-slice-a');
}

function holderOf(world: InMemoryWorld): string | undefined {
  return storedLease(world)?.spec.holderIdentity;
}

const leasePath = /\/leases(\/pool-slice-a)?$/;

describe('acquirePoolLock', () => {
  it('takes a lock that nobody has, for 60 s, in the name of this claim', async () => {
    const world = createWorld();
    const lock = await acquire(world, { id: 'a', claimId: 'uuid-1' });
    expect(lock.lastActionId).to.equal(undefined);
    expect(storedLease(world)?.spec).to.deep.equal({
      holderIdentity: 'a/uuid-1',
      leaseDurationSeconds: 60,
      acquireTime: '2026-11-23T03:00:00.000000Z',
      renewTime: '2026-11-23T03:00:00.000000Z',
    });
    expect(storedLease(world)?.metadata).to.deep.include({
      labels: { 'autometric-failover/kind': 'pool' },
      annotations: { 'autometric-failover/last-action': 'a', 'autometric-failover/version': '2' },
    });
  });

  it('names the holder while another action holds the lock, and writes nothing', async () => {
    const world = createWorld();
    await acquire(world, { id: 'a' });
    expect(await tryAcquire(world, { id: 'b' })).to.deep.include({ heldBy: { id: 'a' } });
    expect(countWrites(world.emulator.writes())).to.deep.equal({ 'POST leases': 1 });
  });

  // F-22: a redelivery of a running action is not the holder of its lock.
  it('refuses a second delivery while the first one runs', async () => {
    const world = createWorld();
    await acquire(world, { id: 'a', claimId: '1' });
    expect(await tryAcquire(world, { id: 'a', claimId: '2' })).to.deep.include({ heldBy: { id: 'a' } });
  });

  // F-16: the holder was deleted and its lock stayed for ever.
  it('takes the lock of a dead holder 10 s after its 60 s, and not before', async () => {
    const world = createWorld();
    await acquire(world, { id: 'a' });
    world.clock.advance(70_000);
    expect(await tryAcquire(world, { id: 'b' })).to.deep.include({ heldBy: { id: 'a' } });
    world.clock.advance(1_000);
    const lock = await acquire(world, { id: 'b', claimId: '2' });
    expect(lock.lastActionId).to.equal('a');
    expect(holderOf(world)).to.equal('b/2');
  });

  for (const skewMs of [-120_000, 120_000]) {
    it(`uses the API server's clock on an instance whose own clock is off by ${skewMs / 1000} s`, async () => {
      const world = createWorld();
      await acquire(world, { id: 'a', skewMs });
      expect(storedLease(world)?.spec.renewTime).to.equal('2026-11-23T03:00:00.000000Z');
      world.clock.advance(70_000);
      expect(await tryAcquire(world, { id: 'b', skewMs: -skewMs })).to.deep.include({ heldBy: { id: 'a' } });
      world.clock.advance(1_000);
      await acquire(world, { id: 'b', skewMs: -skewMs });
    });
  }

  // F-18: a cached read said that the lock was free.
  it('goes to exactly one of two takers that both saw no Lease', async () => {
    const world = createWorld();
    const slow = await tryAcquire(world, {
      id: 'slow',
      async onRequest({ method }) {
        if (method === 'POST') await acquire(world, { id: 'quick' });
      },
    });
    expect(slow).to.deep.include({ heldBy: { id: 'quick' } });
    expect(holderOf(world)).to.equal('quick/1');
  });

  it('goes to exactly one of two takers that both saw it expired', async () => {
    const world = createWorld();
    await acquire(world, { id: 'dead' });
    world.clock.advance(80_000);
    const slow = await tryAcquire(world, {
      id: 'slow',
      async onRequest({ method }) {
        if (method === 'PUT') await acquire(world, { id: 'quick' });
      },
    });
    expect(slow).to.deep.include({ heldBy: { id: 'quick' } });
    expect(holderOf(world)).to.equal('quick/1');
  });

  // F-331: what was read while the lock was being taken is used only if nobody held the lock in between.
  it('says whether it was taken from the very Lease that was seen', async () => {
    const world = createWorld();
    const seen = { lease: undefined };
    const first = await acquire(world, { id: 'a', seen });
    expect(first.isAsSeen).to.equal(true);
    await first.release({ forget: false });
    expect((await acquire(world, { id: 'b', seen })).isAsSeen).to.equal(false);
  });

  it('counts from the time in the Lease, where that was written by a clock that is behind', async () => {
    const world = createWorld();
    const lock = await acquire(world, { skewMs: -10_000, seen: { lease: undefined } });
    expect(storedLease(world)?.spec.renewTime).to.equal('2026-11-23T02:59:50.000000Z');
    expect(await lock.gate()).to.equal(40_000);
  });

  it('gives up where something refuses each write', async () => {
    const world = createWorld();
    world.emulator.faults.add({ method: 'POST', path: leasePath, times: 300, effect: { status: 409 } });
    expect((await refusalOf(tryAcquire(world))).message).to.include('Conflict 200 times');
  });

  it('survives a lost response without blocking itself', async () => {
    const world = createWorld();
    world.emulator.faults.add({ method: 'POST', path: leasePath, effect: 'reset_after' });
    const lock = await acquire(world, { id: 'a' });
    expect(holderOf(world)).to.equal('a/1');
    expect(await lock.gate()).to.be.within(49_000, 50_000);
  });

  it('keeps the last holder even if the answer was lost', async () => {
    const world = createWorld();
    await (await acquire(world, { id: 'before' })).release({ forget: false });
    world.emulator.faults.add({ method: 'PUT', path: leasePath, effect: 'reset_after' });
    const lock = await acquire(world, { id: 'a' });
    expect(lock.lastActionId).to.equal('before');
    await lock.release({ forget: true });
    expect((await acquire(world, { id: 'c' })).lastActionId).to.equal('before');
  });

  it('keeps the pool’s marks', async () => {
    const world = createWorld();
    const first = await acquire(world, { id: 'a' });
    await first.update((annotations) => ({ ...annotations, mark: '1' }));
    await first.release({ forget: false });
    expect((await acquire(world, { id: 'b' })).annotations).to.include({ mark: '1' });
  });

  // An instance that is throttled while an answer is on its way reads an old Date when it thaws.
  it('does not treat the time in an answer as the present when a frozen instance reads it late', async () => {
    const world = createWorld();
    await (await acquire(world, { id: 'before' })).release({ forget: false });
    const kubernetes = world.connect();
    await readPoolMarks(kubernetes, 'slice-b');
    world.emulator.faults.add({ method: 'GET', path: leasePath, effect: 'none', delayMs: 300_000 });
    await acquirePoolLock(kubernetes, world.clock, 'slice-a', { id: 'frozen', claimId: '1' });
    expect(storedLease(world)?.spec.renewTime).to.equal('2026-11-23T03:05:00.000000Z');
    expect(await tryAcquire(world, { id: 'b' })).to.deep.include({ heldBy: { id: 'frozen' } });
  });
});

describe('PoolLock.gate', () => {
  it('gives a write the time that is left, less 10 s', async () => {
    const world = createWorld();
    const lock = await acquire(world);
    expect(await lock.gate()).to.equal(50_000);
    world.clock.advance(15_000);
    expect(await lock.gate()).to.equal(35_000);
  });

  it('renews below 40 s and not at 40 s', async () => {
    const world = createWorld();
    const lock = await acquire(world);
    world.clock.advance(20_000);
    expect(await lock.gate()).to.equal(30_000);
    expect(countWrites(world.emulator.writes())).to.deep.equal({ 'POST leases': 1 });
    world.clock.advance(1);
    expect(await lock.gate()).to.equal(50_000);
    expect(countWrites(world.emulator.writes())).to.deep.equal({ 'POST leases': 1, 'PUT leases': 1 });
    expect(storedLease(world)?.spec.renewTime).to.match(/^2026-11-23T03:00:20\./);
  });

  it('renews with a little more than 10 s left', async () => {
    const world = createWorld();
    const lock = await acquire(world);
    world.clock.advance(49_999);
    expect(await lock.gate()).to.equal(50_000);
    expect(holderOf(world)).to.equal('a/1');
  });

  it('stops the action for good with 10 s left, without a write', async () => {
    const world = createWorld();
    const lock = await acquire(world);
    world.clock.advance(50_000);
    const refusal = await refusalOf(lock.gate());
    expect(refusal).to.include({ code: 'upstream_timeout', status: 504 });
    expect(refusal.message).to.equal(
      'the lock of node pool slice-a has expired, so the action was stopped; send it again with the same id to resume it',
    );
    world.clock.ms -= 50_000;
    await refusalOf(lock.gate());
    await refusalOf(lock.update((annotations) => annotations));
    await lock.release({ forget: false });
    expect(countWrites(world.emulator.writes())).to.deep.equal({ 'POST leases': 1 });
  });

  // F-23: a throttled instance thaws after another action took its lock: its next write does not happen.
  it('stops the action when a frozen instance thaws after another action took its lock', async () => {
    const world = createWorld();
    const frozen = await acquire(world, { id: 'frozen' });
    world.clock.advance(71_000);
    await acquire(world, { id: 'other' });
    await refusalOf(frozen.gate());
    expect(holderOf(world)).to.equal('other/1');
  });

  it('counts from when the lock request was sent, not from when the answer arrived', async () => {
    const world = createWorld();
    world.emulator.faults.add({ method: 'POST', path: leasePath, effect: 'none', delayMs: 9_000 });
    const lock = await acquire(world);
    expect(await lock.gate()).to.equal(41_000);
  });

  it('counts from when a renewal was first sent, however often it was tried', async () => {
    const world = createWorld();
    const lock = await acquire(world);
    world.clock.advance(25_000);
    world.emulator.faults.add({ method: 'PUT', path: leasePath, effect: 'hang' });
    expect(await lock.gate()).to.be.within(39_000, 40_000);
  });

  it('renews once for all waiting writes', async () => {
    const world = createWorld();
    const lock = await acquire(world);
    world.clock.advance(30_000);
    const allowed = await Promise.all(Array.from({ length: 64 }, () => lock.gate()));
    expect(new Set(allowed)).to.deep.equal(new Set([50_000]));
    expect(countWrites(world.emulator.writes())).to.deep.equal({ 'POST leases': 1, 'PUT leases': 1 });
  });

  it('accepts a renewal whose answer was lost', async () => {
    const world = createWorld();
    const lock = await acquire(world);
    world.clock.advance(30_000);
    world.emulator.faults.add({ method: 'PUT', path: leasePath, effect: 'reset_after' });
    expect(await lock.gate()).to.be.within(49_000, 50_000);
    await lock.update((annotations) => ({ ...annotations, mark: '1' }));
    expect(storedLease(world)?.metadata.annotations).to.include({ mark: '1' });
  });

  it('allows no write after a renewal that took so long that it is over again', async () => {
    const world = createWorld();
    const lock = await acquire(world);
    world.clock.advance(25_000);
    world.emulator.faults.add({ method: 'PUT', path: leasePath, effect: 'none', delayMs: 55_000 });
    expect((await refusalOf(lock.gate())).code).to.equal('upstream_timeout');
  });

  it('keeps what a person annotated meanwhile', async () => {
    const world = createWorld();
    const lock = await acquire(world);
    world.cluster.change('leases', failoverNamespace, 'pool-slice-a', (draft) => {
      draft.metadata.annotations = { ...draft.metadata.annotations, note: 'mine' };
    });
    world.clock.advance(30_000);
    await lock.gate();
    expect(storedLease(world)?.metadata.annotations).to.include({ note: 'mine' });
    expect(lock.annotations).to.include({ note: 'mine' });
  });

  for (const [what, takeAway] of [
    [
      'was deleted',
      (world: InMemoryWorld) => world.cluster.remove('leases', failoverNamespace, 'pool-slice-a'),
    ],
    [
      'has another holder',
      (world: InMemoryWorld) =>
        world.cluster.change('leases', failoverNamespace, 'pool-slice-a', (draft) => {
          draft.spec.holderIdentity = 'b/2';
        }),
    ],
  ] as const) {
    it(`stops the action when the Lease ${what}`, async () => {
      const world = createWorld();
      const lock = await acquire(world);
      takeAway(world);
      world.clock.advance(30_000);
      expect((await refusalOf(lock.gate())).code).to.equal('upstream_timeout');
      await refusalOf(lock.gate());
      expect(holderOf(world)).not.to.equal('a/1');
    });
  }

  it('stops the action when the Lease was deleted and another action re-created it', async () => {
    const world = createWorld();
    const lock = await acquire(world);
    world.cluster.remove('leases', failoverNamespace, 'pool-slice-a');
    await acquire(world, { id: 'a', claimId: '1' });
    world.clock.advance(30_000);
    await refusalOf(lock.gate());
  });

  it('keeps the lock during a throttled write that waits as long as it may', async () => {
    const world = createInMemoryWorld({ slices: ['slice-a'], jobSet: null });
    const lock = await acquire(world);
    world.clock.advance(20_000);
    world.emulator.faults.add({
      method: 'PATCH',
      effect: { status: 429, headers: { 'retry-after': '60' } },
      delayMs: 9_999,
    });
    const kubernetes = world.kubernetes.throughGate(lock.gate);
    await cordonPool(kubernetes, { nodePool: 'slice-a' }, { actionId: 'a', concurrency: 1 });
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(4);
  });

  it('says that a write may have worked when only the gate of its retry failed', async () => {
    const world = createWorld();
    const lock = await acquire(world);
    world.emulator.faults.add({ method: 'DELETE', path: /\/pods\//, effect: 'reset_after' });
    world.emulator.faults.add({ method: 'PUT', path: leasePath, effect: { status: 403 } });
    const onRequest = ({ method }: { method: string }) => method === 'DELETE' && world.clock.advance(25_000);
    const { core } = world
      .connect({ onRequest: (request) => void onRequest(request) })
      .throughGate(lock.gate);
    const work = core.deleteNamespacedPod({ namespace: 'default', name: 'x' });
    const refusal = await refusalOf(work);
    expect(refusal).to.include({ upstreamStatus: 403, mayHaveWorked: true });
    expect(isDefiniteRefusal(refusal)).to.equal(false);
  });

  it('stops a write when it cannot renew, and lets the next one try again', async () => {
    const world = createWorld();
    const lock = await acquire(world);
    world.clock.advance(25_000);
    const restore = world.emulator.faults.add({
      method: 'PUT',
      path: leasePath,
      times: Infinity,
      effect: { status: 500 },
    });
    expect((await refusalOf(lock.gate())).code).to.equal('upstream_failed');
    restore();
    expect(await lock.gate()).to.equal(50_000);
  });
});

describe('PoolLock.update', () => {
  it('changes the marks and renews the lock with the same write', async () => {
    const world = createWorld();
    const lock = await acquire(world);
    world.clock.advance(30_000);
    await lock.update((annotations) => ({ ...annotations, mark: '1' }));
    expect(await lock.gate()).to.equal(50_000);
    expect(countWrites(world.emulator.writes())).to.deep.equal({ 'POST leases': 1, 'PUT leases': 1 });
    expect(lock.annotations).to.include({ mark: '1' });
  });

  it('loses neither of two concurrent changes, nor a change during a renewal', async () => {
    const world = createWorld();
    const lock = await acquire(world);
    world.clock.advance(30_000);
    await Promise.all([
      lock.gate(),
      lock.update((annotations) => ({ ...annotations, a: '1' })),
      lock.update((annotations) => ({ ...annotations, b: '2' })),
    ]);
    expect(storedLease(world)?.metadata.annotations).to.include({ a: '1', b: '2' });
    // They wait for each other: no write of this instance is in the way of another one.
    expect(countWrites(world.emulator.writes())).to.deep.equal({ 'POST leases': 1, 'PUT leases': 3 });
  });

  it('does not write again after a conflict that came when the lock had expired', async () => {
    const world = createWorld();
    const lock = await acquire(world);
    world.emulator.faults.add({ method: 'PUT', path: leasePath, effect: { status: 409 }, delayMs: 55_000 });
    const refused = await refusalOf(lock.update((annotations) => ({ ...annotations, mark: '1' })));
    expect(refused.code).to.equal('upstream_timeout');
    expect(countWrites(world.emulator.writes())).to.deep.equal({ 'POST leases': 1, 'PUT leases': 1 });
    expect(storedLease(world)?.metadata.annotations).not.to.have.property('mark');
  });

  it('gives up where something refuses each write', async () => {
    const world = createWorld();
    const lock = await acquire(world);
    world.emulator.faults.add({ method: 'PUT', path: leasePath, times: 300, effect: { status: 409 } });
    const refused = await refusalOf(lock.update((annotations) => annotations));
    expect(refused.message).to.include('Conflict 200 times');
  });

  it('writes no mark once the lock was taken', async () => {
    const world = createWorld();
    const lock = await acquire(world);
    world.cluster.change('leases', failoverNamespace, 'pool-slice-a', (draft) => {
      draft.spec.holderIdentity = 'b/2';
    });
    await refusalOf(lock.update((annotations) => ({ ...annotations, mark: '1' })));
    expect(storedLease(world)?.metadata.annotations).not.to.have.property('mark');
  });
});

describe('PoolLock.updateLater', () => {
  const mark = (value: string) => (annotations: Record<string, string>) => ({ ...annotations, mark: value });

  it('changes the Lease with the next write, and does not undo what is written after that', async () => {
    const world = createWorld();
    const lock = await acquire(world);
    lock.updateLater(mark('earlier'));
    expect(lock.annotations).to.include({ mark: 'earlier' });
    await lock.update((annotations) => ({ ...annotations, seen: annotations['mark'] ?? '' }));
    expect(storedLease(world)?.metadata.annotations).to.include({ mark: 'earlier', seen: 'earlier' });
    await lock.update(mark('later'));
    await lock.release({ forget: false });
    expect(storedLease(world)?.metadata.annotations).to.include({ mark: 'later' });
  });

  it('loses no change that comes while a write is on its way', async () => {
    const world = createWorld();
    let lock: PoolLock | undefined;
    lock = await acquire(world, {
      onRequest({ method }) {
        if (method === 'PUT') lock?.updateLater(mark('meanwhile'));
      },
    });
    await lock.update((annotations) => ({ ...annotations, a: '1' }));
    const held = lock;
    lock = undefined;
    await held.release({ forget: false });
    expect(storedLease(world)?.metadata.annotations).to.include({ a: '1', mark: 'meanwhile' });
  });
});

describe('PoolLock.release', () => {
  it('gives the lock back at once, and keeps the pool’s marks', async () => {
    const world = createWorld();
    const lock = await acquire(world, { id: 'a' });
    await lock.update((annotations) => ({ ...annotations, mark: '1' }));
    await lock.release({ forget: false });
    expect(storedLease(world)?.spec).to.deep.equal({});
    expect(storedLease(world)?.metadata.annotations).to.include({
      mark: '1',
      'autometric-failover/last-action': 'a',
    });
    await acquire(world, { id: 'b' });
  });

  // F-17: the lock was kept although a guard refused.
  it('deletes the Lease of a pool that nothing was done to, because its name may have been a typo', async () => {
    const world = createWorld();
    await (await acquire(world)).release({ forget: true });
    expect(storedLease(world)).to.equal(undefined);
  });

  it('leaves a known pool as a refused action found it', async () => {
    const world = createWorld();
    await (await acquire(world, { id: 'unfinished' })).release({ forget: false });
    await (await acquire(world, { id: 'refused' })).release({ forget: true });
    expect(storedLease(world)?.spec).to.deep.equal({});
    expect((await acquire(world, { id: 'next' })).lastActionId).to.equal('unfinished');
  });

  it('gives the lock back even if a person annotated the Lease, and keeps their annotation', async () => {
    const world = createWorld();
    const lock = await acquire(world);
    world.cluster.change('leases', failoverNamespace, 'pool-slice-a', ({ metadata }) => {
      metadata.annotations = { ...metadata.annotations, note: 'mine' };
    });
    await lock.release({ forget: false });
    expect(storedLease(world)?.spec).to.deep.equal({});
    expect(storedLease(world)?.metadata.annotations).to.include({ note: 'mine' });
    expect(countWrites(world.emulator.writes())).to.deep.equal({ 'POST leases': 1, 'PUT leases': 2 });
  });

  it('writes once when nobody else wrote meanwhile', async () => {
    const world = createWorld();
    await (await acquire(world)).release({ forget: false });
    expect(countWrites(world.emulator.writes())).to.deep.equal({ 'POST leases': 1, 'PUT leases': 1 });
  });

  it('does not release a lock that another action took meanwhile', async () => {
    for (const forget of [true, false]) {
      const world = createWorld();
      const lock = await acquire(world);
      world.cluster.change('leases', failoverNamespace, 'pool-slice-a', (draft) => {
        draft.spec.holderIdentity = 'b/2';
      });
      await lock.release({ forget });
      expect(holderOf(world)).to.equal('b/2');
    }
  });

  it('is possible in the last 10 s, but not after them', async () => {
    const world = createWorld();
    const lock = await acquire(world);
    world.clock.advance(59_999);
    await lock.release({ forget: false });
    expect(holderOf(world)).to.equal(undefined);
    const other = await acquire(world, { id: 'b' });
    world.clock.advance(60_000);
    await other.release({ forget: false });
    expect(holderOf(world)).to.equal('b/1');
  });
});

describe('readPoolMarks', () => {
  it('reads the marks without taking the lock', async () => {
    const world = createWorld();
    expect(await readPoolMarks(world.kubernetes, 'slice-a')).to.deep.equal({});
    const lock = await acquire(world);
    await lock.update((annotations) => ({ ...annotations, mark: '1' }));
    expect(await readPoolMarks(world.kubernetes, 'slice-a')).to.include({ mark: '1' });
  });
});
