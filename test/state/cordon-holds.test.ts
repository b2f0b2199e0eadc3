import { expect } from 'chai';
import { failoverNamespace } from '../../src/names.ts';
import { addHold, holdCordon } from '../../src/state/cordon-holds.ts';
import { acquirePoolLock, PoolLock } from '../../src/state/lock.ts';
import { createInMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import type { InMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';

const bound = 1000;
const holdsKey = 'autometric-failover/cordoned-for';

async function lockPool({ kubernetes, clock }: InMemoryWorld): Promise<PoolLock> {
  const lock = await acquirePoolLock(kubernetes, clock, 'slice-a', { id: 'a', claimId: 'one' });
  if (!(lock instanceof PoolLock)) throw new Error('somebody else has the lock');
  return lock;
}

describe('addHold', () => {
  // F-141: a slice of a thousand nodes that alerts again and again made the pool's Lease grow until it could not be written.
  it('keeps the oldest thousand, of which the first has its id on the nodes', async () => {
    const world = createInMemoryWorld();
    const lock = await lockPool(world);
    const ids = Array.from({ length: bound }, (_, index) => `0.incident-${index}`);
    await lock.update((annotations) => ({
      ...annotations,
      [holdsKey]: JSON.stringify(Object.fromEntries(ids.map((id) => [id, 'open']))),
    }));
    await addHold(lock, '0.one-too-many', world.clock.now());
    await holdCordon(lock, 'by-hand', {
      cordoned: [{ name: 'n', uid: 'u', nodePool: 'slice-a', labels: {}, annotations: {}, createdAt: 0 }],
      serverNow: world.clock.now(),
    });
    const stored = world.cluster.get('leases', failoverNamespace, 'pool-slice-a');
    expect(Object.keys(JSON.parse(stored?.metadata.annotations?.[holdsKey] ?? '{}') as object)).to.deep.equal(
      ids,
    );
  });

  it('takes the last place', async () => {
    const world = createInMemoryWorld();
    const lock = await lockPool(world);
    const ids = Array.from({ length: bound - 1 }, (_, index) => `0.incident-${index}`);
    await lock.update((annotations) => ({
      ...annotations,
      [holdsKey]: JSON.stringify(Object.fromEntries(ids.map((id) => [id, 'open']))),
    }));
    await addHold(lock, '0.last', world.clock.now());
    expect(Object.keys(JSON.parse(lock.annotations[holdsKey] ?? '{}') as object)).to.include('0.last');
  });
});
