// The pools: their nodes, and what was done to them.
import { html } from './html.ts';
import type { Content, Html } from './html.ts';
import { countStates, drawNodes, legend } from './nodes.ts';
import { actionLink, actionsLink, ago, list, until } from './parts.ts';
import type { Visit } from './parts.ts';
import type { ClusterPicture } from '../status/cluster-status.ts';
import type { AttemptsView, PoolStatus } from '../status/pool-status.ts';
import type { NodeView } from '../status/node-state.ts';
import { clusterName, toWords } from './words.ts';

/** Shows the pools of a cluster. */
export function showPools({ status, nodes }: ClusterPicture, visit: Visit): Html {
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
  const { attempts, gke_status: gke, operations = [] } = pool;
  return html`<article class="card pool${total > 512 && ' wide'}">
    <div class="top">
      <h3>${actionsLink('node_pool', pool.name)}</h3>
      <span class="small">${countStates(states)}</span>
    </div>
    ${nodes.length > 0 && drawNodes(pool.name, nodes)} ${showRuns(pool.runs)} ${showCordons(pool.cordoned_by)}
    ${pool.veto && html`<p><strong>Failover is kept away</strong>${pool.veto.until !== undefined && html` for ${until(pool.veto.until, now)}`}: ${pool.veto.why}.</p>`}
    ${pool.lock && html`<p>${actionLink(pool.lock.action)} works on it now; its lock ends in ${until(pool.lock.until, now)}.</p>`}
    ${pool.cooldowns.map(
      ({ effect, action, until: end }) =>
        html`<p class="soft">
          Cooldown of ${nameEffect(effect)}: ${until(end, now)} left, after ${actionLink(action)}.
        </p>`,
    )}
    ${attempts.used > 0 && html`<p class="soft">Repairs within 24 h: ${showAttempts(attempts, now)}.</p>`}
    ${gke !== undefined && html`<p>GKE says of it: ${gke}.</p>`}
    ${operations.map(
      ({ type, since, node }) =>
        html`<p>
          GKE itself does
          ${type}${node !== undefined && ` on ${node}`}${since !== undefined && html`, begun ${ago(since, now)}`}.
        </p>`,
    )}
  </article>`;
}

/** How many of the attempts of a day are used, and when there is one more. */
export function showAttempts(
  { max, used, left, again_at: again, broken }: AttemptsView,
  now: number,
): Content {
  if (broken) return html`<strong>the list cannot be read</strong>`;
  if (left > 0) return `${used} of ${max}`;
  return html`<strong>${used} of ${max}, none left</strong
    >${again !== undefined && html`; one more in ${until(again, now)}`}`;
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
