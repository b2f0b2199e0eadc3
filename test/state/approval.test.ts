import { expect } from 'chai';
import { readConfig } from '../../src/config.ts';
import { parseAction } from '../../src/request/action.ts';
import { findUnapproved, hasExpired } from '../../src/state/approval.ts';
import { createRecord, readRecord, writeAwaiting } from '../../src/state/record.ts';
import type { ActionRecord } from '../../src/state/record-format.ts';
import { createInMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import { trainCluster } from '../fixtures/train-world.ts';

const end = Date.parse('2026-11-23T03:00:00Z');
const approval: ActionRecord['approval'] = {
  plan: 'p',
  expires_at: '2026-11-23T03:00:00.000Z',
  steps: [],
};

describe('hasExpired', () => {
  it('is true from the end of the time for an approval on', () => {
    const waiting = { phase: 'awaiting_approval', approval } as ActionRecord;
    expect(hasExpired(waiting, end - 1)).to.equal(false);
    expect(hasExpired(waiting, end)).to.equal(true);
  });

  // An action that was approved is carried out, however long that takes.
  for (const phase of ['planned', 'stopped', 'done', 'settled'] as const) {
    it(`is false for an approved action that is ${phase}`, () => {
      expect(hasExpired({ phase, approval } as ActionRecord, end + 3_600_000)).to.equal(false);
    });
  }

  it('is false where nothing waits for an approval', () => {
    const claimed = { phase: 'claimed', approval: undefined } as ActionRecord;
    expect(hasExpired(claimed, end)).to.equal(false);
  });
});

describe('findUnapproved', () => {
  const { kubernetes } = createInMemoryWorld({ slices: [], jobSet: null });
  const find = (verdict: object) =>
    findUnapproved(kubernetes, { id: 'a', phase: 'settled', verdict } as ActionRecord);

  it('says why, or else only that it was rejected', async () => {
    const at = '2026-11-23T03:00:00.000Z';
    expect(await find({ verdict: 'rejected', at, why: 'Kim rejected it' })).to.equal(
      'action a was not carried out: Kim rejected it',
    );
    expect(await find({ verdict: 'rejected', at })).to.equal('action a was not carried out: rejected');
    expect(await find({ verdict: 'recovered', at })).to.equal(undefined);
  });

  it('settles what nobody has approved in time, and nothing before', async () => {
    const world = createInMemoryWorld({ slices: [], jobSet: null });
    const at = world.clock.now();
    const body = { type: 'cordon_nodepool', node_pool: 'slice-a', requestor: 'alice', reason: 'ECC errors' };
    const { clusters } = readConfig({ CLUSTERS: trainCluster });
    const claim = { hash: 'h', nodePool: 'slice-a', claimId: 'one' };
    const claimed = await createRecord(world.kubernetes, parseAction(body, clusters, 'a'), claim);
    if (!claimed) throw new Error('the record exists already');
    let record = claimed;
    const ask = async (expiresAt: number) => {
      const waits = { plan: 'p', steps: [], expires_at: new Date(expiresAt).toISOString() };
      record = await writeAwaiting(world.kubernetes, record, { claimId: 'one' }, waits);
      return findUnapproved(world.kubernetes, record);
    };
    const verdict = async () => (await readRecord(world.kubernetes, 'a'))?.verdict;
    expect(await ask(at + 60_000)).to.equal(undefined);
    expect(await verdict()).to.equal(undefined);
    expect(await ask(at - 60_000)).to.match(/^action a was not carried out: nobody approved its plan until /);
    expect(await verdict()).to.include({ verdict: 'expired' });
  });
});
