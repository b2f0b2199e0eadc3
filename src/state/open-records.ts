import { FailoverError } from '../errors.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import type { Verdict } from '../verdict.ts';
import { listLeases, replaceLease } from './lease.ts';
import { keys, kindLabel, openLabel, toRecord } from './record-format.ts';
import type { ActionRecord, Phase } from './record-format.ts';
import { withoutOpen } from './record.ts';

/** What the verdict of an action asked for, and what came of that. */
export interface FollowUp {
  /** The id of the action that followed. */
  id: string;
  outcome: 'done' | 'refused' | 'not_needed';
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
async function write(
  kubernetes: Kubernetes,
  { lease }: ActionRecord,
  changes: Record<string, string>,
  labels = lease.labels,
): Promise<ActionRecord | undefined> {
  const written = await replaceLease(kubernetes, {
    ...lease,
    labels,
    annotations: { ...lease.annotations, ...changes },
    renewedAt: kubernetes.serverNow(),
  });
  return written && toRecord(written);
}
