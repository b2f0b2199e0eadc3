import { channel } from 'node:diagnostics_channel';
import type { IncomingMessage } from 'node:http';
import type { Request } from '@google-cloud/functions-framework';
import { FailoverError } from './errors.ts';

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
 * Must be called before the server starts; calling it again does nothing.
 */
export function keepRawBodies(): void {
  channel('http.server.request.start').unsubscribe(onRequest);
  channel('http.server.request.start').subscribe(onRequest);
}

function onRequest(message: unknown): void {
  const { request } = message as { request: IncomingMessage };
  const { headers } = request;
  sentHeaders.set(request, {
    contentType: headers['content-type'],
    contentEncoding: headers['content-encoding'],
  });
  headers['content-type'] = 'application/octet-stream';
  // Left in place, an unknown encoding would be answered by the framework too, and a gzip bomb unpacked.
  delete headers['content-encoding'];
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
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new FailoverError('invalid_action', 'the body is not JSON', { cause: error });
  }
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
