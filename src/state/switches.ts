import { FailoverError } from '../errors.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { readLease } from './lease.ts';
import type { LeaseState } from './lease.ts';
import { failoverNamespace, prefix } from '../names.ts';

export const hourMs = 3_600_000;

/** The Lease that holds the cluster's budget, and the switches that a person sets with `kubectl annotate`. */
export const clusterLease = 'cluster';

const pausedKey = `${prefix}paused`;

const overrideKey = `${prefix}override-until`;

/** What a person has set on the Lease `cluster`. */
export interface ClusterSwitches {
  /** Why everything is paused; undefined when it is not. */
  pausedFor: string | undefined;
  /** Until when cooldown and budget are lifted, in ms since the epoch. Undefined when they are not. */
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

/** @throws {FailoverError} `paused` */
export function refusePaused({ pausedFor }: Pick<ClusterSwitches, 'pausedFor'>): void {
  if (pausedFor === undefined) return;
  throw new FailoverError(
    'paused',
    `failover is paused for this cluster: ${pausedFor || 'no reason given'}; to resume: ` +
      `kubectl annotate lease ${clusterLease} -n ${failoverNamespace} ${pausedKey}-`,
  );
}

/** The command that lifts cooldown and budget. */
export function describeOverride(serverNow: number): string {
  const until = new Date(serverNow + 30 * 60_000).toISOString().replace(/\.\d+Z$/, 'Z');
  return (
    `To lift cooldown and budget for 30 minutes: kubectl annotate lease ${clusterLease} -n ${failoverNamespace} ` +
    `--overwrite ${overrideKey}=${until}`
  );
}

export function toSwitches(
  lease: Pick<LeaseState, 'annotations'> | undefined,
  now: number,
): Omit<ClusterSwitches, 'lease'> {
  const annotations = lease?.annotations ?? {};
  const until = Date.parse(annotations[overrideKey] ?? '');
  // A time that is more than an hour ahead is a typo or was forgotten, so it lifts nothing.
  const isLifted = until > now && until <= now + hourMs;
  return {
    pausedFor: annotations[pausedKey],
    overrideUntil: isLifted ? until : undefined,
    serverNow: now,
  };
}
