import { FailoverError } from '../errors.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { writeVerdict } from './open-records.ts';
import { summarise } from '../step.ts';
import type { ActionRecord, Approval } from './record-format.ts';

/** True if the action of a record has a plan, and nothing but the approval of that plan may carry it out. */
export function isAwaitingApproval({ phase }: Pick<ActionRecord, 'phase'>): boolean {
  return phase === 'awaiting_approval';
}

/** True if an action ended without an approval, so that nothing was done, and nothing will be. */
export function isUnapproved({ verdict }: Pick<ActionRecord, 'verdict'>): boolean {
  return verdict?.verdict === 'rejected' || verdict?.verdict === 'expired';
}

/** From when on an action may be carried out: from its approval, or else from its request. In ms since the epoch. */
export function mayActSince({ approval, receivedAt }: ActionRecord): number {
  return approval?.at === undefined ? receivedAt : Date.parse(approval.at);
}

/** True if the time for an approval is over. */
export function hasExpired({ phase, approval }: ActionRecord, serverNow: number): boolean {
  return (
    phase === 'awaiting_approval' && approval !== undefined && serverNow >= Date.parse(approval.expires_at)
  );
}

/** What the end of the time for an approval means. */
export function toExpired({ approval }: ActionRecord): { verdict: 'expired'; at: string; why: string } {
  const at = approval?.expires_at ?? '';
  return { verdict: 'expired', at, why: `nobody approved its plan until ${at}, so nothing was done` };
}

/**
 * Looks whether an action may still be approved. Whoever looks after the time is over settles it.
 *
 * @throws {FailoverError} `approval_refused` if it was rejected, or nobody approved it in time
 */
export async function assertNotUnapproved(kubernetes: Kubernetes, record: ActionRecord): Promise<void> {
  const { id, verdict } = record;
  if (verdict && isUnapproved(record)) {
    throw new FailoverError(
      'approval_refused',
      `action ${id} was not carried out: ${verdict.why ?? verdict.verdict}; send it again with a new id`,
    );
  }
  if (!hasExpired(record, kubernetes.serverNow())) return;
  // Where somebody was faster, the next look finds what they wrote.
  const expired = toExpired(record);
  await writeVerdict(kubernetes, record, expired);
  throw new FailoverError(
    'approval_refused',
    `action ${id} was not carried out: ${expired.why}; send it again with a new id`,
  );
}

/** The body that approves a plan when it is sent to /actions. */
export function toApproveBody(
  id: string,
  plan: string,
): { type: 'approve'; id: string; plan: string; requestor: string } {
  return { type: 'approve', id, plan, requestor: 'YOUR NAME' };
}

/** What waits for approval, until when, and how to approve it: for Events and for the log. */
export function describeAwaiting(id: string, { plan, steps, expires_at: expiresAt }: Approval): string {
  const body = JSON.stringify(toApproveBody(id, plan));
  return `waits for approval until ${expiresAt}; somebody else than its caller approves it by POST /actions ${body}; the plan: ${summarise(steps)}`;
}
