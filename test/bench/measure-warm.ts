import { startBareClient } from './bare-client.ts';
import type { EmulatorProcess } from './emulator-process.ts';
import { startFunction } from './function-process.ts';
import type { FunctionProcess } from './function-process.ts';
import { median, quantile } from './result.ts';
import type { Goal, Result } from './result.ts';

const delayMs = 20;
const warmUps = 5;

interface Row {
  name: string;
  type: string;
  /** How many slices run a JobSet. Each action has one of its own, unless given. */
  slices?: number;
  /** What half of the actions may take beyond the floor. */
  goal: Goal | null;
}

const restart = { type: 'cordon_nodepool_and_restart_jobset', goal: 'value <= 40' } as const;

const rows: Row[] = [
  { name: 'warm-cordon', type: 'cordon_nodepool', goal: 'value <= 15' },
  // With the spare slice, 128 nodes.
  { name: 'warm-restart', ...restart, slices: 7 },
  { name: 'warm-restart-1680', ...restart },
  { name: 'warm-repair', type: 'cordon_and_repair_nodepool', goal: null },
];

/**
 * Measures a warm instance against its floor: how long a bare client takes for as many calls in a row as those of the action that
 * followed one another. Each action is measured in turn with its floor. Where the slices are few, a JobSet moves to the spare
 * slice, and the slice that it has left is uncordoned.
 */
export async function measureWarm(
  emulator: EmulatorProcess,
  source: string,
  runs: number,
  progress: (run: number) => void,
): Promise<Result[]> {
  const results: Result[] = [];
  for (const { name, type, slices, goal } of rows) {
    // With this number of measurements, one is beyond p99.
    const count = Math.max(runs, 100) + warmUps;
    const world = slices === undefined ? { slices: count } : { slices, spareSlices: 1 };
    const nodes = 16 * (slices === undefined ? count : slices + 1);
    const environment = {
      // Where machines stayed away, a third of the zone would soon be gone, and no more repairs would be accepted.
      ...(await emulator.build({ ...world, delayMs, repairDelaySeconds: 2 })),
      MAX_POOLS_PER_HOUR: '1000',
      COOLDOWN_SECONDS: '0',
      MAX_ATTEMPTS_PER_DAY: '100',
    };
    const bare = await startBareClient(environment);
    const started = await startFunction({ source, target: 'failover', environment });
    const totals: number[] = [];
    const floors: number[] = [];
    const trips: number[] = [];
    for (let run = 0; run < count; run++) {
      progress(run);
      await emulator.reconcile();
      const jobSet = `train-${run % (slices ?? count)}`;
      const pool = (await emulator.placements()).find((placement) => placement.jobSet === jobSet)?.pool;
      const { requests } = await emulator.report();
      const action = { requestor: 'bench', reason: 'bench', node_pool: pool };
      const isRestart = type === restart.type;
      const ms = await send(started, { ...action, type, ...(isRestart ? { jobset_name: jobSet } : {}) });
      const roundTrips = await emulator.countRoundTrips(requests, delayMs);
      const floor = await bare.callInARow(roundTrips);
      if (slices !== undefined) await send(started, { ...action, type: 'uncordon_nodepool' });
      if (run < warmUps) continue;
      totals.push(ms);
      floors.push(floor.ms);
      trips.push(roundTrips);
    }
    await started.stop();
    bare.stop();
    const floor = median(floors);
    const above = totals.map((total, index) => total - (floors[index] ?? floor));
    const describe = (suffix: string, share: number): Result => ({
      name: name + suffix,
      value: quantile(above, share),
      unit: 'ms',
      reference: floor,
      ratio: quantile(totals, share) / floor,
      goal: suffix === '' ? goal : null,
      what: `${suffix === '' ? 'half' : '99 %'} take at most this beyond what a bare client takes for their ${median(trips)} round trips of ${delayMs} ms, in a cluster of ${nodes} nodes; the ratio is of the whole`,
    });
    results.push(describe('', 0.5), describe('-p99', 0.99));
  }
  return results;
}

/** @returns how long the answer took, in ms */
async function send(started: FunctionProcess, action: object): Promise<number> {
  const { ms, status, body } = await started.post(action);
  if (status === 200) return ms;
  throw new Error(`the action failed: ${JSON.stringify(body)}\n${started.output()}`);
}
