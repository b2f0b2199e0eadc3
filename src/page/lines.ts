// Lines to paste into a shell.
import { html } from './html.ts';
import type { Html } from './html.ts';
import { pasteLine } from './parts.ts';
import type { Visit } from './parts.ts';
import type { ActionAnswer } from '../status/get-action.ts';

/** The lines that an action's page offers. */
export function showLines(action: ActionAnswer, { host, canAct, hasClusters }: Visit): Html {
  const { id, links, node_pool: pool, cluster, observed, request, state } = action;
  const isUnfinished = state === 'stopped' || state === 'planned' || state === 'claimed';
  const send = (body: object) => toSendLine(host, body);
  const undo = {
    type: 'uncordon_nodepool',
    node_pool: pool,
    ...(hasClusters && { cluster }),
    requestor: 'YOUR NAME',
    reason: `undo ${id}`,
  };
  const project = cluster.split('/')[1] ?? '';
  const query = quoteForShell(`labels.action_id="${id}"`);
  return html`<section class="card" aria-labelledby="lines">
    <h2 id="lines">Lines to paste</h2>
    ${!canAct && html`<p class="soft">This function only shows. Send what acts to <code>failover</code>, through a proxy of its own.</p>`}
    ${pool !== undefined && (observed?.nodes.cordoned ?? 0) > 0 && pasteLine(html`<strong>Undo</strong> the cordon of ${pool}. Nodes that a person cordoned stay cordoned.`, send(undo))}
    ${isUnfinished && request !== undefined && pasteLine(html`<strong>Resume</strong>: the same id carries the recorded plan on.`, send(request))}
    ${isUnfinished && request === undefined && html`<p><strong>Resume</strong>: an alert asked for it, so reconcile carries it on. To do it now: <code>curl -s -X POST ${host}/reconcile</code></p>`}
    ${state !== 'settled' && pasteLine(html`<strong>Wait</strong> until it is settled, four minutes at most.`, `curl -s '${host}/actions/${encodeURIComponent(id)}?wait=240'`)}
    ${pasteLine(
      html`<strong>Log</strong>, or in the <a href="${links.log}" rel="noreferrer">Logs Explorer</a>.`,
      `gcloud logging read ${query} --project ${quoteForShell(project)} --freshness 7d --format 'value(timestamp, jsonPayload.event, jsonPayload.message)'`,
    )}
  </section>`;
}

/** The line that sends a body to the function. */
export function toSendLine(host: string, body: object): string {
  const text = quoteForShell(JSON.stringify(body));
  return `curl -s ${host}/actions -H 'Content-Type: application/json' -d ${text}`;
}

/** A word of a shell command: as it is if the shell reads it so, else in single quotes. */
export function quoteForShell(word: string): string {
  return /^[\w./:@%+=-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;
}
