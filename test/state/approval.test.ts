import { expect } from 'chai';
import { findUnapproved, hasExpired } from '../../src/state/approval.ts';
import type { ActionRecord } from '../../src/state/record-format.ts';
import { createInMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';

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
});
