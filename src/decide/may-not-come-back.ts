import type { GkePool } from '../gke/gke-work-answer.ts';
import { isBoughtAs } from '../gke/node-labels.ts';
import type { NodeRef } from '../gke/nodes.ts';

/**
 * Says why a machine that is deleted may not come back: how it was bought, and what GKE says of its pool. The node's labels
 * tell it also where GKE could not be asked.
 */
export function findLastingDoubt({ labels }: NodeRef, pool: GkePool | undefined): string | undefined {
  const reasons = [
    ...(isBoughtAs('spot', labels) || pool?.isSpot === true
      ? ['its machines are Spot VMs, and another one comes only while Compute has spare capacity']
      : []),
    ...(isBoughtAs('flex-start', labels) || pool?.isFlexStart === true
      ? ['its machines were granted for a time (flex-start), and whether another one comes is not documented']
      : []),
    ...(isBoughtAs('queued', labels) || pool?.isQueued === true
      ? [
          'its machines were granted for a time (queued provisioning), and whether another one comes is not documented',
        ]
      : []),
    ...(pool?.conditions ?? []).flatMap((code) => meanings[code] ?? []),
    ...(pool?.status === 'ERROR' ? ['GKE says that the pool may be unusable (its status is ERROR)'] : []),
  ];
  return reasons.length === 0 ? undefined : reasons.join('; ');
}

const meanings: Record<string, string> = {
  GCE_STOCKOUT: 'Compute had no capacity for the pool (GCE_STOCKOUT)',
  GCE_QUOTA_EXCEEDED: 'the quota of the project does not suffice for the pool (GCE_QUOTA_EXCEEDED)',
  RESOURCE_EXHAUSTED: 'Compute lacks capacity or quota for the pool (RESOURCE_EXHAUSTED)',
};
