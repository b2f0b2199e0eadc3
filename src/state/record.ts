import { FailoverError } from '../errors.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { createLease, deleteLease, readLease, replaceLease, toLeaseName } from './lease.ts';
import type { LeaseState } from './lease.ts';
import { prefix } from '../names.ts';
import { planSchema } from '../plan.ts';
import type { Plan } from '../plan.ts';
import { answerSchema } from '../step.ts';
import type { RecordedStep, Step } from '../step.ts';
import { parseStored } from './stored.ts';

/** What is remembered of one action, so that the same id sent again resumes it or gets its answer. */
export interface ActionRecord {
  id: string;
  /** Of what the action is to do, so that one id cannot stand for two actions. */
  hash: string;
  nodePool: string;
  /** Written before anything is deleted. A resume carries it out and never chooses again. */
  plan: Plan | undefined;
  /** The answer, once the action is done. */
  answer: RecordedStep[] | undefined;
  /** When the answer was written, in ms since the epoch by the API server's clock. */
  doneAt: number | undefined;
  lease: LeaseState;
}

type Phase = 'claimed' | 'planned' | 'done';

export const keys = {
  id: `${prefix}id`,
  hash: `${prefix}hash`,
  type: `${prefix}type`,
  requestor: `${prefix}requestor`,
  reason: `${prefix}reason`,
  nodePool: `${prefix}node-pool`,
  phase: `${prefix}phase`,
  plan: `${prefix}plan`,
  answer: `${prefix}answer`,
  /** Version 0.1.0 called the claim an attempt; the key stays. */
  claimId: `${prefix}attempt`,
} as const;

export const kindLabel = `${prefix}kind`;

/** Reads the record of an action; undefined when there is none. */
export async function readRecord(kubernetes: Kubernetes, id: string): Promise<ActionRecord | undefined> {
  const lease = await readLease(kubernetes, toRecordName(id));
  return lease && toRecord(lease);
}

/** Claims an id by creating its record. Undefined when another claim was first. */
export async function createRecord(
  kubernetes: Kubernetes,
  action: {
    id: string;
    type: string;
    requestor: string;
    reason: string;
    hash: string;
    nodePool: string;
    claimId: string;
  },
): Promise<ActionRecord | undefined> {
  const name = toRecordName(action.id);
  const created = await createLease(kubernetes, {
    name,
    labels: { [kindLabel]: 'action' },
    holder: action.id,
    acquiredAt: kubernetes.serverNow(),
    renewedAt: kubernetes.serverNow(),
    annotations: {
      [keys.id]: action.id,
      [keys.hash]: action.hash,
      [keys.type]: action.type,
      [keys.requestor]: action.requestor,
      [keys.reason]: action.reason,
      [keys.nodePool]: action.nodePool,
      [keys.phase]: 'claimed' satisfies Phase,
      [keys.claimId]: action.claimId,
    },
  });
  if (created) return toRecord(created);
  // The create may have succeeded although its response was lost.
  const current = await readLease(kubernetes, name);
  return current?.annotations[keys.claimId] === action.claimId ? toRecord(current) : undefined;
}

/**
 * Writes the plan. Nothing may be deleted before this has succeeded.
 *
 * @throws {FailoverError} `action_in_progress` when another claim has written the record in between
 */
export function writePlan(kubernetes: Kubernetes, record: ActionRecord, plan: Plan): Promise<ActionRecord> {
  return writeRecord(kubernetes, record, {
    [keys.phase]: 'planned' satisfies Phase,
    [keys.plan]: JSON.stringify(plan),
  });
}

/** Writes the answer. From then on, the same id gets this answer and nothing is done again. */
export function writeAnswer(
  kubernetes: Kubernetes,
  record: ActionRecord,
  answer: Step[],
): Promise<ActionRecord> {
  return writeRecord(kubernetes, record, {
    [keys.phase]: 'done' satisfies Phase,
    [keys.answer]: JSON.stringify(answer),
  });
}

async function writeRecord(
  kubernetes: Kubernetes,
  record: ActionRecord,
  changes: Record<string, string>,
): Promise<ActionRecord> {
  const annotations = { ...record.lease.annotations, ...changes };
  const written = await replaceLease(kubernetes, {
    ...record.lease,
    annotations,
    renewedAt: kubernetes.serverNow(),
  });
  if (written) return toRecord(written);
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

/** Forgets an action of which nothing was done, unless another claim has taken it up. */
export async function forgetRecord(kubernetes: Kubernetes, record: ActionRecord): Promise<void> {
  await deleteLease(kubernetes, record.lease);
}

function toRecordName(id: string): string {
  return toLeaseName('action', id);
}

function toRecord(lease: LeaseState): ActionRecord {
  const { annotations } = lease;
  const phase = annotations[keys.phase];
  const plan = parseStored(planSchema, annotations, keys.plan);
  const answer = parseStored(answerSchema, annotations, keys.answer);
  // A guess at a broken record could delete a second machine.
  if (
    plan === 'broken' ||
    answer === 'broken' ||
    (phase !== 'claimed' && !plan) ||
    (phase === 'done' && !answer)
  ) {
    throw new FailoverError(
      'action_in_progress',
      `the record of action ${annotations[keys.id]} (Lease ${lease.name}) is broken; delete it, check the node pool, and send a new id`,
    );
  }
  return {
    id: annotations[keys.id] ?? '',
    hash: annotations[keys.hash] ?? '',
    nodePool: annotations[keys.nodePool] ?? '',
    plan: plan?.value,
    answer: phase === 'done' ? answer?.value : undefined,
    doneAt: phase === 'done' ? lease.renewedAt : undefined,
    lease,
  };
}
