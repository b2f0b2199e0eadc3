import { FailoverError } from '../errors.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import type { Verdict } from '../verdict.ts';
import { listLeases } from './lease.ts';
import { keys, kindLabel, openLabel, toRecord } from './record-format.ts';
import type { ActionRecord, Phase } from './record-format.ts';
import { replaceRecord, withoutOpen } from './record.ts';

/** What the verdict of an action asked for, and what came of that. */
export interface FollowUp {
  /** The id of the action that followed. */
  id: string;
  /** `begun`: it is tried, or its own record tells how it goes on. */
  outcome: 'begun' | 'done' | 'refused' | 'not_needed';
  code?: string;
  why?: string;
}

/** Lists the records that are not settled, the oldest first, and says which cannot be read. */
export async function listOpenRecords(
  kubernetes: Kubernetes,
): Promise<{ records: ActionRecord[]; broken: string[] }> {
  const leases = await listLeases(kubernetes, `${kindLabel}=action,${openLabel}=true`);
  const records: ActionRecord[] = [];
  const broken: string[] = [];
  for (const lease of leases) {
    try {
      records.push(toRecord(lease));
    } catch (error) {
      if (!(error instanceof FailoverError)) throw error;
      broken.push(error.message);
    }
  }
  return { records: records.sort((a, b) => a.receivedAt - b.receivedAt), broken };
}

/**
 * Writes the verdict. The record stays open until what follows from it is done.
 *
 * @returns undefined if somebody else has written the record since it was read
 */
export function writeVerdict(
  kubernetes: Kubernetes,
  record: ActionRecord,
  verdict: Verdict,
): Promise<ActionRecord | undefined> {
  return write(kubernetes, record, { [keys.verdict]: JSON.stringify(verdict) });
}

/**
 * Notes that the verdict was told and that what follows from it is begun, so that it is told once however often that is tried.
 *
 * @returns undefined if somebody else has written the record since it was read
 */
export function writeFollowUpBegun(
  kubernetes: Kubernetes,
  record: ActionRecord,
  id: string,
): Promise<ActionRecord | undefined> {
  const begun: FollowUp = { id, outcome: 'begun' };
  return write(kubernetes, record, { [keys.followUp]: JSON.stringify(begun) });
}

/** Says whether the verdict of a record was told, and what follows from it is begun. */
export function hasBegunFollowUp({ lease }: ActionRecord): boolean {
  return lease.annotations[keys.followUp] !== undefined;
}

/** Closes the record. @returns undefined if somebody else has written it since it was read */
export function writeSettled(
  kubernetes: Kubernetes,
  record: ActionRecord,
  followUp: FollowUp | undefined,
): Promise<ActionRecord | undefined> {
  const changes = {
    [keys.phase]: 'settled' satisfies Phase,
    [keys.settledAt]: new Date(kubernetes.serverNow()).toISOString(),
    ...(followUp === undefined ? {} : { [keys.followUp]: JSON.stringify(followUp) }),
  };
  return write(kubernetes, record, changes, withoutOpen(record));
}

/** A lost answer looks like a conflict: the next reconcile reads the record again. */
function write(
  kubernetes: Kubernetes,
  record: ActionRecord,
  changes: Record<string, string>,
  labels = record.lease.labels,
): Promise<ActionRecord | undefined> {
  return replaceRecord(kubernetes, record, { ...record.lease.annotations, ...changes }, labels);
}
