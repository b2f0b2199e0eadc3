import { createHash } from 'node:crypto';
import { FailoverError } from '../errors.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { createLease, deleteLease, parseAnnotation, readLease, replaceLease } from './lease.ts';
import type { LeaseState } from './lease.ts';
import { prefix } from '../names.ts';
import type { Plan } from '../plan.ts';
import type { Step } from '../step.ts';

/** What is remembered of one action, so that a repetition resumes it or gets its answer. */
export interface ActionRecord {
  id: string;
  /** Of what it is to do. */
  hash: string;
  nodePool: string;
  /** Written down before anything is deleted; a resumed action carries it out and never chooses again. */
  plan: Plan | undefined;
  /** The answer, once it is done. */
  answer: Step[] | undefined;
  lease: LeaseState;
}

type Phase = 'claimed' | 'planned' | 'done';

export const keys = {
  id: `${prefix}id`,
  hash: `${prefix}hash`,
  type: `${prefix}type`,
  nodePool: `${prefix}node-pool`,
  phase: `${prefix}phase`,
  plan: `${prefix}plan`,
  answer: `${prefix}answer`,
  attempt: `${prefix}attempt`,
} as const;

export const kindLabel = `${prefix}kind`;

/** Reads the record of an action; undefined when there is none. */
export async function readRecord(kubernetes: Kubernetes, id: string): Promise<ActionRecord | undefined> {
  const lease = await readLease(kubernetes, toRecordName(id));
  return lease && toRecord(lease);
}

/** Claims an id by creating its record; undefined when another attempt was first. */
export async function createRecord(
  kubernetes: Kubernetes,
  action: { id: string; type: string; hash: string; nodePool: string; claimId: string },
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
      [keys.nodePool]: action.nodePool,
      [keys.phase]: 'claimed' satisfies Phase,
      [keys.attempt]: action.claimId,
    },
  });
  if (created) return toRecord(created);
  // A create whose answer was lost has worked after all.
  const current = await readLease(kubernetes, name);
  return current?.annotations[keys.attempt] === action.claimId ? toRecord(current) : undefined;
}

/**
 * Writes the plan down. It must have worked before anything is deleted.
 *
 * @throws {FailoverError} `action_in_progress` when another attempt has written meanwhile
 */
export function writePlan(kubernetes: Kubernetes, record: ActionRecord, plan: Plan): Promise<ActionRecord> {
  return writeRecord(kubernetes, record, {
    [keys.phase]: 'planned' satisfies Phase,
    [keys.plan]: JSON.stringify(plan),
  });
}

/** Writes the answer down: a repetition gets it and does nothing. */
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
  // A replace whose answer was lost has worked after all.
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

/** Forgets an action of which nothing was done, if no other attempt has taken it up. */
export async function forgetRecord(kubernetes: Kubernetes, record: ActionRecord): Promise<void> {
  await deleteLease(kubernetes, record.lease);
}

function toRecordName(id: string): string {
  return `action-${createHash('sha256').update(id).digest('hex').slice(0, 32)}`;
}

function toRecord(lease: LeaseState): ActionRecord {
  const { annotations } = lease;
  const phase = annotations[keys.phase];
  const plan = parseAnnotation(annotations, keys.plan) as Plan | undefined;
  const answer = parseAnnotation(annotations, keys.answer) as Step[] | undefined;
  // Guessing at a broken record could delete a second machine.
  if ((phase !== 'claimed' && !plan) || (phase === 'done' && !answer)) {
    throw new FailoverError(
      'action_in_progress',
      `the record of action ${annotations[keys.id]} (Lease ${lease.name}) is broken; delete it, check the node pool, and send a new id`,
    );
  }
  return {
    id: annotations[keys.id] ?? '',
    hash: annotations[keys.hash] ?? '',
    nodePool: annotations[keys.nodePool] ?? '',
    plan,
    answer: phase === 'done' ? answer : undefined,
    lease,
  };
}
