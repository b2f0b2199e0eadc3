import { channel } from 'node:diagnostics_channel';
import type { IncomingMessage, Server } from 'node:http';
import type { Request } from '@google-cloud/functions-framework';
import { FailoverError, invalidAction } from '../errors.ts';

/** Real requests are a few kB; refuse anything above this. */
const maxBytes = 256 * 1024;

/** The headers as the client sent them, before they were replaced. */
interface SentHeaders {
  contentType: string | undefined;
  contentEncoding: string | undefined;
}

const sentHeaders = new WeakMap<IncomingMessage, SentHeaders>();

/**
 * Makes functions-framework hand over each body as the bytes that were sent (docs/decisions/0004). Otherwise it parses
 * bodies before the function runs, and answers malformed JSON with an HTML page, so that the function never sees the
 * request. This hook gives each request a content type that the framework does not parse, and remembers the original
 * headers for {@link readJsonBody}.
 *
 * Call it before the server takes requests. To call it again does nothing.
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
  // With this header, the framework would answer an unknown encoding itself, and would unpack a gzip bomb.
  delete headers['content-encoding'];
  request.url = toDecodable(request.url ?? '/');
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

/** Reads a body as text, so that its id can be found even if it is not JSON. A body above 256 KiB reads as empty. */
export function readBodyText(request: Request): string {
  const { rawBody, body } = request as { rawBody?: unknown; body?: unknown };
  const bytes = Buffer.isBuffer(rawBody) ? rawBody : Buffer.isBuffer(body) ? body : Buffer.alloc(0);
  return bytes.length > maxBytes ? '' : bytes.toString('utf8').replace(/^\uFEFF/, '');
}

/**
 * Parses a JSON body. A field that an object has twice is refused.
 *
 * @throws {FailoverError} `payload_too_large`, `unsupported_media_type`, or `invalid_action`
 */
export function readJsonBody(request: Request): unknown {
  const { rawBody } = request;
  if (rawBody && rawBody.length > maxBytes) {
    throw new FailoverError(
      'payload_too_large',
      `the body is ${rawBody.length} bytes; the limit is ${maxBytes}`,
    );
  }
  assertJsonType(
    sentHeaders.get(request) ?? { contentType: request.get('content-type'), contentEncoding: undefined },
  );
  const text = readBodyText(request);
  if (text.trim() === '') throw invalidAction('the body is empty; it must be a JSON object');
  const value = parseJson(text);
  assertNoFieldTwice(text);
  return value;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new FailoverError('invalid_action', 'the body is not JSON', { cause: error });
  }
}

/** A string, with the colon if it is a field's name, or a brace. */
const jsonToken = /"[^"\\]*(?:\\.[^"\\]*)*"(\s*:)?|[{}]/g;

/**
 * Refuses a field that an object has twice. JSON.parse takes the last one, and the `"dry_run": true` that a person reads
 * might be the first.
 *
 * @param json valid JSON
 * @throws {FailoverError} `invalid_action`
 */
function assertNoFieldTwice(json: string): void {
  const objects: Set<string>[] = [];
  for (const [token, colon] of json.matchAll(jsonToken)) {
    if (token === '{') objects.push(new Set());
    else if (token === '}') objects.pop();
    else if (colon !== undefined) {
      const field = JSON.parse(token.slice(0, -colon.length)) as string;
      const fields = objects.at(-1);
      if (fields?.has(field)) throw fieldRepeated(field);
      fields?.add(field);
    }
  }
}

function fieldRepeated(field: string): FailoverError {
  return invalidAction(`field ${JSON.stringify(field.slice(0, 64))} is given twice`);
}

function assertJsonType({ contentType, contentEncoding }: SentHeaders): void {
  const wanted = 'send it with -H "Content-Type: application/json"';
  if (contentEncoding && contentEncoding.toLowerCase() !== 'identity') {
    throw new FailoverError(
      'unsupported_media_type',
      `Content-Encoding ${contentEncoding.slice(0, 64)} is not supported; send the body plain`,
    );
  }
  if (contentType === undefined) {
    throw new FailoverError('unsupported_media_type', `the request has no Content-Type; ${wanted}`);
  }
  if (/^application\/json\s*(;\s*charset="?utf-8"?\s*)?$/i.test(contentType.trim())) return;
  throw new FailoverError(
    'unsupported_media_type',
    `Content-Type ${contentType.slice(0, 64)} is not supported; ${wanted}`,
  );
}
