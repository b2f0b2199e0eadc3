import type { Kubernetes } from '../gke/kubernetes.ts';
import { readLease } from './lease.ts';
import { isExpired, toLockName } from './lock.ts';

/** Reads the annotations of a pool's Lease without taking its lock, for a dry run. */
export async function readPoolMarks(
  kubernetes: Kubernetes,
  nodePool: string,
): Promise<Record<string, string>> {
  return (await readLease(kubernetes, toLockName(nodePool)))?.annotations ?? {};
}

/** Says whether somebody works on a pool now: its lock is held and has not expired. */
export async function isPoolHeld(kubernetes: Kubernetes, nodePool: string): Promise<boolean> {
  const lease = await readLease(kubernetes, toLockName(nodePool));
  return lease?.holder !== undefined && !isExpired(lease, kubernetes.serverNow());
}
