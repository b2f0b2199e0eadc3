import { Agent } from 'undici';
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
 * Opens the one connection pool that an invocation uses for a cluster. The Kubernetes client as it comes opens a TLS
 * connection per request as soon as it is given a CA.
 */
export function createConnectionPool(tls: TlsOptions): { transport: Transport; close: () => Promise<void> } {
  const agent = new Agent({
    connections: 4,
    allowH2: true,
    pipelining: 100,
    connect: { timeout: 5_000, ...definedOnly(tls) },
  });
  return {
    transport: (request) => send(agent, request),
    close: () => agent.destroy(),
  };
}

async function send(agent: Agent, request: HttpRequest): Promise<HttpResponse> {
  const controller = new AbortController();
  const stop = () => controller.abort(new TimeoutError('the instance is shutting down'));
  const timer = setTimeout(
    () => controller.abort(new TimeoutError(`no answer in ${request.timeoutMs} ms`)),
    request.timeoutMs,
  );
  request.signal.addEventListener('abort', stop, { once: true });
  try {
    const { statusCode, headers, body } = await agent.request({
      origin: new URL(request.url).origin,
      path: request.url.slice(new URL(request.url).origin.length),
      method: request.method,
      headers: request.headers,
      body: request.body ?? null,
      signal: controller.signal,
    });
    return { status: statusCode, headers: flatten(headers), body: await body.text() };
  } finally {
    clearTimeout(timer);
    request.signal.removeEventListener('abort', stop);
  }
}

function flatten(headers: Record<string, string | string[] | undefined>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]));
}

function definedOnly(tls: TlsOptions): { ca?: string; cert?: string; key?: string } {
  return Object.fromEntries(Object.entries(tls).filter(([, value]) => value !== undefined));
}
