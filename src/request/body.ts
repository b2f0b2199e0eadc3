import { channel } from 'node:diagnostics_channel';
import type { IncomingMessage, Server } from 'node:http';
import type { Request } from '@google-cloud/functions-framework';
import { FailoverError } from '../errors.ts';

/** Requests of this function are small; what is larger is none of them. */
const maxBytes = 256 * 1024;

interface SentHeaders {
  contentType: string | undefined;
  contentEncoding: string | undefined;
}

const sentHeaders = new WeakMap<IncomingMessage, SentHeaders>();

/**
 * Has every request's body handed over as the bytes that were sent. functions-framework parses bodies before the
 * function runs, and answers malformed JSON with an HTML page, without the function ever seeing it; so it is told that
 * each body is of a type that it does not parse, and what was sent is remembered for {@link readJsonBody}.
 *
 * Must be called before the server takes requests; calling it again does nothing.
 */
export function keepRawBodies(): void {
  channel('http.server.request.start').unsubscribe(onRequest);
  channel('http.server.request.start').subscribe(onRequest);
}

function onRequest(message: unknown): void {
  const { request, server } = message as { request: IncomingMessage; server: Server };
  if (!isExpress(server)) return;
  const { headers } = request;
  sentHeaders.set(request, {
    contentType: headers['content-type'],
    contentEncoding: headers['content-encoding'],
  });
  headers['content-type'] = 'application/octet-stream';
  // Left in place, an unknown encoding would be answered by the framework too, and a gzip bomb unpacked.
  delete headers['content-encoding'];
  request.url = toDecodable(request.url ?? '/');
}

/** The framework's server is the only one of Express; any other one in this process keeps its headers. */
function isExpress(server: Server): boolean {
  return server.listeners('request').some((listener) => 'mountpath' in listener);
}

/** Express would answer a path that cannot be decoded with an HTML page of its own. */
function toDecodable(url: string): string {
  try {
    decodeURIComponent(url.split('?', 1)[0] ?? '');
    return url;
  } catch {
    return url.replaceAll('%', '%25');
  }
}

/** Reads a body as text, so that its id can be found even where it is no JSON. */
export function readBodyText(request: Request): string {
  const { rawBody, body } = request as { rawBody?: unknown; body?: unknown };
  const bytes = Buffer.isBuffer(rawBody) ? rawBody : Buffer.isBuffer(body) ? body : Buffer.alloc(0);
  return bytes.length > maxBytes ? '' : bytes.toString('utf8').replace(/^\uFEFF/, '');
}

/**
 * Parses a JSON body.
 *
 * @throws {FailoverError} `payload_too_large`, `unsupported_media_type`, or `invalid_action`
 */
export function readJsonBody(request: Request): unknown {
  const { rawBody } = request;
  if (rawBody && rawBody.length > maxBytes) {
    throw new FailoverError(
      'payload_too_large',
      `the body has ${rawBody.length} bytes, at most ${maxBytes} are taken`,
    );
  }
  assertJsonType(
    sentHeaders.get(request) ?? { contentType: request.get('content-type'), contentEncoding: undefined },
  );
  const text = readBodyText(request);
  if (text.trim() === '')
    throw new FailoverError('invalid_action', 'the body is empty; it must be a JSON object');
  const value = parseJson(text);
  assertNothingTwice(text);
  return value;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new FailoverError('invalid_action', 'the body is not JSON', { cause: error });
  }
}

const jsonToken = /"[^"\\]*(?:\\.[^"\\]*)*"(\s*:)?|[{}]/g;

/**
 * Refuses a field that an object has twice: the last one would count, and the `"dry_run": true` that a person reads
 * might not be it.
 *
 * @param json must be valid
 */
function assertNothingTwice(json: string): void {
  const objects: Set<string>[] = [];
  for (const [token, colon] of json.matchAll(jsonToken)) {
    if (token === '{') objects.push(new Set());
    else if (token === '}') objects.pop();
    else if (colon !== undefined) {
      const field = JSON.parse(token.slice(0, -colon.length)) as string;
      const fields = objects.at(-1);
      if (fields?.has(field)) throw duplicateField(field);
      fields?.add(field);
    }
  }
}

function duplicateField(field: string): FailoverError {
  return new FailoverError('invalid_action', `field ${JSON.stringify(field.slice(0, 64))} is given twice`);
}

function assertJsonType({ contentType, contentEncoding }: SentHeaders): void {
  const wanted = 'send it with -H "Content-Type: application/json"';
  if (contentEncoding && contentEncoding.toLowerCase() !== 'identity') {
    throw new FailoverError(
      'unsupported_media_type',
      `Content-Encoding ${contentEncoding.slice(0, 64)} is not supported; send the body plain`,
    );
  }
  if (contentType === undefined)
    throw new FailoverError('unsupported_media_type', `the request has no Content-Type; ${wanted}`);
  if (/^application\/json\s*(;\s*charset="?utf-8"?\s*)?$/i.test(contentType.trim())) return;
  throw new FailoverError(
    'unsupported_media_type',
    `Content-Type ${contentType.slice(0, 64)} is not supported; ${wanted}`,
  );
}
