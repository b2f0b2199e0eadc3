import { describeError } from '../log.ts';
import type { Log } from '../log.ts';

/** Best-effort clean-up: a failure is logged and never changes the answer. */
export async function tryToCleanUp(log: Log, work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    log.warn(
      'warning',
      'the clean-up failed; the lock expires by itself, and the next action sweeps again',
      describeError(error),
    );
  }
}
