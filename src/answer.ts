import type { Request, Response } from '@google-cloud/functions-framework';
import type { FailoverError } from './errors.ts';
import type { Outcome } from './failover/failover.ts';
import type { ClusterReport } from './reconcile/report.ts';
import type { Ignored } from './ignored.ts';
import { describeError, describeStack } from './log.ts';
import type { Log } from './log.ts';
import type { Page } from './page/layout.ts';
import type { Action } from './request/action.ts';
import type { Rejected } from './reconcile/approve.ts';
import { describeAwaiting, toApproveBody } from './state/approval.ts';
import type { ActionRecord } from './state/record-format.ts';
import { showPlan } from './status/action-view.ts';
import { summarise } from './step.ts';

/** One request on its way to its one answer. */
export interface Exchange {
  readonly request: Request;
  readonly response: Response;
  /** From `performance.now()`. */
  readonly startedAt: number;
  /** The action's id, as far as it is known. */
  id: string;
  /** The e-mail address of the caller that IAM let in, as its token says. */
  caller: string | undefined;
  /** Has the fields that are known so far. */
  log: Log;
  /** The action's type; undefined until it is known. */
  type: string | undefined;
  isDryRun: boolean;
  /**
   * How the request came; undefined until its route and its credentials are checked. Nobody reads the answer to a
   * notification (`webhook`, `push`), so the log must tell everything. Pub/Sub (`push`) delivers a notification again
   * until it gets a success.
   */
  channel: 'action' | 'read' | 'webhook' | 'push' | 'reconcile' | undefined;
}

/** Sets the action's id for the answer and for all further log lines. */
export function setId(exchange: Exchange, id: string): void {
  exchange.id = id;
  exchange.log = exchange.log.with({ action_id: id, 'logging.googleapis.com/labels': { action_id: id } });
}

/** Logs that a valid action came in, and adds its fields to all further log lines. */
export function logReceived(exchange: Exchange, action: Action): void {
  const { id, type, requestor, reason, dryRun, nodePool, nodeName, jobSetName, cluster } = action;
  setId(exchange, id);
  exchange.type = type;
  exchange.isDryRun = dryRun;
  const target = { cluster: cluster.fullName, node_pool: nodePool, node_name: nodeName, jobset: jobSetName };
  exchange.log = exchange.log.with({ type, requestor, dry_run: dryRun, ...target });
  const what = dryRun ? `dry run of ${type}` : type;
  exchange.log.info('received', `${what} from ${requestor}: ${reason}`);
}

/** What a request came to. */
export type Answered =
  Outcome | Rejected | { clusters: ClusterReport[] } | { shown: object } | { page: Page };

/** Answers what a request came to, unless that is an error. */
export function sendAnswered(exchange: Exchange, answered: Answered): void {
  if ('page' in answered) sendPage(exchange, answered.page);
  else if ('shown' in answered) sendShown(exchange, answered.shown);
  else if ('clusters' in answered) sendReconciled(exchange, answered.clusters);
  else if ('rejected' in answered) sendRejected(exchange, answered);
  else if (answered.awaiting) sendAwaiting(exchange, answered.awaiting);
  else sendDone(exchange, answered);
}

/** Answers 200 with the action's steps. */
function sendDone(exchange: Exchange, { steps, isReplay, doneAt, isResume = false }: Outcome): void {
  const outcome = isReplay ? 'replayed' : 'done';
  const replay = isReplay ? { replayed: true, done_at: toTime(doneAt) } : {};
  const resume = isResume ? { resumed: true } : {};
  const fields = { ...toFinalFields(exchange, 200), outcome, ...resume, steps };
  const what = exchange.isDryRun ? `dry run of ${exchange.type}` : `${exchange.type} ${outcome}`;
  exchange.log.info('done', `${what}: ${summarise(steps)}`, fields);
  send(exchange, 200, { id: exchange.id, ...replay, ...resume, steps });
}

/** Answers 202: the plan is recorded, and nothing else is done before it is approved. */
function sendAwaiting(exchange: Exchange, record: ActionRecord): void {
  const { id, approval, plan } = record;
  if (!approval) throw new Error(`action ${id} waits for no approval`);
  const fields = { ...toFinalFields(exchange, 202), outcome: 'awaiting_approval', plan: approval.plan };
  const { steps } = approval;
  const message = `${record.type} of ${record.nodePool} ${describeAwaiting(id, approval)}`;
  exchange.log.warn('awaiting_approval', message, { ...fields, node_pool: record.nodePool, steps });
  send(exchange, 202, {
    id,
    awaiting_approval: {
      plan: approval.plan,
      expires_at: approval.expires_at,
      approve: toApproveBody(id, approval.plan),
    },
    ...(plan && { plan: showPlan(plan) }),
    steps,
  });
}

/** Answers 200: the action that waited for approval is settled, and nothing was done. */
function sendRejected(exchange: Exchange, { rejected }: Rejected): void {
  exchange.log.info('done', `rejected: ${rejected.why}`, {
    ...toFinalFields(exchange, 200),
    outcome: 'rejected',
  });
  send(exchange, 200, { id: exchange.id, verdict: rejected });
}

/** Answers what a request asked to see. It is true for a moment only, and leaves no line in the log. */
function sendShown(exchange: Exchange, shown: object): void {
  send(exchange, 200, shown, { 'Cache-Control': 'no-store', Vary: 'Accept' });
}

/** Answers what a browser asked to see. */
export function sendPage({ response }: Exchange, { html, headers }: Page, status = 200): void {
  response.status(status).set(headers).send(html);
}

/** Answers what was looked after: 200, or 502 if a cluster could not be served. An idle minute leaves no line in the log. */
function sendReconciled(exchange: Exchange, clusters: ClusterReport[]): void {
  const isFailed = clusters.some(({ failed }) => failed === true);
  send(exchange, isFailed ? 502 : 200, { clusters });
}

/** Answers 200 with the reason why an alert needs no action. */
export function sendIgnored(exchange: Exchange, ignored: Ignored): void {
  const fields = { ...toFinalFields(exchange, 200), outcome: 'ignored', ...describeError(ignored) };
  exchange.log.info('ignored', ignored.message, fields);
  send(exchange, 200, { id: exchange.id, ignored: ignored.message });
}

/**
 * Answers with the error's status and code. A final refusal of a push gets 200, because Pub/Sub would deliver it again.
 *
 * @param thrown what was thrown, whose stack is logged if `answered` is `internal`
 * @param page what a browser gets instead of the JSON
 */
export function sendError(exchange: Exchange, answered: FailoverError, thrown: unknown, page?: Page): void {
  const { request, channel, log, id } = exchange;
  const { code, message, headers } = answered;
  // Cloud Monitoring may first ask without credentials, to be told that it must send them. That is no failure.
  const isChallenge = code === 'unauthorized' && request.get('authorization') === undefined;
  const isAlert = channel === 'webhook' || channel === 'push';
  const outcome = isChallenge ? 'ignored' : answered.status < 500 ? 'refused' : 'failed';
  const isAcknowledged = channel === 'push' && isFinal(answered);
  const status = isAcknowledged ? 200 : answered.status;
  const fields = { ...toFinalFields(exchange, status), outcome, code, ...describeError(answered) };
  if (isChallenge) {
    log.info(outcome, message, fields);
  } else if (code === 'internal') {
    log.error(outcome, 'internal error', { ...fields, stack_trace: describeStack(thrown) });
  } else if (outcome === 'failed' || (isAlert && isFinal(answered))) {
    log.error(outcome, message, fields);
  } else {
    log.warn(outcome, message, fields);
  }
  if (page) {
    sendPage(exchange, { ...page, headers: { ...page.headers, ...headers } }, status);
    return;
  }
  send(exchange, status, { id, error: message, code }, isAcknowledged ? {} : headers);
}

/** True if the same request cannot succeed until somebody changes something. */
function isFinal({ status, code }: FailoverError): boolean {
  return status < 500 && code !== 'action_in_progress';
}

function toTime(ms: number | undefined): string | undefined {
  return ms === undefined ? undefined : new Date(ms).toISOString();
}

function toFinalFields({ startedAt, channel }: Exchange, status: number) {
  return { status, channel, duration_ms: Math.round(performance.now() - startedAt) };
}

function send(
  { response }: Exchange,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  response
    .status(status)
    .set(headers)
    .type('application/json')
    .send(`${JSON.stringify(body)}\n`);
}
