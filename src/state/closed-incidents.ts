import type { Kubernetes } from '../gke/kubernetes.ts';
import { prefix } from '../names.ts';
import { createLease, readLease, toLeaseName } from './lease.ts';

/**
 * Remembers for a day that an incident has closed, so that its open does nothing when it arrives after the close. Safe to
 * repeat.
 */
export async function rememberClosed(kubernetes: Kubernetes, incidentId: string): Promise<void> {
  await createLease(kubernetes, {
    name: toClosedName(incidentId),
    labels: { [`${prefix}kind`]: 'incident' },
    annotations: { [`${prefix}incident`]: incidentId },
    renewedAt: kubernetes.serverNow(),
  });
}

/** Looks up whether an incident is known to have closed. */
export async function hasClosed(kubernetes: Kubernetes, incidentId: string): Promise<boolean> {
  return (await readLease(kubernetes, toClosedName(incidentId))) !== undefined;
}

/** Names the Lease that says that an incident has closed. */
export function toClosedName(incidentId: string): string {
  return toLeaseName('closed', incidentId);
}
