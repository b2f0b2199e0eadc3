import { randomUUID } from 'node:crypto';
import { hashAction } from '../request/action.ts';
import type { Action } from '../request/action.ts';
import type { Clock } from '../clock.ts';
import { FailoverError } from '../errors.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { limitConflicts } from '../state/lease.ts';
import { acquirePoolLock, PoolLock } from '../state/lock.ts';
import { readLastActionId, seePoolLease } from '../state/pool-lease.ts';
import type { LockBusy } from '../state/lock.ts';
import { createRecord, forgetRecord, readRecord, takeRecordUp } from '../state/record.ts';
import type { ActionRecord } from '../state/record-format.ts';
import type { RecordedStep } from '../step.ts';
import { ahead } from '../ahead.ts';
import type { Reads } from './reads.ts';

/** The exclusive right to carry an action out: its record, and its pool's lock. */
export interface Claim {
  /** Tells this claim from every other claim of the same action. */
  claimId: string;
  nodePool: string;
  lock: PoolLock;
  record: ActionRecord;
  /** The cluster's client; every write first passes the lock's gate. */
  kubernetes: Kubernetes;
  /** Another action that the last holder of this pool's lock left unfinished. */
  unfinishedId: string | undefined;
  /** What the decision rests on, if it could be read while the claim was being written. */
  reads: Reads | undefined;
}

/** What a claim works with. */
interface ClaimTools {
  kubernetes: Kubernetes;
  clock: Clock;
  /** Called for a new id only. */
  resolvePool: () => Promise<string>;
  /** Begins to read what the decision rests on. Undefined where that is known only under the claim. */
  beginReads?: ((nodePool: string) => Reads) | undefined;
}

/** The answer of an action that was done before, and when, in ms since the epoch by the API server's clock. */
export interface Recorded {
  answer: RecordedStep[];
  doneAt: number | undefined;
  record: ActionRecord;
}

const waitForOthersMs = 10_000;
const pollMs = 500;

/**
 * Claims an action: its id, by creating its record, and its node pool, by taking the lock.
 *
 * An action that was done before is answered from its record, and an action that stopped half-way is resumed. While another
 * request carries the same action out, it waits for up to 10 s. The record is looked up before names are resolved, because
 * the action itself changes what they resolve to.
 *
 * @throws {FailoverError} `id_reused`, `action_in_progress`, and whatever `resolvePool` throws
 */
export async function claimAction(action: Action, tools: ClaimTools): Promise<{ claim: Claim } | Recorded> {
  const { kubernetes, clock } = tools;
  const { id } = action;
  const claiming = { hash: hashAction(action), claimId: randomUUID() };
  const { hash, claimId } = claiming;
  const stopWaitingAt = clock.now() + waitForOthersMs;
  const countConflict = limitConflicts();
  let seen: Seen = lookAhead(action, tools);
  let created: ActionRecord | undefined;
  for (let round = 1; ; round++) {
    const known = round === 1 && action.isIdGenerated ? undefined : await readRecord(kubernetes, id);
    if (known) assertSameAction(known, hash);
    if (known?.answer) return { answer: known.answer, doneAt: known.doneAt, record: known };
    const nodePool = known?.nodePool ?? (await (seen.resolving ?? tools.resolvePool()));
    const taken: Taken = known
      ? { lock: await acquirePoolLock(kubernetes, clock, nodePool, { id, claimId }) }
      : await claimBoth(action, { ...claiming, nodePool }, seen, tools);
    seen = {};
    created = taken.created ?? created;
    const { lock } = taken;
    if (!(lock instanceof PoolLock)) {
      if (clock.now() + pollMs < stopWaitingAt) {
        await clock.sleep(pollMs * (0.5 + Math.random()));
        continue;
      }
      // Where this id holds the lock, another request has taken the record up.
      if (created && !known?.plan && lock.heldBy.id !== id) await forgetRecord(kubernetes, created);
      throw actionInProgress(id, nodePool, lock, kubernetes.serverNow());
    }
    // A record that was created just now is current, unless this id has held the lock since.
    const fresh = known || lock.lastActionId === id ? undefined : taken.created;
    const held = { ...claiming, ...taken, lock, kubernetes, nodePool, fresh };
    const claim = await confirmClaim(action, held).catch(async (error: unknown) => {
      await lock.release({ forget: true }).catch(() => undefined);
      throw error;
    });
    if (claim) return claim;
    await lock.release({ forget: true });
    countConflict();
  }
}

/** What was begun to be read before it was known that it is needed. */
interface Seen {
  resolving?: Promise<string> | undefined;
  lease?: ReturnType<typeof seePoolLease> | undefined;
}

/**
 * Begins to look up what a new action needs while its record is looked up. Alerts come again and again, and most of them are known,
 * so for them nothing is read that may not be needed.
 */
function lookAhead(
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
interface Taken {
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
async function claimBoth(
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

/**
 * Under the lock, the record as it is now decides: another claim may have finished or aborted since it was read.
 *
 * @returns undefined when the locked pool is not the record's pool
 */
async function confirmClaim(
  action: Action,
  held: Pick<Taken, 'unfinished' | 'reads'> & {
    hash: string;
    claimId: string;
    lock: PoolLock;
    kubernetes: Kubernetes;
    nodePool: string;
    fresh: ActionRecord | undefined;
  },
): Promise<{ claim: Claim } | Recorded | undefined> {
  const { id } = action;
  const { hash, claimId, lock, nodePool, fresh, unfinished } = held;
  const kubernetes = held.kubernetes.throughGate(lock.gate);
  const current = fresh ?? (await readRecord(kubernetes, id));
  if (current) assertSameAction(current, hash);
  if (current?.answer) {
    await lock.release({ forget: true });
    return { answer: current.answer, doneAt: current.doneAt, record: current };
  }
  const record = current ?? (await createRecord(kubernetes, action, { hash, nodePool, claimId }));
  if (!record || record.nodePool !== nodePool) return undefined;
  // Nobody who made the record and gave up may delete or end it under this claim.
  const taken = await takeRecordUp(kubernetes, record, claimId);
  if (!taken) return undefined;
  const unfinishedId = await (unfinished ?? findUnfinished(kubernetes, lock.lastActionId, id));
  const reads = fresh ? held.reads : undefined;
  return { claim: { claimId, nodePool, lock, record: taken, kubernetes, unfinishedId, reads } };
}

async function findUnfinished(
  kubernetes: Kubernetes,
  lastId: string | undefined,
  id: string,
): Promise<string | undefined> {
  if (lastId === undefined || lastId === id) return undefined;
  try {
    const last = await readRecord(kubernetes, lastId);
    return last?.plan && !last.answer ? lastId : undefined;
  } catch (error) {
    // A broken record stops its own action, but not the next action on the pool.
    if (error instanceof FailoverError && error.code === 'action_in_progress') return lastId;
    throw error;
  }
}

function assertSameAction(record: ActionRecord, hash: string): void {
  if (record.hash === hash) return;
  throw new FailoverError(
    'id_reused',
    `id ${record.id} was used for another action on node pool ${record.nodePool}; send this one with a new id`,
  );
}

/** Another request holds the lock: says since when nothing was heard of it, and from when on its lock can be taken. */
function actionInProgress(id: string, nodePool: string, busy: LockBusy, serverNow: number): FailoverError {
  const { heldBy, renewedAt, freeAt } = busy;
  const whose = heldBy.id === id ? `action ${id}` : `action ${heldBy.id}, on the same node pool ${nodePool},`;
  const silentSeconds = Math.max(0, Math.round((serverNow - renewedAt) / 1000));
  const retryAfterSeconds = Math.max(1, Math.ceil((freeAt - serverNow) / 1000));
  const freeTime = new Date(freeAt).toISOString().replace(/\.\d+Z$/, 'Z');
  return new FailoverError(
    'action_in_progress',
    `${whose} is still being carried out; its last sign of life was ${silentSeconds} s ago, and if it is dead, its lock can be ` +
      `taken at ${freeTime}: send the same id again then`,
    { headers: { 'Retry-After': String(retryAfterSeconds) } },
  );
}
