import { effectsOf } from '../action-type.ts';
import { FailoverError } from '../errors.ts';
import { failover } from '../failover/failover.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { Ignored } from '../ignored.ts';
import { describeError } from '../log.ts';
import { isFromAlert } from '../request/action.ts';
import type { Action } from '../request/action.ts';
import { isUnapproved } from '../state/approval.ts';
import type { FollowUp } from '../state/open-records.ts';
import { readRecord } from '../state/record.ts';
import type { ActionRecord } from '../state/record-format.ts';
import type { RecordedAction } from '../state/recorded-action.ts';
import { isWhole } from '../verdict.ts';
import type { Verdict } from '../verdict.ts';
import type { ReconcileTools } from './report.ts';

/**
 * Does what an action asked for in the case of its verdict. It is an action with an id of its own, under every limit that any
 * action has. Once it has a plan, its own record is open and is looked after like any other.
 *
 * @returns `later` if the next reconcile is to try again
 */
export async function followUp(
  action: Action,
  record: ActionRecord,
  verdict: Verdict,
  { services, deadline, cluster: { kubernetes }, log: parent }: ReconcileTools,
): Promise<FollowUp | 'later'> {
  const { id, type } = action;
  const log = parent.with({ action_id: id, type, requestor: action.requestor });
  log.info('received', `${type} follows from the verdict ${verdict.verdict} of action ${record.id}`);
  try {
    const { awaiting } = await failover(action, deadline.forOne(), services, log);
    return awaiting ? { id, outcome: 'begun', why: waits } : { id, outcome: 'done' };
  } catch (error) {
    if (error instanceof Ignored) {
      log.info('ignored', error.message);
      return { id, outcome: 'not_needed', why: error.message };
    }
    if (!(error instanceof FailoverError)) throw error;
    const why = { code: error.code, why: error.message };
    const ageMs = kubernetes.serverNow() - Date.parse(verdict.at);
    const isPassing =
      error.status >= 500 || ['action_in_progress', 'paused', 'pool_busy'].includes(error.code);
    if (isPassing && ageMs < services.config.resumeWithinSeconds * 1000) {
      log.warn('refused', error.message, { code: error.code, ...describeError(error) });
      return (await hasPlan(kubernetes, id)) ? { id, outcome: 'begun', ...why } : 'later';
    }
    log.error('refused', error.message, { code: error.code, ...describeError(error) });
    return { id, outcome: 'refused', ...why };
  }
}

/** The record of the action that follows is open, and tells how it goes on. */
const waits = 'its plan waits for approval';

/** Where that cannot be read now, the next reconcile asks again. */
async function hasPlan(kubernetes: Kubernetes, id: string): Promise<boolean> {
  const own = await readRecord(kubernetes, id).catch(() => undefined);
  return own?.plan !== undefined;
}

/**
 * Chooses what follows from a verdict: a repair after a restart that did not help, or the release of the cordons after a
 * repair that did. Undefined if nothing does.
 */
export function toFollowUp(
  record: ActionRecord,
  verdict: Verdict,
  cluster: Action['cluster'],
): Action | undefined {
  const { action, id, plan } = record;
  if (!action) return undefined;
  const { onFailure, uncordonWhenRepaired = false } = action;
  // Where the run was restarted in place, its machine was repaired already.
  if (verdict.verdict === 'not_recovered' && onFailure !== undefined && !plan?.repair) {
    return {
      ...toShared(record, action, cluster),
      id: `${id}.on-failure`,
      type: onFailure,
      effects: effectsOf[onFailure],
      reason: `the restart by action ${id} did not bring the run back: ${record.reason}`,
      nodeName: action.nodeName,
      uncordonWhenRepaired,
      ...(action.accept !== undefined && uncordonWhenRepaired && { accept: action.accept }),
      // Whoever approved the restart has not seen the plan of the repair.
      approval: action.approval,
    };
  }
  const isReleased = uncordonWhenRepaired || plan?.restart?.inPlace === true;
  return isWhole(verdict) && isReleased ? toRelease(record, action, cluster) : undefined;
}

/** The release of the cordons once the machine is back. */
function toRelease(record: ActionRecord, action: RecordedAction, cluster: Action['cluster']): Action {
  return {
    ...toShared(record, action, cluster),
    id: `${record.id}.uncordon`,
    type: 'uncordon_nodepool',
    effects: effectsOf.uncordon_nodepool,
    reason: `the machine is back after action ${record.id}: ${record.reason}`,
    nodeName: undefined,
    uncordonWhenRepaired: false,
  };
}

function toShared(
  { id, requestor, nodePool }: ActionRecord,
  action: RecordedAction,
  cluster: Action['cluster'],
): Omit<Action, 'id' | 'type' | 'effects' | 'reason' | 'nodeName'> {
  return {
    dryRun: false,
    requestor,
    cluster,
    namespace: action.namespace,
    nodePool,
    jobSetName: undefined,
    expectedNodeCounts: false,
    caller: action.caller,
    followUpOf: { id, isOfAlert: isFromAlert(action) },
  };
}

/**
 * Releases the pool of a run that restarts in place as soon as the pool is whole: until then, the run waits. It is the same
 * action that `uncordon_when_repaired` asks for, so that it is done once, however often reconcile comes by.
 */
export async function release(record: ActionRecord, at: number, tools: ReconcileTools): Promise<void> {
  const { kubernetes, name } = tools.cluster;
  if (!record.action) return;
  const action = toRelease(record, record.action, name);
  const own = await readRecord(kubernetes, action.id);
  // Whoever has not let it be released has decided.
  if (own?.answer || (own && isUnapproved(own))) return;
  await followUp(action, record, { verdict: 'repaired', at: new Date(at).toISOString() }, tools);
}
