// Every answer that is not a success. The caller sees the message of an intended error, and nothing of any other error.

/** The HTTP status of each `code` that an answer may have. */
const statusOfCode = {
  invalid_action: 400,
  unauthorized: 401,
  forbidden: 403,
  target_not_found: 404,
  method_not_allowed: 405,
  action_in_progress: 409,
  id_reused: 409,
  target_mismatch: 409,
  target_ambiguous: 409,
  target_changed: 409,
  preflight_refused: 409,
  restart_refused: 409,
  repair_refused: 409,
  pool_busy: 409,
  approval_refused: 409,
  paused: 409,
  attempts_exhausted: 409,
  payload_too_large: 413,
  unsupported_media_type: 415,
  rate_limited: 429,
  budget_exceeded: 429,
  correlated_failure: 429,
  internal: 500,
  upstream_failed: 502,
  upstream_timeout: 504,
} as const;

/** The `code` of an answer that is not a success. */
export type Code = keyof typeof statusOfCode;

/** Every code. */
export const codes = Object.keys(statusOfCode) as Code[];

/**
 * An intended error. The caller gets `message`, which says what is wrong, with which object, and what to do next. The
 * words of an upstream API stay in `cause`, which is logged in part and never sent.
 */
export class FailoverError extends Error {
  override readonly name: string = 'FailoverError';
  readonly code: Code;
  /** Extra response headers, such as `Retry-After`. */
  readonly headers: Record<string, string>;

  constructor(
    code: Code,
    message: string,
    options: { cause?: unknown; headers?: Record<string, string> } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.headers = options.headers ?? {};
  }

  /** The HTTP status of the answer. */
  get status(): number {
    return statusOfCode[this.code];
  }
}

/** Creates the error for a request that is not a valid action. `message` says which field, and what it must be. */
export function invalidAction(message: string): FailoverError {
  return new FailoverError('invalid_action', message);
}

/** The API whose call failed. The answer names the API but never contains its body. */
export type UpstreamApi = 'Container API' | 'Compute API' | 'Kubernetes API' | 'metadata server';

/** What is known of a failed call to Google Cloud or Kubernetes. */
interface FailedCall {
  api: UpstreamApi;
  /** Method and path, for the message. */
  call: string;
  /** The HTTP status that came back; undefined if none did (refused, reset, timed out). */
  status?: number | undefined;
  /** The machine-readable reason (`AlreadyExists`, `resourceNotReady`), or our own words; never the upstream's text. */
  reason?: string | undefined;
  /** The `kind` in the details of a Kubernetes Status. */
  kind?: string | undefined;
  /** Default: false. */
  isTimeout?: boolean;
  /** Default: true if no status came back, and for 429 and 5xx. */
  isRetryable?: boolean;
  retryAfterSeconds?: number | undefined;
  /** What to do next: the end of the message. */
  advice?: string | undefined;
  cause?: unknown;
}

/** A call to Google Cloud or Kubernetes that failed. After the retries it is the answer: 502, or 504 for a time-out. */
export class UpstreamError extends FailoverError {
  override readonly name = 'UpstreamError';
  /** The HTTP status that came back; undefined if none did (refused, reset, timed out). */
  readonly upstreamStatus: number | undefined;
  /** The machine-readable reason (`AlreadyExists`, `resourceNotReady`), never the upstream's text. */
  readonly upstreamReason: string | undefined;
  /** What the failure is about: the `kind` in the details of a Kubernetes Status. */
  readonly upstreamKind: string | undefined;
  /** False if the same call cannot succeed until somebody changes something. */
  readonly isRetryable: boolean;
  /** How long the server asked the function to wait. */
  readonly retryAfterSeconds: number | undefined;
  /** True if the call, or an earlier try of it, may have taken effect although no answer said so. */
  mayHaveWorked: boolean;

  constructor(failed: FailedCall) {
    super(failed.isTimeout ? 'upstream_timeout' : 'upstream_failed', describeFailedCall(failed), {
      cause: failed.cause,
    });
    this.upstreamStatus = failed.status;
    this.upstreamReason = failed.reason;
    this.upstreamKind = failed.kind;
    this.isRetryable = failed.isRetryable ?? isRetryableStatus(failed.status);
    this.retryAfterSeconds = failed.retryAfterSeconds;
    this.mayHaveWorked = mayHaveWorkedDespite(failed.status);
  }
}

function describeFailedCall(failed: FailedCall): string {
  const advice = failed.advice ? `: ${failed.advice}` : '';
  return `the ${failed.api} ${describeAnswer(failed)} (${failed.call})${advice}`;
}

function describeAnswer({ status, reason, isTimeout }: FailedCall): string {
  if (status !== undefined) return reason ? `answered ${status} ${reason}` : `answered ${status}`;
  return isTimeout ? 'did not answer in time' : 'could not be reached, or broke the connection';
}

function isRetryableStatus(status: number | undefined): boolean {
  return status === undefined || status === 429 || status >= 500;
}

/** A 2xx is here too: its body was not what the call must return, but the call may have taken effect. */
function mayHaveWorkedDespite(status: number | undefined): boolean {
  return status === undefined || status < 300 || status >= 500;
}

/** True if the error is an upstream's answer with one of these HTTP statuses. */
export function isUpstreamStatus(error: unknown, ...statuses: number[]): error is UpstreamError {
  return (
    error instanceof UpstreamError &&
    error.upstreamStatus !== undefined &&
    statuses.includes(error.upstreamStatus)
  );
}

/**
 * True if the server definitely rejected the call, so that neither it nor an earlier try can have taken effect. The
 * statuses that count are 400, 401, 403, 429 and `otherStatuses`.
 */
export function isDefiniteRefusal(error: unknown, ...otherStatuses: number[]): error is UpstreamError {
  return isUpstreamStatus(error, 400, 401, 403, 429, ...otherStatuses) && !error.mayHaveWorked;
}

/** Converts anything that was thrown into an error that may be answered. An unexpected error becomes `internal`. */
export function toFailoverError(error: unknown): FailoverError {
  if (error instanceof FailoverError) return error;
  return new FailoverError('internal', 'internal error; the log has the details under this id', {
    cause: error,
  });
}
