// The list of actions: what was done, and what became of it.
import { html, join } from './html.ts';
import type { Content, Html } from './html.ts';
import { toPage } from './layout.ts';
import type { Page } from './layout.ts';
import type { ActionView } from '../status/action-view.ts';
import type { ActionList } from '../status/list-actions.ts';
import { actionLink, ago, badge } from './parts.ts';
import type { Visit } from './parts.ts';
import { clusterName, describeStep, outcomeOf, toWords, nameAction } from './words.ts';

const states = ['claimed', 'awaiting_approval', 'planned', 'stopped', 'done', 'settled', 'refused', 'broken'];

/** The page of `GET /actions`. */
export function renderActions(list: ActionList, query: URLSearchParams, visit: Visit): Page {
  const { actions, errors = [], next_page_token: next } = list;
  const main = html`<h1>Actions</h1>
    <nav class="filter" aria-label="States">
      <a href="${toAddress(query, 'state')}" ${!query.has('state') && html` aria-current="true"`}>all</a>
      ${states.map(
        (state) =>
          html`<a
            href="${toAddress(query, 'state', state)}"
            ${query.get('state') === state && html` aria-current="true"`}
            >${state}</a
          > `,
      )}
    </nav>
    ${showFilter(query)} ${errors.map((error) => html`<p class="warning">${error}</p>`)}
    ${actions.length > 0 ? showActions(actions, visit, 'h2') : html`<p class="card">No action matches.</p>`}
    ${next !== undefined && html`<p><a href="${toAddress(query, 'page_token', next)}">Older ones</a></p>`}`;
  return toPage({ title: 'Actions', place: 'actions', now: visit.now }, main);
}

function showFilter(query: URLSearchParams): Content {
  const given = [...query].filter(([name]) => name !== 'state' && name !== 'page_token');
  if (given.length === 0) return undefined;
  const only = given.map(([name, value]) => html`${toWords(name)} <strong>${value}</strong>`);
  return html`<p>Only ${join(only, ', ')}. <a href="/actions">Show all</a></p>`;
}

/** The address of the list with one parameter set, or left out. A page token belongs to its filter. */
function toAddress(query: URLSearchParams, name: string, value?: string): string {
  const changed = new URLSearchParams(query);
  changed.delete('page_token');
  changed.delete(name);
  if (value !== undefined) changed.set(name, value);
  return changed.size > 0 ? `/actions?${changed.toString()}` : '/actions';
}

/** The actions as a list. @param heading of each, below the heading that is before the list */
export function showActions(actions: ActionView[], visit: Visit, heading: 'h2' | 'h3'): Html {
  return html`<ol class="actions">
    ${actions.map((action) => showAction(action, visit, heading))}
  </ol>`;
}

function showAction(action: ActionView, { now, hasClusters }: Visit, heading: 'h2' | 'h3'): Html {
  const { requestor, reason, steps = [], error, verdict, incident_id: incident } = action;
  const done = steps.map(describeStep).join('; ');
  const why = [reason, ' ', html`<span class="soft">– ${requestor}</span>`];
  return html`<li>
    <div class="when">${ago(action.received_at, now)}</div>
    <div>
      ${heading === 'h2' ? html`<h2>${nameAction(action)}</h2>` : html`<h3>${nameAction(action)}</h3>`}
      <p class="small">
        ${why}<span class="soft">${incident !== undefined && `, incident ${incident}`}, ${idOf(action)}</span>
        ${hasClusters && html`<span class="soft">on ${clusterName(action.cluster)}</span>`}
      </p>
      ${done !== '' && html`<p class="more">${done}</p>`}
      ${verdict?.why !== undefined && html`<p class="more">${verdict.why}</p>`}
      ${error && html`<p class="more">${error.message}</p>`}
    </div>
    <div class="came">${badge(outcomeOf(action))}</div>
  </li>`;
}

/** A request that was refused has no page of its own. */
export function idOf({ id, state }: ActionView): Html {
  return state === 'refused' ? html`<span class="id">${id}</span>` : actionLink(id);
}
