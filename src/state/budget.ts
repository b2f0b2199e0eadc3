import type { Config } from '../config.ts';
import { FailoverError } from '../errors.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { updateAnnotations } from './lease.ts';
import type { LeaseState } from './lease-format.ts';
import { failoverNamespace, poolsKey, refusedPoolsKey } from '../names.ts';
import { countAcceleratorPools } from '../gke/nodes.ts';
import { beginSweeping } from './sweep.ts';
import { mapOf, parseStored, timeSchema } from './stored.ts';
import { clusterLease, describeOverride, hourMs, refusePaused, toSwitches } from './switches.ts';
import type { ClusterSwitches } from './switches.ts';

/** When each pool was acted on last. */
const poolsSchema = mapOf(timeSchema);

/** How many pools may be acted on within the hour. */
export interface MaxPools {
  count: number;
  /** How a percentage came to that number, for the text of a refusal. */
  why: string;
}

/** Works out the budget. A percentage is of the cluster's accelerator pools, rounded up, so that it is one pool at least. */
export async function readMaxPools(
  kubernetes: Kubernetes,
  { maxPoolsPerHour }: Pick<Config, 'maxPoolsPerHour'>,
): Promise<MaxPools> {
  const pools = typeof maxPoolsPerHour === 'number' ? 0 : await countAcceleratorPools(kubernetes);
  return toMaxPools(maxPoolsPerHour, pools);
}

/** Works out the budget of a cluster with so many accelerator pools. */
export function toMaxPools(maxPoolsPerHour: Config['maxPoolsPerHour'], pools: number): MaxPools {
  if (typeof maxPoolsPerHour === 'number') return { count: maxPoolsPerHour, why: '' };
  const { percent } = maxPoolsPerHour;
  const count = Math.max(1, Math.ceil((percent * pools) / 100));
  return { count, why: ` (${percent}% of ${pools} accelerator pools)` };
}

/**
 * Remembers for an hour that the budget refused a pool: it stays as it is, and a JobSet that restarts may land on it. Pools
 * are kept up to a bound.
 */
export async function noteRefusedPool(kubernetes: Kubernetes, nodePool: string): Promise<void> {
  await updateAnnotations(kubernetes, clusterLease, (annotations) => {
    const now = kubernetes.serverNow();
    const refused = readRefusedPools(annotations, now);
    // A broken metric refuses the same pool many times.
    if (Object.hasOwn(refused, nodePool)) return undefined;
    const kept = Object.fromEntries(Object.entries(refused).slice(-maxRefused));
    const noted = { ...kept, [nodePool]: new Date(now).toISOString() };
    return { ...annotations, [refusedPoolsKey]: JSON.stringify(noted) };
  });
}

/** Reads the pools that the budget refused within the hour, with when. */
export function readRefusedPools(
  annotations: Readonly<Record<string, string>>,
  now: number,
): Record<string, string> {
  return keepRecent(parseStored(poolsSchema, annotations, refusedPoolsKey), now);
}

function keepRecent(
  stored: { value: Record<string, string> } | 'broken' | undefined,
  now: number,
): Record<string, string> {
  const pools = stored === undefined || stored === 'broken' ? {} : stored.value;
  return Object.fromEntries(Object.entries(pools).filter(([, time]) => now - Date.parse(time) < hourMs));
}

const maxRefused = 100;

/**
 * Counts a pool among those that were acted on within the hour.
 *
 * @param known are the switches as they were read for the decision
 * @returns the Lease `cluster` as it is afterwards
 * @throws {FailoverError} `budget_exceeded` when that would be one too many, `paused`
 */
export async function chargeBudget(
  kubernetes: Kubernetes,
  nodePool: string,
  { isAlert, known, maxPools }: { isAlert: boolean; known: ClusterSwitches; maxPools: MaxPools },
): Promise<LeaseState | undefined> {
  const charge = (annotations: Record<string, string>) => {
    const now = kubernetes.serverNow();
    const switches = toSwitches({ annotations }, now);
    refusePaused(switches);
    const pools = recentPools(annotations, now);
    if (Object.hasOwn(pools, nodePool)) return undefined;
    // A person's override is not meant for alerts.
    const isLifted = !isAlert && switches.overrideUntil !== undefined;
    if (!isLifted) assertBudget(pools, nodePool, maxPools, switches, isAlert);
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
  nodePool: string,
  { isAlert, maxPools }: { isAlert: boolean; maxPools: MaxPools },
): void {
  const { lease, serverNow } = switches;
  const pools = recentPools(lease?.annotations ?? {}, serverNow);
  if (!Object.hasOwn(pools, nodePool)) assertBudget(pools, nodePool, maxPools, switches, isAlert);
}

function assertBudget(
  pools: Record<string, string>,
  nodePool: string,
  maxPools: MaxPools,
  switches: Omit<ClusterSwitches, 'lease'>,
  isAlert: boolean,
): void {
  const names = Object.keys(pools).sort();
  if (names.length < maxPools.count) return;
  const oldest = Math.min(...Object.values(pools).map((time) => Date.parse(time)));
  const retryAfterSeconds = Math.max(1, Math.ceil((oldest + hourMs - switches.serverNow) / 1000));
  throw new FailoverError(
    'budget_exceeded',
    `action is currently rate limited: ${names.length} node pools were acted on within the hour (${names.join(', ')}), ` +
      `which is MAX_POOLS_PER_HOUR${maxPools.why}, so nothing is done to ${nodePool}, and a JobSet that restarts may land on it; ` +
      `is it the metric that is broken?${describeOverride(switches, { isAlert })}`,
    { headers: { 'Retry-After': String(retryAfterSeconds) } },
  );
}

/** Reads the pools that were acted on within the hour, with when. A budget that cannot be read counts as empty here. */
export function readRecentPools(
  annotations: Readonly<Record<string, string>>,
  now: number,
): Record<string, string> {
  return keepRecent(parseStored(poolsSchema, annotations, poolsKey), now);
}

/** Says whether the budget cannot be read, so that it refuses every pool. */
export function isBudgetBroken(annotations: Readonly<Record<string, string>>): boolean {
  return parseStored(poolsSchema, annotations, poolsKey) === 'broken';
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
