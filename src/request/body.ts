import { channel } from 'node:diagnostics_channel';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Request, Response } from '@google-cloud/functions-framework';
import { FailoverError, invalidAction } from '../errors.ts';
import { parseJsonText } from './json-text.ts';

/** Real requests are a few kB; refuse anything above this. */
const maxBytes = 256 * 1024;
/** How long a body may take to arrive. */
const arrivalMs = 10_000;
/** How long the rest of a body may go on arriving, unread, after the answer. Then its connection is closed. */
const lingerMs = 1_000;

/** What a request says about its body in headers that are hidden from functions-framework. */
interface Announced {
  /** Undefined for a body in chunks, whose length shows when it ends. */
  length: number | undefined;
  isChunked: boolean;
  /** True if the client waits for `100 Continue` before it sends the body. */
  isHeldBack: boolean;
}

const announced = new WeakMap<IncomingMessage, Announced>();

/**
 * Makes functions-framework leave each body unread, so that the function reads it itself, after it has looked at the
 * headers (docs/decisions/0004). Otherwise the framework reads whole bodies, of up to 1 GB, before the function runs, and
 * answers malformed JSON with an HTML page. This hook removes the headers by which the framework sees that there is a
 * body, and remembers them for {@link receiveBody}.
 *
 * Call it before the server takes requests. To call it again does nothing.
 */
export function keepRawBodies(): void {
  channel('http.server.request.start').unsubscribe(onRequest);
  channel('http.server.request.start').subscribe(onRequest);
}

function onRequest(message: unknown): void {
  const { request, response, server } = message as {
    request: IncomingMessage;
    response: ServerResponse;
    server: Server;
  };
  if (!isExpress(server)) return;
  const { headers } = request;
  const length = headers['content-length'] === undefined ? undefined : Number(headers['content-length']);
  const isChunked = headers['transfer-encoding'] !== undefined;
  const isHeldBack = headers.expect?.toLowerCase() === '100-continue';
  announced.set(request, { length, isChunked, isHeldBack });
  // Until the whole body has come, the client must not send another request behind it.
  if (isChunked || (length ?? 0) > maxBytes) response.setHeader('Connection', 'close');
  delete headers['content-length'];
  delete headers['transfer-encoding'];
  // With this header, Node would ask for the body at once.
  if (isHeldBack) delete headers.expect;
  request.url = toDecodable(request.url ?? '/');
  response.once('finish', () => endConnection(request));
}

/**
 * After the answer, lets a small rest of the body arrive, reads no more than that, and closes the connection if the body
 * has not ended soon. Not at once: what arrives at a closed connection makes the client's system discard the answer.
 */
function endConnection(request: IncomingMessage): void {
  if (request.complete) return;
  const { socket } = request;
  // Node closes both directions of a connection that serves no other request.
  socket.destroySoon = () => void socket.end();
  // Node reads and discards the whole body of a request that nobody has read from.
  request.read();
  let left = maxBytes;
  request.on('data', (chunk: Buffer) => {
    left -= chunk.length;
    if (left < 0) request.pause();
  });
  setTimeout(() => {
    if (!request.complete) socket.destroy();
  }, lingerMs).unref();
}

/** Recognizes the framework's server, the only Express server. Any other server in this process keeps its headers. */
function isExpress(server: Server): boolean {
  return server.listeners('request').some((listener) => 'mountpath' in listener);
}

/** Escapes a path that cannot be decoded. Express would answer it with an HTML page. */
function toDecodable(url: string): string {
  try {
    decodeURIComponent(url.split('?', 1)[0] ?? '');
    return url;
  } catch {
    return url.replaceAll('%', '%25');
  }
}

/** A body as far as the function has read it. */
export interface Body {
  /** Empty if the body was not read to its end. */
  text: string;
  /** Why it was not. {@link readJsonBody} throws it. */
  refusal: FailoverError | undefined;
}

/**
 * Reads a body, unless it is too large. A body that a header announces as too large is not read at all, and of one in
 * chunks no more than the limit is kept. Never rejects, so that what arrived can be searched for an id.
 *
 * @param signal stops the wait when the instance shuts down
 * @param waitMs how long the body may take to arrive
 */
export async function receiveBody(
  request: Request,
  response: Response,
  signal: AbortSignal,
  waitMs = arrivalMs,
): Promise<Body> {
  const { rawBody } = request;
  if (Buffer.isBuffer(rawBody)) return rawBody.length > maxBytes ? tooLarge(rawBody.length) : toBody(rawBody);
  const {
    length = 0,
    isChunked,
    isHeldBack,
  } = announced.get(request) ?? { isChunked: false, isHeldBack: false };
  if (length > maxBytes) return tooLarge(length);
  if (length === 0 && !isChunked) return toBody(Buffer.alloc(0));
  if (isHeldBack) response.writeContinue();
  const body = await collect(request, signal, waitMs);
  if (!body.refusal) response.removeHeader('Connection');
  return body;
}

function collect(request: IncomingMessage, signal: AbortSignal, waitMs: number): Promise<Body> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    const onData = (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > maxBytes) finish(tooLarge(undefined));
      else chunks.push(chunk);
    };
    const onEnd = () => finish(toBody(Buffer.concat(chunks)));
    const onClose = () =>
      finish(refuse(invalidAction('the connection broke before the whole body had come')));
    const onLate = () => finish(refuse(tooSlow()));
    const timer = setTimeout(onLate, waitMs);
    const finish = (body: Body) => {
      clearTimeout(timer);
      request.off('data', onData).off('end', onEnd).off('close', onClose);
      signal.removeEventListener('abort', onLate);
      request.pause();
      resolve(body);
    };
    request.on('data', onData).on('end', onEnd).on('close', onClose);
    signal.addEventListener('abort', onLate);
    if (signal.aborted) onLate();
  });
}

function toBody(bytes: Buffer): Body {
  return { text: bytes.toString('utf8').replace(/^\uFEFF/, ''), refusal: undefined };
}

function refuse(refusal: FailoverError): Body {
  return { text: '', refusal };
}

function tooLarge(bytes: number | undefined): Body {
  const size = bytes === undefined ? 'too large' : `${bytes} bytes`;
  return refuse(new FailoverError('payload_too_large', `the body is ${size}; the limit is ${maxBytes}`));
}

function tooSlow(): FailoverError {
  return new FailoverError(
    'upstream_timeout',
    'the body did not arrive in time, so nothing was done; send it again',
  );
}

/**
 * Parses a JSON body. A field that an object has twice is refused.
 *
 * @param kind an alert may also come without a Content-Type, and as a CloudEvent
 * @throws {FailoverError} `payload_too_large`, `unsupported_media_type`, `invalid_action`, or `upstream_timeout`
 */
export function readJsonBody(
  request: Request,
  { text, refusal }: Body,
  kind: 'action' | 'alert' = 'action',
): unknown {
  if (refusal?.code === 'payload_too_large') throw refusal;
  assertPlain(request.get('content-encoding'));
  assertJsonType(request.get('content-type'), kind);
  if (refusal) throw refusal;
  return parseJsonText(text);
}

function assertPlain(contentEncoding: string | undefined): void {
  if (!contentEncoding || contentEncoding.toLowerCase() === 'identity') return;
  throw new FailoverError(
    'unsupported_media_type',
    `Content-Encoding ${contentEncoding.slice(0, 64)} is not supported; send the body plain`,
  );
}

const jsonType = /^application\/json\s*(;\s*charset="?utf-8"?\s*)?$/i;
const eventType = /^application\/cloudevents\+json\s*(;\s*charset="?utf-8"?\s*)?$/i;

function assertJsonType(contentType: string | undefined, kind: 'action' | 'alert'): void {
  const wanted = 'send it with -H "Content-Type: application/json"';
  if (contentType === undefined) {
    if (kind === 'alert') return;
    throw new FailoverError('unsupported_media_type', `the request has no Content-Type; ${wanted}`);
  }
  const type = contentType.trim();
  if (jsonType.test(type) || (kind === 'alert' && eventType.test(type))) return;
  throw new FailoverError(
    'unsupported_media_type',
    `Content-Type ${contentType.slice(0, 64)} is not supported; ${wanted}`,
  );
}
