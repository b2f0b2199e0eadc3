import { expect } from 'chai';
import { readConfig } from '../../src/config.ts';
import {
  assertNotBegun,
  assertNotCoolingDown,
  listOwnEffects,
  readMark,
  toRepairs,
  withMark,
  withoutMark,
} from '../../src/state/cooldown.ts';
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

describe('withMark and the attempts', () => {
  const attempts = 'autometric-failover/attempts';

  it('lists a repair that was accepted, and no restart: a JobSet has a list of its own', () => {
    expect(withMark({}, 'repair', mark)[attempts]).to.include('incident-7');
    expect(withMark({}, 'restart default/llm', mark)).not.to.have.property(attempts);
  });
});

describe('listOwnEffects', () => {
  it('has the effects of this action, and of which the deletion was accepted', () => {
    let marked = withMark({}, 'restart default/llm', { ...mark, state: 'accepted' });
    marked = withMark(marked, 'restart default/other', other);
    marked = withMark(marked, 'repair', { ...mark, state: 'begun', way: 'reboot' });
    expect(listOwnEffects(marked, 'incident-7')).to.deep.equal([
      { effect: 'restart default/llm', way: undefined, isAccepted: true },
      { effect: 'repair', way: 'reboot', isAccepted: false },
    ]);
    expect(listOwnEffects(marked, 'incident-8')).to.deep.equal([]);
  });

  // Nothing that is not known may be told as "nothing was deleted".
  it('is not known where the marks cannot be read', () => {
    expect(listOwnEffects({ [key]: '{"repair":null}' }, 'incident-7')).to.equal(undefined);
    expect(listOwnEffects({}, 'incident-7')).to.deep.equal([]);
  });
});

describe('assertNotBegun', () => {
  const begun = withMark({}, 'repair', { ...mark, state: 'begun' });
  const ask = (annotations: Record<string, string>, id: string, serverNow: number) =>
    assertNotBegun(annotations, 'repair', { config, id, nodePool: 'pool-a', serverNow });
  const end = start + config.actionDeadlineSeconds * 1000;

  it('refuses another action for as long as the one that has begun may take', () => {
    expect(refusal(() => ask(begun, 'incident-8', end - 1001)).headers).to.deep.equal({ 'Retry-After': '2' });
    expect(refusal(() => ask(begun, 'incident-8', end)).code).to.equal('action_in_progress');
    expect(() => ask(begun, 'incident-8', end + 1)).not.to.throw();
  });

  it('refuses neither the same action nor one after a deletion that was accepted', () => {
    expect(() => ask(begun, 'incident-7', start)).not.to.throw();
    expect(() => ask(withMark({}, 'repair', mark), 'incident-8', start)).not.to.throw();
  });
});

describe('a repair of which it is unknown whether it was accepted', () => {
  const stateOf = (changes: Partial<CooldownMark>, ...shown: Parameters<typeof toRepairs>[2] & object) => {
    const marked = withMark({}, 'repair', { ...mark, state: 'begun', ...changes });
    return toRepairs('pool-a', marked, shown).mark?.state;
  };

  it('has not happened while a node has its machine', () => {
    expect(stateOf({}, { instanceId: '4242', repairedBy: undefined })).to.equal('begun');
    // A label of the same action does not delete the machine.
    expect(stateOf({}, { instanceId: '4242', repairedBy: 'incident-7' })).to.equal('begun');
  });

  it('has happened once no node has its machine', () => {
    expect(stateOf({}, { instanceId: '1', repairedBy: undefined })).to.equal('accepted');
    expect(stateOf({})).to.equal('accepted');
  });

  it('has happened where nobody knows its machine', () => {
    expect(stateOf({ instanceId: undefined }, { instanceId: undefined, repairedBy: undefined })).to.equal(
      'accepted',
    );
  });

  it('by a label has happened once the node says that this action has set it', () => {
    const way = 'reboot';
    expect(stateOf({ way }, { instanceId: '4242', repairedBy: 'incident-7' })).to.equal('accepted');
    expect(stateOf({ way }, { instanceId: '4242', repairedBy: 'incident-6' })).to.equal('begun');
    expect(stateOf({ way }, { instanceId: '4242', repairedBy: undefined })).to.equal('begun');
  });
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
