import type { ClusterName } from '../cluster-name.ts';
import type { Deadline } from '../clock.ts';
import { FailoverError } from '../errors.ts';
import { emitAwaiting } from '../failover/events.ts';
import { failover } from '../failover/failover.ts';
import type { Outcome } from '../failover/failover.ts';
import { searchClusters } from '../failover/search-clusters.ts';
import type { ClusterConnection } from '../gke/cluster.ts';
import type { Log } from '../log.ts';
import { isFromAlert } from '../request/action.ts';
import type { Decision } from '../request/decision.ts';
import type { Services } from '../services.ts';
import {
  describeAwaiting,
  findUnapproved,
  hasExpired,
  isAwaitingApproval,
  toExpired,
} from '../state/approval.ts';
import { readRecord } from '../state/record.ts';
import type { ActionRecord } from '../state/record-format.ts';
import { fromRecordedAction } from '../state/recorded-action.ts';
import type { Verdict } from '../verdict.ts';
import type { ReconcileTools, Result } from './report.ts';
import { giveVerdict } from './settle.ts';

/** An action that waited for approval and was rejected. */
export interface Rejected {
  rejected: Verdict;
}

/** Who sends a decision. */
export interface Decider extends Decision {
  /** The e-mail address of the caller that IAM let in, as its token says. */
  caller: string | undefined;
}

/** Tells that a plan waits for its approval: once a minute, so that an alert on it stays open. After its time it is settled. */
export async function remind(record: ActionRecord, tools: ReconcileTools): Promise<Result> {
  const { id, type, requestor, nodePool, approval } = record;
  const { cluster, log } = tools;
  const isOver = hasExpired(record, cluster.kubernetes.serverNow());
  if (isOver) return giveVerdict(record, toExpired(record), tools);
  if (approval) {
    const named = { action_id: id, 'logging.googleapis.com/labels': { action_id: id } };
    const fields = { ...named, type, requestor, node_pool: nodePool, plan: approval.plan };
    log.warn('awaiting_approval', `${type} of ${nodePool} ${describeAwaiting(id, approval)}`, fields);
    await emitAwaiting(cluster.kubernetes, record, log);
  }
  return { id, outcome: 'waiting' };
}

/**
 * Approves or rejects the plan of an action.
 *
 * @throws {FailoverError} `target_not_found` for an unknown action, `forbidden` for whoever may not approve it,
 *   `target_changed` for another plan than the one that waits, `approval_refused` where none waits any more; and what
 *   `failover` throws
 * @throws {Ignored} for the action of an alert that has been dealt with
 */
export async function decideApproval(
  decision: Decider,
  deadline: Deadline,
  services: Services,
  log: Log,
): Promise<Outcome | Rejected> {
  const { id, type, caller } = decision;
  if (type === 'approve' && caller === undefined) {
    throw new FailoverError(
      'forbidden',
      'the request has no identity token, so nobody knows that somebody else than the asker approves; send it through IAM',
    );
  }
  const cluster = await services.connect(await findCluster(decision, deadline, services), deadline);
  try {
    const tools = { cluster, services, deadline, log };
    if (type === 'reject') return { rejected: await reject(decision, tools) };
    const record = await readExisting(id, cluster);
    const action = await toApproved({ ...decision, caller: caller ?? '' }, record, tools);
    return await failover(action, deadline, services, log.with({ approved_by: caller }));
  } finally {
    cluster.close();
  }
}

/** Makes the action that is carried out by an approval, or carried on where it was approved before. */
async function toApproved(
  decision: Decider & { caller: string },
  record: ActionRecord,
  tools: ReconcileTools,
) {
  const { id, plan = '', caller, requestor } = decision;
  const { approval } = record;
  const { cluster } = tools;
  if (approval) assertAnother(caller, record);
  await refuseUnapproved(record, tools);
  if (!approval) throw refused(`action ${id} (${record.phase}) waits for no approval`);
  if (approval.plan !== plan) {
    throw new FailoverError(
      'target_changed',
      `plan ${plan.slice(0, 12)}… is not the plan of action ${id}, so nothing was done; its plan is ${approval.plan} ` +
        `(GET /actions/${id} shows it)`,
    );
  }
  const action = record.action && fromRecordedAction(record.action, record, cluster.name);
  if (!action) {
    throw refused(`another version of this function recorded action ${id}, and this one cannot read it`);
  }
  return { ...action, approver: { caller, requestor, plan } };
}

/**
 * An alert is no principal, so anybody whom IAM lets in may approve what it asks for. An action that follows has the caller of
 * the one that it follows.
 *
 * @throws {FailoverError} `forbidden`
 */
function assertAnother(caller: string, { id, action }: ActionRecord): void {
  const asker = action?.caller;
  if (asker === undefined && action && isFromAlert(action)) return;
  if (asker !== undefined && asker.toLowerCase() !== caller.toLowerCase()) return;
  const why = asker === undefined ? 'it is not known who asked for it' : `${caller} asked for it`;
  throw new FailoverError('forbidden', `action ${id} must be approved by another principal: ${why}`);
}

/** @throws {FailoverError} `approval_refused` if the action was rejected, or nobody approved it in time */
async function refuseUnapproved(record: ActionRecord, tools: ReconcileTools): Promise<void> {
  const { kubernetes } = tools.cluster;
  if (hasExpired(record, kubernetes.serverNow()) && !record.verdict) {
    await giveVerdict(record, toExpired(record), tools);
  }
  const why = await findUnapproved(kubernetes, record);
  if (why !== undefined) throw refused(why);
}

/** How often somebody else may write the record in between. */
const maxTries = 5;

async function reject(
  { id, plan, requestor, reason, caller }: Decider,
  tools: ReconcileTools,
): Promise<Verdict> {
  const { cluster } = tools;
  for (let tries = 0; tries < maxTries; tries++) {
    const record = await readExisting(id, cluster);
    const { verdict, approval } = record;
    if (verdict?.verdict === 'rejected') return verdict;
    await refuseUnapproved(record, tools);
    if (!isAwaitingApproval(record)) {
      const by = approval?.by === undefined ? '' : `: ${approval.by} approved it at ${approval.at}`;
      throw refused(`action ${id} (${record.phase}) waits for no approval${by}`);
    }
    if (plan !== undefined && plan !== approval?.plan) {
      throw new FailoverError(
        'target_changed',
        `plan ${plan.slice(0, 12)}… is not the plan of action ${id}, so it was not rejected; its plan is ${approval?.plan}`,
      );
    }
    const who = caller === undefined ? requestor : `${requestor} (${caller})`;
    const why = `${who} rejected it${reason === undefined ? '' : `: ${reason}`}`;
    const at = new Date(cluster.kubernetes.serverNow()).toISOString();
    await giveVerdict(record, { verdict: 'rejected', at, why }, tools);
  }
  throw new FailoverError('action_in_progress', `action ${id} is being carried out by another request`, {
    headers: { 'Retry-After': '5' },
  });
}

function refused(message: string): FailoverError {
  return new FailoverError('approval_refused', `${message}; send what is still wanted with a new id`);
}

async function readExisting(id: string, { kubernetes, name }: ClusterConnection): Promise<ActionRecord> {
  const record = await readRecord(kubernetes, id);
  if (record) return record;
  throw new FailoverError('target_not_found', `there is no action ${id} in ${name.fullName}`);
}

/** Finds the cluster that has the record. The only one is not searched: whether it has the record is asked next. */
async function findCluster(
  { id, clusters }: Decider,
  deadline: Deadline,
  services: Services,
): Promise<ClusterName> {
  const [only, ...others] = clusters;
  if (only && others.length === 0) return only;
  const found = await searchClusters(clusters, deadline, services, ({ kubernetes }) =>
    readRecord(kubernetes, id),
  );
  if (found) return found.cluster;
  throw new FailoverError(
    'target_not_found',
    `there is no action ${id}: its id is misspelt, or it was refused or settled; GET /actions?state=awaiting_approval lists those that wait`,
  );
}
