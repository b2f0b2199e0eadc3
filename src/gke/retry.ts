import type { Clock, Deadline } from '../clock.ts';
import { UpstreamError } from '../errors.ts';

/**
 * Called before each try of a write. Resolves to the milliseconds that the try may take, or rejects to stop the action.
 */
export type Gate = () => Promise<number>;

/** The limits of a call and its retries. */
export interface CallLimits {
  clock: Clock;
  deadline: Deadline;
  /** Undefined for reads. */
  gate?: Gate | undefined;
  /** Waited for before each call that is not one of many alike. */
  pace?: (() => Promise<void>) | undefined;
  /** Wraps the wait between two tries, so that other work can run meanwhile. If it rejects, the call is not tried again. */
  whileWaiting?: WhileWaiting;
  /** Decides whether to try again after an error. By default: if the error is retryable. */
  shouldRetry?: (error: UpstreamError) => boolean;
}

/** Runs `wait`, and may do something before and after it. */
export type WhileWaiting = (wait: () => Promise<void>) => Promise<void>;

/** The limits of one try. */
export interface CallOptions {
  timeoutMs: number;
  signal: AbortSignal;
}

const callTimeoutMs = 10_000;
const maxTries = 5;
/** A server that throttles is alive and says when to come back, so it gets more tries. */
const maxThrottledTries = 40;
/**
 * The gate leaves at least 40 s of lock. A call may take 10 s and the next gate needs 10 s, so a wait must stay under
 * 20 s.
 */
const maxWaitMs = 15_000;
const baseWaitMs = 200;

/**
 * Calls an API until it answers, refuses for good, has been tried too often, or the deadline passes. The waits between
 * tries follow `Retry-After` if the server sent it. Else they grow exponentially, with jitter.
 *
 * @param call one try. It must be safe to repeat, and throw {@link UpstreamError} if it fails
 * @throws {UpstreamError} of the last try, or what the gate threw
 * @throws {FailoverError} `upstream_timeout` if the deadline has passed before a try
 */
export async function callWithRetries<T>(
  limits: CallLimits,
  call: (options: CallOptions) => Promise<T>,
): Promise<T> {
  const { clock, deadline, gate, whileWaiting = (wait) => wait() } = limits;
  const { shouldRetry = (error) => error.isRetryable } = limits;
  let mayHaveWorked = false;
  for (let tries = 1; ; tries++) {
    deadline.assertTimeLeft();
    const allowedMs = gate ? await passGate(gate, mayHaveWorked) : callTimeoutMs;
    deadline.assertTimeLeft();
    try {
      return await call({
        timeoutMs: Math.max(1, Math.min(callTimeoutMs, allowedMs, deadline.leftMs())),
        signal: deadline.signal,
      });
    } catch (error) {
      if (!(error instanceof UpstreamError)) throw error;
      mayHaveWorked ||= error.mayHaveWorked;
      error.mayHaveWorked = mayHaveWorked;
      if (!shouldRetry(error)) throw error;
      const isThrottled = error.upstreamStatus === 429 || error.retryAfterSeconds !== undefined;
      if (tries >= (isThrottled ? maxThrottledTries : maxTries)) throw error;
      const waitMs = toWaitMs(tries, error.retryAfterSeconds);
      if (waitMs >= deadline.leftMs()) throw error;
      await whileWaiting(() => clock.sleep(waitMs, deadline.signal)).catch(() => {
        throw error;
      });
    }
  }
}

/** If the gate fails, an earlier try may still have taken effect, so the gate's error must say so. */
async function passGate(gate: Gate, mayHaveWorked: boolean): Promise<number> {
  try {
    return await gate();
  } catch (error) {
    if (error instanceof UpstreamError) error.mayHaveWorked ||= mayHaveWorked;
    throw error;
  }
}

function toWaitMs(tries: number, retryAfterSeconds = 0): number {
  const jitter = Math.random();
  const backoffMs = Math.min(baseWaitMs * 2 ** Math.min(tries - 1, 5), 5_000) * (0.5 + jitter / 2);
  // Follow the server rather than our own schedule. The jitter spreads clients that got the same Retry-After.
  const askedMs = retryAfterSeconds * 1000 + jitter * baseWaitMs;
  return Math.min(retryAfterSeconds > 0 ? askedMs : backoffMs, maxWaitMs);
}

/** Parses a `Retry-After` header in seconds. A date, and anything else, counts as absent. */
export function parseRetryAfter(value: string | null | undefined): number | undefined {
  return value && /^\d{1,6}$/.test(value.trim()) ? Number(value) : undefined;
}
