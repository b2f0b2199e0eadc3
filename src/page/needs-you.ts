// What a person must look at, because the function will not mend it.
import { failoverNamespace, prefix } from '../names.ts';
import { idOf } from './actions.ts';
import { html, toText } from './html.ts';
import type { Content, Html } from './html.ts';
import type { ClusterStatus, PausedView } from '../status/cluster-status.ts';
import type { Pictures } from '../status/status.ts';
import type { ActionView } from '../status/action-view.ts';
import { isWaiting, showAwaiting } from './approval.ts';
import { quoteForShell } from './lines.ts';
import { ago, mark } from './parts.ts';
import type { Visit } from './parts.ts';
import { showAttempts } from './pools.ts';
import { clusterName, outcomeOf, nameAction } from './words.ts';

/** Older ones have been seen, or nobody waits for them. */
const needsForMs = 24 * 3_600_000;

/** Whoever has more of them looks at the list. */
const mostNeedy = 10;

/** What needs a person. */
export interface Needs {
  items: Html[];
  /** Actions beyond those that are shown. */
  more: number;
}

/** Finds what needs a person. */
export function findNeeds(pictures: Pictures, actions: ActionView[], visit: Visit): Needs {
  const needy = findNeedy(actions, visit.now);
  const items = [
    ...pictures.flatMap(({ cluster, picture, error }) =>
      needsOf(cluster.name, picture?.status, error, visit),
    ),
    ...needy.slice(0, mostNeedy).map((action) => showNeedy(action, visit)),
  ];
  return { items, more: Math.max(0, needy.length - mostNeedy) };
}

/** Shows what needs a person; nothing if nothing does. */
export function showNeeds({ items, more }: Needs): Content {
  if (items.length === 0) return undefined;
  return html`<section class="needs" aria-labelledby="needs">
    <h2 id="needs">Needs you</h2>
    <ul>
      ${items} ${more > 0 && html`<li class="soft">and ${more} more <a href="/actions">actions</a></li>`}
    </ul>
  </section>`;
}

function needsOf(
  name: string,
  status: ClusterStatus | undefined,
  error: string | undefined,
  { now }: Visit,
): Html[] {
  if (error !== undefined) return [need(html`<strong>${name}</strong> cannot be read`, error)];
  if (!status) return [];
  const { paused, budget, jobsets, pools } = status;
  const spent = [
    ...pools.map(({ name: pool, attempts }) => ({ what: `repairs of ${pool}`, attempts })),
    ...jobsets.map(({ name: jobset, attempts }) => ({ what: `restarts of ${jobset}`, attempts })),
  ];
  return [
    ...(paused ? [showPaused(name, paused)] : []),
    ...(budget.broken
      ? [need(html`<strong>${name}: the budget cannot be read</strong>, so everything is refused`)]
      : []),
    ...pools.flatMap(({ name: pool, veto }) =>
      veto && veto.until === undefined
        ? [
            need(
              html`<strong>failover is kept away from ${pool}</strong> until its veto is put right`,
              veto.why,
            ),
          ]
        : [],
    ),
    ...spent.flatMap(({ what, attempts }) =>
      attempts.broken || attempts.left === 0
        ? [
            need(
              html`<strong>attempts exhausted</strong>: ${what} within 24 h: ${showAttempts(attempts, now)}`,
            ),
          ]
        : [],
    ),
  ];
}

/**
 * The actions that did not help, or did not get through, and that no later action on the same pool or run has made up for.
 *
 * @param actions the newest first
 */
export function findNeedy(actions: ActionView[], now: number): ActionView[] {
  return actions.filter(
    (action, index) =>
      isNeedy(action, now) && !actions.slice(0, index).some((later) => hasMadeUp(later, action)),
  );
}

function isNeedy(action: ActionView, now: number): boolean {
  const { state, error, follow_up: followUp } = action;
  // One that is open stays here until it is not.
  if (state === 'stopped' || state === 'broken' || isWaiting(action)) return true;
  if (now - Date.parse(action.settled_at ?? action.received_at) > needsForMs) return false;
  if (state === 'refused') return ['attempts_exhausted', 'correlated_failure'].includes(error?.code ?? '');
  return followUp?.['outcome'] === 'refused' || outcomeOf(action).tone === 'bad';
}

function hasMadeUp(later: ActionView, action: ActionView): boolean {
  const isSame = (a?: string, b?: string) => a !== undefined && a === b;
  if (later.cluster !== action.cluster || later.state === 'refused') return false;
  // Nothing was done yet, so it makes up for nothing, and nothing makes up for it.
  if (isWaiting(later) || isWaiting(action)) return false;
  if (!isSame(later.node_pool, action.node_pool) && !isSame(later.jobset, action.jobset)) return false;
  const { tone } = outcomeOf(later);
  return tone === 'good' || tone === 'busy';
}

function showNeedy(action: ActionView, visit: Visit): Html {
  const { now, hasClusters } = visit;
  const { verdict, error, follow_up: followUp, cluster } = action;
  const refusal =
    followUp?.['outcome'] === 'refused'
      ? `What should follow was refused: ${toText(followUp['why'] ?? followUp['code'])}`
      : undefined;
  return need(
    html`<strong>${nameAction(action)}: ${outcomeOf(action).text}</strong>
      <span class="soft small"
        >${hasClusters && `${clusterName(cluster)}, `}${idOf(action)},
        ${ago(action.settled_at ?? action.received_at, now)}</span
      >`,
    verdict?.why ?? error?.message,
    refusal,
    showAwaiting(action, visit),
  );
}

/** An annotation that nobody knows pauses, too: it may be a misspelt pause. */
const unknownAnnotation = /^unknown annotation (\S+) on Lease cluster$/;

function showPaused(name: string, { why, by }: PausedView): Html {
  const [, key = `${prefix}paused`] = unknownAnnotation.exec(why) ?? [];
  // By itself it pauses, too.
  const keys = [key, ...(by === undefined ? [] : [`${prefix}paused-by`])];
  const gone = keys.map((each) => `${quoteForShell(each)}-`).join(' ');
  const line = `kubectl annotate lease cluster -n ${failoverNamespace} ${gone}`;
  return need(html`<strong>${name}</strong> is paused`, why, html`To go on: <code>${line}</code>`);
}

function need(what: Content, ...whys: Content[]): Html {
  return html`<li class="need">
    <h3>${mark('bad')} ${what}</h3>
    ${whys.map((why) => why !== undefined && html`<p>${why}</p>`)}
  </li>`;
}
