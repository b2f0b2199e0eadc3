import { expect } from 'chai';
import { readConfig } from '../../src/config.ts';
import { parseAction } from '../../src/request/action.ts';
import { updateAnnotations } from '../../src/state/lease.ts';
import {
  hasBegunFollowUp,
  listOpenRecords,
  writeFollowUpBegun,
  writeSettled,
  writeVerdict,
} from '../../src/state/open-records.ts';
import { createRecord, readRecord, writeAnswer, writePlan } from '../../src/state/record.ts';
import type { ActionRecord } from '../../src/state/record-format.ts';
import { createInMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import type { InMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import { trainCluster } from '../fixtures/train-world.ts';

const { clusters } = readConfig({ CLUSTERS: trainCluster });
const body = { type: 'cordon_nodepool', node_pool: 'slice-a', requestor: 'alice', reason: 'ECC errors' };
const followUpKey = 'autometric-failover/follow-up';

function createWorld(): InMemoryWorld {
  return createInMemoryWorld({ slices: [], jobSet: null });
}

/** Writes an action down whose verdict is to come. */
async function finish({ kubernetes }: InMemoryWorld, id: string): Promise<ActionRecord> {
  const claim = { hash: 'h', nodePool: 'slice-a', claimId: 'one' };
  const record = await createRecord(kubernetes, parseAction(body, clusters, id), claim);
  if (!record) throw new Error('the record exists already');
  const planned = await writePlan(kubernetes, record, { claimId: 'one' });
  return writeAnswer(kubernetes, planned, [], { isOpen: true });
}

/** The record as it was written, unless somebody else was first. */
async function must(written: Promise<ActionRecord | undefined>): Promise<ActionRecord> {
  const record = await written;
  if (!record) throw new Error('somebody else has written the record');
  return record;
}

describe('the open records', () => {
  it('are listed the oldest first, and apart from those that cannot be read', async () => {
    const world = createWorld();
    const ids = ['one', 'two', 'three', 'four', 'five', 'broken'];
    const made: ActionRecord[] = [];
    for (const id of ids) {
      made.push(await finish(world, id));
      world.clock.advance(1_000);
    }
    const broken = made.at(-1)?.lease.name ?? '';
    await updateAnnotations(world.kubernetes, broken, (found) => ({
      ...found,
      'autometric-failover/plan': '{',
    }));
    const listed = await listOpenRecords(world.kubernetes);
    expect(listed.records.map(({ id }) => id)).to.deep.equal(ids.slice(0, -1));
    expect(listed.broken).to.have.length(1);
    expect(listed.broken[0]).to.match(/^the record of action broken .* is broken/);
  });

  it('keep the verdict and what follows from it until they are settled, and after', async () => {
    const world = createWorld();
    const { kubernetes } = world;
    const verdict = { verdict: 'not_recovered' as const, at: new Date(world.clock.now()).toISOString() };
    const judged = await must(writeVerdict(kubernetes, await finish(world, 'a'), verdict));
    expect(hasBegunFollowUp(judged)).to.equal(false);
    const begun = await must(writeFollowUpBegun(kubernetes, judged, 'a.repair'));
    expect(hasBegunFollowUp(begun)).to.equal(true);
    const stored = await readRecord(kubernetes, 'a');
    expect(stored).to.deep.include({ phase: 'done', verdict });
    expect(JSON.parse(stored?.lease.annotations[followUpKey] ?? '')).to.deep.equal({
      id: 'a.repair',
      outcome: 'begun',
    });
    expect((await listOpenRecords(kubernetes)).records).to.have.length(1);
    expect(await writeFollowUpBegun(kubernetes, judged, 'a.other')).to.equal(undefined);

    const settled = await must(writeSettled(kubernetes, begun, undefined));
    expect(settled).to.deep.include({ phase: 'settled', verdict });
    expect(settled.lease.annotations).to.have.property(followUpKey, begun.lease.annotations[followUpKey]);
    expect((await listOpenRecords(kubernetes)).records).to.deep.equal([]);
  });

  it('say what came of what followed', async () => {
    const world = createWorld();
    const followUp = { id: 'a.repair', outcome: 'refused' as const, code: 'paused', why: 'INC-42' };
    const settled = await must(writeSettled(world.kubernetes, await finish(world, 'a'), followUp));
    expect(JSON.parse(settled.lease.annotations[followUpKey] ?? '')).to.deep.equal(followUp);
  });
});
