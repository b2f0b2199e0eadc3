import { expect } from 'chai';
import * as v from 'valibot';
import { clusterNameSchema } from '../../src/cluster-name.ts';
import type { Plan } from '../../src/plan.ts';
import { createLease, readLease, replaceLease, updateAnnotations } from '../../src/state/lease.ts';
import { failoverNamespace } from '../../src/names.ts';
import {
  createRecord,
  forgetRecord,
  readRecord,
  takeRecordUp,
  writeAnswer,
  writePlan,
} from '../../src/state/record.ts';
import { parseAction } from '../../src/request/action.ts';
import { sweepRecords } from '../../src/state/sweep.ts';
import type { ActionRecord } from '../../src/state/record-format.ts';
import { countWrites } from '../fixtures/count-writes.ts';
import { createInMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import type { InMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import { refusalOf } from '../fixtures/refusal-of.ts';

const hour = 3_600_000;

function createWorld(): InMemoryWorld {
  return createInMemoryWorld({ slices: [], jobSet: null });
}

const action = {
  ...parseAction(
    { type: 'cordon_nodepool', node_pool: 'slice-a', requestor: 'alice', reason: 'ECC errors' },
    [v.parse(clusterNameSchema, 'projects/ml-prod/locations/us-central1/clusters/train')],
    'a',
  ),
  caller: 'alice@example.com',
};
const draft = { id: 'a', hash: 'h', nodePool: 'slice-a', claimId: 'one' };
const settled = { isOpen: false };
const plan: Plan = { claimId: 'one' };
const answer = [{ step: 'cordon' as const, target: 'slice-a', nodes: 4, cordoned: 4, already_cordoned: 0 }];

async function mustCreate({ kubernetes }: InMemoryWorld, changes: Partial<typeof draft> = {}) {
  const { id, ...held } = { ...draft, ...changes };
  const record = await createRecord(kubernetes, { ...action, id }, { ...held });
  if (!record) throw new Error('the record exists already');
  return record;
}

/** Writes an action down that was done. */
async function finish(world: InMemoryWorld, id: string): Promise<ActionRecord> {
  const record = await mustCreate(world, { id });
  return writeAnswer(world.kubernetes, await writePlan(world.kubernetes, record, plan), answer, settled);
}

/** Leaves out these annotations of ours. */
function without(annotations: Record<string, string>, ...names: string[]): Record<string, string> {
  const gone = names.map((name) => `autometric-failover/${name}`);
  return Object.fromEntries(Object.entries(annotations).filter(([key]) => !gone.includes(key)));
}

function actionLeases({ cluster }: InMemoryWorld): string[] {
  return cluster
    .leases(failoverNamespace)
    .flatMap(({ metadata }) => metadata.annotations?.['autometric-failover/id'] ?? [])
    .sort();
}

describe('createRecord', () => {
  it('writes down what the action is to do, for people to read too', async () => {
    const world = createWorld();
    const record = await mustCreate(world);
    expect(record).to.deep.include({ id: 'a', hash: 'h', nodePool: 'slice-a' });
    expect(record.plan).to.equal(undefined);
    const stored = world.cluster.get('leases', failoverNamespace, record.lease.name);
    expect(stored?.metadata.annotations).to.deep.equal({
      'autometric-failover/id': 'a',
      'autometric-failover/type': 'cordon_nodepool',
      'autometric-failover/requestor': 'alice',
      'autometric-failover/reason': 'ECC errors',
      'autometric-failover/hash': 'h',
      'autometric-failover/request': JSON.stringify({
        namespace: 'default',
        nodePool: 'slice-a',
        expectedNodeCounts: false,
        caller: 'alice@example.com',
      }),
      'autometric-failover/node-pool': 'slice-a',
      'autometric-failover/phase': 'claimed',
      'autometric-failover/attempt': 'one',
      'autometric-failover/version': '2',
    });
    expect(stored?.metadata.labels).to.deep.equal({
      'autometric-failover/kind': 'action',
      'autometric-failover/open': 'true',
    });
    expect(stored?.spec.holderIdentity).to.equal('a');
  });

  it('lets only the first of two claims create it', async () => {
    const world = createWorld();
    await mustCreate(world);
    expect(await createRecord(world.kubernetes, action, { ...draft, claimId: 'two' })).to.equal(undefined);
    expect((await readRecord(world.kubernetes, 'a'))?.lease.annotations).to.include({
      'autometric-failover/attempt': 'one',
    });
  });

  it('succeeds even if the answer was lost', async () => {
    const world = createWorld();
    world.emulator.faults.add({ method: 'POST', path: /leases$/, effect: 'reset_after' });
    expect((await mustCreate(world)).id).to.equal('a');
  });

  it('takes any id that an action may have, and tells them apart', async () => {
    const world = createWorld();
    const ids = ['A', 'a', '..', '-', '_', 'a'.repeat(128), 'projects.x-incident_1'];
    for (const id of ids) await mustCreate(world, { id });
    for (const id of ids) expect((await readRecord(world.kubernetes, id))?.id).to.equal(id);
  });
});

describe('readRecord', () => {
  it('finds nothing when there is no record', async () => {
    expect(await readRecord(createWorld().kubernetes, 'a')).to.equal(undefined);
  });

  it('reads plan and answer as they were written', async () => {
    const world = createWorld();
    const planned = await writePlan(world.kubernetes, await mustCreate(world), plan);
    expect(await readRecord(world.kubernetes, 'a')).to.deep.equal(planned);
    expect(planned).to.deep.include({ plan, answer: undefined });
    const done = await writeAnswer(world.kubernetes, planned, answer, settled);
    expect(await readRecord(world.kubernetes, 'a')).to.deep.equal(done);
    expect(done).to.deep.include({ plan, answer });
  });

  for (const [what, key, value] of [
    ['whose plan is broken', 'plan', '{"attempt":'],
    ['that is done and has no answer', 'answer', ''],
    ['in a phase that is not known', 'phase', 'half-done'],
  ] as const) {
    it(`fails on a record ${what}`, async () => {
      const world = createWorld();
      const { lease } = key === 'phase' ? await mustCreate(world) : await finish(world, 'a');
      await updateAnnotations(world.kubernetes, lease.name, (annotations) => ({
        ...annotations,
        [`autometric-failover/${key}`]: value,
      }));
      const refusal = await refusalOf(readRecord(world.kubernetes, 'a'));
      expect(refusal.status).to.equal(409);
      expect(refusal.message).to.equal(
        `the record of action a (Lease ${lease.name}) is broken; delete it, check the node pool, and send a new id`,
      );
    });
  }
});

describe('a record', () => {
  for (const [phase, ...gone] of [
    ['planned', 'plan'],
    ['awaiting_approval', 'approval'],
    ['done', 'answer'],
    ['settled', 'answer', 'verdict'],
  ] as const) {
    it(`is broken where it is ${phase} and has no ${gone.join(' and no ')}`, async () => {
      const world = createWorld();
      const { lease } = await finish(world, 'a');
      await updateAnnotations(world.kubernetes, lease.name, (annotations) => ({
        ...without(annotations, ...gone),
        'autometric-failover/phase': phase,
      }));
      expect((await refusalOf(readRecord(world.kubernetes, 'a'))).message).to.match(
        /^the record .* is broken/,
      );
    });
  }

  it('is done as of its answer, whatever is written later, and as of its last write where version 0.1.0 wrote it', async () => {
    const world = createWorld();
    const doneAt = world.clock.now();
    const { lease } = await finish(world, 'a');
    const renewedAt = doneAt + hour;
    world.clock.advance(hour);
    const rewrite = async (changes: (annotations: Record<string, string>) => Record<string, string>) => {
      const current = await readLease(world.kubernetes, lease.name);
      if (!current) throw new Error('the record is gone');
      await replaceLease(world.kubernetes, {
        ...current,
        renewedAt,
        annotations: changes(current.annotations),
      });
      return readRecord(world.kubernetes, 'a');
    };
    expect(await rewrite((annotations) => annotations)).to.include({ doneAt });
    const earlier = await rewrite((annotations) => without(annotations, 'done-at'));
    expect(earlier).to.include({ doneAt: renewedAt });
  });
});

describe('writeAnswer', () => {
  it('settles a record, and leaves one open of which more must be seen', async () => {
    const world = createWorld();
    const at = new Date(world.clock.now()).toISOString();
    const { lease } = await finish(world, 'a');
    expect(lease.annotations).to.include({
      'autometric-failover/phase': 'settled',
      'autometric-failover/done-at': at,
      'autometric-failover/settled-at': at,
    });
    expect(lease.labels).not.to.have.property('autometric-failover/open');
    const planned = await writePlan(world.kubernetes, await mustCreate(world, { id: 'b' }), plan);
    const open = await writeAnswer(world.kubernetes, planned, answer, { isOpen: true });
    expect(open.lease.annotations).to.include({ 'autometric-failover/phase': 'done' });
    expect(open.lease.annotations).not.to.have.property('autometric-failover/settled-at');
    expect(open.lease.labels).to.have.property('autometric-failover/open', 'true');
  });
});

describe('takeRecordUp', () => {
  const verdict = { 'autometric-failover/verdict': '{"verdict":"rejected","at":"2026-11-23T03:00:00Z"}' };

  it('makes the plan current again by one write, and what an earlier claim has answered is no answer', async () => {
    const world = createWorld();
    const record = await finish(world, 'a');
    const before = world.emulator.requests.length;
    const taken = await takeRecordUp(world.kubernetes, record, 'two');
    expect(world.emulator.requests.slice(before).map(({ method }) => method)).to.deep.equal(['PUT']);
    expect(taken).to.deep.include({
      phase: 'planned',
      resumes: 1,
      plan,
      answer: undefined,
      doneAt: undefined,
    });
    expect(taken?.lease.labels).to.have.property('autometric-failover/open', 'true');
    expect(taken?.lease.annotations).not.to.have.property('autometric-failover/settled-at');
    expect(await takeRecordUp(world.kubernetes, record, 'three')).to.equal(undefined);
  });

  it('succeeds even if the answer was lost, but not if a verdict was given since', async () => {
    const world = createWorld();
    const record = await finish(world, 'a');
    world.emulator.faults.add({ method: 'PUT', effect: 'reset_after' });
    const taken = await takeRecordUp(world.kubernetes, record, 'two');
    expect(taken).to.deep.include({ phase: 'planned', resumes: 1 });
    if (!taken) return;
    world.emulator.faults.add({ method: 'PUT', effect: 'reset_after' });
    const kubernetes = world.connect({
      async onRequest({ method }) {
        if (method !== 'GET') return;
        await updateAnnotations(world.kubernetes, taken.lease.name, (found) => ({ ...found, ...verdict }));
      },
    });
    expect(await takeRecordUp(kubernetes, taken, 'three')).to.equal(undefined);
    expect((await readRecord(world.kubernetes, 'a'))?.lease.annotations).to.include({
      ...verdict,
      'autometric-failover/attempt': 'three',
    });
  });
});

describe('writePlan', () => {
  it('succeeds even if the answer was lost', async () => {
    const world = createWorld();
    const record = await mustCreate(world);
    world.emulator.faults.add({ method: 'PUT', effect: 'reset_after' });
    const planned = await writePlan(world.kubernetes, record, plan);
    expect(planned.plan).to.deep.equal(plan);
    expect((await writeAnswer(world.kubernetes, planned, answer, settled)).answer).to.deep.equal(answer);
  });

  it('is refused when another claim has written meanwhile, and keeps that claim’s plan', async () => {
    const world = createWorld();
    const record = await mustCreate(world);
    await writePlan(world.kubernetes, record, plan);
    const refusal = await refusalOf(writePlan(world.kubernetes, record, { claimId: 'two' }));
    expect(refusal).to.include({
      code: 'action_in_progress',
      message: 'action a is being carried out by another request',
    });
    expect((await readRecord(world.kubernetes, 'a'))?.plan).to.deep.equal(plan);
  });

  it('is refused when the record was deleted, and does not re-create it', async () => {
    const world = createWorld();
    const record = await mustCreate(world);
    world.cluster.remove('leases', failoverNamespace, record.lease.name);
    await refusalOf(writePlan(world.kubernetes, record, plan));
    expect(actionLeases(world)).to.deep.equal([]);
  });
});

describe('forgetRecord', () => {
  it('deletes a record that nobody has touched since', async () => {
    const world = createWorld();
    await forgetRecord(world.kubernetes, await mustCreate(world));
    expect(actionLeases(world)).to.deep.equal([]);
  });

  it('leaves a record that another claim has taken over', async () => {
    const world = createWorld();
    const record = await mustCreate(world);
    await writePlan(world.kubernetes, record, plan);
    await forgetRecord(world.kubernetes, record);
    expect(actionLeases(world)).to.deep.equal(['a']);
  });
});

describe('sweepRecords', () => {
  it('deletes what was finished more than 7 days ago, not sooner', async () => {
    const world = createWorld();
    await finish(world, 'old');
    world.clock.advance(1_000);
    await finish(world, 'young');
    world.clock.advance(7 * 24 * hour - 1_000);
    expect(await sweepRecords(world.kubernetes)).to.equal(0);
    expect(actionLeases(world)).to.deep.equal(['old', 'young']);
    world.clock.advance(1_000);
    await updateAnnotations(world.kubernetes, 'cluster', () => ({}));
    expect(await sweepRecords(world.kubernetes)).to.equal(1);
    expect(actionLeases(world)).to.deep.equal(['young']);
  });

  it('counts from the end of the action, not from its start', async () => {
    const world = createWorld();
    const planned = await writePlan(world.kubernetes, await mustCreate(world), plan);
    world.clock.advance(6 * 24 * hour);
    await writeAnswer(world.kubernetes, planned, answer, settled);
    world.clock.advance(6 * 24 * hour);
    expect(await sweepRecords(world.kubernetes)).to.equal(0);
    world.clock.advance(25 * hour);
    expect(await sweepRecords(world.kubernetes)).to.equal(1);
  });

  it('never deletes what is unfinished', async () => {
    const world = createWorld();
    await mustCreate(world, { id: 'claimed' });
    await writePlan(world.kubernetes, await mustCreate(world, { id: 'planned' }), plan);
    world.clock.advance(1000 * hour);
    expect(await sweepRecords(world.kubernetes)).to.equal(0);
    expect(actionLeases(world)).to.deep.equal(['claimed', 'planned']);
  });

  it('deletes old marks of restarts with the records, and no lock', async () => {
    const world = createWorld();
    const renewedAt = world.clock.now();
    for (const [name, kind] of [
      ['jobset-1', 'jobset'],
      ['pool-slice-a', 'pool'],
    ] as const) {
      const labels = { 'autometric-failover/kind': kind };
      await createLease(world.kubernetes, { name, labels, renewedAt });
    }
    world.clock.advance(24 * hour + 1_000);
    expect(await sweepRecords(world.kubernetes)).to.equal(1);
    expect(await readLease(world.kubernetes, 'jobset-1')).to.equal(undefined);
    expect(await readLease(world.kubernetes, 'pool-slice-a')).not.to.equal(undefined);
  });

  it('keeps a mark of a restart for a day, and the memory of a host for 30', async () => {
    const world = createWorld();
    const renewedAt = world.clock.now();
    for (const kind of ['jobset', 'host']) {
      const labels = { 'autometric-failover/kind': kind };
      await createLease(world.kubernetes, { name: `${kind}-1`, labels, renewedAt });
    }
    const sweepAgain = async () => {
      await updateAnnotations(world.kubernetes, 'cluster', () => ({}));
      return sweepRecords(world.kubernetes);
    };
    world.clock.advance(24 * hour);
    expect(await sweepAgain()).to.equal(0);
    world.clock.advance(1_000);
    expect(await sweepAgain()).to.equal(1);
    world.clock.advance(29 * 24 * hour - 1_000);
    expect(await sweepAgain()).to.equal(0);
    expect(await readLease(world.kubernetes, 'host-1')).not.to.equal(undefined);
    world.clock.advance(1_000);
    expect(await sweepAgain()).to.equal(1);
    expect(await readLease(world.kubernetes, 'host-1')).to.equal(undefined);
  });

  it('keeps the memory of 200 hosts, those that were repaired last', async () => {
    const world = createWorld();
    const labels = { 'autometric-failover/kind': 'host' };
    for (let index = 0; index < 202; index++) {
      const renewedAt = world.clock.now() - index * 1_000;
      await createLease(world.kubernetes, { name: `host-${index}`, labels, renewedAt });
    }
    expect(await sweepRecords(world.kubernetes)).to.equal(2);
    const left = world.cluster.leases(failoverNamespace).map(({ metadata }) => metadata.name);
    expect(left).to.include('host-199').and.not.include('host-200').and.not.include('host-201');
  });

  it('deletes what version 0.1.0 has done, and nothing that is done and open', async () => {
    const world = createWorld();
    const keys = ['action', 'action', 'action'].map((kind, index) => ({
      name: `action-${index}`,
      labels: {
        'autometric-failover/kind': kind,
        ...(index === 1 && { 'autometric-failover/open': 'true' }),
      },
      annotations: { 'autometric-failover/phase': index === 2 ? 'planned' : 'done' },
    }));
    for (const lease of keys) await createLease(world.kubernetes, { ...lease, renewedAt: world.clock.now() });
    world.clock.advance(8 * 24 * hour);
    expect(await sweepRecords(world.kubernetes)).to.equal(1);
    expect(await readLease(world.kubernetes, 'action-0')).to.equal(undefined);
    expect(await readLease(world.kubernetes, 'action-1')).not.to.equal(undefined);
    expect(await readLease(world.kubernetes, 'action-2')).not.to.equal(undefined);
  });

  it('sweeps once an hour, whoever asks, and keeps people’s annotations', async () => {
    const world = createWorld();
    await updateAnnotations(world.kubernetes, 'cluster', () => ({ 'autometric-failover/paused': 'x' }));
    await sweepRecords(world.kubernetes);
    await finish(world, 'old');
    world.clock.advance(hour - 1_000);
    let before = world.emulator.requests.length;
    await sweepRecords(world.kubernetes);
    expect(world.emulator.requests.length).to.equal(before + 1);
    world.clock.advance(1_000);
    before = world.emulator.requests.length;
    await sweepRecords(world.kubernetes);
    expect(world.emulator.requests.length).to.be.greaterThan(before + 2);
    expect((await readLease(world.kubernetes, 'cluster'))?.annotations).to.include({
      'autometric-failover/paused': 'x',
    });
  });

  it('leaves a record that was taken over between the list and the deletion', async () => {
    const world = createWorld();
    const { lease } = await finish(world, 'old');
    world.clock.advance(8 * 24 * hour);
    const kubernetes = world.connect({
      async onRequest({ method }) {
        if (method !== 'DELETE') return;
        await updateAnnotations(world.kubernetes, lease.name, (annotations) => ({ ...annotations, x: '1' }));
      },
    });
    await sweepRecords(kubernetes);
    expect(actionLeases(world)).to.deep.equal(['old']);
  });

  it('keeps at most 1,000 records of done actions, the youngest, and all of the last day', async () => {
    const world = createWorld();
    for (let index = 0; index < 5; index++) await finish(world, `old-${index}`);
    world.clock.advance(24 * hour);
    for (let index = 0; index < 1000; index++) await finish(world, `young-${index}`);
    expect(await sweepRecords(world.kubernetes)).to.equal(0);
    world.clock.advance(1_000);
    await updateAnnotations(world.kubernetes, 'cluster', () => ({}));
    expect(await sweepRecords(world.kubernetes)).to.equal(5);
    expect(actionLeases(world).filter((id) => id.startsWith('old'))).to.deep.equal([]);
    world.clock.advance(hour);
    await finish(world, 'one-more');
    expect(await sweepRecords(world.kubernetes)).to.equal(0);
    world.clock.advance(24 * hour);
    expect(await sweepRecords(world.kubernetes)).to.equal(1);
  });

  // F-145: one loss of a slice of 2,304 nodes left Leases behind for a day, because 200 were swept in an hour.
  it('deletes at most 1,000 at a time, because somebody waits, and comes again after five minutes for the rest', async () => {
    const world = createWorld();
    for (let index = 0; index < 1005; index++) await finish(world, `old-${index}`);
    world.clock.advance(8 * 24 * hour);
    expect(await sweepRecords(world.kubernetes)).to.equal(1000);
    expect(countWrites(world.emulator.writes())).to.include({ 'DELETE leases': 1000 });
    world.clock.advance(hour / 12 - 1_000);
    expect(await sweepRecords(world.kubernetes)).to.equal(0);
    world.clock.advance(1_000);
    expect(await sweepRecords(world.kubernetes)).to.equal(5);
  });

  it('says that a deletion failed', async () => {
    const world = createWorld();
    await finish(world, 'old');
    world.clock.advance(8 * 24 * hour);
    world.cluster.deny({ verb: 'delete', resource: 'leases' });
    expect((await refusalOf(sweepRecords(world.kubernetes))).code).to.equal('upstream_failed');
  });
});
