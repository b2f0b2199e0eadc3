/** A request to the emulator, from a socket or from memory. */
export interface HttpRequest {
  method: string;
  /** With the query. */
  path: string;
  /** Names in lower case. */
  headers: Record<string, string>;
  body: string;
}

export interface HttpResponse {
  status: number;
  headers: Record<string, string>;
  body: string;
  /** How long the transport must delay the answer. The request is carried out already. */
  delayMs?: number;
  /** A watch: sends after the body until it is ended, or calls `end` itself; returns what stops it. */
  stream?: (send: (chunk: string) => void, end: () => void) => () => void;
}

/** The connection breaks: before the request had any effect, or after it was carried out but before the answer. */
export class ConnectionLost extends Error {
  readonly applied: boolean;
  /** The connection was not even opened. */
  readonly refused: boolean;

  constructor(applied: boolean, refused = false) {
    super(
      refused
        ? 'connection refused'
        : `connection reset ${applied ? 'after' : 'before'} the request was carried out`,
    );
    this.name = 'ConnectionLost';
    this.applied = applied;
    this.refused = refused;
  }
}

/** Nothing ever comes back, and the connection stays open: only a time-out helps. */
export class NeverAnswered extends Error {
  readonly applied: boolean;

  constructor(applied: boolean) {
    super(`no answer; the request was ${applied ? '' : 'not '}carried out`);
    this.name = 'NeverAnswered';
    this.applied = applied;
  }
}

export function toJsonResponse(
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): HttpResponse {
  return { status, headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(body) };
}

export function toTextResponse(
  status: number,
  body: string,
  headers: Record<string, string> = {},
): HttpResponse {
  return { status, headers: { 'content-type': 'text/plain; charset=utf-8', ...headers }, body };
}

export function splitPath(path: string): { pathname: string; query: URLSearchParams } {
  const at = path.indexOf('?');
  if (at < 0) return { pathname: path, query: new URLSearchParams() };
  return { pathname: path.slice(0, at), query: new URLSearchParams(path.slice(at + 1)) };
}

export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
