// The page of `GET /`.
import { html } from './html.ts';
import type { Html } from './html.ts';
import { showActions } from './actions.ts';
import { toPage } from './layout.ts';
import type { Page } from './layout.ts';
import { findNeeds, showNeeds } from './needs-you.ts';
import { actionsLink, ago, list, until } from './parts.ts';
import { showAttempts, showPools } from './pools.ts';
import type { Visit } from './parts.ts';
import type { ClusterStatus } from '../status/cluster-status.ts';
import type { ActionList } from '../status/list-actions.ts';
import type { Pictures } from '../status/status.ts';
import { clusterName } from './words.ts';

/** How many actions there are below the pools. The rest is one link away. */
const mostActions = 20;

/** Shows how the clusters stand, and the newest actions. */
export function renderOverview(pictures: Pictures, { actions, errors = [] }: ActionList, visit: Visit): Page {
  const needs = findNeeds(pictures, actions, visit);
  const count = needs.items.length + needs.more;
  const unread = errors.filter(
    (error) => !pictures.some((each) => each.error !== undefined && error.endsWith(each.error)),
  );
  const main = html`<h1>${titleOf(pictures)}</h1>
    ${pictures.map(({ picture }) => picture && showSwitches(picture.status, visit))} ${showNeeds(needs)}
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

function titleOf(pictures: Pictures): string {
  const [only] = pictures;
  return pictures.length === 1 && only
    ? `Cluster ${clusterName(only.cluster.fullName)}`
    : `${pictures.length} clusters`;
}

/** The switches, in a sentence. */
function showSwitches(status: ClusterStatus, { now, hasClusters }: Visit): Html {
  const { paused, override_until: override, override_ignored: ignored, budget, open, jobsets } = status;
  const { errors = [], warnings = [] } = status;
  const kind = paused ? 'paused' : override === undefined ? '' : 'lifted';
  const by = paused?.by === undefined ? '' : ` by ${paused.by}`;
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
    ${paused?.at !== undefined && html`<p class="soft small">Lease cluster was written ${ago(paused.at, now)}${paused.tool !== undefined && ` with ${paused.tool}`}.</p>`}
    ${
      ignored !== undefined &&
      html`<p class="warning small">
        override-until is ${ignored} and lifts nothing: it must be within the next hour.
      </p>`
    }
    ${jobsets.map(({ name, attempts }) => html`<p class="soft small">Restarts of ${actionsLink('jobset', name)} within 24 h: ${showAttempts(attempts, now)}.</p>`)}
    ${[...errors, ...warnings].map((each) => html`<p class="warning small">${each}</p>`)}
  </section>`;
}
