import { expect } from 'chai';
import { readConfig } from '../../src/config.ts';
import type { ActionRecord } from '../../src/state/record-format.ts';
import { describeVerdict, hasHelped } from '../../src/verdict.ts';
import type { Verdict } from '../../src/verdict.ts';
import type { Judgement } from '../../src/verify/judgement.ts';
import { toVerdict } from '../../src/verify/verify.ts';

const noon = Date.parse('2026-11-23T12:00:00Z');
const second = 1000;
const config = readConfig({
  CLUSTERS: 'projects/my-project/locations/us-central1/clusters/train',
  RECOVERY_TIMEOUT_SECONDS: '600',
  REPAIR_TIMEOUT_SECONDS: '900',
});

const restart = {
  jobSet: { namespace: 'default', name: 'train', uid: 'u1' },
  attempt: 0,
  outcome: 'restart',
};

/** Received at noon, done 20 s later. */
function record(more: Partial<ActionRecord> = {}): ActionRecord {
  const plan = { claimId: 'c', restart } as ActionRecord['plan'];
  return { receivedAt: noon, doneAt: noon + 20 * second, plan, ...more } as ActionRecord;
}

const repairPlan = { claimId: 'c', repair: {} } as ActionRecord['plan'];

function judgedAt(
  seconds: number,
  judgement: Judgement,
  more: Partial<ActionRecord> = {},
): Verdict | undefined {
  return toVerdict(record(more), judgement, { config, serverNow: noon + seconds * second });
}

describe('toVerdict', () => {
  it('has the time of the world, and not that of the look', () => {
    const verdict = judgedAt(3600, { verdict: 'recovered', attempt: 1, at: noon + 45 * second });
    expect(verdict).to.deep.equal({
      verdict: 'recovered',
      at: '2026-11-23T13:00:00.000Z',
      recovered_at: '2026-11-23T12:00:45.000Z',
      seconds: 45,
      seconds_since_request: 45,
      attempt: 1,
    });
  });

  it('counts from the beginning of the incident, and from the request beside it', () => {
    const incident = { startedAt: noon - 90 * second };
    const action = { incident } as ActionRecord['action'];
    const verdict = judgedAt(60, { verdict: 'recovered', at: noon + 30 * second }, { action });
    expect(verdict).to.include({ seconds: 120, seconds_since_request: 30 });
  });

  it('is never negative where the incident begins after the end by its clock', () => {
    const action = { incident: { startedAt: noon + 50 * second } } as ActionRecord['action'];
    expect(judgedAt(60, { verdict: 'recovered', at: noon + 40 * second }, { action })).to.include({
      seconds: 0,
    });
  });

  it('takes the moment of the look where the cluster does not say when', () => {
    for (const at of [undefined, noon - 3600 * second]) {
      const verdict = judgedAt(70, { verdict: 'repaired', at }, { plan: repairPlan });
      expect(verdict).to.include({ repaired_at: '2026-11-23T12:01:10.000Z', seconds: 70 });
    }
  });

  describe('where clocks differ by 10 s', () => {
    it('does not say that a run came back in the future', () => {
      const verdict = judgedAt(30, { verdict: 'recovered', at: noon + 38 * second });
      expect(verdict).to.include({ recovered_at: '2026-11-23T12:00:30.000Z', seconds: 30 });
    });

    it('does not say that a machine came back in the future', () => {
      const verdict = judgedAt(30, { verdict: 'repaired', at: noon + 38 * second }, { plan: repairPlan });
      expect(verdict).to.include({ repaired_at: '2026-11-23T12:00:30.000Z', seconds: 30 });
    });

    // F-204: the moment of the look counted.
    it('believes a run that came back before its request by the clock of a node', () => {
      const verdict = judgedAt(300, { verdict: 'recovered', attempt: 1, at: noon - 8 * second });
      expect(verdict).to.include({ recovered_at: '2026-11-23T12:00:00.000Z', seconds: 0 });
    });

    it('does not believe that of a machine, whose node may have been Ready all along', () => {
      const verdict = judgedAt(300, { verdict: 'repaired', at: noon - 8 * second }, { plan: repairPlan });
      expect(verdict).to.include({ seconds: 300 });
    });
  });

  it('comes when time is up, to the millisecond, from when the action was done', () => {
    const waiting: Judgement = { verdict: undefined, why: '1 of 2 pods are Pending', attempt: 1 };
    expect(judgedAt(619.999, waiting)).to.equal(undefined);
    expect(judgedAt(620, waiting)).to.deep.equal({
      verdict: 'not_recovered',
      at: '2026-11-23T12:10:20.000Z',
      attempt: 1,
      why: 'not within 600 s: 1 of 2 pods are Pending',
    });
  });

  it('has a time of its own for repairs', () => {
    const waiting: Judgement = { verdict: undefined, why: '0 of 2 nodes are back' };
    expect(judgedAt(919, waiting, { plan: repairPlan })).to.equal(undefined);
    expect(judgedAt(920, waiting, { plan: repairPlan })).to.include({
      verdict: 'not_repaired',
      why: 'not within 900 s: 0 of 2 nodes are back',
    });
  });

  it('counts from when it was stopped where it was never done, else from the request', () => {
    const waiting: Judgement = { verdict: undefined, why: '-' };
    const stopped = { code: 'paused', status: 409, error: '', at: '2026-11-23T12:05:00Z', hasDeleted: true };
    expect(judgedAt(899, waiting, { doneAt: undefined, stopped })).to.equal(undefined);
    expect(judgedAt(900, waiting, { doneAt: undefined, stopped })).to.include({ verdict: 'not_recovered' });
    expect(judgedAt(600, waiting, { doneAt: undefined })).to.include({ verdict: 'not_recovered' });
  });

  it('is what the cluster says, also after the time', () => {
    const verdict = judgedAt(5000, { verdict: 'recovered', at: noon + 3000 * second });
    expect(verdict).to.include({ verdict: 'recovered', seconds: 3000 });
  });

  it('has no seconds where it did not help', () => {
    const verdict = judgedAt(5, { verdict: 'run_ended', why: 'JobSet default/train is gone' });
    expect(verdict).to.deep.equal({
      verdict: 'run_ended',
      at: '2026-11-23T12:00:05.000Z',
      why: 'JobSet default/train is gone',
    });
  });

  it('has same_host with its reason', () => {
    const judgement: Judgement = { verdict: 'repaired', at: noon + 9 * second, isSameHost: true, why: 'w' };
    const verdict = judgedAt(10, judgement, { plan: repairPlan });
    expect(verdict).to.include({ same_host: true, why: 'w', seconds: 9 });
    expect(verdict && hasHelped(verdict)).to.equal(false);
    expect(verdict && describeVerdict(verdict)).to.equal(
      'machine back after 9 s on the same physical host, so it will probably break again: w',
    );
  });
});
