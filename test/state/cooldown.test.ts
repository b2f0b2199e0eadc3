import { expect } from 'chai';
import { readConfig } from '../../src/config.ts';
import { assertNotCoolingDown, readMark, withMark, withoutMark } from '../../src/state/cooldown.ts';
import type { CooldownMark, Effect } from '../../src/state/cooldown.ts';
import { FailoverError } from '../../src/errors.ts';
import { refusal } from '../fixtures/refusal-of.ts';

const config = readConfig({ CLUSTERS: 'projects/ml-prod/locations/us-central1/clusters/train' });
const key = 'autometric-failover/effects';
const start = Date.parse('2026-11-23T03:00:00Z');
const mark: CooldownMark = { action: 'incident-7', at: '2026-11-23T03:00:00.000Z', instanceId: '4242' };
const other: CooldownMark = { action: 'incident-6', at: '2026-11-23T02:00:00.000Z' };

describe('withMark', () => {
  it('adds a mark beside the others, and leaves other annotations alone', () => {
    const marked = withMark(withMark({ note: 'x' }, 'restart default/llm', other), 'repair', mark);
    expect(readMark(marked, 'repair')).to.deep.equal(mark);
    expect(readMark(marked, 'restart default/llm')).to.deep.equal(other);
    expect(marked['note']).to.equal('x');
  });

  it('replaces a mark of the same effect', () => {
    expect(readMark(withMark(withMark({}, 'repair', other), 'repair', mark), 'repair')).to.deep.equal(mark);
  });

  it('keeps the effects of two JobSets apart', () => {
    const marked = withMark({}, 'restart default/llm', mark);
    expect(readMark(marked, 'restart default/llm-2')).to.equal(undefined);
    expect(readMark(marked, 'restart research/llm')).to.equal(undefined);
    expect(readMark(marked, 'repair')).to.equal(undefined);
  });

  it('keeps the readable marks when one is broken', () => {
    const half = { [key]: JSON.stringify({ 'restart default/llm': other, repair: null }) };
    expect(readMark(withMark(half, 'repair', mark), 'restart default/llm')).to.deep.equal(other);
  });

  it('forgets marks that are a week old', () => {
    const weekOld = { action: 'old', at: '2026-11-16T03:00:00.000Z' };
    const young = { action: 'young', at: '2026-11-16T03:00:00.001Z' };
    const marked = withMark(withMark({}, 'restart default/a', weekOld), 'restart default/b', young);
    const later = withMark(marked, 'repair', mark);
    expect(readMark(later, 'restart default/a')).to.equal(undefined);
    expect(readMark(later, 'restart default/b')).to.deep.equal(young);
  });

  for (const broken of [
    'not JSON',
    '[1]',
    '"text"',
    '5',
    'null',
    '{"repair":null}',
    '{"repair":{"at":"yesterday"}}',
  ]) {
    it(`starts with no marks when the annotation is ${broken}`, () => {
      expect(readMark(withMark({ [key]: broken }, 'repair', mark), 'repair')).to.deep.equal(mark);
    });
  }
});

describe('withoutMark', () => {
  it('removes a mark', () => {
    const marked = withMark(withMark({ note: 'x' }, 'restart default/llm', other), 'repair', mark);
    const back = withoutMark(marked, 'repair', undefined);
    expect(readMark(back, 'repair')).to.equal(undefined);
    expect(readMark(back, 'restart default/llm')).to.deep.equal(other);
    expect(back['note']).to.equal('x');
  });

  // F-39: Compute answered 403, and the permission was corrected: the next try is not rate limited.
  it('restores the mark that was there before', () => {
    const marked = withMark({}, 'repair', mark);
    expect(readMark(withoutMark(marked, 'repair', other), 'repair')).to.deep.equal(other);
  });
});

describe('assertNotCoolingDown', () => {
  const marked = withMark({}, 'repair', mark);

  it('passes an effect that the pool has no mark of', () => {
    expect(() => check({}, 'repair', start)).not.to.throw();
    // F-12: pool B was refused while pool A was limited.
    expect(() => check(marked, 'restart default/llm', start)).not.to.throw();
  });

  it('refuses with the earlier controller’s text until the very end of the cooldown, and says what lifts it', () => {
    const error = refusal(() => check(marked, 'repair', start + 3_599_001));
    expect(error).to.include({ code: 'rate_limited', status: 429 });
    expect(error.headers).to.deep.equal({ 'Retry-After': '1' });
    expect(error.message).to.equal(
      'action is currently rate limited: repair of node pool pool-a was done at 2026-11-23T03:00:00.000Z by action ' +
        'incident-7, again possible in 1 s. To lift cooldown, budget and attempts for 30 minutes: kubectl annotate lease cluster ' +
        '-n autometric-failover-system --overwrite autometric-failover/override-until=2026-11-23T04:29:59Z',
    );
    expect(() => check(marked, 'repair', start + 3_599_999)).to.throw(FailoverError);
    expect(() => check(marked, 'repair', start + 3_600_000)).not.to.throw();
  });

  it('says how long the cooldown lasts, from its first second on', () => {
    for (const serverNow of [start, start - 900]) {
      expect(refusal(() => check(marked, 'repair', serverNow)).headers).to.deep.equal({
        'Retry-After': '3600',
      });
    }
  });

  it('never blocks the action that wrote the mark, so that it can resume', () => {
    expect(() => check(marked, 'repair', start, { id: 'incident-7' })).not.to.throw();
  });

  it('is off when COOLDOWN_SECONDS is 0', () => {
    const noCooldown = { ...config, cooldownSeconds: 0 };
    expect(() => check(marked, 'repair', start, { config: noCooldown })).not.to.throw();
    // F-368: the API server's time is known to a second, and seemed to be before the mark.
    expect(() => check(marked, 'repair', start - 2, { config: noCooldown })).not.to.throw();
  });

  // A second deletion costs more than a person's look.
  for (const broken of [
    '{"repair":{"action":"incid',
    '',
    '[]',
    '"text"',
    'null',
    '{"repair":null}',
    '{"repair":"yesterday"}',
    '{"repair":{"action":"incident-6"}}',
    '{"repair":{"action":"incident-6","at":"yesterday"}}',
    '{"restart default/llm":{"action":"incident-6","at":5}}',
    '{"restart default/llm":{"action":"incident-6","at":"2026-11-23T02:00:00.000Z"},"repair":null}',
  ]) {
    it(`refuses while the annotation is ${JSON.stringify(broken)}, and says how to reset it`, () => {
      const error = refusal(() => check({ [key]: broken }, 'repair', start));
      expect(error).to.include({
        code: 'rate_limited',
        message:
          'action is currently rate limited: annotation autometric-failover/effects of Lease pool-pool-a is broken, so ' +
          'it is unknown what was done to the pool; check the pool, then: kubectl annotate lease pool-pool-a ' +
          '-n autometric-failover-system autometric-failover/effects-',
      });
      expect(error.headers).to.deep.equal({ 'Retry-After': '3600' });
    });
  }
});

const noSwitches = {
  pausedFor: undefined,
  pausedBy: undefined,
  unknownKey: undefined,
  ignoredOverride: undefined,
  overrideUntil: undefined,
  lease: undefined,
};

function check(
  annotations: Record<string, string>,
  effect: Effect,
  serverNow: number,
  { id = 'incident-8', config: settings = config } = {},
): void {
  assertNotCoolingDown(annotations, effect, {
    config: settings,
    id,
    nodePool: 'pool-a',
    switches: { ...noSwitches, serverNow },
    isAlert: false,
  });
}
