// Small parts that several pages have.
import { html, join } from './html.ts';
import type { Content, Html } from './html.ts';
import { clockTime, duration, marks } from './words.ts';
import type { Outcome, Tone } from './words.ts';

/** Who looks, and when. */
export interface Visit {
  /** In ms since the epoch. */
  now: number;
  /** Where lines to paste send their actions, such as `localhost:8080`. */
  host: string;
  /** False on `failoverStatus`, which carries out nothing. */
  canAct: boolean;
  /** More than one cluster is configured, so each thing must say whose it is. */
  hasClusters: boolean;
}

/** How long ago; the exact time is in its title. */
export function ago(at: string, now: number): Html {
  return html`<time datetime="${at}" title="${at}">${duration(now - Date.parse(at))} ago</time>`;
}

/** A time of day. */
export function at(time: string, now: number): Html {
  return html`<time datetime="${time}" title="${time}">${clockTime(time, now)}</time>`;
}

/** How long from now. */
export function until(time: string, now: number): Html {
  return html`<time datetime="${time}" title="${time}">${duration(Date.parse(time) - now)}</time>`;
}

export function badge({ tone, text }: Outcome): Html {
  return html`<span class="badge ${tone}">${mark(tone)} ${text}</span>`;
}

export function mark(tone: Tone): Html {
  return html`<span class="mark" aria-hidden="true">${marks[tone]}</span>`;
}

/** A link to an action's page. */
export function actionLink(id: string): Html {
  return html`<a class="id" href="/actions/${encodeURIComponent(id)}">${id}</a>`;
}

/** A link to the actions on a pool, or on a JobSet. */
export function actionsLink(filter: 'node_pool' | 'jobset', name: string): Html {
  return html`<a href="/actions?${filter}=${encodeURIComponent(name)}">${name}</a>`;
}

/** A line to paste. The script gives it a button that copies it. */
export function pasteLine(what: Content, line: string): Html {
  return html`<div class="paste">
    <p>${what}</p>
    <div class="line">
      <pre tabindex="0"><code>${line}</code></pre>
      <button type="button" class="js-only" data-copy>Copy</button>
    </div>
  </div>`;
}

/** Names and what they have. */
export function facts(rows: [name: string, value: Content][]): Html {
  return html`<dl class="facts">
    ${rows.map(
      ([name, value]) =>
        value !== undefined &&
        html`<div>
          <dt>${name}</dt>
          <dd>${value}</dd>
        </div>`,
    )}
  </dl>`;
}

export function list(items: Content[]): Content {
  return join(items, ', ');
}
