import { ahead } from '../ahead.ts';
import type { Clock } from '../clock.ts';
import { FailoverError } from '../errors.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import type { Action } from '../request/action.ts';
import { isAwaitingApproval, isUnapproved } from '../state/approval.ts';
import { acquirePoolLock, PoolLock } from '../state/lock.ts';
import type { LockBusy } from '../state/lock.ts';
import { readLastActionId, seePoolLease } from '../state/pool-lease.ts';
import { createRecord, readRecord } from '../state/record.ts';
import type { ActionRecord } from '../state/record-format.ts';
import type { Reads } from './reads.ts';

/** What a claim works with. */
export interface ClaimTools {
  kubernetes: Kubernetes;
  clock: Clock;
  /** Called for a new id only. */
  resolvePool: () => Promise<string>;
  /** Begins to read what the decision rests on. Undefined where that is known only under the claim. */
  beginReads?: ((nodePool: string) => Reads) | undefined;
}

/** What was begun to be read before it was known that it is needed. */
export interface Seen {
  resolving?: Promise<string> | undefined;
  lease?: ReturnType<typeof seePoolLease> | undefined;
}

/**
 * Begins to look up what a new action needs while its record is looked up. Alerts come again and again, and most of them are known,
 * so for them nothing is read that may not be needed.
 */
export function lookAhead(
  { incident, nodeName, nodePool }: Action,
  { kubernetes, resolvePool }: Pick<ClaimTools, 'kubernetes' | 'resolvePool'>,
): Seen {
  if (incident) return {};
  return {
    resolving: nodeName === undefined ? undefined : ahead(resolvePool()),
    lease: nodePool === undefined ? undefined : ahead(seePoolLease(kubernetes, nodePool)),
  };
}

/** What came of the two writes of a claim. */
export interface Taken {
  lock: PoolLock | LockBusy;
  /** Undefined if the record existed already. */
  created?: ActionRecord | undefined;
  /** Whether the last holder of the lock left its action unfinished. */
  unfinished?: Promise<string | undefined>;
  reads?: Reads | undefined;
}

/**
 * Creates the record and takes the lock at the same time: whichever of the two comes first, or alone, the same request sent again
 * goes on from there. Begins to read what the decision rests on, too. That holds if the lock is taken from the Lease as it was
 * read before all of it, because then nobody else has held the lock since.
 */
export async function claimBoth(
  action: Action,
  { hash, claimId, nodePool }: { hash: string; claimId: string; nodePool: string },
  before: Seen,
  { kubernetes, clock, beginReads }: ClaimTools,
): Promise<Taken> {
  const { id } = action;
  const seen = await (before.lease ?? seePoolLease(kubernetes, nodePool));
  const reads = seen.isFree ? beginReads?.(nodePool) : undefined;
  const unfinished = seen.isFree
    ? ahead(findUnfinished(kubernetes, readLastActionId(seen.lease), id))
    : undefined;
  // Both are waited for, because no write may still be under way when the lock is given back.
  const [made, locked] = await Promise.allSettled([
    createRecord(kubernetes, action, { hash, nodePool, claimId }),
    acquirePoolLock(kubernetes, clock, nodePool, { id, claimId }, seen),
  ]);
  const lock = locked.status === 'fulfilled' ? locked.value : undefined;
  if (made.status === 'rejected') {
    if (lock instanceof PoolLock) await lock.release({ forget: true }).catch(() => undefined);
    throw made.reason;
  }
  if (!lock) throw (locked as PromiseRejectedResult).reason;
  const isSafe = lock instanceof PoolLock && lock.isAsSeen;
  return { lock, created: made.value, ...(isSafe ? { reads, ...(unfinished ? { unfinished } : {}) } : {}) };
}

/** Says whether the last holder of a pool's lock left its action unfinished. */
export async function findUnfinished(
  kubernetes: Kubernetes,
  lastId: string | undefined,
  id: string,
): Promise<string | undefined> {
  if (lastId === undefined || lastId === id) return undefined;
  try {
    const last = await readRecord(kubernetes, lastId);
    const isBegun = last?.plan && !last.answer && !isAwaitingApproval(last) && !isUnapproved(last);
    return isBegun ? lastId : undefined;
  } catch (error) {
    // A broken record stops its own action, but not the next action on the pool.
    if (error instanceof FailoverError && error.code === 'action_in_progress') return lastId;
    throw error;
  }
}
