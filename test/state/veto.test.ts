import { expect } from 'chai';
import { readVeto, refuseVetoed, vetoKey } from '../../src/state/veto.ts';
import { refusal } from '../fixtures/refusal-of.ts';

const now = Date.parse('2026-11-28T03:00:00Z');
const read = (text: string) => readVeto({ [vetoKey]: text }, now);
const unclear = (text: string) => {
  const { why, until } = read(text) ?? {};
  expect(until, text).to.equal(undefined);
  return why;
};

describe('readVeto', () => {
  it('has the time and the reason, however they are spaced', () => {
    const until = Date.parse('2026-11-28T04:00:00Z');
    expect(read('2026-11-28T04:00:00Z INC-42')).to.deep.equal({ why: 'INC-42', until, key: vetoKey });
    expect(read('\n 2026-11-28T04:00:00Z  two \n\n words ')).to.deep.equal({
      why: 'two words',
      until,
      key: vetoKey,
    });
  });

  it('is over at its time', () => {
    expect(read('2026-11-28T03:00:00Z INC-42')).to.equal(undefined);
    expect(read('2026-11-28T02:00:00Z INC-42')).to.equal(undefined);
    expect(read('2026-11-28T03:00:00.001Z INC-42')).not.to.equal(undefined);
  });

  it('holds where it has no time, no reason, or is empty', () => {
    for (const text of [
      '',
      ' ',
      'tomorrow INC-42',
      '2026-11-28T04:00:00Z',
      '2026-11-28T04:00:00Z  ',
      '2026-99-28T04:00:00Z x',
    ]) {
      expect(unclear(text), text).to.match(/^its veto "[^\n]*" is not a time and a reason, such as "/);
    }
    expect(unclear('2027 INC-42')).to.match(/^its veto "2027 INC-42" is not/);
    expect(unclear('x2026-11-28T04:00:00Z INC-42')).to.match(/^its veto/);
    // A year of six digits is a time, and not one that anybody means.
    expect(unclear('+002026-11-28T02:00:00Z INC-42')).to.match(/^its veto/);
    expect(unclear('not \n\n a   time')).to.match(/^its veto "not a time" is not/);
    expect(unclear('x'.repeat(100))).to.match(/^its veto "x{64}" is not/);
  });

  it('holds where its name is misspelt', () => {
    for (const key of [
      'autometric-failover/vetoed',
      'autometric-failover/vito',
      'Veto',
      'other/VETO',
      'autometric-failover/VETO',
      'autometric-failover/Veto-of-the-network-team',
    ]) {
      expect(readVeto({ [key]: 'x' }, now), key).to.deep.equal({
        why: `unknown annotation ${key}, did you mean ${vetoKey}?`,
        until: undefined,
        key,
      });
    }
    expect(readVeto({ 'autometric-failover/effects': '{}', 'veto.example/other': 'x' }, now)).to.equal(
      undefined,
    );
    expect(readVeto({}, now)).to.equal(undefined);
  });
});

describe('refuseVetoed', () => {
  it('refuses until then, and says how to lift it', () => {
    const { code, message } = refusal(() =>
      refuseVetoed({ [vetoKey]: '2026-11-28T04:00:00Z INC-42' }, 'slice-a', now),
    );
    expect(`${code}: ${message}`).to.equal(
      'paused: somebody keeps failover away from node pool slice-a until 2026-11-28T04:00:00Z: INC-42; to lift it: ' +
        `kubectl annotate lease pool-slice-a -n autometric-failover-system ${vetoKey}-`,
    );
    expect(refusal(() => refuseVetoed({ Veto: '' }, 'slice-a', now)).message).to.match(
      /away from node pool slice-a: unknown annotation Veto, .* Veto-$/,
    );
    refuseVetoed({}, 'slice-a', now);
  });
});
