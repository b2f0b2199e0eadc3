import { startBareClient } from './bare-client.ts';
import type { EmulatorProcess } from './emulator-process.ts';
import { startFunction } from './function-process.ts';
import { median, quantile } from './result.ts';
import type { Goal, Result } from './result.ts';

const delayMs = 20;
const warmUps = 5;

/** What half of the actions may take beyond the floor. */
const goals: Record<string, Goal> = { 'warm-cordon': 'value <= 15', 'warm-restart': 'value <= 40' };

/**
 * Measures a warm instance, each action on a slice and a JobSet of its own, against its floor: how long a bare client takes for as
 * many calls in a row as those of the action that followed one another. Each action is measured in turn with its floor.
 */
export async function measureWarm(
  emulator: EmulatorProcess,
  source: string,
  runs: number,
  progress: (run: number) => void,
): Promise<Result[]> {
  const results: Result[] = [];
  for (const [name, type] of [
    ['warm-cordon', 'cordon_nodepool'],
    ['warm-restart', 'cordon_nodepool_and_restart_jobset'],
    ['warm-repair', 'cordon_and_repair_nodepool'],
  ] as const) {
    // With this number of measurements, one is beyond p99.
    const count = Math.max(runs, 100);
    const environment = {
      // Where machines stayed away, a third of the zone would soon be gone, and no more repairs would be accepted.
      ...(await emulator.build({ slices: count + warmUps, delayMs, repairDelaySeconds: 2 })),
      MAX_POOLS_PER_HOUR: '1000',
    };
    const bare = await startBareClient(environment);
    const placements = await emulator.placements();
    const started = await startFunction({ source, target: 'failover', environment });
    const totals: number[] = [];
    const floors: number[] = [];
    const trips: number[] = [];
    for (const [run, { pool, jobSet }] of placements.entries()) {
      progress(run);
      await emulator.reconcile();
      const { requests } = await emulator.report();
      const action = { requestor: 'bench', reason: 'bench', type, node_pool: pool };
      const isRestart = type === 'cordon_nodepool_and_restart_jobset';
      const { ms, status, body } = await started.post(
        isRestart ? { ...action, jobset_name: jobSet } : action,
      );
      if (status !== 200) throw new Error(`the action failed: ${JSON.stringify(body)}\n${started.output()}`);
      const roundTrips = await emulator.countRoundTrips(requests, delayMs);
      const floor = await bare.callInARow(roundTrips);
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
      goal: suffix === '' ? (goals[name] ?? null) : null,
      what: `${suffix === '' ? 'half' : '99 %'} take at most this beyond what a bare client takes for their ${median(trips)} round trips of ${delayMs} ms; the ratio is of the whole`,
    });
    results.push(describe('', 0.5), describe('-p99', 0.99));
  }
  return results;
}
