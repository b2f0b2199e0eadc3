import { setTimeout as sleep } from 'node:timers/promises';
import type { EmulatorProcess } from './emulator-process.ts';
import { startFunction } from './function-process.ts';
import { median } from './result.ts';
import type { Result } from './result.ts';

const delayMs = 20;
const nodes = 5_000;
const records = 1_000;

/** A node on GKE has about so much more than the emulator's, most of it the names of images. */
const paddingBytes = 8_000;

/** A view is kept for 3 s. */
const keptMs = 3_100;

/** Measures what the views of a large cluster take, and what a second person who looks costs. */
export async function measureViews(
  emulator: EmulatorProcess,
  source: string,
  runs: number,
  progress: (run: number) => void,
): Promise<Result[]> {
  const environment = await emulator.build({ nodes: 16, otherNodes: nodes, records, paddingBytes, delayMs });
  const started = await startFunction({ source, target: 'failoverStatus', environment });
  const samples: Record<'/status' | '/actions?limit=500', number[]> = {
    '/status': [],
    '/actions?limit=500': [],
  };
  let calls = 0;
  let callsOfTwo = 0;
  const countCalls = async (look: () => Promise<unknown>): Promise<number> => {
    const before = (await emulator.report()).requests;
    await look();
    return (await emulator.report()).requests - before;
  };
  const get = async (path: keyof typeof samples): Promise<void> => {
    const { status, body, ms } = await started.get(path);
    if (status !== 200 || 'errors' in body) throw new Error(`${path}: ${JSON.stringify(body).slice(0, 500)}`);
    samples[path].push(ms);
  };
  // The first of each connects.
  await get('/status');
  await get('/actions?limit=500');
  for (const each of Object.values(samples)) each.length = 0;
  for (let run = 0; run < runs; run++) {
    progress(run);
    await sleep(keptMs);
    calls = await countCalls(() => get('/status'));
    await get('/actions?limit=500');
    await sleep(keptMs);
    callsOfTwo = await countCalls(() => Promise.all([get('/status'), get('/status')]));
  }
  const mb = started.peakRssMb();
  await started.stop();
  const row = (name: string, ms: number, what: string): Result => ({
    name,
    value: ms,
    unit: 'ms',
    reference: null,
    ratio: null,
    goal: 'value <= 1500',
    what: `${what}, of ${nodes} nodes and ${records} records, each call delayed by ${delayMs} ms`,
  });
  return [
    row('view-status', median(samples['/status']), 'GET /status'),
    row('view-actions', median(samples['/actions?limit=500']), 'GET /actions?limit=500'),
    {
      name: 'view-rss',
      value: mb,
      unit: 'MB',
      reference: null,
      ratio: null,
      goal: 'value <= 256',
      what: 'most memory meanwhile',
    },
    {
      name: 'view-two-watchers',
      value: callsOfTwo,
      unit: 'calls',
      reference: calls,
      ratio: callsOfTwo / calls,
      goal: 'ratio <= 1',
      what: 'calls to the API server for two who look at /status at the same time; against one',
    },
  ];
}
