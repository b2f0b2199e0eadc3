import { setTimeout as delay } from 'node:timers/promises';

export interface EventuallyOptions {
  /** 30 s of time that `advance` lets pass; 5 minutes of the machine's own, which only ends a wait that hangs. */
  timeoutMs?: number;
  intervalMs?: number;
  /**
   * Is called before each further attempt in place of waiting: it lets a second pass where time does not by itself, and
   * the time-out counts those seconds.
   */
  advance?: (() => void) | undefined;
}

/**
 * Answers what `attempt` answers once that is neither undefined nor false; what it throws counts as *not yet*.
 * @throws after `timeoutMs`, naming `what` was waited for and the last thing that was seen instead
 */
export async function eventually<T>(
  what: string,
  attempt: () => Promise<T> | T,
  { advance, timeoutMs = advance ? 30_000 : 300_000, intervalMs = 50 }: EventuallyOptions = {},
): Promise<Exclude<T, undefined | false>> {
  const started = Date.now();
  for (let advances = 0; ; advances += 1) {
    let problem: unknown;
    try {
      const result = await attempt();
      if (result !== undefined && result !== false) return result as Exclude<T, undefined | false>;
    } catch (error) {
      problem = error;
    }
    const passedMs = advance ? advances * 1000 : Date.now() - started;
    if (passedMs >= timeoutMs) {
      const seen = problem instanceof Error ? `: ${problem.message}` : '';
      throw new Error(`${what}: not within ${timeoutMs / 1000} s${seen}`, { cause: problem });
    }
    if (advance) advance();
    else await delay(intervalMs);
  }
}
