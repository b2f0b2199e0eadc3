// The page of `GET /actions/ID`.
import { showApproval } from './approval.ts';
import { html, toText } from './html.ts';
import type { Content, Html } from './html.ts';
import { toPage } from './layout.ts';
import type { Page } from './layout.ts';
import { showLines } from './lines.ts';
import { actionLink, actionsLink, at, badge, facts, list } from './parts.ts';
import type { Visit } from './parts.ts';
import type { ActionAnswer } from '../status/get-action.ts';
import type { RecordedStep } from '../step.ts';
import { clusterName, describeStep, duration, outcomeOf, toWords, nameAction } from './words.ts';
import type { Tone } from './words.ts';

/** Shows one action. */
export function renderAction(action: ActionAnswer, visit: Visit): Page {
  const { id, steps = [] } = action;
  const outcome = outcomeOf(action);
  const main = html`<h1>${nameAction(action)}</h1>
    <p class="lead">${badge(outcome)} ${action.verdict?.why ?? ''}</p>
    <div class="columns">
      ${showWhat(action)} ${showTimeline(action, visit.now)} ${showObserved(action)}
      ${showApproval(action, visit)} ${showLines(action, visit)} ${showPlan(action)}
      ${
        steps.length > 0 &&
        html`<section class="card" aria-labelledby="steps">
          <h2 id="steps">Steps</h2>
          <ol class="steps">
            ${steps.map(showStep)}
          </ol>
        </section>`
      }
    </div>`;
  return toPage(
    { title: `${outcome.text} – ${id}`, place: 'elsewhere', now: visit.now, isBad: outcome.tone === 'bad' },
    main,
  );
}

function showWhat(action: ActionAnswer): Html {
  const {
    id,
    type,
    requestor,
    caller,
    reason,
    incident_id: incident,
    follows,
    cluster,
    node_pool: pool,
    jobset,
  } = action;
  const { state, resumes, follow_up: followUp } = action;
  return html`<section class="card" aria-labelledby="what">
    <h2 id="what">What was asked</h2>
    ${facts([
      ['Id', html`<span class="id">${id}</span>`],
      ['Type', type],
      ['Reason', reason],
      ['Requestor', requestor],
      ['Caller', caller],
      ['Incident', incident],
      ['Follows', follows !== undefined && follows !== '' ? actionLink(follows) : undefined],
      ['Cluster', html`<span title="${cluster}">${clusterName(cluster)}</span>`],
      ['Node pool', pool !== undefined && pool !== '' ? actionsLink('node_pool', pool) : undefined],
      ['JobSet', jobset === undefined ? undefined : actionsLink('jobset', jobset)],
      ['State', state],
      ['Taken up again', resumes === undefined ? undefined : `${resumes} times`],
      ['Follow-up', followUp && showFollowUp(followUp)],
    ])}
  </section>`;
}

function showFollowUp(followUp: Record<string, unknown>): Content {
  const { id, outcome, code, why } = followUp;
  const text = [toWords(toText(outcome)), toWords(toText(code)), toText(why)].filter(Boolean).join(': ');
  return [typeof id === 'string' && html`${actionLink(id)} `, text];
}

interface Moment {
  time: string;
  tone: Tone;
  what: Content;
}

function showTimeline(action: ActionAnswer, now: number): Html {
  const { received_at: receivedAt } = action;
  const moments = toMoments(action).toSorted((a, b) => Date.parse(a.time) - Date.parse(b.time));
  const outcome = outcomeOf(action);
  return html`<section class="card" aria-labelledby="timeline">
    <h2 id="timeline">Timeline</h2>
    <ol class="timeline">
      ${moments.map(
        ({ time, tone, what }) =>
          html`<li class="${tone}">
            <div class="time">
              ${at(time, now)}
              UTC${time !== receivedAt && ` (${sign(time, receivedAt)}${duration(Math.abs(Date.parse(time) - Date.parse(receivedAt)))})`}
            </div>
            ${what}
          </li>`,
      )}
      ${
        outcome.tone === 'busy' &&
        html`<li class="busy">
          <div class="time">now (+${duration(now - Date.parse(receivedAt))})</div>
          ${outcome.text}
        </li>`
      }
    </ol>
  </section>`;
}

/** A node's clock may be behind the function's. */
function sign(time: string, from: string): string {
  return Date.parse(time) < Date.parse(from) ? '−' : '+';
}

function toMoments(action: ActionAnswer): Moment[] {
  const { requestor, done_at: doneAt, settled_at: settledAt, error, verdict, approval, acceptance } = action;
  const done = (action.steps ?? []).map(describeStep).join('; ');
  const moments: (Moment | undefined)[] = [
    { time: action.received_at, tone: 'quiet', what: `${requestor} asked for it` },
    error && {
      time: error.at,
      tone: 'bad',
      what: html`stopped: ${toWords(error.code)}<br /><span class="small">${error.message}</span>`,
    },
    approval?.approved_at === undefined
      ? undefined
      : { time: approval.approved_at, tone: 'good', what: `${approval.approved_by} approved the plan` },
    doneAt === undefined ? undefined : { time: doneAt, tone: 'good', what: `answered: ${done}` },
    verdict?.recovered_at === undefined
      ? undefined
      : { time: verdict.recovered_at, tone: 'good', what: 'the last pod of the run was Ready' },
    verdict?.repaired_at === undefined
      ? undefined
      : { time: verdict.repaired_at, tone: 'good', what: 'the last node of the pool was Ready' },
    acceptance && { time: acceptance.since, tone: 'quiet', what: `its test (${acceptance.test}) began` },
    acceptance?.passed_at === undefined
      ? undefined
      : { time: acceptance.passed_at, tone: 'good', what: 'the pool passed its test' },
    verdict && {
      time: verdict.at,
      tone: outcomeOf(action).tone,
      what: html`verdict: <strong>${toWords(verdict.verdict)}</strong>`,
    },
    settledAt === undefined || verdict ? undefined : { time: settledAt, tone: 'good', what: 'settled' },
  ];
  return moments.filter((moment) => moment !== undefined);
}

function showObserved({ observed, node_pool: pool }: ActionAnswer): Content {
  if (!observed) return undefined;
  const { run, nodes, verdict, why } = observed;
  return html`<section class="card" aria-labelledby="now">
    <h2 id="now">Right now</h2>
    ${
      run &&
      (run.gone
        ? html`<p>The JobSet is gone, or another one has its name.</p>`
        : html`<p>
              Run: attempt ${run.attempt}, ${run.pods_ready} of ${run.pods_wanted} pods
              Ready${
                Object.keys(run.pools).length > 0 &&
                html`, on ${list(Object.entries(run.pools).map(([name, pods]) => `${name} (${pods})`))}`
              }
            </p>
            ${bar(run.pods_ready, run.pods_wanted)}`)
    }
    <p>Pool ${pool}: ${nodes.ready} of ${nodes.total} nodes Ready, ${nodes.cordoned} cordoned</p>
    ${bar(nodes.ready, nodes.total)}
    ${(verdict !== undefined || why !== undefined) && html`<p class="soft small">Verdict as of now: ${verdict === undefined ? 'none yet' : toWords(verdict)}${why !== undefined && `, ${why}`}</p>`}
  </section>`;
}

function bar(part: number, all: number): Html {
  const width = all > 0 ? Math.min(100, Math.round((part / all) * 100)) : 0;
  return html`<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">
    <path class="all" d="M0 0h100v8h-100z" />
    <path class="part" d="M0 0h${width}v8h-${width}z" />
  </svg>`;
}

function showPlan({ plan, jobset }: ActionAnswer): Content {
  if (!plan || (!plan.restart && !plan.repair)) return undefined;
  const { restart, repair } = plan;
  return html`<section class="card" aria-labelledby="plan">
    <h2 id="plan">Plan</h2>
    <p class="soft small">Written down before anything was deleted. The same id carries it on.</p>
    <ol class="steps">
      ${
        restart &&
        html`<li>
          ${restart.outcome === 'restart' ? `Restart ${jobset ?? 'the JobSet'}` : `No restart: ${toWords(restart.outcome)}`}
          ${showFields(restart, ['outcome'])}
        </li>`
      }
      ${repair && html`<li>Repair: ${repair.why} ${showFields(repair, ['why'])}</li>`}
    </ol>
  </section>`;
}

/** Fields of a step that its sentence tells. */
const told = [
  'step',
  'target',
  'outcome',
  'nodes',
  'cordoned',
  'already_cordoned',
  'uncordoned',
  'kept',
  'replaces',
  'notice',
];

function showStep(step: RecordedStep): Html {
  const { warning } = step;
  return html`<li>
    ${describeStep(step)} ${warning !== undefined && html`<p class="warning">${toText(warning)}</p>`}
    ${showFields(step, [...told, 'warning'])}
  </li>`;
}

/** Every other field, whatever it is: another version may have written others. */
function showFields(fields: object, without: string[]): Content {
  const rows = Object.entries(fields)
    .filter(([name]) => !without.includes(name))
    .map(([name, value]) => [name, showValue(value)] as const)
    .filter(([, value]) => value !== '');
  if (rows.length === 0) return undefined;
  return html`<dl class="fields">
    ${rows.map(
      ([name, value]) =>
        html`<div>
          <dt>${toWords(name)}</dt>
          <dd>${value}</dd>
        </div>`,
    )}
  </dl>`;
}

function showValue(value: unknown): string {
  if (Array.isArray(value)) return value.map(toText).join(', ');
  if (typeof value !== 'object' || value === null) return toText(value);
  return Object.entries(value)
    .map(([name, each]) => `${name} (${toText(each)})`)
    .join(', ');
}
