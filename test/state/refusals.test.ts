import { expect } from 'chai';
import { readConfig } from '../../src/config.ts';
import { FailoverError } from '../../src/errors.ts';
import type { Code } from '../../src/errors.ts';
import { failoverNamespace } from '../../src/names.ts';
import { parseAction } from '../../src/request/action.ts';
import type { Action } from '../../src/request/action.ts';
import { updateAnnotations } from '../../src/state/lease.ts';
import { noteRefusal, readRefusals } from '../../src/state/refusals.ts';
import { AlertWorld } from '../fixtures/alert-world.ts';
import { createNotification } from '../fixtures/notification.ts';
import { createInMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import type { InMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import { trainCluster } from '../fixtures/train-world.ts';
import { fixChance } from '../simulation/fixed-chance.ts';

function createWorld(): InMemoryWorld {
  return createInMemoryWorld({ slices: [], jobSet: null });
}

const { clusters } = readConfig({ CLUSTERS: trainCluster });

function request(id: string, nodePool = 'slice-a', requestor = 'a policy'): Action {
  const body = { id, type: 'cordon_nodepool', node_pool: nodePool, requestor, reason: 'a summary' };
  return parseAction(body, clusters, 'generated');
}

function note(world: InMemoryWorld, action: Action, code: Code = 'paused'): Promise<void> {
  const { clock } = world;
  return noteRefusal(world.connect(), action, new FailoverError(code, `${code}, because`), clock);
}

/** How often the Lease was written, or was to be written. */
function writes({ emulator }: InMemoryWorld): number {
  return emulator
    .writes()
    .filter(({ body }) => (body as { metadata?: { name?: string } }).metadata?.name === 'refusals').length;
}

const idsOf = async ({ kubernetes }: InMemoryWorld) => (await readRefusals(kubernetes)).map(({ id }) => id);

// F-211: a storm of refused alerts wrote a Lease of up to 200 KB for each delivery, and each lost writer tried again at once.
describe('the list of refused requests', () => {
  it('is the newest first, for a day', async () => {
    const world = createWorld();
    await note(world, request('one'));
    world.clock.advance(2 * 60_000);
    await note(world, request('two', 'slice-b'));
    expect(await idsOf(world)).to.deep.equal(['two', 'one']);
    world.clock.advance(24 * 3_600_000 - 2 * 60_000 - 1_000);
    expect(await idsOf(world)).to.deep.equal(['two', 'one']);
    world.clock.advance(1_000);
    expect(await idsOf(world)).to.deep.equal(['two']);
  });

  it('says who asked for what, where, and why it was refused, and cuts what is long', async () => {
    const world = createWorld();
    const incident = {
      id: '0.incident',
      startedAt: 0,
      isRenotification: false,
      isClosed: false,
      uncordonsOnClose: false,
      subject: undefined,
      namespace: undefined,
      displayName: 'a policy',
    };
    const action: Action = {
      ...request('one'),
      namespace: 'team-a',
      jobSetName: 'train',
      reason: 'r'.repeat(257),
      caller: 'alice@example.com',
      incident,
    };
    const before = world.emulator.requests.length;
    await noteRefusal(world.kubernetes, action, new FailoverError('paused', 'm'.repeat(601)), world.clock);
    expect(world.emulator.requests.slice(before).map(({ method }) => method)).to.deep.equal(['GET', 'POST']);
    const at = new Date(world.clock.now()).toISOString();
    const expected = {
      id: 'one',
      state: 'refused',
      type: 'cordon_nodepool',
      requestor: 'a policy',
      reason: 'r'.repeat(256),
      node_pool: 'slice-a',
      jobset: 'team-a/train',
      caller: 'alice@example.com',
      incident_id: '0.incident',
      received_at: at,
      error: { code: 'paused', message: 'm'.repeat(600), at },
    };
    expect(await readRefusals(world.kubernetes)).to.deep.equal([expected]);
    await note(world, request('two', 'slice-b'));
    const [bare] = await readRefusals(world.kubernetes);
    expect(bare).to.have.all.keys([
      'id',
      'state',
      'type',
      'requestor',
      'reason',
      'node_pool',
      'received_at',
      'error',
    ]);
  });

  it('has at most 200,000 bytes, and drops the older half beyond that', async () => {
    for (const [bytes, kept] of [
      [200_000, ['new', 'old-1', 'old-2']],
      [200_001, ['new']],
    ] as const) {
      const world = createWorld();
      await note(world, request('old-2', 'slice-b'));
      await note(world, request('old-1', 'slice-c'));
      const known = await readRefusals(world.kubernetes);
      await note(world, request('new'));
      const size = Buffer.byteLength(JSON.stringify(await readRefusals(world.kubernetes)));
      // Their text is that of an earlier version, which cut nothing. An é has two bytes.
      const length = bytes - size;
      const padded = known.map((each, index) => ({
        ...each,
        reason:
          each.reason + (index === 0 ? 'é'.repeat(Math.floor(length / 2)) + 'e'.repeat(length % 2) : ''),
      }));
      await updateAnnotations(world.kubernetes, 'refusals', () => ({
        'autometric-failover/refusals': JSON.stringify(padded),
      }));
      await note(world, request('new'));
      expect(await idsOf(world), String(bytes)).to.deep.equal(kept);
    }
  });

  it('has the same refusal of the same request once, however often it is delivered', async () => {
    const world = createWorld();
    for (let delivery = 0; delivery < 20; delivery++) {
      await note(world, request('one'), 'action_in_progress');
      world.clock.advance(600_000);
    }
    expect(writes(world)).to.equal(1);
    // Another reason, and another target, are news.
    await note(world, request('one'), 'paused');
    await note(world, request('one', 'slice-b'), 'paused');
    expect(await idsOf(world)).to.deep.equal(['one', 'one', 'one']);
  });

  it('has five that are alike in a minute, and others beside them', async () => {
    const world = createWorld();
    for (let each = 0; each < 100; each++) await note(world, request(`0.${each}`));
    expect(writes(world)).to.equal(5);
    await note(world, request('alice-1', 'slice-a', 'alice'));
    await note(world, request('0.b', 'slice-b'));
    await note(world, request('0.c'), 'budget_exceeded');
    expect(await idsOf(world)).to.have.length(8);
    world.clock.advance(60_000);
    await note(world, request('0.later'));
    expect((await idsOf(world))[0]).to.equal('0.later');
  });

  it('grows by 30 in a minute at most', async () => {
    const world = createWorld();
    for (let each = 0; each < 100; each++) await note(world, request(`0.${each}`, `pool-${each}`));
    expect(writes(world)).to.equal(30);
  });

  it('keeps the newest 200', async () => {
    const world = createWorld();
    for (let each = 0; each < 210; each++) {
      await note(world, request(`0.${each}`, `pool-${each}`));
      world.clock.advance(3_000);
    }
    const ids = await idsOf(world);
    expect(ids).to.have.length(200);
    expect([ids[0], ids.at(-1)]).to.deep.equal(['0.209', '0.10']);
  });

  it('is written about once for each of many that are refused at the same moment', async () => {
    const world = createWorld();
    await note(world, request('first', 'slice-b'));
    const storm = Array.from({ length: 40 }, (_, each) => request(`0.${each}`));
    const before = writes(world);
    // Who waits before it tries again comes back alone.
    const sleepers: { at: number; wake: () => void }[] = [];
    const sleep = (ms: number) =>
      new Promise<void>((wake) => void sleepers.push({ at: world.clock.now() + ms, wake }));
    const clock = { now: () => world.clock.now(), sleep };
    const refusal = new FailoverError('paused', 'paused, because');
    const all = storm.map((action) => noteRefusal(world.connect(), action, refusal, clock));
    for (let round = 0; round < 3 * storm.length; round++) {
      await new Promise((resolve) => setImmediate(resolve));
      sleepers.sort((a, b) => a.at - b.at);
      sleepers.shift()?.wake();
    }
    await Promise.all(all);
    expect(writes(world) - before).to.be.at.most(storm.length + 5);
    expect(await idsOf(world)).to.have.length(6);
  });

  it('is given up when its Lease cannot be written, after three tries', async () => {
    const world = createWorld();
    await note(world, request('first'));
    const path = `/apis/coordination.k8s.io/v1/namespaces/${failoverNamespace}/leases/refusals`;
    world.emulator.faults.add({
      method: 'PUT',
      path: new RegExp(path),
      times: Infinity,
      effect: { status: 409 },
    });
    const before = writes(world);
    const waits: number[] = [];
    const clock = { now: () => world.clock.now(), sleep: async (ms: number) => void waits.push(ms) };
    const bringBack = fixChance();
    try {
      const error = new FailoverError('paused', 'paused, because');
      await noteRefusal(world.connect(), request('second', 'slice-b'), error, clock);
    } finally {
      bringBack();
    }
    expect(writes(world) - before).to.equal(3);
    expect(waits).to.deep.equal([250, 250]);
    expect(await idsOf(world)).to.deep.equal(['first']);
  });

  it('is written after the pool is free again, and stays small when a policy raises an alert for each node', async () => {
    const world = new AlertWorld();
    world.cluster.change('leases', failoverNamespace, 'cluster', ({ metadata }) => {
      metadata.annotations = { ...metadata.annotations, 'autometric-failover/paused': 'INC-1' };
    });
    const alert = (id: string) => ({
      id,
      startedAt: world.time.now,
      type: 'k8s_node_pool',
      resource: { node_pool_name: 'slice-a' },
      labels: { failover_action: 'cordon_nodepool' },
    });
    /** The Leases that were written, one after the other. */
    const written = () =>
      world.emulator
        .writes()
        .map(({ body, path }) => (body as { metadata?: { name?: string } }).metadata?.name ?? path)
        .map((name) => name.replace(/.*\//, ''))
        .filter((name) => ['pool-slice-a', 'refusals'].includes(name));

    expect((await world.notify(alert('0.first'))).body.code).to.equal('paused');
    expect(written()).to.deep.equal(['pool-slice-a', 'pool-slice-a', 'refusals']);

    const storm = Array.from({ length: 24 }, (_, each) =>
      world.publish(createNotification(alert(`0.${each}`))),
    );
    await world.deliverAll(storm);
    expect(storm.map(({ answer }) => answer?.body.code)).to.deep.equal(storm.map(() => 'paused'));
    expect(written().filter((name) => name === 'refusals')).to.have.length.within(5, 10);
  });
});
