import { FailoverError } from '../errors.ts';
import { failover } from '../failover/failover.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { Ignored } from '../ignored.ts';
import { describeError } from '../log.ts';
import { isFromAlert } from '../request/action.ts';
import { isAwaitingApproval, mayActSince } from '../state/approval.ts';
import { hasOwnMark } from '../state/cooldown.ts';
import { readPoolMarks, readPoolState } from '../state/pool-lease.ts';
import { forgetRecord, readRecord, writeStopped } from '../state/record.ts';
import type { ActionRecord } from '../state/record-format.ts';
import { fromRecordedAction } from '../state/recorded-action.ts';
import { abandon } from './abandon.ts';
import { remind } from './approve.ts';
import type { ReconcileTools, Result } from './report.ts';

/** After this many, an action that still stops will not end by itself. */
const maxResumes = 5;

/** A claim waits for the lock of its pool for up to 10 s. Until this age of its record, it may still be alive. */
const claimAliveMs = 120_000;

/** What a resume works with. */
export interface ResumeTools extends ReconcileTools {
  /** A person has paused the cluster, so nothing is begun or carried on. */
  isClusterPaused: boolean;
}

/**
 * Carries on an action that nobody works on, as a redelivery of it would. What was stopped by a refusal is not carried on,
 * because that was decided. What is too old, or was carried on too often, is given up.
 */
export async function resume(record: ActionRecord, tools: ResumeTools): Promise<Result> {
  const { id, nodePool, plan, stopped } = record;
  const { cluster, services, deadline, isClusterPaused } = tools;
  const { kubernetes } = cluster;
  if (isAwaitingApproval(record)) return remind(record, tools);
  const { isHeld, isVetoed } = await readPoolState(kubernetes, nodePool);
  if (!plan) {
    if (isHeld || kubernetes.serverNow() - record.receivedAt < claimAliveMs) {
      return { id, outcome: 'waiting' };
    }
    // Nothing is decided, so nothing was done.
    await forgetRecord(kubernetes, record);
    return { id, outcome: 'forgotten' };
  }
  if (isHeld) return { id, outcome: 'waiting' };
  const ageMs = kubernetes.serverNow() - mayActSince(record);
  const isOld = ageMs >= services.config.resumeWithinSeconds * 1000;
  if (isOld || record.resumes >= maxResumes) return abandon(record, tools, isOld);
  // A person has to undo what stopped it, and to send it again.
  const isRefused = stopped !== undefined && stopped.status < 500 && stopped.code !== 'action_in_progress';
  const action = record.action && fromRecordedAction(record.action, record, cluster.name);
  if (isClusterPaused || isVetoed || isRefused || !action) return { id, outcome: 'waiting' };
  const log = tools.log.with({ action_id: id, type: action.type, requestor: action.requestor });
  log.info('received', `reconcile carries on ${action.type} from ${action.requestor}: ${action.reason}`);
  try {
    await failover(action, deadline.forOne(), services, log);
  } catch (error) {
    if (error instanceof Ignored) {
      log.info('ignored', error.message);
      return { id, outcome: 'resumed' };
    }
    if (!(error instanceof FailoverError)) throw error;
    const fields = { code: error.code, ...describeError(error) };
    const isFinal = error.status < 500 && error.code !== 'action_in_progress';
    // Of an alert, nobody reads an answer.
    if (isFinal && isFromAlert(action)) log.error('refused', error.message, fields);
    else log.warn('refused', error.message, fields);
    if (isFinal) await noteStopped(record, error, kubernetes);
    return { id, outcome: 'resumed', error: error.message };
  }
  return { id, outcome: 'resumed' };
}

/**
 * Notes a refusal before the claim in the record, which such a refusal leaves as it was. Otherwise it would be met and told
 * again each minute.
 */
async function noteStopped(
  { id, nodePool, lease }: ActionRecord,
  error: FailoverError,
  kubernetes: Kubernetes,
): Promise<void> {
  const [current, marks] = await Promise.all([
    readRecord(kubernetes, id),
    readPoolMarks(kubernetes, nodePool),
  ]);
  // Whoever has taken it up says how it stopped.
  if (current?.lease.resourceVersion !== lease.resourceVersion) return;
  await writeStopped(kubernetes, current, error, { hasDeleted: hasOwnMark(marks, id) });
}
