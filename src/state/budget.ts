import type { Config } from '../config.ts';
import { FailoverError } from '../errors.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { updateAnnotations } from './lease.ts';
import type { LeaseState } from './lease.ts';
import { failoverNamespace, poolsKey } from '../names.ts';
import { beginSweeping } from './sweep.ts';
import { mapOf, parseStored, timeSchema } from './stored.ts';
import { clusterLease, describeOverride, hourMs, refusePaused, toSwitches } from './switches.ts';
import type { ClusterSwitches } from './switches.ts';

/** When each pool was acted on last. */
const poolsSchema = mapOf(timeSchema);

/**
 * Counts a pool among those that were acted on within the hour.
 *
 * @param known are the switches as they were read for the decision
 * @returns the Lease `cluster` as it is afterwards
 * @throws {FailoverError} `budget_exceeded` when that would be one too many, `paused`
 */
export async function chargeBudget(
  kubernetes: Kubernetes,
  config: Config,
  nodePool: string,
  { isAlert, known }: { isAlert: boolean; known: ClusterSwitches },
): Promise<LeaseState | undefined> {
  const charge = (annotations: Record<string, string>) => {
    const now = kubernetes.serverNow();
    const switches = toSwitches({ annotations }, now);
    refusePaused(switches);
    const pools = recentPools(annotations, now);
    if (Object.hasOwn(pools, nodePool)) return undefined;
    // A person's override is not meant for alerts.
    const isLifted = !isAlert && switches.overrideUntil !== undefined;
    if (!isLifted) assertBudget(pools, config, switches, isAlert);
    const charged = JSON.stringify({ ...pools, [nodePool]: new Date(now).toISOString() });
    return { ...beginSweeping(annotations, now), [poolsKey]: charged };
  };
  return updateAnnotations(kubernetes, clusterLease, charge, known.lease);
}

/**
 * Refuses when a pool would be one too many within the hour. {@link chargeBudget} asks again, and its answer counts.
 *
 * @throws {FailoverError} `budget_exceeded`
 */
export function assertBudgetLeft(
  switches: ClusterSwitches,
  config: Config,
  nodePool: string,
  { isAlert }: { isAlert: boolean },
): void {
  const { lease, serverNow } = switches;
  const pools = recentPools(lease?.annotations ?? {}, serverNow);
  if (!Object.hasOwn(pools, nodePool)) assertBudget(pools, config, switches, isAlert);
}

function assertBudget(
  pools: Record<string, string>,
  config: Config,
  switches: Omit<ClusterSwitches, 'lease'>,
  isAlert: boolean,
): void {
  const names = Object.keys(pools).sort();
  if (names.length < config.maxPoolsPerHour) return;
  const oldest = Math.min(...Object.values(pools).map((time) => Date.parse(time)));
  const retryAfterSeconds = Math.max(1, Math.ceil((oldest + hourMs - switches.serverNow) / 1000));
  throw new FailoverError(
    'budget_exceeded',
    `action is currently rate limited: ${names.length} node pools were acted on within the hour (${names.join(', ')}), ` +
      `which is MAX_POOLS_PER_HOUR; is it the metric that is broken?${describeOverride(switches, { isAlert })}`,
    { headers: { 'Retry-After': String(retryAfterSeconds) } },
  );
}

function recentPools(annotations: Record<string, string>, now: number): Record<string, string> {
  const stored = parseStored(poolsSchema, annotations, poolsKey);
  if (stored === 'broken') {
    throw new FailoverError(
      'budget_exceeded',
      `the budget in annotation ${poolsKey} of Lease ${clusterLease} is broken; to reset it: ` +
        `kubectl annotate lease ${clusterLease} -n ${failoverNamespace} ${poolsKey}-`,
    );
  }
  const pools = stored?.value ?? {};
  return Object.fromEntries(Object.entries(pools).filter(([, time]) => now - Date.parse(time) < hourMs));
}
