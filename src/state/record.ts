import { FailoverError } from '../errors.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { createLease, deleteLease, readLease, replaceLease } from './lease.ts';
import type { Plan } from '../plan.ts';
import type { Action } from '../request/action.ts';
import type { Step } from '../step.ts';
import { toRecordedAction } from './recorded-action.ts';
import { keys, kindLabel, openLabel, toRecord, toRecordName } from './record-format.ts';
import type { ActionRecord, Approval, Phase, Stopped } from './record-format.ts';

/** Reads the record of an action; undefined when there is none. */
export async function readRecord(kubernetes: Kubernetes, id: string): Promise<ActionRecord | undefined> {
  const lease = await readLease(kubernetes, toRecordName(id));
  return lease && toRecord(lease);
}

/** Claims an id by creating its record. Undefined when another claim was first. */
export async function createRecord(
  kubernetes: Kubernetes,
  action: Action,
  { hash, nodePool, claimId }: { hash: string; nodePool: string; claimId: string },
): Promise<ActionRecord | undefined> {
  const name = toRecordName(action.id);
  const created = await createLease(kubernetes, {
    name,
    labels: { [kindLabel]: 'action', [openLabel]: 'true' },
    holder: action.id,
    acquiredAt: kubernetes.serverNow(),
    renewedAt: kubernetes.serverNow(),
    annotations: {
      [keys.id]: action.id,
      [keys.hash]: hash,
      [keys.type]: action.type,
      [keys.requestor]: action.requestor,
      [keys.reason]: action.reason,
      [keys.action]: JSON.stringify(toRecordedAction(action)),
      [keys.nodePool]: nodePool,
      [keys.phase]: 'claimed' satisfies Phase,
      [keys.claimId]: claimId,
    },
  });
  if (created) return toRecord(created);
  // The create may have succeeded although its response was lost.
  const current = await readLease(kubernetes, name);
  return current?.annotations[keys.claimId] === claimId ? toRecord(current) : undefined;
}

/**
 * Takes up a record that another claim has made or has planned. From then on, whoever gave it up cannot write it.
 *
 * @returns undefined when somebody has written or deleted it since
 */
export async function takeRecordUp(
  kubernetes: Kubernetes,
  record: ActionRecord,
  claimId: string,
): Promise<ActionRecord | undefined> {
  const { lease } = record;
  if (lease.annotations[keys.claimId] === claimId) return record;
  const resumed = {
    [keys.phase]: 'planned' satisfies Phase,
    [keys.resumes]: String(record.resumes + 1),
  };
  const annotations = {
    ...without(lease.annotations, keys.stopped, keys.acceptance, keys.verdict, keys.settledAt, keys.followUp),
    [keys.claimId]: claimId,
    // Nothing of a plan that waits for its approval has begun.
    ...(record.plan && record.phase !== 'awaiting_approval' ? resumed : {}),
  };
  const labels = { ...lease.labels, [openLabel]: 'true' };
  const written = await replaceRecord(kubernetes, record, annotations, labels);
  if (written) return written;
  // The replace may have succeeded although its response was lost.
  const current = await readLease(kubernetes, lease.name);
  const isOurs = current?.annotations[keys.claimId] === claimId;
  // A verdict that was given since, such as a rejection, leaves the claim in the record.
  return isOurs && current.annotations[keys.verdict] === undefined ? toRecord(current) : undefined;
}

/**
 * Writes the plan. Nothing may be deleted before this has succeeded.
 *
 * @throws {FailoverError} `action_in_progress` when another claim has written the record in between
 */
export function writePlan(
  kubernetes: Kubernetes,
  record: ActionRecord,
  plan: Plan,
  approval: Approval | undefined = record.approval,
): Promise<ActionRecord> {
  return writeRecord(kubernetes, record, {
    [keys.phase]: 'planned' satisfies Phase,
    [keys.plan]: JSON.stringify(plan),
    ...(approval && { [keys.approval]: JSON.stringify(approval) }),
  });
}

/**
 * Writes the plan that waits for approval. Nothing but that approval may carry it out.
 *
 * @throws {FailoverError} as {@link writePlan} does
 */
export function writeAwaiting(
  kubernetes: Kubernetes,
  record: ActionRecord,
  plan: Plan,
  approval: Approval,
): Promise<ActionRecord> {
  return writeRecord(kubernetes, record, {
    [keys.phase]: 'awaiting_approval' satisfies Phase,
    [keys.plan]: JSON.stringify(plan),
    [keys.approval]: JSON.stringify(approval),
  });
}

/**
 * Writes the answer. From then on, the same id gets this answer and nothing is done again.
 *
 * @param options.isOpen is true if it must still be seen what comes of it
 */
export function writeAnswer(
  kubernetes: Kubernetes,
  record: ActionRecord,
  answer: Step[],
  { isOpen }: { isOpen: boolean },
): Promise<ActionRecord> {
  const now = toTime(kubernetes.serverNow());
  const phase: Phase = isOpen ? 'done' : 'settled';
  const changes = {
    [keys.phase]: phase,
    [keys.answer]: JSON.stringify(answer),
    [keys.doneAt]: now,
    ...(isOpen ? {} : { [keys.settledAt]: now }),
  };
  return writeRecord(kubernetes, record, changes, isOpen ? record.lease.labels : withoutOpen(record));
}

/** Writes with which error an action ended after its plan was made. The same id resumes it. */
export function writeStopped(
  kubernetes: Kubernetes,
  record: ActionRecord,
  { code, status, message }: FailoverError,
  { hasDeleted }: { hasDeleted: boolean },
): Promise<ActionRecord> {
  const at = toTime(kubernetes.serverNow());
  const stopped: Stopped = { code, status, error: message, at, hasDeleted };
  return writeRecord(kubernetes, record, {
    [keys.phase]: 'stopped' satisfies Phase,
    [keys.stopped]: JSON.stringify(stopped),
  });
}

/** Returns the labels of a record that is settled. */
export function withoutOpen({ lease }: ActionRecord): Record<string, string> {
  return without(lease.labels, openLabel);
}

async function writeRecord(
  kubernetes: Kubernetes,
  record: ActionRecord,
  changes: Record<string, string>,
  labels: Record<string, string> = record.lease.labels,
): Promise<ActionRecord> {
  const annotations = { ...record.lease.annotations, ...changes };
  const written = await replaceRecord(kubernetes, record, annotations, labels);
  if (written) return written;
  // The replace may have succeeded although its response was lost.
  const current = await readLease(kubernetes, record.lease.name);
  const isOurs =
    current?.uid === record.lease.uid &&
    Object.entries(annotations).every(([key, value]) => current.annotations[key] === value);
  if (current && isOurs) return toRecord(current);
  throw new FailoverError(
    'action_in_progress',
    `action ${record.id} is being carried out by another request`,
  );
}

/** Replaces a record if it is still as it was read. Undefined if somebody else has written or deleted it. */
export async function replaceRecord(
  kubernetes: Kubernetes,
  { lease }: ActionRecord,
  annotations: Record<string, string>,
  labels: Record<string, string>,
): Promise<ActionRecord | undefined> {
  const renewedAt = kubernetes.serverNow();
  const written = await replaceLease(kubernetes, { ...lease, labels, annotations, renewedAt });
  return written && toRecord(written);
}

/** Forgets an action of which nothing was done, unless another claim has taken it up. */
export async function forgetRecord(kubernetes: Kubernetes, record: ActionRecord): Promise<void> {
  await deleteLease(kubernetes, record.lease);
}

function without(map: Readonly<Record<string, string>>, ...gone: string[]): Record<string, string> {
  return Object.fromEntries(Object.entries(map).filter(([key]) => !gone.includes(key)));
}

function toTime(ms: number): string {
  return new Date(ms).toISOString();
}
