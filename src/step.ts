import { Ignored } from './ignored.ts';
import { describeError } from './log.ts';
import type { Log } from './log.ts';

/** One step of an answer: a summary that a person can read. In a dry run, what it would be. */
export type Step = { step: string; target: string } & Record<string, unknown>;

/** Logs how long a step took, and what came of it. */
export async function timed<T>(log: Log, step: string, work: () => Promise<T>): Promise<T> {
  const startedAt = performance.now();
  const duration = () => ({ step, duration_ms: Math.round(performance.now() - startedAt) });
  try {
    const result = await work();
    log.info('step', `${step} done`, { ...duration(), ...(isStep(result) ? { result } : {}) });
    return result;
  } catch (error) {
    const fields = { ...duration(), ...describeError(error) };
    if (error instanceof Ignored) log.info('step', `${step} stopped`, fields);
    else log.warn('step', `${step} stopped`, fields);
    throw error;
  }
}

function isStep(value: unknown): value is Step {
  return typeof value === 'object' && value !== null && 'step' in value;
}
