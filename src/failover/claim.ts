import { randomUUID } from 'node:crypto';
import { hashAction } from '../request/action.ts';
import type { Action } from '../request/action.ts';
import type { Clock } from '../clock.ts';
import { FailoverError } from '../errors.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { limitConflicts } from '../state/lease.ts';
import { acquirePoolLock, PoolLock } from '../state/lock.ts';
import { createRecord, forgetRecord, readRecord } from '../state/record.ts';
import type { ActionRecord } from '../state/record.ts';
import type { Step } from '../step.ts';

/** An action that this attempt alone may carry out: its record, and its pool's lock. */
export interface Claim {
  /** Tells this attempt from every other one at the same action. */
  claimId: string;
  nodePool: string;
  lock: PoolLock;
  record: ActionRecord;
  /** The cluster's client with every write behind the lock's gate. */
  kubernetes: Kubernetes;
  /** An action that this pool's last holder left unfinished, unless it is this one. */
  unfinishedId: string | undefined;
}

const waitForOthersMs = 10_000;
const pollMs = 500;

/**
 * Claims an action: its id, by creating its record, and its node pool, by taking the lock.
 *
 * An action that was done before is answered from its record; one that stopped half-way is resumed; for one that is
 * being carried out, it waits up to 10 s. The record is looked up before names are resolved, for the action itself
 * changes what they resolve to.
 *
 * @param resolvePool is called for a new id only
 * @throws {FailoverError} `id_reused`, `action_in_progress`, and what `resolvePool` throws
 */
export async function claimAction(
  action: Action,
  {
    kubernetes,
    clock,
    resolvePool,
  }: { kubernetes: Kubernetes; clock: Clock; resolvePool: () => Promise<string> },
): Promise<{ claim: Claim } | { answer: Step[] }> {
  const { id, type } = action;
  const hash = hashAction(action);
  const claimId = randomUUID();
  const stopWaitingAt = clock.now() + waitForOthersMs;
  const countConflict = limitConflicts();
  let created: ActionRecord | undefined;
  for (let round = 1; ; round++) {
    const known = round === 1 && action.isIdGenerated ? undefined : await readRecord(kubernetes, id);
    if (known) assertSameAction(known, hash);
    if (known?.answer) return { answer: known.answer };
    const nodePool = known?.nodePool ?? (await resolvePool());
    if (!known) {
      created = await createRecord(kubernetes, { id, type, hash, nodePool, claimId });
      if (!created) {
        countConflict();
        continue;
      }
    }
    const lock = await acquirePoolLock(kubernetes, clock, nodePool, { id, claimId });
    if (!(lock instanceof PoolLock)) {
      if (clock.now() + pollMs < stopWaitingAt) {
        await clock.sleep(pollMs * (0.5 + Math.random()));
        continue;
      }
      if (created && !known?.plan) await forgetRecord(kubernetes, created);
      throw actionInProgress(id, nodePool, lock.heldBy.id);
    }
    // A record that was created just now is fresh, unless this id has had the lock since.
    const fresh = known || lock.lastActionId === id ? undefined : created;
    const claim = await confirmClaim(action, {
      hash,
      claimId,
      lock,
      kubernetes,
      nodePool,
      fresh,
    }).catch(async (error: unknown) => {
      await lock.release({ forget: true }).catch(() => undefined);
      throw error;
    });
    if (claim) return claim;
    await lock.release({ forget: true });
    countConflict();
  }
}

/**
 * Under the lock, what the record says now decides: another attempt may have finished, or given up, since it was read.
 *
 * @returns undefined when the pool that was locked is not the record's
 */
async function confirmClaim(
  { id, type }: Action,
  held: {
    hash: string;
    claimId: string;
    lock: PoolLock;
    kubernetes: Kubernetes;
    nodePool: string;
    fresh: ActionRecord | undefined;
  },
): Promise<{ claim: Claim } | { answer: Step[] } | undefined> {
  const { hash, claimId, lock, nodePool, fresh } = held;
  const kubernetes = held.kubernetes.throughGate(lock.gate);
  const current = fresh ?? (await readRecord(kubernetes, id));
  if (current) assertSameAction(current, hash);
  if (current?.answer) {
    await lock.release({ forget: true });
    return { answer: current.answer };
  }
  const record = current ?? (await createRecord(kubernetes, { id, type, hash, nodePool, claimId }));
  if (!record || record.nodePool !== nodePool) return undefined;
  const unfinishedId = await findUnfinished(kubernetes, lock.lastActionId, id);
  return { claim: { claimId, nodePool, lock, record, kubernetes, unfinishedId } };
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
    // A record that is broken stops its own action, not the pool's next one.
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

function actionInProgress(id: string, nodePool: string, holderId: string): FailoverError {
  const whose = holderId === id ? `action ${id}` : `action ${holderId}, on the same node pool ${nodePool},`;
  return new FailoverError(
    'action_in_progress',
    `${whose} is still being carried out; send the same id again in a minute`,
    {
      headers: { 'Retry-After': '30' },
    },
  );
}
