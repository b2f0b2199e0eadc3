import type { HttpFunction, Request, Response } from '@google-cloud/functions-framework';
import { randomUUID } from 'node:crypto';
import { toAlert } from './alert/alert.ts';
import { readAlert } from './alert/log-entry.ts';
import { RecentEntries } from './alert/recent-entries.ts';
import { isForAlerts, isPushEnvelope } from './alert/notification.ts';
import { logReceived, sendAnswered, sendError, sendIgnored, setId } from './answer.ts';
import type { Answered, Exchange } from './answer.ts';
import { Deadline } from './clock.ts';
import type { WebhookCredentials } from './config.ts';
import { FailoverError, toFailoverError } from './errors.ts';
import { actOnAlert } from './failover/act-on-alert.ts';
import { failover } from './failover/failover.ts';
import type { Outcome } from './failover/failover.ts';
import { reconcile } from './reconcile/reconcile.ts';
import { Ignored } from './ignored.ts';
import { toTraceFields } from './log.ts';
import type { Log } from './log.ts';
import { parseAction, readId } from './request/action.ts';
import { readCaller, requireBasicCredentials } from './request/auth.ts';
import { readJsonBody, receiveBody } from './request/body.ts';
import type { Body } from './request/body.ts';
import {
  alertMisdirected,
  alertsPath,
  assertNoQuery,
  assertNotFromPage,
  assertRoute,
  isRead,
  pathOf,
  reconcilePath,
  toLoopbackHost,
  wantsPage,
} from './request/route.ts';
import type { FunctionName } from './request/route.ts';
import type { Page } from './page/layout.ts';
import { createAnswerPage, createAnswerRead, toFailurePage } from './read.ts';
import type { AnswerPage, AnswerRead } from './read.ts';
import { parseRead, parseReadBody, readTypeOf } from './request/reads.ts';
import type { Services } from './services.ts';
import { createReadPictures } from './status/status.ts';
import { takeDecision } from './take-decision.ts';

/** The parts of one of the two functions. */
export interface HandlerOptions {
  services: Services;
  log: Log;
  /** Which function this is; `failover` unless it is said. */
  name?: FunctionName;
  /** Set for the public webhook function only. It takes only alerts, and demands these credentials. */
  webhook?: WebhookCredentials;
  /** The project of the traces that log lines link to. */
  projectId?: string | undefined;
}

/** An HTTP function that can be told that its instance shuts down. */
export interface Handler {
  handle: HttpFunction;
  /** Gives the requests in flight 7 s to finish or to fail cleanly. Resolves once all are answered. */
  shutDown(): Promise<void>;
}

const shutDownMs = 7_000;

/** Creates the handler of one function. Each request gets one JSON answer, and one place answers all errors. */
export function createHandler(options: HandlerOptions): Handler {
  const running = new Map<Promise<void>, Deadline>();
  const readPictures = createReadPictures(options.services);
  const parts: Parts = {
    ...options,
    answerRead: createAnswerRead(options.services, readPictures),
    answerPage: createAnswerPage(options.services, readPictures),
    recentEntries: new RecentEntries(),
  };
  const { clock, config } = options.services;
  let shutDownBy = Number.POSITIVE_INFINITY;
  return {
    async handle(request, response) {
      const deadline = new Deadline(clock, config.actionDeadlineSeconds * 1000);
      if (shutDownBy < Number.POSITIVE_INFINITY) deadline.shorten(Math.max(0, shutDownBy - clock.now()));
      const answering = answer(request, response, deadline, parts);
      running.set(answering, deadline);
      await answering.finally(() => running.delete(answering));
    },
    async shutDown() {
      shutDownBy = clock.now() + shutDownMs;
      for (const deadline of running.values()) deadline.shorten(shutDownMs);
      // More requests may come while these are being answered.
      while (running.size > 0) await Promise.allSettled(running.keys());
    },
  };
}

/** The options, and what the handler makes of them once. */
type Parts = HandlerOptions & {
  answerRead: AnswerRead;
  answerPage: AnswerPage;
  recentEntries: RecentEntries;
};

/** The only place that catches: every request ends in one answer here. */
async function answer(
  request: Request,
  response: Response,
  deadline: Deadline,
  options: Parts,
): Promise<void> {
  const exchange = openExchange(request, response, options);
  try {
    sendAnswered(exchange, await dispatch(exchange, deadline, options));
  } catch (error) {
    if (error instanceof Ignored) sendIgnored(exchange, error);
    else sendError(exchange, toFailoverError(error), error, await toPageOf(error, request, options));
  }
}

/** A browser's error as a page, as far as there is one. */
async function toPageOf(
  error: unknown,
  request: Request,
  { webhook, services }: Parts,
): Promise<Page | undefined> {
  if (webhook || !isRead(request) || !wantsPage(request)) return undefined;
  return toFailurePage(toFailoverError(error), services.clock.now()).catch(() => undefined);
}

function openExchange(request: Request, response: Response, { log, projectId }: HandlerOptions): Exchange {
  // If both headers are sent, IAM checks only the first one, and lets anything through in the other.
  const checked = request.get('x-serverless-authorization') ?? request.get('authorization');
  const caller = readCaller(checked);
  const trace = toTraceFields((name) => request.get(name), projectId);
  const exchange: Exchange = {
    request,
    response,
    startedAt: performance.now(),
    id: randomUUID(),
    caller,
    log: log.with({ ...trace, caller }),
    type: undefined,
    isDryRun: false,
    channel: undefined,
  };
  // The lines of a reconcile are about many actions.
  if (pathOf(request) !== reconcilePath) setId(exchange, exchange.id);
  return exchange;
}

/** Checks the route and the credentials, reads the body, and carries out the action. */
async function dispatch(exchange: Exchange, deadline: Deadline, options: Parts): Promise<Answered> {
  const { request, response } = exchange;
  const { services, webhook } = options;
  if (isRead(request)) {
    exchange.channel = 'read';
    admit(request, options);
    const read = parseRead(pathOf(request), request.url, services.config.clusters);
    if (wantsPage(request)) {
      const [, query = ''] = request.url.split('?');
      const visitor = { host: toLoopbackHost(request), canAct: options.name !== 'failoverStatus' };
      return { page: await options.answerPage(read, query, visitor, deadline) };
    }
    return { shown: await options.answerRead(read, deadline) };
  }
  assertNotFromPage(request);
  // Anybody can reach the webhook, so it reads nothing of a request that it does not let in.
  if (webhook) admit(request, options);
  const body = await receiveBody(request, response, deadline.signal);
  if (pathOf(request) === alertsPath) {
    admit(request, options);
    return takeAlert(exchange, body, deadline, options);
  }
  if (pathOf(request) !== reconcilePath) setId(exchange, readId(body.text));
  admit(request, options);
  if (pathOf(request) === reconcilePath) {
    exchange.channel = 'reconcile';
    assertNoQuery(request);
    return { clusters: await reconcile(deadline, services, exchange.log) };
  }
  return takeAction(exchange, body, deadline, options);
}

/** @throws {FailoverError} `target_not_found`, `method_not_allowed`, or for the webhook `unauthorized` */
function admit(request: Request, { webhook, name = 'failover' }: HandlerOptions): void {
  assertRoute(request, webhook ? 'failoverWebhook' : name);
  if (webhook) requireBasicCredentials(request.get('authorization'), webhook);
}

async function takeAction(
  exchange: Exchange,
  received: Body,
  deadline: Deadline,
  { services, answerRead, name }: Parts,
): Promise<Answered> {
  exchange.channel = 'action';
  assertNoQuery(exchange.request);
  const body = readJsonBody(exchange.request, received);
  if (isForAlerts(body)) {
    // Nobody reads the answer.
    exchange.channel = 'webhook';
    throw alertMisdirected();
  }
  if (readTypeOf(body)) {
    exchange.channel = 'read';
    return { shown: await answerRead(parseReadBody(body, services.config.clusters), deadline) };
  }
  if (name === 'failoverStatus') {
    throw new FailoverError('forbidden', 'this function only shows; send actions to failover');
  }
  const decided = await takeDecision(exchange, body, deadline, services);
  if (decided) return decided;
  const action = parseAction(body, services.config.clusters, exchange.id);
  logReceived(exchange, action);
  const { caller } = exchange;
  return failover({ ...action, caller }, deadline, services, exchange.log);
}

async function takeAlert(
  exchange: Exchange,
  received: Body,
  deadline: Deadline,
  { services, recentEntries }: Parts,
): Promise<Outcome> {
  // Until the body is parsed, a push cannot be told from the webhook, and gets no acknowledgement.
  exchange.channel = 'webhook';
  assertNoQuery(exchange.request);
  const body = readJsonBody(exchange.request, received, 'alert');
  if (isPushEnvelope(body)) exchange.channel = 'push';
  const notification = readAlert(body, services.config.logRules);
  if (notification.incidentId !== undefined) setId(exchange, notification.incidentId);
  recentEntries.admit(notification);
  const alert = toAlert(notification, services.config, services.clock.now());
  logReceived(exchange, alert.action);
  const { caller } = exchange;
  return actOnAlert({ ...alert, action: { ...alert.action, caller } }, deadline, services, exchange.log);
}
