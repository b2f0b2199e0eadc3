import { expect } from 'chai';
import { parseAction } from '../../src/request/action.ts';
import type { Action } from '../../src/request/action.ts';
import { claimAction } from '../../src/failover/claim.ts';
import type { Claim } from '../../src/failover/claim.ts';
import { readConfig } from '../../src/config.ts';
import type { Plan } from '../../src/plan.ts';
import { FailoverError } from '../../src/errors.ts';
import { updateAnnotations } from '../../src/state/lease.ts';
import { failoverNamespace } from '../../src/names.ts';
import { forgetRecord, writeAnswer, writePlan } from '../../src/state/record.ts';
import { countWrites } from '../fixtures/count-writes.ts';
import { createInMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import type { ConnectOptions, InMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import { refusalOf } from '../fixtures/refusal-of.ts';
import { trainCluster } from '../fixtures/train-world.ts';

const config = readConfig({ CLUSTERS: trainCluster });
const plan: Plan = { claimId: 'one' };
const steps = [{ step: 'cordon' as const, target: 'slice-a', nodes: 4, cordoned: 4, already_cordoned: 0 }];

function createWorld(): InMemoryWorld {
  return createInMemoryWorld({ slices: [], jobSet: null });
}

function toAction(changes: Record<string, unknown> = {}): Action {
  const body = {
    id: 'a',
    type: 'cordon_nodepool',
    requestor: 't',
    reason: 'r',
    node_pool: 'slice-a',
    ...changes,
  };
  return parseAction(body, config.clusters, 'generated');
}

interface Options extends ConnectOptions {
  /** What names resolve to; the number of times is counted. */
  resolvePool?: () => Promise<string>;
}

function tryClaim(world: InMemoryWorld, action = toAction(), options: Options = {}) {
  const { resolvePool = async () => action.nodePool ?? '' } = options;
  return claimAction(action, { kubernetes: world.connect(options), clock: world.clock, resolvePool });
}

async function claim(world: InMemoryWorld, action = toAction(), options: Options = {}): Promise<Claim> {
  const claimed = await tryClaim(world, action, options);
  if (!('claim' in claimed)) throw new Error('it was done already');
  return claimed.claim;
}

/** Carries a claimed action out to its end. */
async function finish({ kubernetes, record, lock }: Claim): Promise<void> {
  await writeAnswer(kubernetes, await writePlan(kubernetes, record, plan), steps, { isOpen: false });
  await lock.release({ forget: false });
}

/** The instance dies with the plan written down. */
async function abandon({ kubernetes, record }: Claim): Promise<void> {
  await writePlan(kubernetes, record, plan);
}

function leaseNames({ cluster }: InMemoryWorld): string[] {
  return cluster.leases(failoverNamespace).map(({ metadata }) => metadata.name);
}

function holderOf({ cluster }: InMemoryWorld, nodePool = 'slice-a'): string | undefined {
  return cluster.get('leases', failoverNamespace, `pool-${nodePool}`)?.spec.holderIdentity;
}

describe('claimAction', () => {
  it('claims a new id and its pool with two writes', async () => {
    const world = createWorld();
    const claimed = await claim(world);
    expect(claimed).to.deep.include({ nodePool: 'slice-a', unfinishedId: undefined });
    expect(claimed.record).to.deep.include({ id: 'a', nodePool: 'slice-a', plan: undefined });
    expect(holderOf(world)).to.equal(`a/${claimed.claimId}`);
    expect(countWrites(world.emulator.writes())).to.deep.equal({ 'POST leases': 2 });
  });

  it('does not look up a generated id', async () => {
    const world = createWorld();
    await claim(world, toAction({ id: null }));
    const paths = world.emulator.requests.map(({ method, path }) => `${method} ${path.split('/').at(-1)}`);
    expect(paths).to.deep.equal(['GET pool-slice-a', 'POST leases', 'POST leases']);
  });

  it('answers from the record if a generated id has a record after all', async () => {
    const world = createWorld();
    await finish(await claim(world));
    const again = { ...toAction(), isIdGenerated: true };
    expect(await tryClaim(world, again)).to.deep.include({ answer: steps });
  });

  it('checks the lock before every write of its client, and before no read', async () => {
    const world = createWorld();
    const { kubernetes, record } = await claim(world);
    world.clock.advance(50_000);
    await kubernetes.core.listNode();
    expect((await refusalOf(writePlan(kubernetes, record, plan))).code).to.equal('upstream_timeout');
    expect(countWrites(world.emulator.writes())).to.deep.equal({ 'POST leases': 2 });
  });

  it('leaves nothing behind when names cannot be resolved', async () => {
    const world = createWorld();
    const resolvePool = () => Promise.reject(new FailoverError('target_not_found', 'there is no node x'));
    expect((await refusalOf(tryClaim(world, toAction(), { resolvePool }))).message).to.equal(
      'there is no node x',
    );
    expect(leaseNames(world)).to.deep.equal(['cluster']);
  });

  it('answers a done action from its record, without resolving, locking or writing', async () => {
    const world = createWorld();
    await finish(await claim(world));
    const before = world.emulator.requests.length;
    const resolvePool = () => Promise.reject(new Error('resolved'));
    const answered = await tryClaim(world, toAction({ reason: 'again', requestor: 'somebody else' }), {
      resolvePool,
    });
    expect(answered).to.deep.include({ answer: steps });
    // The pool's Lease is read along, in case that the id is new.
    expect(world.emulator.requests.slice(before).map(({ method }) => method)).to.deep.equal(['GET', 'GET']);
  });

  // F-8: the same id with a different body is refused.
  for (const changes of [
    { type: 'cordon_and_repair_nodepool' },
    { node_pool: 'slice-b' },
    { node_name: 'gke-a-1' },
    { preflight_checks: { expected_node_counts: true } },
    { namespace: 'research' },
    { jobset_name: 'train' },
  ]) {
    it(`refuses an id whose record differs in ${JSON.stringify(changes)}`, async () => {
      for (const leave of [finish, abandon, async () => undefined]) {
        const world = createWorld();
        await leave(await claim(world));
        const refusal = await refusalOf(tryClaim(world, toAction(changes)));
        expect(refusal).to.include({ code: 'id_reused', status: 409 });
        expect(refusal.message).to.equal(
          'id a was used for another action on node pool slice-a; send this one with a new id',
        );
      }
    });
  }

  it('waits 10 s while the same action is running, then says that it is running', async () => {
    const world = createWorld();
    await abandon(await claim(world));
    const begunAt = world.clock.now();
    const refusal = await refusalOf(tryClaim(world));
    expect(refusal).to.include({ code: 'action_in_progress', status: 409 });
    expect(refusal.message).to.match(
      /^action a is still being carried out; its last sign of life was \d+ s ago, and if it is dead, its lock can be taken at 2026-11-23T03:01:10Z: send the same id again then$/,
    );
    expect(Number(refusal.headers['Retry-After'])).to.be.within(59, 61);
    // It asks every 250 to 750 ms, and no more in the last half second.
    expect(world.clock.now() - begunAt).to.be.within(9_500, 10_250);
    expect(leaseNames(world)).to.have.length(3);
  });

  it('answers from the record if the same action finishes meanwhile', async () => {
    const world = createWorld();
    const first = await claim(world);
    let reads = 0;
    const answered = await tryClaim(world, toAction(), {
      async onRequest({ url }) {
        if (url.includes('/leases/pool-') && ++reads === 3) await finish(first);
      },
    });
    expect(answered).to.deep.include({ answer: steps });
    expect(holderOf(world)).to.equal(undefined);
  });

  it('answers from the record if the same action finished between reading the record and taking the lock', async () => {
    const world = createWorld();
    const first = await claim(world);
    const answered = await tryClaim(world, toAction(), {
      async onRequest({ url, method }) {
        if (method === 'GET' && url.includes('/leases/pool-') && holderOf(world)?.startsWith('a/')) {
          await finish(first);
        }
      },
    });
    expect(answered).to.deep.include({ answer: steps });
    expect(holderOf(world)).to.equal(undefined);
  });

  // F-11: a crash after the cordon and before the deletion: the retry resumes.
  it('resumes with the recorded plan and pool once the lock of a dead claim has expired', async () => {
    const world = createWorld();
    const first = await claim(world);
    await abandon(first);
    world.clock.advance(71_000);
    const resolvePool = () => Promise.reject(new Error('resolved'));
    const second = await claim(world, toAction(), { resolvePool });
    expect(second.record.plan).to.deep.equal(plan);
    expect(second.nodePool).to.equal('slice-a');
    expect(second.claimId).not.to.equal(first.claimId);
    expect(second.unfinishedId).to.equal(undefined);
  });

  it('resumes at once an action that failed and gave its lock back', async () => {
    const world = createWorld();
    const first = await claim(world);
    await abandon(first);
    await first.lock.release({ forget: false });
    expect((await claim(world)).record.plan).to.deep.equal(plan);
  });

  // F-9: different ids for the same target at once were admitted twice.
  it('waits 10 s for another action on the pool, names it, and deletes its own record', async () => {
    const world = createWorld();
    await claim(world, toAction({ id: 'first' }));
    const refusal = await refusalOf(tryClaim(world, toAction({ id: 'second' })));
    expect(refusal.message).to.match(
      /^action first, on the same node pool slice-a, is still being carried out; its last sign of life was \d+ s ago, and if it is dead, its lock can be taken at 2026-11-23T03:01:10Z: send the same id again then$/,
    );
    expect(world.cluster.leases(failoverNamespace).map((each) => each.spec.holderIdentity)).not.to.include(
      'second',
    );
  });

  it('goes on after another action on the pool is done', async () => {
    const world = createWorld();
    const first = await claim(world, toAction({ id: 'first' }));
    let reads = 0;
    const second = await claim(world, toAction({ id: 'second' }), {
      async onRequest({ url }) {
        if (url.includes('/leases/pool-') && ++reads === 3) await finish(first);
      },
    });
    expect(holderOf(world)).to.equal(`second/${second.claimId}`);
    expect(second.unfinishedId).to.equal(undefined);
  });

  // F-12: pool B was refused while pool A was limited.
  it('does not wait for an action on another pool', async () => {
    const world = createWorld();
    await claim(world, toAction({ id: 'first' }));
    const before = world.clock.now();
    await claim(world, toAction({ id: 'second', node_pool: 'slice-b' }));
    expect(world.clock.now()).to.equal(before);
  });

  it('says which action the last holder left unfinished', async () => {
    const world = createWorld();
    await abandon(await claim(world, toAction({ id: 'first' })));
    world.clock.advance(71_000);
    expect((await claim(world, toAction({ id: 'second' }))).unfinishedId).to.equal('first');
  });

  it('names the last holder as unfinished even if its record cannot be read, and goes on', async () => {
    const world = createWorld();
    const first = await claim(world, toAction({ id: 'first' }));
    await abandon(first);
    await updateAnnotations(world.kubernetes, first.record.lease.name, (annotations) => ({
      ...annotations,
      'autometric-failover/plan': '{',
    }));
    world.clock.advance(71_000);
    expect((await claim(world, toAction({ id: 'second' }))).unfinishedId).to.equal('first');
  });

  it('does not name a last holder that did nothing or is done', async () => {
    const world = createWorld();
    await claim(world, toAction({ id: 'first' }));
    world.clock.advance(71_000);
    const second = await claim(world, toAction({ id: 'second' }));
    expect(second.unfinishedId).to.equal(undefined);
    await finish(second);
    expect((await claim(world, toAction({ id: 'third' }))).unfinishedId).to.equal(undefined);
  });

  // F-35: a restart that named only the JobSet does not touch the pool that the JobSet has moved to.
  it('uses the pool of the record, whatever the names resolve to now', async () => {
    const world = createWorld();
    const restart = toAction({
      type: 'cordon_nodepool_and_restart_jobset',
      jobset_name: 'train',
      node_pool: null,
    });
    await abandon(await claim(world, restart, { resolvePool: async () => 'slice-a' }));
    world.clock.advance(71_000);
    const second = await claim(world, restart, { resolvePool: async () => 'slice-b' });
    expect(second.nodePool).to.equal('slice-a');
    expect(holderOf(world, 'slice-b')).to.equal(undefined);
  });

  it('uses the pool of the first claim when two claims resolve a name differently', async () => {
    const world = createWorld();
    const first = await claim(world, toAction(), {
      resolvePool: async () => 'slice-b',
      async onRequest({ url, method }) {
        // Between its look at the record and the creation of it.
        if (method === 'POST' && url.endsWith('/leases') && leaseNames(world).length === 1) {
          const other = await claim(world, toAction(), { resolvePool: async () => 'slice-a' });
          await abandon(other);
          await other.lock.release({ forget: false });
        }
      },
    });
    expect(first.nodePool).to.equal('slice-a');
    expect(first.record.plan).to.deep.equal(plan);
    expect(holderOf(world, 'slice-b')).to.equal(undefined);
  });

  it('answers from the record if another claim took over the new record and finished it', async () => {
    const world = createWorld();
    let isFirst = true;
    const answered = await tryClaim(world, toAction(), {
      async onRequest({ url }) {
        if (!isFirst || !url.includes('/leases/pool-')) return;
        isFirst = false;
        await finish(await claim(world));
      },
    });
    expect(answered).to.deep.include({ answer: steps });
    expect(holderOf(world)).to.equal(undefined);
  });

  it('moves to the pool of the record if the record has changed once the lock is taken', async () => {
    const world = createWorld();
    const first = await claim(world);
    await first.lock.release({ forget: false });
    let isFirst = true;
    const second = await claim(world, toAction(), {
      async onRequest({ url }) {
        if (!isFirst || !url.includes('/leases/pool-')) return;
        isFirst = false;
        // It was given up, and claimed again when its names meant another pool.
        await forgetRecord(world.kubernetes, first.record);
        const other = await claim(world, toAction(), { resolvePool: async () => 'slice-b' });
        await other.lock.release({ forget: false });
      },
    });
    expect(second.nodePool).to.equal('slice-b');
    expect(holderOf(world)).to.equal(undefined);
    expect(holderOf(world, 'slice-b')).to.equal(`a/${second.claimId}`);
  });

  it('fails when reading the record of the last holder fails', async () => {
    const world = createWorld();
    const last = await claim(world, toAction({ id: 'first' }));
    await abandon(last);
    world.clock.advance(71_000);
    const path = new RegExp(last.record.lease.name);
    world.emulator.faults.add({ method: 'GET', path, times: Infinity, effect: { status: 500 } });
    expect((await refusalOf(tryClaim(world, toAction({ id: 'second' })))).code).to.equal('upstream_failed');
    expect(holderOf(world)).to.equal(undefined);
  });

  it('claims the id again when the claim that had it was refused meanwhile', async () => {
    const world = createWorld();
    const first = await claim(world);
    let reads = 0;
    const second = await claim(world, toAction(), {
      async onRequest({ url }) {
        if (!url.includes('/leases/pool-') || ++reads !== 2) return;
        await forgetRecord(first.kubernetes, first.record);
        await first.lock.release({ forget: true });
      },
    });
    expect(second.record.lease.annotations).to.include({ 'autometric-failover/attempt': second.claimId });
  });

  it('gives the lock back when the claim cannot be confirmed', async () => {
    const world = createWorld();
    const first = await claim(world);
    await abandon(first);
    await first.lock.release({ forget: false });
    world.emulator.faults.add({
      method: 'GET',
      path: /leases\/action-/,
      skip: 1,
      times: Infinity,
      effect: { status: 500 },
    });
    expect((await refusalOf(tryClaim(world))).code).to.equal('upstream_failed');
    expect(holderOf(world)).to.equal(undefined);
  });
});
