import type { Kubernetes } from '../gke/kubernetes.ts';
import { readLease } from './lease.ts';
import type { LeaseState } from './lease.ts';
import { readVeto } from './veto.ts';
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

/** Says whether somebody works on a pool now, or keeps this function away from it. */
export async function readPoolState(
  kubernetes: Kubernetes,
  nodePool: string,
): Promise<{ isHeld: boolean; isVetoed: boolean }> {
  const lease = await readLease(kubernetes, toLockName(nodePool));
  const now = kubernetes.serverNow();
  return {
    // Its lock is held and has not expired.
    isHeld: lease !== undefined && readLockState(lease, now) !== undefined,
    isVetoed: readVeto(lease?.annotations ?? {}, now) !== undefined,
  };
}
