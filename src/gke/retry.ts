import type { Clock, Deadline } from '../clock.ts';
import { UpstreamError } from '../errors.ts';

/** Asked before every single write: resolves to the milliseconds it may take, or throws to stop the action. */
export type Gate = () => Promise<number>;

/** What a call's attempts are bounded by. */
export interface CallLimits {
  clock: Clock;
  deadline: Deadline;
  /** Absent for reads. */
  gate?: Gate | undefined;
  /** Wraps the wait between two attempts, so that something else can have its turn meanwhile; it may throw to give up. */
  whileWaiting?: WhileWaiting;
  /** Which failures are worth another attempt; by default, those that say so. */
  shouldRetry?: (error: UpstreamError) => boolean;
}

export type WhileWaiting = (wait: () => Promise<void>) => Promise<void>;

/** What one attempt may use. */
export interface CallOptions {
  timeoutMs: number;
  signal: AbortSignal;
}

const callTimeoutMs = 10_000;
const maxTries = 5;
/** A server that throttles is alive and says when to come back, so it is given more patience. */
const maxThrottledTries = 40;
/** No wait outlasts what the lock has left after its gate (40 s), less what the call took, less what the next gate wants. */
const maxWaitMs = 15_000;
const baseWaitMs = 200;

/**
 * Calls an API until it answers, it refuses for good, or the deadline passes. Waits grow with jitter, and are what
 * `Retry-After` says where it says something.
 *
 * @param call must be safe to repeat, and throws {@link UpstreamError}
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

/** A gate that fails says nothing about what became of the attempts before it. */
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
  // The server knows better than any schedule; a little more keeps those that it told the same from coming at once.
  const askedMs = retryAfterSeconds * 1000 + jitter * baseWaitMs;
  return Math.min(retryAfterSeconds > 0 ? askedMs : backoffMs, maxWaitMs);
}

/** Parses `Retry-After` in seconds; the date form and nonsense count as absent. */
export function parseRetryAfter(value: string | null | undefined): number | undefined {
  return value && /^\d{1,6}$/.test(value.trim()) ? Number(value) : undefined;
}
