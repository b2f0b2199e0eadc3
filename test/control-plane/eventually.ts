import { setTimeout as delay } from 'node:timers/promises';

export interface EventuallyOptions {
  timeoutMs?: number;
  intervalMs?: number;
  /** Is called before each further attempt in place of waiting, e.g. to let an emulator's controllers take a step. */
  advance?: (() => void) | undefined;
}

/**
 * Answers what `attempt` answers once that is neither undefined nor false; what it throws counts as *not yet*.
 * @throws after `timeoutMs` (30 s), naming `what` was waited for and the last thing that was seen instead
 */
export async function eventually<T>(
  what: string,
  attempt: () => Promise<T> | T,
  { timeoutMs = 30_000, intervalMs = 50, advance }: EventuallyOptions = {},
): Promise<Exclude<T, undefined | false>> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    let problem: unknown;
    try {
      const result = await attempt();
      if (result !== undefined && result !== false) return result as Exclude<T, undefined | false>;
    } catch (error) {
      problem = error;
    }
    if (Date.now() >= deadline)
      throw new Error(`${what}: not within ${timeoutMs / 1000} s`, ...(problem ? [{ cause: problem }] : []));
    if (advance) advance();
    else await delay(intervalMs);
  }
}
