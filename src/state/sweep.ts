import type { Kubernetes } from '../gke/kubernetes.ts';
import { deleteLease, listLeases, updateAnnotations } from './lease.ts';
import type { LeaseState } from './lease.ts';
import { sweptKey } from '../names.ts';
import { keys, kindLabel } from './record.ts';

const sweepIntervalMs = 3_600_000;

const keepRecordsMs = 24 * 3_600_000;

const maxSwept = 200;

/** Starts the sweep interval in the annotations of the Lease `cluster`: before the first action there is nothing to sweep. */
export function beginSweeping(
  annotations: Record<string, string>,
  serverNow: number,
): Record<string, string> {
  return { [sweptKey]: new Date(serverNow).toISOString(), ...annotations };
}

/**
 * Deletes records that were done more than 24 h ago, at most once an hour. Unfinished actions are never swept.
 *
 * @param clusterLease as it was last written; it saves a call
 * @returns how many Leases it deleted
 */
export async function sweepRecords(kubernetes: Kubernetes, clusterLease?: LeaseState): Promise<number> {
  const now = kubernetes.serverNow();
  let isDue = false;
  const markSwept = (annotations: Record<string, string>) => {
    isDue = !(now - Date.parse(annotations[sweptKey] ?? '') < sweepIntervalMs);
    return isDue ? { ...annotations, [sweptKey]: new Date(now).toISOString() } : undefined;
  };
  await updateAnnotations(kubernetes, 'cluster', markSwept, clusterLease);
  if (!isDue) return 0;
  const leases = await listLeases(kubernetes, `${kindLabel} in (action,incident,jobset)`);
  const finished = leases.filter(
    ({ labels, annotations }) => labels[kindLabel] !== 'action' || annotations[keys.phase] === 'done',
  );
  const old = finished.filter((lease) => now - (lease.renewedAt ?? now) > keepRecordsMs).slice(0, maxSwept);
  for (const lease of old) await deleteLease(kubernetes, lease);
  return old.length;
}
