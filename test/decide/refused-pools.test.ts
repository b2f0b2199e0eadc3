import { expect } from 'chai';
import { warnOfRefusedPools } from '../../src/decide/refused-pools.ts';
import { poolsKey, refusedPoolsKey } from '../../src/names.ts';
import type { RestartPlan } from '../../src/plan.ts';
import type { RestartStep } from '../../src/step.ts';

const now = Date.parse('2026-11-23T03:00:00Z');
const minutesAgo = (count: number) => new Date(now - count * 60_000).toISOString();

/** The warning of a restart that may land on `slice-c`, which was refused, or acted on, so many minutes ago. */
function warn(refused: number | undefined, acted?: number, outcome: RestartStep['outcome'] = 'restarted') {
  const list = (minutes: number | undefined) =>
    JSON.stringify(minutes === undefined ? {} : { 'slice-c': minutesAgo(minutes) });
  const annotations = { [refusedPoolsKey]: list(refused), [poolsKey]: list(acted) };
  const cluster = { serverNow: now, lease: { annotations } } as unknown as Parameters<
    typeof warnOfRefusedPools
  >[2];
  const step: RestartStep = { step: 'restart', target: 'default/train', outcome, attempt: 0 };
  const plan = { mayLandOn: ['slice-b', 'slice-c'] } as unknown as RestartPlan;
  return warnOfRefusedPools(step, plan, cluster).warning;
}

describe('warnOfRefusedPools', () => {
  const told = /^the next attempt may land on node pool slice-c, where the budget/;

  it('warns of a pool that was refused and not acted on since', () => {
    expect(warn(10)).to.match(told);
    expect(warn(10, 20)).to.match(told);
  });

  it('is silent on a pool that was acted on since, or at the same moment', () => {
    expect(warn(undefined)).to.equal(undefined);
    expect(warn(20, 10)).to.equal(undefined);
    expect(warn(10, 10)).to.equal(undefined);
  });

  it('is silent where the JobSet is gone, because no attempt follows', () => {
    expect(warn(10, undefined, 'jobset_gone')).to.equal(undefined);
  });
});
