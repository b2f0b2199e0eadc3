import { Agent, buildConnector } from 'undici';
import type { Dispatcher } from 'undici';

/** One HTTP request: one try of a call. */
export interface HttpRequest {
  method: string;
  url: string;
  headers: Record<string, string>;
  body: string | undefined;
  timeoutMs: number;
}

/** An HTTP response with its whole body. The names of headers are in lower case. */
export interface HttpResponse {
  status: number;
  headers: Record<string, string>;
  body: string;
}

/**
 * Sends a request once. Rejects with the network's error, or with a {@link TimeoutError} after `timeoutMs` and when the
 * instance shuts down.
 */
export type Transport = (request: HttpRequest) => Promise<HttpResponse>;

/** The certificates of a connection pool, in PEM. */
export interface TlsOptions {
  /** Undefined means the system's root certificates. */
  ca?: string | undefined;
  /** The client certificate, with its key. */
  cert?: string | undefined;
  key?: string | undefined;
  /** The name that the server's certificate must have. Undefined means the host of its address. */
  servername?: string | undefined;
}

/** The address of an API server, and the credentials for both sides. */
export interface ClusterEndpoint {
  /** `https://HOST[:PORT]` */
  server: string;
  tls: TlsOptions;
  /** The bearer token; undefined if `tls` has a client certificate. */
  token: BearerToken | undefined;
  isAutopilot: boolean;
}

/** A token, or what returns the current one at once: nothing slow may come between the gate and a write. */
export type BearerToken = string | (() => string);

/** The request took longer than it may, or the instance is shutting down. */
export class TimeoutError extends Error {
  override readonly name = 'TimeoutError';
}

/** The connections of one invocation. */
export interface ConnectionPool {
  transport: Transport;
  /** Opens the first connection to a server. Resolves within 5 s, to true if that worked. */
  canConnect(server: string): Promise<boolean>;
  close(): void;
}

const connectTimeoutMs = 5_000;
/** A connection carries a hundred requests at a time over HTTP/2, and one over HTTP/1.1. */
const maxConnections = 32;
/** A page of nodes has megabytes. With the default window, the server waits for an acknowledgement every 256 KB. */
const windowBytes = 4 * 1024 * 1024;

/**
 * Creates the one connection pool that an invocation uses for a cluster. Without it, the Kubernetes client opens a TLS
 * connection for each request once it has a CA.
 *
 * @param shutDown when it aborts, all requests in flight are stopped, and no further one is sent
 * @param onFailure called for each request that gets no answer
 */
export function createConnectionPool(
  tls: TlsOptions,
  shutDown: AbortSignal,
  onFailure: () => void = () => undefined,
): ConnectionPool {
  const connector = createConnector(tls);
  const agents: Agent[] = [];
  let current = openAgent();
  const inFlight = new Set<PendingRequest>();
  // One listener for all requests, because adding one for each takes longer than sending the request.
  shutDown.addEventListener('abort', stopAll);
  return {
    transport(request) {
      const { promise, resolve, reject } = Promise.withResolvers<HttpResponse>();
      const { method, headers, body = null, timeoutMs } = request;
      const { origin, path } = splitUrl(request.url);
      const agent = current;
      const pending = createPendingRequest(timeoutMs, {
        resolve(response) {
          inFlight.delete(pending);
          resolve(response);
        },
        reject(error) {
          inFlight.delete(pending);
          if (error instanceof TimeoutError) abandon(agent);
          onFailure();
          reject(error);
        },
      });
      inFlight.add(pending);
      if (shutDown.aborted) stopAll();
      else agent.dispatch({ origin, path, method, headers, body }, pending.handler);
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
      // No time-outs here: each request has its own.
      headersTimeout: 0,
      bodyTimeout: 0,
    });
    agents.push(agent);
    return agent;
  }

  /**
   * After a time-out, a connection may be dead without a sign of it. Requests in flight on it may still end; new ones use
   * new connections.
   */
  function abandon(agent: Agent): void {
    if (agent === current) current = openAgent();
  }

  function stopAll(): void {
    for (const pending of inFlight) pending.stop('the instance is shutting down');
  }
}

/** A request in flight. */
interface PendingRequest {
  handler: Dispatcher.DispatchHandler;
  /** Aborts the request and rejects it with a {@link TimeoutError}. */
  stop(why: string): void;
}

function createPendingRequest(
  timeoutMs: number,
  { resolve, reject }: { resolve: (response: HttpResponse) => void; reject: (error: Error) => void },
): PendingRequest {
  const chunks: Buffer[] = [];
  let controller: Dispatcher.DispatchController | undefined;
  let stopped: TimeoutError | undefined;
  let status = 0;
  let headers: Record<string, string> = {};
  const stop = (why: string) => {
    clearTimeout(timer);
    stopped = new TimeoutError(why);
    controller?.abort(stopped);
    reject(stopped);
  };
  const timer = setTimeout(() => stop(`no answer in ${timeoutMs} ms`), timeoutMs);
  const handler: Dispatcher.DispatchHandler = {
    onRequestStart(started) {
      controller = started;
      // The request was stopped while it waited for a connection. It must not be sent any more.
      if (stopped) started.abort(stopped);
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
      const [whole = empty, ...more] = chunks;
      resolve({
        status,
        headers,
        body: (more.length === 0 ? whole : Buffer.concat(chunks)).toString(),
      });
    },
    onResponseError(_, error) {
      clearTimeout(timer);
      if (!stopped) reject(error);
    },
  };
  return { handler, stop };
}

const empty = Buffer.alloc(0);

/** The origin of an absolute URL, and what follows it. A large cordon sends thousands, and `new URL` parses and checks each. */
function splitUrl(url: string): { origin: string; path: string } {
  const slash = url.indexOf('/', url.indexOf('//') + 2);
  return slash === -1 ? { origin: url, path: '/' } : { origin: url.slice(0, slash), path: url.slice(slash) };
}

/** Joins the values of headers that occur several times. */
function flatten(headers: Record<string, string | string[] | undefined>): Record<string, string> {
  const flat: Record<string, string> = {};
  for (const name in headers) flat[name] = String(headers[name]);
  return flat;
}

type Connector = buildConnector.connector;

/**
 * Creates undici's connector with these certificates. `open` opens a connection before there is a request; the first
 * request then uses it.
 */
function createConnector(tls: TlsOptions) {
  const given = Object.fromEntries(Object.entries(tls).filter(([, value]) => value !== undefined));
  const connectAnew = buildConnector({ ...given, timeout: connectTimeoutMs });
  let opened: Parameters<Parameters<Connector>[1]>[1] = null;
  const take = () => {
    const socket = opened;
    opened = null;
    return socket;
  };
  const connect: Connector = (options, callback) => {
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
