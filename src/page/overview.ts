// The page of `GET /`.
import { html } from './html.ts';
import type { Content, Html } from './html.ts';
import { showActions } from './actions.ts';
import { toPage } from './layout.ts';
import type { Page } from './layout.ts';
import { findNeedy, showNeeds } from './needs-you.ts';
import { countStates, drawNodes, legend } from './nodes.ts';
import { actionLink, actionsLink, list, until } from './parts.ts';
import type { Visit } from './parts.ts';
import type { ClusterPicture, ClusterStatus, PoolStatus } from '../status/cluster-status.ts';
import type { ActionList } from '../status/list-actions.ts';
import type { NodeView } from '../status/node-state.ts';
import type { Pictures } from '../status/status.ts';
import { clusterName, toWords } from './words.ts';

/** How many actions there are below the pools. The rest is one link away. */
const mostActions = 20;

/** Shows how the clusters stand, and the newest actions. */
export function renderOverview(pictures: Pictures, { actions, errors = [] }: ActionList, visit: Visit): Page {
  const needs = showNeeds(pictures, actions, visit);
  const unread = errors.filter(
    (error) => !pictures.some((each) => each.error !== undefined && error.endsWith(each.error)),
  );
  const count = findNeedy(actions, visit.now).length + pictures.filter(needsLook).length;
  const main = html`<h1>${titleOf(pictures)}</h1>
    ${pictures.map(({ picture }) => picture && showSwitches(picture.status, visit))} ${needs}
    ${pictures.map(({ picture }) => picture && showPools(picture, visit))}
    <section aria-labelledby="actions">
      <h2 id="actions">Actions</h2>
      ${unread.map((error) => html`<p class="warning">${error}</p>`)}
      ${actions.length > 0 ? showActions(actions.slice(0, mostActions), visit, 'h3') : html`<p class="card">None yet.</p>`}
      ${actions.length > mostActions && html`<p><a href="/actions">All actions</a></p>`}
    </section>`;
  return toPage(
    {
      title: count > 0 ? `(${count}) Needs you` : titleOf(pictures),
      place: 'overview',
      now: visit.now,
      isBad: count > 0,
    },
    main,
  );
}

function needsLook({ picture, error }: Pictures[number]): boolean {
  return error !== undefined || picture?.status.paused !== undefined;
}

function titleOf(pictures: Pictures): string {
  const [only] = pictures;
  return pictures.length === 1 && only
    ? `Cluster ${clusterName(only.cluster.fullName)}`
    : `${pictures.length} clusters`;
}

/** The switches, in a sentence. */
function showSwitches(status: ClusterStatus, { now, hasClusters }: Visit): Html {
  const { paused, override_until: override, budget, open } = status;
  const kind = paused ? 'paused' : override === undefined ? '' : 'lifted';
  const who = (paused as { by?: unknown } | undefined)?.by;
  const by = typeof who === 'string' ? ` by ${who}` : '';
  return html`<section class="switches ${kind}" aria-label="Switches of ${clusterName(status.cluster)}">
    <p class="lead">
      ${hasClusters && html`<strong>${clusterName(status.cluster)}</strong>: `}${
        paused
          ? html`Failover is <strong>paused</strong>${by}: ${paused.why}. Only dry runs and uncordon go
              through.`
          : html`Failover is <strong>on</strong>.`
      }${override !== undefined && html` Limits are <strong>lifted</strong> for people for ${until(override, now)}.`}
      ${open === 0 ? 'No action is open.' : `${open} ${open === 1 ? 'action is' : 'actions are'} open.`}
    </p>
    <p class="soft small">
      Budget: ${budget.used} of ${budget.max} pools used within the
      hour${
        budget.used > 0 &&
        html` (${list(Object.keys(budget.pools).map((pool) => actionsLink('node_pool', pool)))})`
      }.
      ${status.cluster}
    </p>
  </section>`;
}

function showPools({ status, nodes }: ClusterPicture, visit: Visit): Html {
  const { pools } = status;
  const sorted = pools.toSorted((a, b) => troubleOf(b) - troubleOf(a) || runsOn(b) - runsOn(a));
  const title = visit.hasClusters ? `Pools of ${clusterName(status.cluster)}` : 'Pools';
  return html`<section aria-label="${title}">
    <h2>${title}</h2>
    ${legend()}
    <div class="pools">${sorted.map((pool) => showPool(pool, nodes.get(pool.name) ?? [], visit))}</div>
  </section>`;
}

/** A cooldown's effect: `repair`, or `restart` with the JobSet. */
function nameEffect(effect: string): string {
  return toWords(effect)
    .replace(/^restart /, 'the restart of ')
    .replace(/^repair$/, 'the repair');
}

/** Pools that are not as they should be come first. */
function troubleOf({ nodes, lock }: PoolStatus): number {
  if ((nodes.not_ready ?? 0) > 0) return 4;
  if ((nodes.failing ?? 0) > 0) return 3;
  if (lock) return 2;
  return (nodes.cordoned ?? 0) > 0 ? 1 : 0;
}

/** Then those that something runs on. */
function runsOn({ runs }: PoolStatus): number {
  return Object.keys(runs).length > 0 ? 1 : 0;
}

function showPool(pool: PoolStatus, nodes: NodeView[], { now }: Visit): Html {
  const { total, ...states } = pool.nodes;
  return html`<article class="card pool${total > 512 && ' wide'}">
    <div class="top">
      <h3>${actionsLink('node_pool', pool.name)}</h3>
      <span class="small">${countStates(states)}</span>
    </div>
    ${drawNodes(pool.name, nodes)} ${showRuns(pool.runs)} ${showCordons(pool.cordoned_by)}
    ${pool.lock && html`<p>${actionLink(pool.lock.action)} works on it now; its lock ends in ${until(pool.lock.until, now)}.</p>`}
    ${pool.cooldowns.map(
      ({ effect, action, until: end }) =>
        html`<p class="soft">
          Cooldown of ${nameEffect(effect)}: ${until(end, now)} left, after ${actionLink(action)}.
        </p>`,
    )}
  </article>`;
}

function showRuns(runs: Record<string, number>): Content {
  const all = Object.entries(runs);
  if (all.length === 0) return html`<p class="soft">No run here.</p>`;
  return html`<p>
    Runs
    ${list(
      all.map(
        ([jobset, pods]) => html`${actionsLink('jobset', jobset)} <span class="soft">(${pods} pods)</span>`,
      ),
    )}
  </p>`;
}

function showCordons(by: Record<string, number>): Content {
  const all = Object.entries(by);
  if (all.length === 0) return undefined;
  return html`<p>
    Cordoned by
    ${list(
      all.map(
        ([who, nodes]) =>
          html`${who === 'a person' ? 'a person' : actionLink(who)} <span class="soft">(${nodes})</span>`,
      ),
    )}
  </p>`;
}
