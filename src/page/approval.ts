// What waits for the approval of its plan.
import { html } from './html.ts';
import type { Content } from './html.ts';
import { toSendLine } from './lines.ts';
import { at, facts, pasteLine, until } from './parts.ts';
import type { Visit } from './parts.ts';
import { describeResult } from '../step.ts';
import type { ActionView } from '../status/action-view.ts';
import { toWords } from './words.ts';

/** The approval of an action's plan: the lines that give or refuse it, or who gave it. */
export function showApproval(action: ActionView, visit: Visit): Content {
  const { approval } = action;
  if (!approval) return undefined;
  const { plan, approved_by: by, approved_at: approvedAt } = approval;
  return html`<section class="card" aria-labelledby="approval">
    <h2 id="approval">Approval</h2>
    ${showAwaiting(action, visit)}
    ${isWaiting(action) && pasteLine(html`<strong>Reject</strong> it: nothing is done.`, toLine(action, 'reject', visit))}
    ${facts([
      ['Plan', html`<span class="id">${plan}</span>`],
      ['Approved by', by],
      ['Approved', approvedAt === undefined ? undefined : html`${at(approvedAt, visit.now)} UTC`],
    ])}
  </section>`;
}

/** What waits for approval, until when, and the line that approves it. Nothing for any other action. */
export function showAwaiting(action: ActionView, visit: Visit): Content {
  const { approval } = action;
  if (!isWaiting(action) || !approval) return undefined;
  return html`<ul>
      ${(approval.steps ?? []).map((step) => html`<li>${step.step} ${step.target}: ${toWords(describeResult(step))}</li>`)}
    </ul>
    <p class="soft small">
      Nothing is done before somebody else than its caller approves plan
      <span class="id">${approval.plan.slice(0, 12)}…</span>, within ${until(approval.expires_at, visit.now)}.
    </p>
    ${pasteLine(html`<strong>Approve</strong> this plan${!visit.canAct && ', through a proxy of failover'}.`, toLine(action, 'approve', visit))}`;
}

/** True while nothing is done because nobody has approved the plan yet. */
export function isWaiting({ state }: ActionView): boolean {
  return state === 'awaiting_approval';
}

function toLine(
  { id, approval, cluster }: ActionView,
  type: 'approve' | 'reject',
  { host, hasClusters }: Visit,
): string {
  const plan = type === 'approve' ? { plan: approval?.plan } : {};
  return toSendLine(host, { type, id, ...plan, ...(hasClusters && { cluster }), requestor: 'YOUR NAME' });
}
