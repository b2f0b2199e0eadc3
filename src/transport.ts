import { Agent as HttpAgent, request as requestHttp } from 'node:http';
import { connect as connectHttp2, constants } from 'node:http2';
import type { ClientHttp2Session, IncomingHttpHeaders, IncomingHttpStatusHeader } from 'node:http2';
import { Agent as HttpsAgent, request as requestHttps } from 'node:https';
import { isIP } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { TLSSocket } from 'node:tls';
import type { Attempt } from './retry.ts';

/** One HTTP request of an attempt. */
export interface HttpRequest extends Attempt {
  method: string;
  url: string;
  headers: Record<string, string>;
  body: string | undefined;
}

/** An HTTP response read to its end; header names are in lower case. */
export interface HttpResponse {
  status: number;
  headers: Record<string, string>;
  body: string;
}

/**
 * Sends a request once. Rejects with the network's error; after `timeoutMs`, with a `TimeoutError`.
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

/**
 * Opens the one connection pool that an invocation uses for a cluster: a few HTTP/2 connections, or HTTP/1.1 where the
 * server speaks nothing else. The Kubernetes client as it comes opens a TLS connection per request as soon as it is given
 * a CA, and a general HTTP library costs more to load than an action takes.
 */
export function createConnectionPool(tls: TlsOptions): { transport: Transport; close: () => Promise<void> } {
  const pools = new Map<string, Pool>();
  return {
    transport(request) {
      const url = new URL(request.url);
      const pool = pools.get(url.origin) ?? new Pool(url, tls);
      pools.set(url.origin, pool);
      return send(pool, url, request);
    },
    async close() {
      for (const pool of pools.values()) pool.destroy();
    },
  };
}

/** A request, and what becomes of it. */
interface Exchange {
  request: HttpRequest;
  url: URL;
  resolve: (response: HttpResponse) => void;
  reject: (error: unknown) => void;
}

/** Starts an exchange; what it returns gives the exchange up. */
type Start = (exchange: Exchange) => () => void;

function send(pool: Pool, url: URL, request: HttpRequest): Promise<HttpResponse> {
  const { promise, resolve, reject } = Promise.withResolvers<HttpResponse>();
  const { timeoutMs, signal } = request;
  let isOver = false;
  let giveUp: (() => void) | undefined;
  const finish = () => {
    isOver = true;
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  };
  const exchange: Exchange = {
    request,
    url,
    resolve(response) {
      finish();
      resolve(response);
    },
    reject(error) {
      finish();
      reject(error);
    },
  };
  const stop = (why: string) => {
    exchange.reject(new TimeoutError(why));
    giveUp?.();
  };
  const onAbort = () => stop('the instance is shutting down');
  const timer = setTimeout(() => stop(`no answer in ${timeoutMs} ms`), timeoutMs);
  signal.addEventListener('abort', onAbort);
  if (signal.aborted) onAbort();
  const start = async () => {
    // Most often a connection is open, and thousands of patches add up.
    const startOn = pool.acquire() ?? (await pool.open());
    if (!isOver) giveUp = startOn(exchange);
  };
  start().catch(exchange.reject);
  return promise;
}

/** More streams than this on one connection wait for each other; more connections are more TLS handshakes. */
const streamsPerConnection = 32;
const maxConnections = 4;
const connectTimeoutMs = 5_000;
/** A page of nodes is megabytes, and by default the server stops for an acknowledgement every 64 KB. */
const windowBytes = 4 * 1024 * 1024;

interface Connection {
  session: ClientHttp2Session;
  inFlight: number;
}

/** The connections to one server. */
class Pool {
  readonly #server: URL;
  readonly #tls: TlsOptions;
  readonly #sockets = new Set<TLSSocket>();
  #connections: Connection[] = [];
  #opening: Promise<void> | undefined;
  /** For a server that speaks HTTP/1.1 only. */
  #agent: HttpAgent | undefined;
  #isDestroyed = false;

  constructor(server: URL, tls: TlsOptions) {
    this.#server = server;
    this.#tls = tls;
    if (server.protocol === 'http:') this.#agent = new HttpAgent(agentOptions);
  }

  /** Gives what sends a request over the least busy connection, if there is any; once all are busy, another is opened. */
  acquire(): Start | undefined {
    if (this.#isDestroyed) throw new Error('the connection pool is closed');
    const agent = this.#agent;
    if (agent) return (exchange) => sendHttp1(agent, exchange);
    const connection = this.#leastBusy();
    if (!connection) return undefined;
    if (connection.inFlight >= streamsPerConnection && this.#connections.length < maxConnections) {
      // Until it is there the busy ones do; if it fails, they do too.
      this.#openOne().catch(() => undefined);
    }
    return (exchange) => sendHttp2(connection, exchange);
  }

  /** Opens the first connection. */
  async open(): Promise<Start> {
    await this.#openOne();
    const start = this.acquire();
    if (start) return start;
    throw connectionLost();
  }

  #openOne(): Promise<void> {
    return (this.#opening ??= this.#connect()
      .then((socket) => this.#use(socket))
      .finally(() => (this.#opening = undefined)));
  }

  destroy(): void {
    this.#isDestroyed = true;
    for (const { session } of this.#connections) session.destroy();
    for (const socket of this.#sockets) socket.destroy();
    this.#agent?.destroy();
  }

  #leastBusy(): Connection | undefined {
    this.#connections = this.#connections.filter(({ session }) => !session.closed && !session.destroyed);
    return this.#connections.reduce<Connection | undefined>(
      (best, each) => (best && best.inFlight <= each.inFlight ? best : each),
      undefined,
    );
  }

  #use(socket: TLSSocket): void {
    if (socket.alpnProtocol !== 'h2') {
      socket.destroy();
      this.#agent = new HttpsAgent({ ...agentOptions, ...definedOnly(this.#tls) });
      return;
    }
    const session = connectHttp2(this.#server.origin, {
      createConnection: () => socket,
      settings: { enablePush: false, initialWindowSize: windowBytes },
    });
    session.setLocalWindowSize(windowBytes);
    // Each of its streams is told too.
    session.on('error', () => undefined);
    this.#connections.push({ session, inFlight: 0 });
  }

  #connect(): Promise<TLSSocket> {
    const { promise, resolve, reject } = Promise.withResolvers<TLSSocket>();
    const host = this.#server.hostname.replace(/^\[(.*)\]$/, '$1');
    const socket = connectTls({
      host,
      port: Number(this.#server.port || 443),
      ...(isIP(host) ? {} : { servername: host }),
      ALPNProtocols: ['h2', 'http/1.1'],
      ...definedOnly(this.#tls),
    });
    this.#sockets.add(socket);
    socket.setTimeout(connectTimeoutMs, () =>
      socket.destroy(withCode('ETIMEDOUT', `no connection in ${connectTimeoutMs} ms`)),
    );
    socket.once('secureConnect', () => {
      socket.setTimeout(0);
      resolve(socket);
    });
    socket.on('error', reject);
    socket.once('close', () => {
      this.#sockets.delete(socket);
      reject(connectionLost());
    });
    return promise;
  }
}

/** One request at a time on each. */
const agentOptions = { keepAlive: true, maxSockets: 32 };

function sendHttp2(connection: Connection, { request, url, resolve, reject }: Exchange): () => void {
  const { method, headers, body } = request;
  const { session } = connection;
  const stream = session.request(
    { ':method': method, ':path': url.pathname + url.search, ...headers },
    { endStream: body === undefined },
  );
  connection.inFlight++;
  let received: IncomingHttpHeaders & IncomingHttpStatusHeader = {};
  let text = '';
  stream.setEncoding('utf8');
  stream.on('response', (responseHeaders) => (received = responseHeaders));
  stream.on('data', (chunk: string) => (text += chunk));
  stream.on('error', reject);
  stream.on('close', () => {
    connection.inFlight--;
    const { ':status': status, 'content-length': length } = received;
    // A reset that names no error ends the body too, wherever it was.
    const isCut =
      stream.aborted || stream.rstCode !== 0 || (length && Number(length) !== Buffer.byteLength(text));
    if (status === undefined || isCut) reject(connectionLost());
    else resolve({ status, headers: flatten(received), body: text });
  });
  stream.end(body);
  return () => {
    stream.close(constants.NGHTTP2_CANCEL);
    // It may be dead without saying so: the next attempt gets another one.
    session.close();
  };
}

function sendHttp1(agent: HttpAgent, { request, url, resolve, reject }: Exchange): () => void {
  const { method, headers, body } = request;
  const open = url.protocol === 'http:' ? requestHttp : requestHttps;
  const outgoing = open(url, { method, headers, agent }, (incoming) => {
    let text = '';
    incoming.setEncoding('utf8');
    incoming.on('data', (chunk: string) => (text += chunk));
    incoming.on('error', reject);
    incoming.on('close', () => {
      if (!incoming.complete) reject(connectionLost());
      else resolve({ status: incoming.statusCode ?? 0, headers: flatten(incoming.headers), body: text });
    });
  });
  outgoing.on('error', reject);
  outgoing.end(body);
  return () => outgoing.destroy();
}

function connectionLost(): Error {
  return withCode('ECONNRESET', 'the connection was lost before the answer was complete');
}

function withCode(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}

function flatten(headers: Record<string, string | string[] | number | undefined>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers)
      .filter(([name]) => !name.startsWith(':'))
      .map(([name, value]) => [name, String(value)]),
  );
}

function definedOnly(tls: TlsOptions): { ca?: string; cert?: string; key?: string } {
  return Object.fromEntries(Object.entries(tls).filter(([, value]) => value !== undefined));
}
