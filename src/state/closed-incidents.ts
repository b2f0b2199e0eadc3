import { createHash } from 'node:crypto';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { createLease, readLease } from './lease.ts';
import { prefix } from '../names.ts';

/**
 * Remembers that an incident has closed, for a day, so that an open that was overtaken does nothing any more. Safe to
 * repeat.
 */
export async function rememberClosed(kubernetes: Kubernetes, incidentId: string): Promise<void> {
  await createLease(kubernetes, {
    name: toLeaseName(incidentId),
    labels: { [`${prefix}kind`]: 'incident' },
    annotations: { [`${prefix}incident`]: incidentId },
    renewedAt: kubernetes.serverNow(),
  });
}

/** Says whether an incident is known to have closed. */
export async function hasClosed(kubernetes: Kubernetes, incidentId: string): Promise<boolean> {
  return (await readLease(kubernetes, toLeaseName(incidentId))) !== undefined;
}

function toLeaseName(incidentId: string): string {
  return `closed-${createHash('sha256').update(incidentId).digest('hex').slice(0, 32)}`;
}
