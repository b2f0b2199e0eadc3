import type { Kubernetes } from '../gke/kubernetes.ts';
import { readLease } from './lease.ts';
import type { LeaseState } from './lease-format.ts';
import { prefix } from '../names.ts';
import { readVeto } from './veto.ts';

export const lastActionKey = `${prefix}last-action`;

/** Holder and taker both keep this distance from the moment of expiry, because clocks differ and a call takes time. */
export const spareMs = 10_000;

/** Reads the annotations of a pool's Lease without taking its lock, for a dry run. */
export async function readPoolMarks(
  kubernetes: Kubernetes,
  nodePool: string,
): Promise<Record<string, string>> {
  return (await readLease(kubernetes, toLockName(nodePool)))?.annotations ?? {};
}

/** Returns the name of a pool's Lease. */
export function toLockName(nodePool: string): string {
  return `pool-${nodePool}`;
}

/** A pool's Lease as it was read before its lock is taken; undefined where there was none. */
export interface SeenLease {
  lease: LeaseState | undefined;
}

/** Reads a pool's Lease before its lock is taken, and says whether the lock is free. */
export async function seePoolLease(
  kubernetes: Kubernetes,
  nodePool: string,
): Promise<SeenLease & { isFree: boolean }> {
  const lease = await readLease(kubernetes, toLockName(nodePool));
  return { lease, isFree: !lease || isFree(lease, kubernetes.serverNow()) };
}

/** Reads which action held a pool's lock last; undefined for a pool that never had a lock. */
export function readLastActionId(lease: LeaseState | undefined): string | undefined {
  return lease?.annotations[lastActionKey];
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

/** Says whether nobody holds a lock, or it may be taken from its holder. */
export function isFree(lease: LeaseState, serverNow: number): boolean {
  return !lease.holder || isExpired(lease, serverNow);
}

/** Says whether a lock may be taken from its holder. */
export function isExpired(lease: LeaseState, serverNow: number): boolean {
  return freeAt(lease) < serverNow;
}

/** From when on a lock can be taken, if its holder does not renew it. */
export function freeAt({ renewedAt = 0, durationSeconds: seconds = 0 }: LeaseState): number {
  return renewedAt + seconds * 1000 + spareMs;
}
