import type { Kubernetes } from '../gke/kubernetes.ts';
import { deleteLease, listLeases, updateAnnotations } from './lease.ts';
import type { LeaseState } from './lease-format.ts';
import {
  hostMemoryMs,
  maxHosts,
  maxRecords,
  minRecordRetentionMs,
  recordRetentionMs,
  sweptKey,
} from '../names.ts';
import { mapWithSemaphore, Semaphore } from '../gke/semaphore.ts';
import { keys, kindLabel, openLabel } from './record-format.ts';

const sweepIntervalMs = 3_600_000;

/** How soon the next sweep comes where this one could not delete all. */
const sweepAgainMs = 5 * 60_000;

/** How long a closed incident, and the last restart of a JobSet, are remembered. */
const keepOthersMs = 24 * 3_600_000;

/** The caller waits for the sweep. */
const maxSwept = 1000;

const concurrency = 16;

const clusterLeaseName = 'cluster';

/** Starts the sweep interval in the annotations of the Lease `cluster`: before the first action there is nothing to sweep. */
export function beginSweeping(
  annotations: Record<string, string>,
  serverNow: number,
): Record<string, string> {
  return { [sweptKey]: new Date(serverNow).toISOString(), ...annotations };
}

/**
 * Deletes the records of settled actions that are more than 7 days old, or that are beyond the bound on their number, at most
 * once an hour. What is not settled is never swept.
 *
 * @param clusterLease as it was last written; it saves a call
 * @returns how many Leases it deleted
 */
export async function sweepRecords(kubernetes: Kubernetes, clusterLease?: LeaseState): Promise<number> {
  const now = kubernetes.serverNow();
  let isDue = false;
  const markSwept = (annotations: Record<string, string>) => {
    isDue = !(now - Date.parse(annotations[sweptKey] ?? '') < sweepIntervalMs);
    return isDue ? { ...annotations, [sweptKey]: toTime(now) } : undefined;
  };
  const marked = await updateAnnotations(kubernetes, clusterLeaseName, markSwept, clusterLease);
  if (!isDue) return 0;
  const old = findOld(await listLeases(kubernetes, `${kindLabel} in (action,incident,jobset,host)`), now);
  const swept = old.slice(0, maxSwept);
  const deleted = await mapWithSemaphore(new Semaphore(concurrency), swept, (lease) =>
    deleteLease(kubernetes, lease),
  );
  for (const each of deleted) if ('error' in each) throw each.error;
  if (swept.length < old.length) {
    const at = toTime(now - sweepIntervalMs + sweepAgainMs);
    const markSooner = (annotations: Record<string, string>) => ({ ...annotations, [sweptKey]: at });
    await updateAnnotations(kubernetes, clusterLeaseName, markSooner, marked);
  }
  return swept.length;
}

/** Chooses the Leases to delete, the oldest first. */
function findOld(leases: LeaseState[], now: number): LeaseState[] {
  const ageOf = ({ renewedAt }: LeaseState) => now - (renewedAt ?? now);
  const byAge = [...leases].sort((a, b) => ageOf(b) - ageOf(a));
  const isAction = ({ labels }: LeaseState) => labels[kindLabel] === 'action';
  const settled = byAge.filter((lease) => isAction(lease) && isSettled(lease));
  const excess = new Set(settled.slice(0, Math.max(0, settled.length - maxRecords)));
  const isOldAction = (lease: LeaseState) =>
    ageOf(lease) > recordRetentionMs || (excess.has(lease) && ageOf(lease) > minRecordRetentionMs);
  const hosts = byAge.filter(({ labels }) => labels[kindLabel] === 'host');
  const excessHosts = Math.max(0, hosts.length - maxHosts);
  const oldHosts = hosts.filter((lease, index) => index < excessHosts || ageOf(lease) > hostMemoryMs);
  const others = byAge.filter(
    (lease) => !isAction(lease) && !hosts.includes(lease) && ageOf(lease) > keepOthersMs,
  );
  return [...settled.filter((lease) => isOldAction(lease)), ...others, ...oldHosts];
}

/** Version 0.1.0 ended with `done`, and had no label for what is open. */
function isSettled({ annotations, labels }: LeaseState): boolean {
  const phase = annotations[keys.phase];
  return phase === 'settled' || (phase === 'done' && labels[openLabel] === undefined);
}

function toTime(ms: number): string {
  return new Date(ms).toISOString();
}
