import { Agent, buildConnector } from 'undici';
import type { Dispatcher } from 'undici';

/** One HTTP request of an attempt. */
export interface HttpRequest {
  method: string;
  url: string;
  headers: Record<string, string>;
  body: string | undefined;
  timeoutMs: number;
}

/** An HTTP response read to its end; header names are in lower case. */
export interface HttpResponse {
  status: number;
  headers: Record<string, string>;
  body: string;
}

/**
 * Sends a request once. Rejects with the network's error; after `timeoutMs`, or when the instance shuts down, with a
 * `TimeoutError`.
 */
export type Transport = (request: HttpRequest) => Promise<HttpResponse>;

/** What a connection pool trusts and presents. */
export interface TlsOptions {
  /** PEM; undefined trusts the system's roots. */
  ca?: string | undefined;
  cert?: string | undefined;
  key?: string | undefined;
}

/** The request took longer than it may. */
export class TimeoutError extends Error {
  override readonly name = 'TimeoutError';
}

/** The connections of one invocation. */
export interface ConnectionPool {
  transport: Transport;
  /** Opens the first connection to a server, and says whether that worked, within 5 s. */
  canConnect(server: string): Promise<boolean>;
  close(): void;
}

const connectTimeoutMs = 5_000;
/** Over HTTP/2 one of them carries a hundred requests at a time, over HTTP/1.1 one. */
const maxConnections = 32;
/** A page of nodes is megabytes, and by default the server stops for an acknowledgement every 256 KB. */
const windowBytes = 4 * 1024 * 1024;

/**
 * Opens the one connection pool that an invocation uses for a cluster. The Kubernetes client as it comes opens a TLS
 * connection per request as soon as it is given a CA.
 *
 * @param shutDown stops what is under way, and lets nothing be sent any more
 * @param onFailure is called for each request that gets no answer
 */
export function createConnectionPool(
  tls: TlsOptions,
  shutDown: AbortSignal,
  onFailure: () => void = () => undefined,
): ConnectionPool {
  const connector = createConnector(tls);
  const agents: Agent[] = [];
  let current = openAgent();
  const underWay = new Set<PendingRequest>();
  // One listener for all: to add one for each request takes longer than to send it.
  shutDown.addEventListener('abort', stopAll);
  return {
    transport(request) {
      const { promise, resolve, reject } = Promise.withResolvers<HttpResponse>();
      const { method, headers, body = null, timeoutMs } = request;
      const { origin, pathname, search } = new URL(request.url);
      const agent = current;
      const exchange = createPendingRequest(timeoutMs, {
        resolve(response) {
          underWay.delete(exchange);
          resolve(response);
        },
        reject(error) {
          underWay.delete(exchange);
          if (error instanceof TimeoutError) abandon(agent);
          onFailure();
          reject(error);
        },
      });
      underWay.add(exchange);
      if (shutDown.aborted) stopAll();
      else agent.dispatch({ origin, path: pathname + search, method, headers, body }, exchange.handler);
      return promise;
    },
    canConnect: (server) => connector.open(new URL(server)),
    close() {
      shutDown.removeEventListener('abort', stopAll);
      connector.close();
      for (const agent of agents) void agent.destroy();
    },
  };

  function openAgent(): Agent {
    const agent = new Agent({
      connect: connector.connect,
      connections: maxConnections,
      h2Options: { settings: { initialWindowSize: windowBytes }, connectionWindowSize: windowBytes },
      // Each request has a time-out of its own.
      headersTimeout: 0,
      bodyTimeout: 0,
    });
    agents.push(agent);
    return agent;
  }

  /** A connection may be dead without saying so: what is under way there may end, what comes next gets another one. */
  function abandon(agent: Agent): void {
    if (agent === current) current = openAgent();
  }

  function stopAll(): void {
    for (const exchange of underWay) exchange.stop('the instance is shutting down');
  }
}

/** A request under way. */
interface PendingRequest {
  handler: Dispatcher.DispatchHandler;
  /** Gives it up. */
  stop(why: string): void;
}

function createPendingRequest(
  timeoutMs: number,
  { resolve, reject }: { resolve: (response: HttpResponse) => void; reject: (error: Error) => void },
): PendingRequest {
  const chunks: Buffer[] = [];
  let controller: Dispatcher.DispatchController | undefined;
  let givenUp: TimeoutError | undefined;
  let status = 0;
  let headers: Record<string, string> = {};
  const stop = (why: string) => {
    clearTimeout(timer);
    givenUp = new TimeoutError(why);
    controller?.abort(givenUp);
    reject(givenUp);
  };
  const timer = setTimeout(() => stop(`no answer in ${timeoutMs} ms`), timeoutMs);
  const handler: Dispatcher.DispatchHandler = {
    onRequestStart(started) {
      controller = started;
      // It waited for a connection until it was given up: it must not be sent after that.
      if (givenUp) started.abort(givenUp);
    },
    onResponseStart(_, statusCode, received) {
      status = statusCode;
      headers = flatten(received);
    },
    onResponseData(_, chunk) {
      chunks.push(chunk);
    },
    onResponseEnd() {
      clearTimeout(timer);
      resolve({ status, headers, body: Buffer.concat(chunks).toString() });
    },
    onResponseError(_, error) {
      clearTimeout(timer);
      if (!givenUp) reject(error);
    },
  };
  return { handler, stop };
}

function flatten(headers: Record<string, string | string[] | undefined>): Record<string, string> {
  const flat: Record<string, string> = {};
  for (const name in headers) flat[name] = String(headers[name]);
  return flat;
}

type Connect = buildConnector.connector;

/** Connects with TLS as it is told; a connection can be opened before there is a request to send over it. */
function createConnector(tls: TlsOptions) {
  const given = Object.fromEntries(Object.entries(tls).filter(([, value]) => value !== undefined));
  const connectAnew = buildConnector({ ...given, timeout: connectTimeoutMs });
  let opened: Parameters<Parameters<Connect>[1]>[1] = null;
  const take = () => {
    const socket = opened;
    opened = null;
    return socket;
  };
  const connect: Connect = (options, callback) => {
    const socket = take();
    if (socket && !socket.destroyed) callback(null, socket);
    else connectAnew(options, callback);
  };
  return {
    connect,
    open({ protocol, host, hostname, port }: URL): Promise<boolean> {
      const address = hostname.replace(/^\[(.*)\]$/, '$1');
      return new Promise((resolve) => {
        connectAnew({ protocol, host, hostname: address, port }, (error, socket) => {
          opened = socket;
          resolve(error === null);
        });
      });
    },
    close: () => take()?.destroy(),
  };
}
