import type { Kubernetes } from '../gke/kubernetes.ts';
import { readLease } from './lease.ts';
import type { LeaseState } from './lease.ts';
import { freeAt, isExpired, toLockName } from './lock.ts';

/** Reads the annotations of a pool's Lease without taking its lock, for a dry run. */
export async function readPoolMarks(
  kubernetes: Kubernetes,
  nodePool: string,
): Promise<Record<string, string>> {
  return (await readLease(kubernetes, toLockName(nodePool)))?.annotations ?? {};
}

/** Reads from a pool's Lease which action works on the pool, and until when it may be alive. */
export function readLockState(
  lease: LeaseState,
  serverNow: number,
): { actionId: string; freeAt: number } | undefined {
  if (lease.holder === undefined || isExpired(lease, serverNow)) return undefined;
  return { actionId: lease.holder.split('/')[0] ?? '', freeAt: freeAt(lease) };
}

/** Says whether somebody works on a pool now: its lock is held and has not expired. */
export async function isPoolHeld(kubernetes: Kubernetes, nodePool: string): Promise<boolean> {
  const lease = await readLease(kubernetes, toLockName(nodePool));
  return lease !== undefined && readLockState(lease, kubernetes.serverNow()) !== undefined;
}
