import { createHash } from 'node:crypto';
import { FailoverError } from './errors.ts';
import type { Kubernetes } from './kubernetes.ts';
import {
  createLease,
  deleteLease,
  listLeases,
  parseAnnotation,
  readLease,
  replaceLease,
  updateAnnotations,
} from './lease.ts';
import type { LeaseState } from './lease.ts';
import { prefix } from './names.ts';
import type { Plan } from './plan.ts';
import type { Step } from './step.ts';

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

const keys = {
  id: `${prefix}id`,
  hash: `${prefix}hash`,
  type: `${prefix}type`,
  nodePool: `${prefix}node-pool`,
  phase: `${prefix}phase`,
  plan: `${prefix}plan`,
  answer: `${prefix}answer`,
  attempt: `${prefix}attempt`,
} as const;

const kindLabel = `${prefix}kind`;

/** Reads the record of an action; undefined when there is none. */
export async function readRecord(kubernetes: Kubernetes, id: string): Promise<ActionRecord | undefined> {
  const lease = await readLease(kubernetes, toRecordName(id));
  return lease && toRecord(lease);
}

/** Claims an id by creating its record; undefined when another attempt was first. */
export async function createRecord(
  kubernetes: Kubernetes,
  action: { id: string; type: string; hash: string; nodePool: string; attempt: string },
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
      [keys.attempt]: action.attempt,
    },
  });
  if (created) return toRecord(created);
  // A create whose answer was lost has worked after all.
  const current = await readLease(kubernetes, name);
  return current?.annotations[keys.attempt] === action.attempt ? toRecord(current) : undefined;
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

const sweepIntervalMs = 3_600_000;
const keepMs = 24 * 3_600_000;
const maxSwept = 200;
const sweptKey = `${prefix}swept`;

/** Marks annotations of the Lease `cluster` with when was swept: until the first action there is nothing to sweep. */
export function beginSweeping(
  annotations: Record<string, string>,
  serverNow: number,
): Record<string, string> {
  return { [sweptKey]: new Date(serverNow).toISOString(), ...annotations };
}

/**
 * Deletes what was finished more than 24 h ago, at most once an hour; unfinished actions are never swept.
 *
 * @param clusterLease as it was last written, which saves a call
 * @returns how many Leases it deleted
 */
export async function sweepRecords(kubernetes: Kubernetes, clusterLease?: LeaseState): Promise<number> {
  const now = kubernetes.serverNow();
  let isDue = false;
  const markSwept = (annotations: Record<string, string>) => {
    isDue = !(now - Date.parse(annotations[sweptKey] ?? '') < sweepIntervalMs);
    return isDue ? { ...annotations, [sweptKey]: new Date(now).toISOString() } : undefined;
  };
  await updateAnnotations(kubernetes, 'cluster', markSwept, clusterLease);
  if (!isDue) return 0;
  const leases = await listLeases(kubernetes, `${kindLabel} in (action,incident,jobset)`);
  const finished = leases.filter(
    ({ labels, annotations }) => labels[kindLabel] !== 'action' || annotations[keys.phase] === 'done',
  );
  const old = finished.filter((lease) => now - (lease.renewedAt ?? now) > keepMs).slice(0, maxSwept);
  for (const lease of old) await deleteLease(kubernetes, lease);
  return old.length;
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
