import { expect } from 'chai';
import {
  assertComesBack,
  assertDecided,
  isInPlace,
  isUnderWay,
  judgeNoSpare,
} from '../../src/decide/no-spare.ts';
import type { Plan, RepairPlan, RestartPlan } from '../../src/plan.ts';
import { withMark } from '../../src/state/cooldown.ts';
import { refusal } from '../fixtures/refusal-of.ts';

type Lacking = Parameters<typeof judgeNoSpare>[0];
const lacking = { lacksSpare: 'all is taken', spare: {} } as unknown as Lacking;
const unknown = { lacksSpare: 'it cannot be read' } as unknown as Lacking;

const judge = (found: Lacking, wish: Parameters<typeof judgeNoSpare>[1]) =>
  judgeNoSpare(found, wish, 'default/train');
const refused = (work: () => unknown) => {
  const { code, message } = refusal(work);
  return `${code}: ${message}`;
};

describe('judgeNoSpare', () => {
  it('has the run wait where nothing else is asked for, and where capacity is free', () => {
    expect(judge(lacking, {})).to.deep.equal({});
    expect(judge({}, { requiresSpare: true, whenNoSpare: 'refuse' })).to.deep.equal({});
  });

  it('refuses where spare capacity is a condition, whatever else is asked for', () => {
    expect(refused(() => judge(lacking, { requiresSpare: true, whenNoSpare: 'repair' }))).to.match(
      /^preflight_refused: spare_capacity: all is taken; nothing was touched/,
    );
  });

  it('repairs in place where that is asked for, but not on a guess', () => {
    expect(judge(lacking, { whenNoSpare: 'repair' })).to.deep.equal({
      inPlace: true,
    });
    expect(refused(() => judge(unknown, { whenNoSpare: 'repair' }))).to.match(
      /^restart_refused: whether JobSet default\/train has spare capacity is not known: .* is repair\. .* no machine is deleted on a guess/,
    );
  });

  it('refuses where that is asked for', () => {
    expect(refused(() => judge(lacking, { requiresSpare: false, whenNoSpare: 'refuse' }))).to.match(
      /^restart_refused: JobSet default\/train has no spare capacity: all is taken; .* is refuse\. .* repair has the pool repaired in place$/,
    );
  });
});

describe('a restart in place', () => {
  const restart = { jobSet: { namespace: 'default', name: 'train' } } as RestartPlan;
  const repair = {} as RepairPlan;
  const annotations = (action: string) =>
    withMark({}, 'restart default/train', { action, at: '2026-11-23T03:00:00Z', state: 'accepted' });

  it('is a plan with both', () => {
    expect(isInPlace({ restart, repair } as Plan)).to.equal(true);
    expect(isInPlace({ restart } as Plan)).to.equal(false);
    expect(isInPlace({ repair } as Plan)).to.equal(false);
  });

  it('is under way once its action has marked the restart', () => {
    const both = { restart, repair } as Plan;
    expect(isUnderWay(both, annotations('mine'), 'mine')).to.equal(true);
    expect(isUnderWay(both, annotations('other'), 'mine')).to.equal(false);
    expect(isUnderWay(both, {}, 'mine')).to.equal(false);
    expect(isUnderWay({ restart } as Plan, annotations('mine'), 'mine')).to.equal(false);
    expect(isUnderWay({ repair } as Plan, annotations('mine'), 'mine')).to.equal(false);
  });

  it('is not decided anew for a newer attempt', () => {
    const newer = { ...restart, inPlace: true, lacksSpare: 'all is taken' } as RestartPlan;
    expect(refused(() => assertDecided(newer, { restart } as Plan, 'default/train'))).to.match(
      /^restart_refused: JobSet default\/train has restarted on the pool .*: all is taken; nothing was deleted/,
    );
    assertDecided(newer, { restart, repair } as Plan, 'default/train');
    assertDecided(restart, { restart } as Plan, 'default/train');
  });

  it('needs a pool that can be repaired, or that GKE repairs', () => {
    const leftTo = (outcome: string) => ({ leftTo: { outcome, why: 'GKE upgrades it' } }) as RepairPlan;
    assertComesBack(repair, 'default/train');
    assertComesBack(leftTo('gke_is_repairing'), 'default/train');
    expect(refused(() => assertComesBack(leftTo('node_leaving'), 'default/train'))).to.match(
      /^restart_refused: .* cannot be repaired in place now: GKE upgrades it; nothing was touched$/,
    );
  });
});
