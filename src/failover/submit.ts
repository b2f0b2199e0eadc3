import type { Action } from '../request/action.ts';
import { isFromAlert } from '../request/action.ts';
import type { Config } from '../config.ts';
import { FailoverError } from '../errors.ts';
import type { Plan } from '../plan.ts';
import { hashPlan } from '../plan-hash.ts';
import { hasExpired, isAwaitingApproval } from '../state/approval.ts';
import { removeHold } from '../state/cordon-holds.ts';
import type { ActionRecord, Approval } from '../state/record-format.ts';
import { writeAwaiting } from '../state/record.ts';
import type { Step } from '../step.ts';
import { emitAwaiting } from './events.ts';
import type { Execution } from './execution.ts';
import { tryToCleanUp } from './clean-up.ts';

/** Says whether an action waits for the approval of its plan before anything is done. */
export function needsApproval({ approval, type }: Action, { approvalActions }: Config): boolean {
  return approval === 'required' || approvalActions.includes(type);
}

/**
 * Refuses an action that nobody could approve: whoever asks is not known, so nobody can be told to be somebody else. An alert
 * is no principal.
 *
 * @throws {FailoverError} `forbidden`
 */
export function assertApprovable(action: Action): void {
  if (action.caller !== undefined || isFromAlert(action)) return;
  throw new FailoverError(
    'forbidden',
    'this action needs the approval of another principal, and the request has no identity token that says who asks; ' +
      'send it through IAM',
  );
}

/**
 * Compares the plan that was made now with the one that is approved.
 *
 * @returns the approval to record with the plan; undefined if the plan must first be approved
 * @throws {FailoverError} `target_changed` if the approved plan is another one; then the new plan waits, for as long as the
 *   old one would have. `approval_refused` after that time
 */
export async function checkApproval(
  execution: Execution,
  plan: Plan,
  steps: Step[],
): Promise<Approval | undefined> {
  const { action, record, claim } = execution;
  const { kubernetes } = claim;
  const hash = hashPlan(record, plan);
  const { approver } = action;
  const asked = isAwaitingApproval(record) ? record.approval : undefined;
  if (!approver || !asked) return undefined;
  if (hasExpired(record, kubernetes.serverNow())) {
    throw new FailoverError('approval_refused', `the time to approve action ${record.id} is over`);
  }
  if (approver.plan === hash) {
    const { caller: by, requestor } = approver;
    return { ...asked, by, requestor, at: new Date(kubernetes.serverNow()).toISOString() };
  }
  execution.record = await writeAwaiting(kubernetes, record, plan, { ...asked, plan: hash, steps });
  throw new FailoverError(
    'target_changed',
    `what action ${record.id} would do has changed since plan ${approver.plan.slice(0, 12)}… was made, so nothing was done; ` +
      `look at its plan again (GET /actions/${record.id}) and approve ${hash} until ${asked.expires_at}`,
  );
}

/**
 * Records a plan that must first be approved. Nothing else was done, and the claim is given back.
 *
 * @throws {FailoverError} `forbidden` if nobody could approve it
 */
export async function submit(execution: Execution, plan: Plan, steps: Step[]): Promise<ActionRecord> {
  const { action, claim, cluster, services, log, snapshot } = execution;
  const { kubernetes, lock } = claim;
  assertApprovable(action);
  const expiresAt = kubernetes.serverNow() + services.config.approvalTtlSeconds * 1000;
  execution.record = await writeAwaiting(kubernetes, execution.record, plan, {
    plan: hashPlan(execution.record, plan),
    expires_at: new Date(expiresAt).toISOString(),
    steps,
  });
  const { incident } = action;
  // Nothing is cordoned for the incident yet. The approval adds its hold again, and then looks whether it has closed.
  if (incident && !incident.isClosed) await tryToCleanUp(log, () => removeHold(lock, incident.id));
  await tryToCleanUp(log, () => lock.release({ forget: true }));
  await emitAwaiting(cluster.kubernetes, execution.record, log, snapshot?.eventTarget);
  return execution.record;
}
