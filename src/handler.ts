import type { HttpFunction, Request, Response } from '@google-cloud/functions-framework';
import { randomUUID } from 'node:crypto';
import { actOnAlert } from './failover/act-on-alert.ts';
import { parseAction, readId } from './request/action.ts';
import type { Action } from './request/action.ts';
import { toAlert } from './alert/alert.ts';
import { readCaller, requireBasicCredentials } from './request/auth.ts';
import { readBodyText, readJsonBody } from './request/body.ts';
import { Deadline } from './clock.ts';
import type { WebhookCredentials } from './config.ts';
import { FailoverError, toFailoverError } from './errors.ts';
import { failover } from './failover/failover.ts';
import type { Outcome } from './failover/failover.ts';
import { Ignored } from './ignored.ts';
import { describeError, describeStack, toTraceFields } from './log.ts';
import type { Log } from './log.ts';
import { isPushEnvelope, unpackNotification } from './alert/notification.ts';
import type { Services } from './services.ts';

/** What one of the two functions is made of. */
export interface HandlerOptions {
  services: Services;
  log: Log;
  /** The public webhook function: takes alerts only, and demands these. */
  webhook?: WebhookCredentials;
  /** The project that traces are in. */
  projectId?: string | undefined;
}

/** An HTTP function that can be told that its instance is going away. */
export interface Handler {
  handle: HttpFunction;
  /** Gives what is under way a few seconds to finish or to fail cleanly; resolves when all is answered. */
  shutDown(): Promise<void>;
}

const shutDownMs = 7_000;

/** Creates the handler of one function: each request gets one JSON answer, and each error is answered in one place. */
export function createHandler(options: HandlerOptions): Handler {
  const running = new Map<Promise<void>, Deadline>();
  const { clock, config } = options.services;
  let shutDownBy = Number.POSITIVE_INFINITY;
  return {
    async handle(request, response) {
      const deadline = new Deadline(clock, config.actionDeadlineSeconds * 1000);
      if (shutDownBy < Number.POSITIVE_INFINITY) deadline.shorten(Math.max(0, shutDownBy - clock.now()));
      const answering = answer(request, response, deadline, options);
      running.set(answering, deadline);
      await answering.finally(() => running.delete(answering));
    },
    async shutDown() {
      shutDownBy = clock.now() + shutDownMs;
      for (const deadline of running.values()) deadline.shorten(shutDownMs);
      // More may come while these are being answered.
      while (running.size > 0) await Promise.allSettled(running.keys());
    },
  };
}

/** Where a request stands, for the answer and the log. */
interface Exchange {
  id: string;
  log: Log;
  startedAt: number;
  /** Undefined until it is known. */
  type: string | undefined;
  /** Cloud Monitoring may first ask without credentials, to be told that it takes some. */
  isBare: boolean;
  /** A notification, of which nobody reads the answer: all that is to be told goes into the log. */
  isAlert: boolean;
  /** Pub/Sub delivered it, and delivers it again for as long as it is not answered with success. */
  isPushed: boolean;
}

async function answer(
  request: Request,
  response: Response,
  deadline: Deadline,
  options: HandlerOptions,
): Promise<void> {
  // Where both are sent, IAM looks at the first one only, and lets anything through in the other.
  const checked = request.get('x-serverless-authorization') ?? request.get('authorization');
  const caller = readCaller(checked);
  const trace = toTraceFields((name) => request.get(name), options.projectId);
  const exchange: Exchange = {
    id: '',
    log: options.log.with({ ...trace, caller }),
    startedAt: performance.now(),
    type: undefined,
    isBare: request.get('authorization') === undefined,
    isAlert: false,
    isPushed: false,
  };
  setId(exchange, request.path === alertsPath ? randomUUID() : readId(readBodyText(request)));
  try {
    await respond(request, response, deadline, options, exchange);
  } catch (error) {
    if (error instanceof Ignored) sendIgnored(response, error, exchange);
    else sendError(response, toFailoverError(error), error, exchange);
  }
}

const alertsPath = '/alerts';

/** The request's way: route, authorise, parse, carry out. */
async function respond(
  request: Request,
  response: Response,
  deadline: Deadline,
  { services, webhook }: HandlerOptions,
  exchange: Exchange,
): Promise<void> {
  assertRoute(request, webhook ? [alertsPath] : ['/', '/actions', alertsPath]);
  if (webhook) requireBasicCredentials(request.get('authorization'), webhook);

  const take = request.path === alertsPath ? takeAlert : takeAction;
  const { steps, isReplay } = await take(request, deadline, services, exchange);
  const outcome = isReplay ? 'replayed' : 'done';
  const fields = { ...toFinalFields(exchange, 200), outcome, steps };
  exchange.log.info('done', `${exchange.type} ${outcome}`, fields);
  send(response, 200, { id: exchange.id, steps });
}

async function takeAction(
  request: Request,
  deadline: Deadline,
  services: Services,
  exchange: Exchange,
): Promise<Outcome> {
  const action = parseAction(readJsonBody(request), services.config.clusters, exchange.id);
  noteReceived(exchange, action);
  return failover(action, deadline, services, exchange.log);
}

async function takeAlert(
  request: Request,
  deadline: Deadline,
  services: Services,
  exchange: Exchange,
): Promise<Outcome> {
  exchange.isAlert = true;
  const body = readJsonBody(request);
  exchange.isPushed = isPushEnvelope(body);
  const notification = unpackNotification(body);
  if (notification.incidentId !== undefined) setId(exchange, notification.incidentId);
  const alert = toAlert(notification, services.config, services.clock.now());
  noteReceived(exchange, alert.action);
  return actOnAlert(alert, deadline, services, exchange.log);
}

function noteReceived(exchange: Exchange, action: Action): void {
  const { id, type, requestor, reason, dryRun, nodePool, nodeName, jobSetName, cluster } = action;
  setId(exchange, id);
  exchange.type = type;
  const target = { cluster: cluster.fullName, node_pool: nodePool, node_name: nodeName, jobset: jobSetName };
  exchange.log = exchange.log.with({ type, requestor, dry_run: dryRun, ...target });
  exchange.log.info('received', `${type} from ${requestor}: ${reason}`);
}

/** @throws {FailoverError} `target_not_found` for another path, `method_not_allowed` for another method */
function assertRoute(request: Request, paths: string[]): void {
  if (!paths.includes(request.path)) {
    throw new FailoverError(
      'target_not_found',
      `there is nothing at ${request.path.slice(0, 64)}; POST to ${paths.join(' or ')}`,
    );
  }
  if (request.method !== 'POST') {
    throw new FailoverError('method_not_allowed', `${request.method} is not allowed; send a POST`, {
      headers: { Allow: 'POST' },
    });
  }
}

function sendIgnored(response: Response, ignored: Ignored, exchange: Exchange): void {
  const fields = { ...toFinalFields(exchange, 200), outcome: 'ignored', ...describeError(ignored) };
  exchange.log.info('ignored', ignored.message, fields);
  send(response, 200, { id: exchange.id, ignored: ignored.message });
}

function sendError(response: Response, answered: FailoverError, thrown: unknown, exchange: Exchange): void {
  const { code, message, headers } = answered;
  const { isAlert, isPushed, isBare, log, id } = exchange;
  const isChallenge = code === 'unauthorized' && isBare;
  const outcome = isChallenge ? 'ignored' : answered.status < 500 ? 'refused' : 'failed';
  const isAcknowledged = isPushed && isFinal(answered);
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
  send(response, status, { id, error: message, code }, isAcknowledged ? {} : headers);
}

/** Says whether sending the same again cannot help before somebody changes something. */
function isFinal({ status, code }: FailoverError): boolean {
  return status < 500 && code !== 'action_in_progress';
}

function toFinalFields({ startedAt }: Exchange, status: number) {
  return { status, duration_ms: Math.round(performance.now() - startedAt) };
}

function setId(exchange: Exchange, id: string): void {
  exchange.id = id;
  exchange.log = exchange.log.with({ action_id: id, 'logging.googleapis.com/labels': { action_id: id } });
}

function send(response: Response, status: number, body: unknown, headers: Record<string, string> = {}): void {
  response
    .status(status)
    .set(headers)
    .type('application/json')
    .send(`${JSON.stringify(body)}\n`);
}
