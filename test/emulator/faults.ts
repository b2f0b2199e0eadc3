import type { HttpResponse } from './http.ts';
import type { Random } from './random.ts';

export type Api = 'kubernetes' | 'container' | 'compute' | 'metadata';

/** One request as it arrived, in order of arrival over all APIs. */
export interface RecordedRequest {
  api: Api;
  /** The cluster's full name, for its Kubernetes API. */
  cluster?: string;
  method: string;
  /** Without the query. */
  path: string;
  query: Record<string, string>;
  headers: Record<string, string>;
  /** Parsed JSON, or the text if it is not JSON. */
  readonly body: unknown;
  /** The answer, even if it was then lost; undefined if there was none. */
  status?: number;
  /** Milliseconds of the emulator's clock. */
  at: number;
  sequence: number;
  /** The fault that struck it. */
  fault?: Fault;
}

export type FaultEffect =
  /** The request gets this answer and is not carried out, unless `isApplied`, as when a gateway gives up too early. */
  | { status: number; headers?: Record<string, string>; body?: string | object; isApplied?: boolean }
  /** The connection breaks and nothing was done. */
  | 'reset_before'
  /** The request is carried out, and the connection breaks before the answer. */
  | 'reset_after'
  /** The request is not carried out, and no answer ever comes. */
  | 'hang'
  /** The request is carried out, and no answer ever comes. */
  | 'hang_after'
  /** The request is carried out, and the answer is 200 with a body that is not JSON. */
  | 'malformed'
  /** Nobody listens. */
  | 'refuse'
  /** Only the delay. */
  | 'none';

export interface Fault {
  api?: Api;
  cluster?: string;
  method?: string;
  /** Matched against path and query. */
  path?: RegExp;
  match?: (request: RecordedRequest) => boolean;
  /** How often it strikes; once by default. */
  times?: number;
  /** How many matching requests pass before it strikes. */
  skip?: number;
  /** The chance that it strikes a matching request, by the emulator's seed. */
  probability?: number;
  effect: FaultEffect;
  /** How long the answer is delayed. */
  delayMs?: number;
}

/** The faults that are still to strike, in the order in which they were added. */
export class Faults {
  #faults: { fault: Fault; left: number; toSkip: number }[] = [];
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  /** @returns a function that removes it */
  add(fault: Fault): () => void {
    const entry = { fault, left: fault.times ?? 1, toSkip: fault.skip ?? 0 };
    this.#faults.push(entry);
    return () => {
      this.#faults = this.#faults.filter((each) => each !== entry);
    };
  }

  clear(): void {
    this.#faults = [];
  }

  /** The faults that have not struck often enough. A test that expects a fault asserts that there are none. */
  get pending(): Fault[] {
    return this.#faults.filter(({ left }) => left > 0 && left < Infinity).map(({ fault }) => fault);
  }

  /** Finds the fault that strikes this request, if any, and counts the strike. */
  strike(request: RecordedRequest, path: string): Fault | undefined {
    for (const entry of this.#faults) {
      if (entry.left <= 0 || !isMatch(entry.fault, request, path)) continue;
      if (entry.toSkip > 0) {
        entry.toSkip -= 1;
        continue;
      }
      const { probability } = entry.fault;
      if (probability !== undefined && this.#random.next() >= probability) continue;
      entry.left -= 1;
      return entry.fault;
    }
    return undefined;
  }
}

function isMatch(fault: Fault, request: RecordedRequest, path: string): boolean {
  if (fault.api !== undefined && fault.api !== request.api) return false;
  if (fault.cluster !== undefined && fault.cluster !== request.cluster) return false;
  if (fault.method !== undefined && fault.method !== request.method) return false;
  if (fault.path && path.search(fault.path) < 0) return false;
  return fault.match?.(request) ?? true;
}

/** The answer of a fault that has a status. */
export function toFaultResponse(effect: Exclude<FaultEffect, string>, date: string): HttpResponse {
  const body =
    typeof effect.body === 'string'
      ? effect.body
      : JSON.stringify(effect.body ?? toDefaultBody(effect.status));
  return {
    status: effect.status,
    headers: { 'content-type': 'application/json', date, ...effect.headers },
    body,
  };
}

const reasons: Record<number, [reason: string, message: string]> = {
  400: ['BadRequest', 'the server rejected our request for an unknown reason'],
  401: ['Unauthorized', 'Unauthorized'],
  403: ['Forbidden', 'forbidden'],
  404: ['NotFound', 'the server could not find the requested resource'],
  409: [
    'Conflict',
    'the object has been modified; please apply your changes to the latest version and try again',
  ],
  429: ['TooManyRequests', 'The apiserver is currently overloaded, please try again later.'],
  500: ['InternalError', 'Internal error occurred: etcdserver: request timed out'],
  503: ['ServiceUnavailable', 'apiserver not ready'],
  504: ['Timeout', 'Timeout: request did not complete within the allotted timeout'],
};

/** A body that is both an error of a Google API and a Kubernetes Status, so that each client can read it. */
function toDefaultBody(status: number): unknown {
  const [reason, message] = reasons[status] ?? ['', `injected ${status}`];
  return {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Failure',
    message,
    reason,
    code: status,
    error: {
      code: status,
      message,
      status: reason.toUpperCase(),
      errors: [{ domain: 'global', reason, message }],
    },
  };
}
