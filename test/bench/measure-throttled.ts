import type { EmulatorProcess } from './emulator-process.ts';
import { startFunction } from './function-process.ts';
import { median } from './result.ts';
import type { Result } from './result.ts';

const world = { nodes: 512, delayMs: 20 };
const retryAfterSeconds = 1;
/** The most that the function adds to a wait, so that requests with the same Retry-After do not return together. */
const jitterMs = 200;

/** Measures a cordon of which the API server turns half of all patches away, against what it asked to wait. */
export async function measureThrottled(
  emulator: EmulatorProcess,
  source: string,
  runs: number,
  progress: (run: number) => void,
): Promise<Result[]> {
  const growth: number[] = [];
  const asked: number[] = [];
  for (let run = 0; run < runs; run++) {
    progress(run);
    const plain = await cordon(emulator, source, undefined);
    const throttled = await cordon(emulator, source, { share: 0.5, retryAfterSeconds });
    growth.push(throttled.ms - plain.ms);
    asked.push(throttled.askedMs);
  }
  const value = median(growth);
  const reference = median(asked);
  return [
    {
      name: 'cordon-512-throttled',
      value,
      unit: 'ms',
      reference,
      ratio: value / reference,
      goal: 'ratio <= 1',
      what: 'what a cordon takes longer with 429 to half of all patches; against the longest that one node was told to wait, with jitter',
    },
  ];
}

async function cordon(
  emulator: EmulatorProcess,
  source: string,
  throttled: { share: number; retryAfterSeconds: number } | undefined,
): Promise<{ ms: number; askedMs: number }> {
  const environment = await emulator.build(throttled ? { ...world, throttled } : world);
  const started = await startFunction({ source, target: 'failover', environment });
  const { ms, status, body } = await started.post({
    requestor: 'bench',
    reason: 'bench',
    type: 'cordon_nodepool',
    node_pool: 'slice-a',
  });
  await started.stop();
  const { schedulable, mostThrottled } = await emulator.report();
  if (status !== 200 || schedulable > 0) throw new Error(`the pool is not cordoned: ${JSON.stringify(body)}`);
  return { ms, askedMs: mostThrottled * (retryAfterSeconds * 1000 + jitterMs + world.delayMs) };
}
