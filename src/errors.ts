// Every answer that is not a success. An intended error shows its message to the caller; any other shows nothing.

/** The `code` of an answer and the HTTP status that it always has. */
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
  paused: 409,
  payload_too_large: 413,
  unsupported_media_type: 415,
  rate_limited: 429,
  budget_exceeded: 429,
  internal: 500,
  upstream_failed: 502,
  upstream_timeout: 504,
} as const;

export type Code = keyof typeof statusOfCode;

/**
 * An error that we chose: `message` goes to the caller and says what, which one and what next. Whatever an upstream API
 * said stays in `cause`, which is logged in part and never sent.
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

  get status(): number {
    return statusOfCode[this.code];
  }
}

/** What the caller sent cannot be an action: `message` says which field, and what it must be. */
export function invalidAction(message: string): FailoverError {
  return new FailoverError('invalid_action', message);
}

/** The API whose call failed: it is named in the answer, its body never is. */
export type UpstreamApi = 'Container API' | 'Compute API' | 'Kubernetes API' | 'metadata server';

/**
 * A call to Google Cloud or Kubernetes that failed for good, after retries.
 *
 * `upstreamStatus` is the HTTP status that came back, or undefined when none did (refused, reset, timed out);
 * `upstreamReason` is the machine-readable reason (`AlreadyExists`, `resourceNotReady`), never a text.
 */
export class UpstreamError extends FailoverError {
  override readonly name = 'UpstreamError';
  readonly upstreamStatus: number | undefined;
  readonly upstreamReason: string | undefined;
  /** What the Status object says the failure is about: the `kind` of its details. */
  readonly upstreamKind: string | undefined;
  /** False where the same call cannot succeed without somebody changing something. */
  readonly isRetryable: boolean;
  /** How long the server asked to wait. */
  readonly retryAfterSeconds: number | undefined;
  /** The call, or an earlier attempt at it, may have been carried out although no answer said so. */
  mayHaveWorked: boolean;

  constructor(details: {
    api: UpstreamApi;
    call: string;
    status?: number | undefined;
    reason?: string | undefined;
    kind?: string | undefined;
    isTimeout?: boolean;
    isRetryable?: boolean;
    retryAfterSeconds?: number | undefined;
    advice?: string | undefined;
    cause?: unknown;
  }) {
    const what =
      details.status === undefined
        ? details.isTimeout
          ? 'did not answer in time'
          : 'could not be reached, or broke the connection'
        : `answered ${details.status}${details.reason ? ` ${details.reason}` : ''}`;
    const advice = details.advice ? `: ${details.advice}` : '';
    super(
      details.isTimeout ? 'upstream_timeout' : 'upstream_failed',
      `the ${details.api} ${what} (${details.call})${advice}`,
      { cause: details.cause },
    );
    this.upstreamStatus = details.status;
    this.upstreamReason = details.reason;
    this.upstreamKind = details.kind;
    this.isRetryable = details.isRetryable ?? isRetryableStatus(details.status);
    this.retryAfterSeconds = details.retryAfterSeconds;
    const { status } = details;
    this.mayHaveWorked = status === undefined || status < 300 || status >= 500;
  }
}

function isRetryableStatus(status: number | undefined): boolean {
  return status === undefined || status === 429 || status >= 500;
}

/** Says whether the error is an upstream's answer with one of these HTTP statuses. */
export function isUpstreamStatus(error: unknown, ...statuses: number[]): error is UpstreamError {
  return (
    error instanceof UpstreamError &&
    error.upstreamStatus !== undefined &&
    statuses.includes(error.upstreamStatus)
  );
}

/** Says whether a call was refused so that it is certain that nothing came of it, nor of an earlier attempt at it. */
export function isDefiniteRefusal(error: unknown, ...otherStatuses: number[]): error is UpstreamError {
  return isUpstreamStatus(error, 400, 401, 403, 429, ...otherStatuses) && !error.mayHaveWorked;
}

/** Turns anything thrown into an error that may be answered: what we did not choose becomes `internal` and says nothing. */
export function toFailoverError(error: unknown): FailoverError {
  if (error instanceof FailoverError) return error;
  return new FailoverError('internal', 'internal error; the log has the details under this id', {
    cause: error,
  });
}
