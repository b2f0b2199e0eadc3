import type { HttpFunction, Request, Response } from '@google-cloud/functions-framework';
import { parseAction, readId } from './action.ts';
import { readCaller, requireBasicCredentials } from './auth.ts';
import { readBodyText, readJsonBody } from './body.ts';
import { Deadline } from './clock.ts';
import type { WebhookCredentials } from './config.ts';
import { FailoverError, toFailoverError } from './errors.ts';
import { failover } from './failover.ts';
import { describeError, toTraceFields } from './log.ts';
import type { Log } from './log.ts';
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
  let isShuttingDown = false;
  return {
    async handle(request, response) {
      const { clock, config } = options.services;
      const deadline = new Deadline(clock, config.actionDeadlineSeconds * 1000);
      if (isShuttingDown) deadline.shorten(shutDownMs);
      const answering = answer(request, response, deadline, options);
      running.set(answering, deadline);
      await answering.finally(() => running.delete(answering));
    },
    async shutDown() {
      isShuttingDown = true;
      for (const deadline of running.values()) deadline.shorten(shutDownMs);
      await Promise.allSettled(running.keys());
    },
  };
}

/** Where a request stands, for the answer and the log. */
interface Exchange {
  id: string;
  log: Log;
  startedAt: number;
}

async function answer(
  request: Request,
  response: Response,
  deadline: Deadline,
  options: HandlerOptions,
): Promise<void> {
  const caller = readCaller(request.get('authorization'));
  const trace = toTraceFields((name) => request.get(name), options.projectId);
  const exchange: Exchange = {
    id: '',
    log: options.log.with({ ...trace, caller }),
    startedAt: performance.now(),
  };
  setId(exchange, readId(readBodyText(request)));
  try {
    await respond(request, response, deadline, options, exchange);
  } catch (error) {
    sendError(response, toFailoverError(error), error, exchange);
  }
}

/** The request's way: route, authorise, parse, carry out. */
async function respond(
  request: Request,
  response: Response,
  deadline: Deadline,
  { services, webhook }: HandlerOptions,
  exchange: Exchange,
): Promise<void> {
  assertRoute(request, webhook ? ['/alerts'] : ['/', '/actions']);
  if (webhook) requireBasicCredentials(request.get('authorization'), webhook);

  const action = parseAction(readJsonBody(request), services.config.clusters, exchange.id);
  setId(exchange, action.id);
  const { id, type, requestor, dryRun, nodePool, nodeName, jobSetName, cluster } = action;
  exchange.log = exchange.log.with({
    type,
    requestor,
    dry_run: dryRun,
    cluster: cluster.fullName,
    jobset: jobSetName,
  });
  exchange.log.info('received', `${type} from ${requestor}: ${action.reason}`, {
    node_pool: nodePool,
    node_name: nodeName,
  });

  const { steps, isReplay } = await failover(action, deadline, services, exchange.log);
  const outcome = isReplay ? 'replayed' : 'done';
  exchange.log.info('done', `${type} ${outcome}`, { ...toFinalFields(exchange, 200), outcome, steps });
  send(response, 200, { id, steps });
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

function sendError(response: Response, answered: FailoverError, thrown: unknown, exchange: Exchange): void {
  const { status, code, message, headers } = answered;
  const outcome = status < 500 ? 'refused' : 'failed';
  const fields = { ...toFinalFields(exchange, status), outcome, code, ...describeError(answered) };
  if (code === 'internal') {
    exchange.log.error(outcome, 'internal error', {
      ...fields,
      stack: thrown instanceof Error ? thrown.stack : String(thrown),
    });
  } else if (status >= 500) {
    exchange.log.error(outcome, message, fields);
  } else {
    exchange.log.warn(outcome, message, fields);
  }
  send(response, status, { id: exchange.id, error: message, code }, headers);
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
