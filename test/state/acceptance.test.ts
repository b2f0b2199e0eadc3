import { expect } from 'chai';
import { findTest, isUntested } from '../../src/state/acceptance.ts';
import type { Acceptance, ActionRecord } from '../../src/state/record-format.ts';

const at = '2026-11-23T03:00:00.000Z';

function record(
  action: { accept?: string; uncordonWhenRepaired?: boolean },
  plan: { repair?: object; restart?: { inPlace?: true } },
  acceptance?: Acceptance,
): ActionRecord {
  return { action, plan: { claimId: 'c', ...plan }, acceptance } as unknown as ActionRecord;
}

describe('findTest', () => {
  const accept = 'burn-in';

  it('is the test of a pool that is released after its repair, by itself or for the run that stays on it', () => {
    const released = record({ accept, uncordonWhenRepaired: true }, { repair: {} });
    const inPlace = record({ accept }, { repair: {}, restart: { inPlace: true } });
    for (const each of [released, inPlace]) {
      expect(findTest(each)).to.equal(accept);
      expect(isUntested(each)).to.equal(true);
    }
  });

  it('is none where nothing is repaired or released, or no test was asked for', () => {
    for (const each of [
      record({ accept, uncordonWhenRepaired: true }, {}),
      record({ accept }, { repair: {} }),
      record({ accept, uncordonWhenRepaired: false }, { repair: {}, restart: {} }),
      record({ uncordonWhenRepaired: true }, { repair: {} }),
    ]) {
      expect(findTest(each)).to.equal(undefined);
      expect(isUntested(each)).to.equal(false);
    }
  });
});

describe('isUntested', () => {
  it('is true until the test has passed', () => {
    const asked = { accept: 'burn-in', uncordonWhenRepaired: true };
    expect(isUntested(record(asked, { repair: {} }, { since: at }))).to.equal(true);
    expect(isUntested(record(asked, { repair: {} }, { since: at, passed_at: at }))).to.equal(false);
  });
});
