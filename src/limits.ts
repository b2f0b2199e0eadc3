import type { Config } from './config.ts';
import { FailoverError } from './errors.ts';
import type { Kubernetes } from './kubernetes.ts';
import { parseAnnotation, readLease, updateAnnotations } from './lease.ts';
import type { LeaseState } from './lease.ts';
import { failoverNamespace, prefix } from './names.ts';
import { beginSweeping } from './record.ts';
/** The Lease that bounds what is done to the whole cluster, and that a person annotates at 3 a.m. */
const clusterLease = 'cluster';

const pausedKey = `${prefix}paused`;
const overrideKey = `${prefix}override-until`;
const poolsKey = `${prefix}pools`;
const hourMs = 3_600_000;

/** What a person has set on the Lease `cluster`. */
export interface ClusterSwitches {
  /** Why everything is paused; undefined when it is not. */
  pausedFor: string | undefined;
  /** Until when cooldown and budget are lifted, in ms since the epoch; undefined when they are not. */
  overrideUntil: number | undefined;
  /** As it was read; undefined when there is none yet. */
  lease: LeaseState | undefined;
  /** When it was read, by the API server's clock. */
  serverNow: number;
}

/** Reads what a person has set on the Lease `cluster`. */
export async function readSwitches(kubernetes: Kubernetes): Promise<ClusterSwitches> {
  const lease = await readLease(kubernetes, clusterLease);
  return { ...toSwitches(lease, kubernetes.serverNow()), lease };
}

/**
 * Refuses while a person has paused the cluster.
 *
 * @throws {FailoverError} `paused`
 */
export async function assertNotPaused(kubernetes: Kubernetes): Promise<void> {
  refusePaused(await readSwitches(kubernetes));
}

/** @throws {FailoverError} `paused` */
export function refusePaused({ pausedFor }: Pick<ClusterSwitches, 'pausedFor'>): void {
  if (pausedFor === undefined) return;
  throw new FailoverError(
    'paused',
    `failover is paused for this cluster: ${pausedFor || 'no reason given'}; to resume: ` +
      `kubectl annotate lease ${clusterLease} -n ${failoverNamespace} ${pausedKey}-`,
  );
}

/**
 * Counts a pool among those acted on within the hour.
 *
 * @param known is what was read to decide
 * @returns the Lease `cluster` as it is afterwards
 * @throws {FailoverError} `budget_exceeded` when that would be one too many, `paused`
 */
export async function chargeBudget(
  kubernetes: Kubernetes,
  config: Config,
  nodePool: string,
  { canOverride, known }: { canOverride: boolean; known: ClusterSwitches },
): Promise<LeaseState | undefined> {
  const charge = (annotations: Record<string, string>) => {
    const now = kubernetes.serverNow();
    const switches = toSwitches({ annotations }, now);
    refusePaused(switches);
    const pools = recentPools(annotations, now);
    if (Object.hasOwn(pools, nodePool)) return undefined;
    assertBudget(pools, config, now, canOverride && switches.overrideUntil !== undefined);
    const charged = JSON.stringify({ ...pools, [nodePool]: new Date(now).toISOString() });
    return { ...beginSweeping(annotations, now), [poolsKey]: charged };
  };
  return updateAnnotations(kubernetes, clusterLease, charge, known.lease);
}

/**
 * Refuses when a pool would be one too many within the hour. It is asked again, and for good, when it is charged.
 *
 * @throws {FailoverError} `budget_exceeded`
 */
export function assertBudgetLeft(switches: ClusterSwitches, config: Config, nodePool: string): void {
  const { lease, serverNow } = switches;
  const pools = recentPools(lease?.annotations ?? {}, serverNow);
  if (!Object.hasOwn(pools, nodePool)) assertBudget(pools, config, serverNow, false);
}

function assertBudget(pools: Record<string, string>, config: Config, now: number, isLifted: boolean): void {
  const names = Object.keys(pools).sort();
  if (isLifted || names.length < config.maxPoolsPerHour) return;
  const oldest = Math.min(...Object.values(pools).map((time) => Date.parse(time)));
  const retryAfterSeconds = Math.max(1, Math.ceil((oldest + hourMs - now) / 1000));
  throw new FailoverError(
    'budget_exceeded',
    `action is currently rate limited: ${names.length} node pools were acted on within the hour (${names.join(', ')}), ` +
      `which is MAX_POOLS_PER_HOUR; is it the metric that is broken? ${describeOverride(now)}`,
    { headers: { 'Retry-After': String(retryAfterSeconds) } },
  );
}

/** The line that lifts cooldown and budget. */
export function describeOverride(serverNow: number): string {
  const until = new Date(serverNow + 30 * 60_000).toISOString().replace(/\.\d+Z$/, 'Z');
  return (
    `To lift cooldown and budget for 30 minutes: kubectl annotate lease ${clusterLease} -n ${failoverNamespace} ` +
    `--overwrite ${overrideKey}=${until}`
  );
}

function toSwitches(
  lease: Pick<LeaseState, 'annotations'> | undefined,
  now: number,
): Omit<ClusterSwitches, 'lease'> {
  const annotations = lease?.annotations ?? {};
  const until = Date.parse(annotations[overrideKey] ?? '');
  // One that reaches further is a typo or was forgotten there, and lifts nothing.
  const isLifted = until > now && until <= now + hourMs;
  return {
    pausedFor: annotations[pausedKey],
    overrideUntil: isLifted ? until : undefined,
    serverNow: now,
  };
}

function recentPools(annotations: Record<string, string>, now: number): Record<string, string> {
  if (annotations[poolsKey] === undefined) return {};
  const pools = parseAnnotation(annotations, poolsKey) as Record<string, string> | undefined;
  if (
    !pools ||
    typeof pools !== 'object' ||
    Object.values(pools).some((time) => !Number.isFinite(Date.parse(time)))
  ) {
    throw new FailoverError(
      'budget_exceeded',
      `the budget in annotation ${poolsKey} of Lease ${clusterLease} is broken; to start it anew: ` +
        `kubectl annotate lease ${clusterLease} -n ${failoverNamespace} ${poolsKey}-`,
    );
  }
  return Object.fromEntries(Object.entries(pools).filter(([, time]) => now - Date.parse(time) < hourMs));
}
