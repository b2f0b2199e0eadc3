import { expect } from 'chai';
import { failoverNamespace } from '../../src/names.ts';
import { readPool } from '../../src/gke/nodes.ts';
import { Ignored } from '../../src/ignored.ts';
import {
  addHold,
  chooseNodesToUncordon,
  findOtherHold,
  holdCordon,
  removeHold,
} from '../../src/state/cordon-holds.ts';
import { acquirePoolLock, PoolLock } from '../../src/state/lock.ts';
import { countWrites } from '../fixtures/count-writes.ts';
import { createInMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import type { InMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import { nodeNames } from '../fixtures/train-world.ts';

const bound = 1000;
const holdsKey = 'autometric-failover/cordoned-for';
const timesKey = 'autometric-failover/cordoned-since';
const time = '2026-11-22T03:00:00.000Z';

async function lockPool({ kubernetes, clock }: InMemoryWorld): Promise<PoolLock> {
  const lock = await acquirePoolLock(kubernetes, clock, 'slice-a', { id: 'a', claimId: 'one' });
  if (!(lock instanceof PoolLock)) throw new Error('somebody else has the lock');
  return lock;
}

/** A lock of the pool whose Lease has these holds, each since the same time. */
async function lockHeld(world: InMemoryWorld, holds: Record<string, string>): Promise<PoolLock> {
  const lock = await lockPool(world);
  const times = Object.fromEntries(Object.keys(holds).map((id) => [id, time]));
  await lock.update((annotations) => ({
    ...annotations,
    [holdsKey]: JSON.stringify(holds),
    [timesKey]: JSON.stringify(times),
  }));
  return lock;
}

const parse = (lock: PoolLock, key: string) => JSON.parse(lock.annotations[key] ?? '{}') as unknown;

const countLeaseWrites = ({ emulator }: InMemoryWorld) => countWrites(emulator.writes())['PUT leases'];

describe('addHold', () => {
  it('leaves a hold that is there as it is: the open of an incident that has closed comes late', async () => {
    const world = createInMemoryWorld();
    const lock = await lockHeld(world, { '0.a': 'closed' });
    await addHold(lock, '0.a', world.clock.now());
    expect(parse(lock, holdsKey)).to.deep.equal({ '0.a': 'closed' });
    expect(countLeaseWrites(world)).to.equal(1);
  });

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

describe('removeHold', () => {
  it('takes one hold away, and writes nothing where there is none', async () => {
    const world = createInMemoryWorld();
    const lock = await lockHeld(world, { '0.a': 'open', '0.b': 'open' });
    await removeHold(lock, '0.c');
    expect(countLeaseWrites(world)).to.equal(1);
    await removeHold(lock, '0.a');
    expect(parse(lock, holdsKey)).to.deep.equal({ '0.b': 'open' });
  });
});

describe('holdCordon', () => {
  const act = async (lock: PoolLock, actionId: string) =>
    holdCordon(lock, actionId, { cordoned: [], serverNow: Date.parse(time) });

  it('drops all holds but its own where no node is cordoned', async () => {
    const world = createInMemoryWorld();
    const lock = await lockHeld(world, { '0.a': 'open', 'by-hand': 'stays' });
    await act(lock, 'by-hand');
    expect(parse(lock, holdsKey)).to.deep.equal({ 'by-hand': 'stays' });
    expect(parse(lock, timesKey)).to.deep.equal({ 'by-hand': time });
    await act(lock, 'another');
    expect(parse(lock, holdsKey)).to.deep.equal({});
    expect(parse(lock, timesKey)).to.deep.equal({});
  });

  it('adds a hold of its own where an incident could uncordon what somebody else wants cordoned', async () => {
    const world = createInMemoryWorld();
    const lock = await lockHeld(world, { '0.a': 'open' });
    const [node] = (await readPool(world.kubernetes, 'slice-a')).schedulable;
    if (!node) throw new Error('no node');
    await holdCordon(lock, 'by-hand', { cordoned: [node], serverNow: Date.parse(time) });
    expect(parse(lock, holdsKey)).to.deep.equal({ '0.a': 'open', 'by-hand': 'stays' });
  });

  it('writes nothing where nothing changes', async () => {
    const world = createInMemoryWorld();
    const lock = await lockHeld(world, { 'by-hand': 'stays' });
    await act(lock, 'by-hand');
    expect(countLeaseWrites(world)).to.equal(1);
  });
});

describe('chooseNodesToUncordon', () => {
  /** A pool of four machines, each by itself or all of one slice. */
  function createPool(isSlice: boolean): InMemoryWorld {
    const world = createInMemoryWorld({ slices: isSlice ? ['slice-a'] : [], jobSet: null });
    if (!isSlice) world.cluster.addPool('slice-a', { nodes: 4 });
    world.emulator.settle();
    return world;
  }

  interface Changes {
    isCordoned?: boolean;
    /** The id that the node carries. */
    by?: string;
    isReady?: boolean;
    isOfSlice?: boolean;
  }

  function change(
    { cluster }: InMemoryWorld,
    index: number,
    { isCordoned = true, by, isReady = true, isOfSlice = true }: Changes,
  ): string {
    const name = nodeNames(cluster, 'slice-a')[index] ?? '';
    cluster.change('nodes', undefined, name, ({ metadata, spec, status }) => {
      if (isCordoned) spec.unschedulable = true;
      if (by !== undefined) {
        metadata.annotations = { ...metadata.annotations, 'autometric-failover/action': by };
      }
      if (!isOfSlice) delete metadata.labels?.['cloud.google.com/gke-tpu-topology'];
      for (const condition of status.conditions) {
        if (condition.type === 'Ready' && !isReady) condition.status = 'False';
      }
    });
    return name;
  }

  /** What the close of an incident releases. */
  async function close(world: InMemoryWorld, lock: PoolLock, incidentId: string) {
    const nodes = await readPool(world.kubernetes, 'slice-a');
    const pool = { nodePool: 'slice-a', nodes };
    const chosen = await chooseNodesToUncordon(world.kubernetes, lock, incidentId, pool);
    const names = (refs: { name: string }[]) => refs.map(({ name }) => name);
    return {
      cordoned: names(chosen.nodes.cordoned),
      schedulable: names(chosen.nodes.schedulable),
      isAll: chosen.isAll,
    };
  }

  async function ignoredBecause(work: Promise<unknown>): Promise<string> {
    const thrown: unknown = await work.catch((error: unknown) => error);
    if (!(thrown instanceof Ignored)) throw new Error(`expected an Ignored, not ${JSON.stringify(thrown)}`);
    return thrown.message;
  }

  it('has the nodes that carry the id of a hold and are Ready, and says whether these are all', async () => {
    const world = createPool(false);
    const lock = await lockHeld(world, { '0.a': 'open' });
    const held = change(world, 0, { by: '0.a' });
    change(world, 1, {});
    const released = change(world, 2, { by: '0.a', isCordoned: false });
    const one = { cordoned: [held], schedulable: [released] };
    expect(await close(world, lock, '0.a')).to.deep.equal({ ...one, isAll: true });
    change(world, 3, { by: '0.a', isReady: false });
    expect(await close(world, lock, '0.a')).to.deep.equal({ ...one, isAll: false });
    expect(parse(lock, holdsKey)).to.deep.equal({ '0.a': 'closed' });
    // That it has closed is written once.
    expect(countLeaseWrites(world)).to.equal(2);
  });

  it('has none for an incident that does not hold the pool, though another one that has closed does', async () => {
    const world = createPool(false);
    const lock = await lockHeld(world, { '0.b': 'closed' });
    change(world, 0, { by: '0.b' });
    expect(await ignoredBecause(close(world, lock, '0.a'))).to.match(/is not cordoned for it$/);
    expect(parse(lock, holdsKey)).to.deep.equal({ '0.b': 'closed' });
  });

  it('has none for an incident whose own action wants the pool cordoned until a person comes', async () => {
    const world = createPool(false);
    const lock = await lockHeld(world, { '0.a': 'stays' });
    change(world, 0, { by: '0.a' });
    expect(await ignoredBecause(close(world, lock, '0.a'))).to.match(/because action 0\.a cordoned it too/);
    expect(parse(lock, holdsKey)).to.deep.equal({ '0.a': 'stays' });
  });

  it('has all nodes of a slice or none, and each by itself where a node is of no slice', async () => {
    const world = createPool(true);
    const lock = await lockHeld(world, { '0.a': 'open' });
    const names = [0, 1, 2, 3].map((index) => change(world, index, { by: '0.a', isReady: index !== 3 }));
    expect(await ignoredBecause(close(world, lock, '0.a'))).to.include('only 3 of the slice');
    change(world, 2, { isOfSlice: false });
    expect((await close(world, lock, '0.a')).cordoned).to.deep.equal(names.slice(0, 3));
  });
});

describe('findOtherHold', () => {
  it('counts an open incident for seven days, and one whose beginning is not known for ever', () => {
    const annotations = {
      [holdsKey]: '{"0.a":"open","0.b":"closed"}',
      [timesKey]: JSON.stringify({ '0.a': time }),
    };
    const end = Date.parse(time) + 7 * 24 * 3_600_000;
    expect(findOtherHold(annotations, { serverNow: end })).to.equal('incident 0.a is still open');
    expect(findOtherHold(annotations, { serverNow: end, own: ['0.a'] })).to.equal(undefined);
    expect(findOtherHold(annotations, { serverNow: end + 1 })).to.equal(undefined);
    const unknown = { [holdsKey]: '{"0.a":"open"}' };
    expect(findOtherHold(unknown, { serverNow: end + 1 })).to.equal('incident 0.a is still open');
  });
});
