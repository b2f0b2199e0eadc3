import { randomUUID } from 'node:crypto';
import { hashAction } from '../request/action.ts';
import type { Action } from '../request/action.ts';
import { toWholeSeconds } from '../clock.ts';
import { FailoverError } from '../errors.ts';
import { Ignored } from '../ignored.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { findUnapproved, isAwaitingApproval } from '../state/approval.ts';
import { limitConflicts } from '../state/lease.ts';
import { acquirePoolLock, PoolLock } from '../state/lock.ts';
import type { LockBusy } from '../state/lock.ts';
import { createRecord, forgetRecord, readRecord, takeRecordUp } from '../state/record.ts';
import type { ActionRecord } from '../state/record-format.ts';
import type { RecordedStep } from '../step.ts';
import { claimBoth, findUnfinished, lookAhead } from './claim-both.ts';
import type { ClaimTools, Seen, Taken } from './claim-both.ts';
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

/** The answer of an action that was done before, and when, in ms since the epoch by the API server's clock. */
export interface Recorded {
  answer: RecordedStep[];
  doneAt: number | undefined;
  record: ActionRecord;
}

/** An action whose plan waits for approval: without that, nothing of it is claimed. */
export interface Awaiting {
  awaiting: ActionRecord;
}

const waitForOthersMs = 10_000;
const usualPollMs = 500;
/** What comes again by itself asks less often, because a storm asks at once. */
const patientPollMs = 1_500;

/**
 * Claims an action: its id, by creating its record, and its node pool, by taking the lock.
 *
 * An action that was done before is answered from its record, and an action that stopped half-way is resumed. While another
 * request carries the same action out, it waits for up to 10 s. The record is looked up before names are resolved, because
 * the action itself changes what they resolve to.
 *
 * @throws {FailoverError} `id_reused`, `action_in_progress`, and whatever `resolvePool` throws
 */
export async function claimAction(
  action: Action,
  tools: ClaimTools,
): Promise<{ claim: Claim } | Recorded | Awaiting> {
  const { kubernetes, clock } = tools;
  const { id } = action;
  const claiming = { hash: hashAction(action), claimId: randomUUID() };
  const { hash, claimId } = claiming;
  const stopWaitingAt = clock.now() + waitForOthersMs;
  const pollMs = action.isRedelivered === true ? patientPollMs : usualPollMs;
  const countConflict = limitConflicts();
  let seen: Seen = lookAhead(action, tools);
  let created: ActionRecord | undefined;
  for (let round = 1; ; round++) {
    const known = round === 1 && action.isIdGenerated ? undefined : await readRecord(kubernetes, id);
    if (known) assertSameAction(known, hash);
    if (known?.answer) return { answer: known.answer, doneAt: known.doneAt, record: known };
    if (known && (await mustWait(kubernetes, known, action))) return { awaiting: known };
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
): Promise<{ claim: Claim } | Recorded | Awaiting | undefined> {
  const { id } = action;
  const { hash, claimId, lock, nodePool, fresh, unfinished } = held;
  const kubernetes = held.kubernetes.throughGate(lock.gate);
  const current = fresh ?? (await readRecord(kubernetes, id));
  if (current) assertSameAction(current, hash);
  if (current?.answer) {
    await lock.release({ forget: true });
    return { answer: current.answer, doneAt: current.doneAt, record: current };
  }
  if (current && (await mustWait(kubernetes, current, action))) {
    await lock.release({ forget: true });
    return { awaiting: current };
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

/**
 * Says whether an action still waits for the approval of its plan, and nobody gives it now.
 *
 * @throws {FailoverError} `approval_refused` if it was rejected, or nobody approved it in time
 * @throws {Ignored} then, for an alert: that was told when it was decided
 */
async function mustWait(
  kubernetes: Kubernetes,
  record: ActionRecord,
  { approver, incident }: Action,
): Promise<boolean> {
  const why = await findUnapproved(kubernetes, record);
  if (why !== undefined && incident) throw new Ignored(why);
  if (why !== undefined) throw new FailoverError('approval_refused', `${why}; send it again with a new id`);
  return isAwaitingApproval(record) && approver === undefined;
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
  const freeTime = toWholeSeconds(freeAt);
  return new FailoverError(
    'action_in_progress',
    `${whose} is still being carried out; its last sign of life was ${silentSeconds} s ago, and if it is dead, its lock can be ` +
      `taken at ${freeTime}: send the same id again then`,
    { headers: { 'Retry-After': String(retryAfterSeconds) } },
  );
}
