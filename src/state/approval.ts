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
 * Finds why an action will not be carried out: it was rejected, or nobody approved it in time. Whoever looks after that time
 * settles it.
 */
export async function findUnapproved(
  kubernetes: Kubernetes,
  record: ActionRecord,
): Promise<string | undefined> {
  const { id, verdict } = record;
  const notDone = `action ${id} was not carried out`;
  if (verdict && isUnapproved(record)) return `${notDone}: ${verdict.why ?? verdict.verdict}`;
  if (!hasExpired(record, kubernetes.serverNow())) return undefined;
  // Where somebody was faster, the next look finds what they wrote.
  const expired = toExpired(record);
  await writeVerdict(kubernetes, record, expired);
  return `${notDone}: ${expired.why}`;
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
