import { toWholeSeconds } from '../clock.ts';
import { FailoverError } from '../errors.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { readLease } from './lease.ts';
import type { LeaseState } from './lease-format.ts';
import { clusterKeys, failoverNamespace, prefix } from '../names.ts';
import { nearestName } from '../nearest-name.ts';
import { versionKey } from './stored.ts';

export const hourMs = 3_600_000;

/** The Lease that holds the cluster's budget, and the switches that a person sets with `kubectl annotate`. */
export const clusterLease = 'cluster';

export const pausedKey = `${prefix}paused`;

/** Who has paused it, in a person's own words. */
export const pausedByKey = `${prefix}paused-by`;

const overrideKey = `${prefix}override-until`;

/** Everything that a person or this function writes there. */
const knownKeys = [pausedKey, pausedByKey, overrideKey, versionKey, ...clusterKeys];

/** What a person has set on the Lease `cluster`. */
export interface ClusterSwitches {
  /** Why everything is paused. Undefined when it is not. */
  pausedFor: string | undefined;
  /** Who says that they have paused it. By itself it pauses, too. */
  pausedBy: string | undefined;
  /** An annotation that this function does not know, and that may be a misspelt pause. */
  unknownKey: string | undefined;
  /** The annotation that asks to lift cooldown, budget and attempts, but does not: it is no time, past, or too far ahead. */
  ignoredOverride: string | undefined;
  /** Until when cooldown, budget and attempts are lifted, in ms since the epoch. Undefined when they are not. */
  overrideUntil: number | undefined;
  /** The Lease as it was read. Undefined when there is none yet. */
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

/** Says whether a person has paused the cluster, or has misspelt a switch of it. */
export async function isPaused(kubernetes: Kubernetes): Promise<boolean> {
  const { pausedFor, unknownKey } = await readSwitches(kubernetes);
  return pausedFor !== undefined || unknownKey !== undefined;
}

/** @throws {FailoverError} `paused`, also for a switch that nobody knows: a misspelt pause must not let actions through */
export function refusePaused({
  pausedFor,
  pausedBy,
  unknownKey,
}: Pick<ClusterSwitches, 'pausedFor' | 'pausedBy' | 'unknownKey'>): void {
  if (unknownKey !== undefined) throw unknownSwitch(unknownKey);
  if (pausedFor === undefined) return;
  const by = pausedBy ? ` (by ${pausedBy})` : '';
  const keys = pausedBy === undefined ? `${pausedKey}-` : `${pausedKey}- ${pausedByKey}-`;
  throw new FailoverError(
    'paused',
    `failover is paused for this cluster: ${pausedFor || 'no reason given'}${by}; to resume: ` +
      `kubectl annotate lease ${clusterLease} -n ${failoverNamespace} ${keys}`,
  );
}

function unknownSwitch(key: string): FailoverError {
  const nearest = nearestName(key, [pausedKey, overrideKey]);
  const hint = nearest ? `, did you mean ${nearest}?` : `; the switches are ${pausedKey} and ${overrideKey}.`;
  return new FailoverError(
    'paused',
    `unknown annotation ${key} on Lease ${clusterLease}${hint} Nothing is done until it is gone: ` +
      `kubectl annotate lease ${clusterLease} -n ${failoverNamespace} ${key}-`,
  );
}

/**
 * Says how to lift cooldown, budget and attempts, for the text of a refusal.
 *
 * @returns nothing for an alert, because the override does not count for alerts
 */
export function describeOverride(
  { serverNow, ignoredOverride }: Pick<ClusterSwitches, 'serverNow' | 'ignoredOverride'>,
  { isAlert }: { isAlert: boolean },
): string {
  if (isAlert) return '';
  const until = toWholeSeconds(serverNow + 30 * 60_000);
  const ignored =
    ignoredOverride === undefined
      ? ''
      : `. Its present value (${ignoredOverride.slice(0, 64)}) is ignored because it is not a time within the next hour`;
  return (
    ' ' +
    `To lift cooldown, budget and attempts for 30 minutes: kubectl annotate lease ${clusterLease} -n ${failoverNamespace} ` +
    `--overwrite ${overrideKey}=${until}${ignored}`
  );
}

/** Reads the switches out of the annotations of the Lease `cluster`. */
export function toSwitches(
  lease: Pick<LeaseState, 'annotations'> | undefined,
  now: number,
): Omit<ClusterSwitches, 'lease'> {
  const annotations = lease?.annotations ?? {};
  const pausedBy = annotations[pausedByKey];
  const override = annotations[overrideKey];
  const until = Date.parse(override ?? '');
  // A time that is more than an hour ahead is a typo or was forgotten, so it lifts nothing.
  const isLifted = until > now && until <= now + hourMs;
  return {
    // A pause that lacks its reason must not let actions through.
    pausedFor: annotations[pausedKey] ?? (pausedBy === undefined ? undefined : ''),
    pausedBy,
    unknownKey: Object.keys(annotations).find((key) => !knownKeys.includes(key) && looksLikeOurs(key)),
    ignoredOverride: isLifted ? undefined : override,
    overrideUntil: isLifted ? until : undefined,
    serverNow: now,
  };
}

/** The annotation is one of ours, or would pause if its prefix were right: `paused`, `autometic-failover/paused`. */
function looksLikeOurs(key: string): boolean {
  return key.startsWith(prefix) || nearestName(key, [pausedKey]) !== undefined;
}
