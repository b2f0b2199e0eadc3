import { Agent as HttpAgent } from 'node:http';
import { connect as connectHttp2 } from 'node:http2';
import { Agent as HttpsAgent } from 'node:https';
import { isIP } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { TLSSocket } from 'node:tls';
import { connectionLost, sendHttp1, sendHttp2, withCode } from './exchange.ts';
import type { Connection, Exchange, Start } from './exchange.ts';
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
export function createConnectionPool(tls: TlsOptions): ConnectionPool {
  const pools = new Map<string, Pool>();
  const poolOf = (url: URL) => {
    const pool = pools.get(url.origin) ?? new Pool(url, tls);
    pools.set(url.origin, pool);
    return pool;
  };
  return {
    transport(request) {
      const url = new URL(request.url);
      return send(poolOf(url), url, request);
    },
    canConnect: (server) =>
      poolOf(new URL(server))
        .open()
        .then(
          () => true,
          () => false,
        ),
    async close() {
      for (const pool of pools.values()) pool.destroy();
    },
  };
}

/** The connections of one invocation. */
export interface ConnectionPool {
  transport: Transport;
  /** Opens the first connection to a server, and says whether that worked, within 5 s. */
  canConnect(server: string): Promise<boolean>;
  close(): Promise<void>;
}

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
    if (!this.#agent) await this.#openOne();
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

function definedOnly(tls: TlsOptions): { ca?: string; cert?: string; key?: string } {
  return Object.fromEntries(Object.entries(tls).filter(([, value]) => value !== undefined));
}
