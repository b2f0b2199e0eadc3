import { setTimeout as sleep } from 'node:timers/promises';
import { FailoverError } from './errors.ts';

/** Time as an instance sees it: `now` is in ms since the epoch and never runs backwards. */
export interface Clock {
  now(): number;
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** The wall clock has whole milliseconds, and the two clocks are not read at one moment. A smaller step is none. */
const leastStepMs = 2;

/**
 * Creates the machine's clock. The monotonic clock misses a suspend of the virtual machine, and the wall clock can step.
 * This clock adds up what passes by the monotonic clock, and each step forward of the wall clock, because that may be a
 * suspend. It adds nothing for a step back. So it never runs backwards and never stands still, and an expired lock never
 * looks fresh. It may be ahead: a lock then expires early, and its action stops.
 */
export function createSystemClock(): Clock {
  let now = Date.now();
  let read = performance.now();
  /** How far the wall clock was ahead of the monotonic clock. */
  let lead = now - read;
  return {
    now() {
      const before = performance.now();
      const wall = Date.now();
      const after = performance.now();
      now += after - read;
      read = after;
      const step = wall - after - lead;
      // After a pause between the two readings, they cannot be compared. The next call compares again.
      if (after - before < leastStepMs / 2 && Math.abs(step) >= leastStepMs) {
        lead += step;
        now += Math.max(0, step);
      }
      return now;
    },
    async sleep(ms, signal) {
      await sleep(ms, undefined, signal ? { signal } : {});
    },
  };
}

/** Time to release the lock after the deadline. */
const cleanUpMs = 10_000;

/**
 * The time by which an action must have answered. It is compared with the clock, because timers don't fire while an
 * instance is throttled.
 */
export class Deadline {
  readonly #clock: Clock;
  #abort = new AbortController();
  #at: number;
  #isFinal = false;
  /** The deadline that this one is a part of. */
  #whole: Deadline | undefined;

  constructor(clock: Clock, ms: number) {
    this.#clock = clock;
    this.#at = clock.now() + ms;
  }

  /** It was shortened, and nothing extends it any more. */
  get isFinal(): boolean {
    return this.#isFinal || this.#whole?.isFinal === true;
  }

  /** Aborts once a shortened deadline has passed, so that no wait continues when the instance shuts down. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  leftMs(): number {
    const leftMs = this.#at - this.#clock.now();
    return this.#whole?.isFinal === true ? Math.min(leftMs, this.#whole.leftMs()) : leftMs;
  }

  /** @throws {FailoverError} `upstream_timeout` once the deadline has passed */
  assertTimeLeft(): void {
    if (this.leftMs() <= 0) {
      throw new FailoverError(
        'upstream_timeout',
        'the action ran out of time and was stopped; send it again with the same id to resume it',
      );
    }
  }

  /**
   * Creates a deadline `ms` from now, but never later than this one. It is for calls that must not hold up an action,
   * and it shares this deadline's signal.
   */
  within(ms: number): Deadline {
    const sooner = new Deadline(this.#clock, Math.min(ms, this.leftMs()));
    sooner.#abort = this.#abort;
    return sooner;
  }

  /**
   * Creates a deadline for one of several actions that share this one. It passes and is shortened with this one, but its time
   * to clean up is its own: it gives the actions after it no more time.
   */
  forOne(): Deadline {
    const one = this.within(this.leftMs());
    one.#whole = this;
    return one;
  }

  /** Allows 10 s from now to release the lock after the deadline. The function's own time-out is later than that. */
  allowCleanUp(): void {
    if (!this.isFinal) this.#at = Math.max(this.#at, this.#clock.now() + cleanUpMs);
  }

  /** Moves the deadline to at most `ms` from now, and lets nothing extend it any more. Called at shutdown. */
  shorten(ms: number): void {
    this.#at = Math.min(this.#at, this.#clock.now() + ms);
    this.#isFinal = true;
    setTimeout(() => this.#abort.abort(), ms).unref();
  }
}

/**
 * Converts a time of the Kubernetes API to ms since the epoch; undefined if it is not a time. The Kubernetes client
 * parses times into Dates if it has a model of the object. It leaves MicroTimes, and objects without a model, as the
 * strings that the server sent.
 */
export function toMs(time: unknown): number | undefined {
  const ms = time instanceof Date ? time.getTime() : Date.parse(String(time));
  return Number.isFinite(ms) ? ms : undefined;
}

/** A time in RFC 3339, to the second: for lines that people paste, and for what is not known better. */
export function toWholeSeconds(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
}

/** A time as people read it, in RFC 3339: without milliseconds if it has none. Nothing counts as the epoch. */
export function describeTime(ms = 0): string {
  return new Date(ms).toISOString().replace('.000Z', 'Z');
}
