import { setTimeout as sleep } from 'node:timers/promises';
import { FailoverError } from './errors.ts';

/** Time as an instance sees it: milliseconds since the epoch that never run backwards, and waiting. */
export interface Clock {
  now(): number;
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/**
 * The machine's clock. The later of wall clock and monotonic clock: a step back of the one and a suspend of the virtual
 * machine, which the other does not see, must both not make an expired lock look young.
 */
export function createSystemClock(): Clock {
  const origin = Date.now() - performance.now();
  let latest = 0;
  return {
    now() {
      latest = Math.max(latest, Date.now(), origin + performance.now());
      return latest;
    },
    async sleep(ms, signal) {
      await sleep(ms, undefined, signal ? { signal } : {});
    },
  };
}

const cleanUpMs = 10_000;

/**
 * The time by which an action must have answered. It is compared with the clock, for timers don't fire while an
 * instance is throttled.
 */
export class Deadline {
  readonly #clock: Clock;
  #abort = new AbortController();
  #at: number;
  #isFinal = false;

  constructor(clock: Clock, ms: number) {
    this.#clock = clock;
    this.#at = clock.now() + ms;
  }

  /** Aborts once a shortened deadline has passed, so that nothing waits on when the instance shuts down. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  leftMs(): number {
    return this.#at - this.#clock.now();
  }

  /** @throws {FailoverError} `upstream_timeout` once it has passed */
  assertTimeLeft(): void {
    if (this.leftMs() <= 0) {
      throw new FailoverError(
        'upstream_timeout',
        'the action ran out of time and was stopped; send it again with the same id to resume it',
      );
    }
  }

  /** A deadline at most so far away, for what must not hold an action up; it is never later than this one. */
  within(ms: number): Deadline {
    const sooner = new Deadline(this.#clock, Math.min(ms, this.leftMs()));
    sooner.#abort = this.#abort;
    return sooner;
  }

  /** Leaves some seconds to give the lock back after the deadline, which the function's own time-out is later than. */
  allowCleanUp(): void {
    if (!this.#isFinal) this.#at = Math.max(this.#at, this.#clock.now() + cleanUpMs);
  }

  /** Brings the deadline forward for good, at shutdown. */
  shorten(ms: number): void {
    this.#at = Math.min(this.#at, this.#clock.now() + ms);
    this.#isFinal = true;
    setTimeout(() => this.#abort.abort(), ms).unref();
  }
}

/**
 * Reads a time of the API in ms since the epoch; undefined where there is none. The Kubernetes client parses times into
 * Dates where it knows the model, and hands MicroTimes and what is of no model over as the strings that were sent.
 */
export function toMs(time: unknown): number | undefined {
  const ms = time instanceof Date ? time.getTime() : Date.parse(String(time));
  return Number.isFinite(ms) ? ms : undefined;
}
