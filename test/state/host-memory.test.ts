import { expect } from 'chai';
import { noteHostRepair, readHostMemory } from '../../src/state/host-memory.ts';
import { createLease } from '../../src/state/lease.ts';
import { failoverNamespace } from '../../src/names.ts';
import { createInMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import type { InMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import { refusalOf } from '../fixtures/refusal-of.ts';

const day = 86_400_000;

function note({ kubernetes, clock }: InMemoryWorld, action: string, host = 'host-1'): Promise<void> {
  const at = new Date(clock.now()).toISOString();
  return noteHostRepair(kubernetes, host, { action, at, way: 'delete', node: 'gke-0' });
}

async function actionsOf({ kubernetes }: InMemoryWorld, host = 'host-1') {
  const memory = await readHostMemory(kubernetes);
  if (memory === 'unread') throw new Error('the memory cannot be read');
  return memory.get(host)?.map(({ action }) => action);
}

function leaseOf({ cluster }: InMemoryWorld, host = 'host-1') {
  return cluster
    .leases(failoverNamespace)
    .find(({ metadata }) => metadata.annotations?.['autometric-failover/host'] === host);
}

const createWorld = () => createInMemoryWorld({ slices: [], jobSet: null });

describe('the memory of a host', () => {
  it('has the repairs of each host, the oldest first', async () => {
    const world = createWorld();
    for (const action of ['a', 'b']) {
      await note(world, action);
      world.clock.advance(day);
    }
    await note(world, 'c', 'host-2');
    expect(await actionsOf(world)).to.deep.equal(['a', 'b']);
    expect(await actionsOf(world, 'host-2')).to.deep.equal(['c']);
    expect(await actionsOf(world, 'host-3')).to.equal(undefined);
    const lease = leaseOf(world);
    expect(lease?.metadata.labels).to.deep.equal({ 'autometric-failover/kind': 'host' });
    expect(lease?.metadata.annotations).to.have.property('autometric-failover/host', 'host-1');
  });

  it('has each action once', async () => {
    const world = createWorld();
    for (const action of ['a', 'b', 'a', 'b']) await note(world, action);
    expect(await actionsOf(world)).to.deep.equal(['a', 'b']);
  });

  it('keeps ten, and forgets after 30 days', async () => {
    const world = createWorld();
    const names = Array.from({ length: 12 }, (_one, index) => `a${index}`);
    for (const name of names) await note(world, name);
    expect(await actionsOf(world)).to.deep.equal(names.slice(2));
    world.clock.advance(30 * day - 1);
    expect(await actionsOf(world)).to.deep.equal(names.slice(2));
    world.clock.advance(1);
    expect(await actionsOf(world)).to.deep.equal([]);
    await note(world, 'later');
    expect(await actionsOf(world)).to.deep.equal(['later']);
  });

  it('loses none of two that are written at once', async () => {
    const world = createWorld();
    await note(world, 'first');
    await Promise.all(
      ['a', 'b', 'c'].map((action) => note({ ...world, kubernetes: world.connect() }, action)),
    );
    expect((await actionsOf(world))?.toSorted()).to.deep.equal(['a', 'b', 'c', 'first']);
  });

  it('costs one call for the first repair, and three for one more', async () => {
    const world = createWorld();
    const methods = () => world.emulator.requests.map(({ method }) => method);
    await note(world, 'a');
    expect(methods()).to.deep.equal(['POST']);
    await note(world, 'b');
    expect(methods()).to.deep.equal(['POST', 'POST', 'GET', 'PUT']);
  });

  it('gives up where something refuses each write', async () => {
    const world = createWorld();
    await note(world, 'a');
    world.emulator.faults.add({ method: 'PUT', path: /host-/, times: 300, effect: { status: 409 } });
    expect((await refusalOf(note(world, 'b'))).message).to.include('Conflict 200 times');
    expect(await actionsOf(world)).to.deep.equal(['a']);
  });

  it('passes on what is no failure of a call', async () => {
    const thrown = new TypeError('a fault of ours');
    const within = () => {
      throw thrown;
    };
    const work = readHostMemory({ ...createWorld().kubernetes, within });
    expect(await work.catch((error: unknown) => error)).to.equal(thrown);
  });

  it('takes what is broken for nothing, and says what it cannot read', async () => {
    const world = createWorld();
    await note(world, 'a');
    const lease = leaseOf(world);
    world.cluster.change('leases', failoverNamespace, lease?.metadata.name ?? '', ({ metadata }) =>
      Object.assign(metadata.annotations ?? {}, { 'autometric-failover/repairs': '[{}]' }),
    );
    const labels = { 'autometric-failover/kind': 'host' };
    await createLease(world.kubernetes, { name: 'host-x', labels, annotations: {}, renewedAt: 0 });
    expect(await actionsOf(world)).to.deep.equal([]);
    world.emulator.faults.add({ method: 'GET', path: /leases/, times: Infinity, effect: { status: 403 } });
    expect(await readHostMemory(world.kubernetes)).to.equal('unread');
  });
});
