import { request as requestHttp } from 'node:http';
import type { Agent } from 'node:http';
import { constants } from 'node:http2';
import type { ClientHttp2Session, IncomingHttpHeaders, IncomingHttpStatusHeader } from 'node:http2';
import { request as requestHttps } from 'node:https';
import type { HttpRequest, HttpResponse } from './transport.ts';

/** A request, and what becomes of it. */
export interface Exchange {
  request: HttpRequest;
  url: URL;
  resolve: (response: HttpResponse) => void;
  reject: (error: unknown) => void;
}

/** Starts an exchange; what it returns gives the exchange up. */
export type Start = (exchange: Exchange) => () => void;

/** An open HTTP/2 connection. */
export interface Connection {
  session: ClientHttp2Session;
  inFlight: number;
}

/** Starts an exchange over HTTP/2; what it returns gives it up. */
export function sendHttp2(connection: Connection, { request, url, resolve, reject }: Exchange): () => void {
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

/** The same over HTTP/1.1. */
export function sendHttp1(agent: Agent, { request, url, resolve, reject }: Exchange): () => void {
  const { method, headers, body } = request;
  const open = url.protocol === 'http:' ? requestHttp : requestHttps;
  // Node leaves it out for a DELETE, whose preconditions the server would then not read.
  const length = body === undefined ? {} : { 'Content-Length': String(Buffer.byteLength(body)) };
  const outgoing = open(url, { method, headers: { ...headers, ...length }, agent }, (incoming) => {
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

/** The network's error where Node has none of its own. */
export function connectionLost(): Error {
  return withCode('ECONNRESET', 'the connection was lost before the answer was complete');
}

/** An error that is told by its code, like the network's own. */
export function withCode(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}

function flatten(headers: Record<string, string | string[] | number | undefined>): Record<string, string> {
  const flat: Record<string, string> = {};
  for (const name in headers) if (!name.startsWith(':')) flat[name] = String(headers[name]);
  return flat;
}
