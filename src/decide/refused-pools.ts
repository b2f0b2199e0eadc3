import type { RestartPlan } from '../plan.ts';
import { readRecentPools, readRefusedPools } from '../state/budget.ts';
import type { ClusterSwitches } from '../state/switches.ts';
import { withWarning } from '../step.ts';
import type { RestartStep } from '../step.ts';

/**
 * Warns where the next attempt may land on a pool that the budget refused within the hour. Such a pool stayed uncordoned,
 * and somebody had a reason to want it acted on.
 *
 * @param cluster is the Lease `cluster`, as late as it was read
 */
export function warnOfRefusedPools(
  step: RestartStep,
  plan: RestartPlan,
  cluster: Pick<ClusterSwitches, 'lease' | 'serverNow'>,
): RestartStep {
  const warning = describeRefusedPools(plan, cluster);
  return warning === undefined || step.outcome === 'jobset_gone' ? step : withWarning(step, warning);
}

function describeRefusedPools(
  { mayLandOn = [] }: RestartPlan,
  { lease, serverNow }: Pick<ClusterSwitches, 'lease' | 'serverNow'>,
): string | undefined {
  const annotations = lease?.annotations ?? {};
  const refused = readRefusedPools(annotations, serverNow);
  const actedOn = readRecentPools(annotations, serverNow);
  const pools = mayLandOn.filter((pool) => {
    const [refusedAt, actedAt] = [refused[pool], actedOn[pool]];
    return refusedAt !== undefined && (actedAt === undefined || Date.parse(actedAt) < Date.parse(refusedAt));
  });
  const [first] = pools;
  if (first === undefined) return undefined;
  const which =
    pools.length === 1
      ? `node pool ${first}, where the budget (MAX_POOLS_PER_HOUR) refused an action`
      : `node pools ${pools.join(', ')}, where the budget (MAX_POOLS_PER_HOUR) refused actions`;
  return `the next attempt may land on ${which} within the hour, so look at what was wrong there`;
}
