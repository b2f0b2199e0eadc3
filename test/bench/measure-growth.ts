import type { EmulatorProcess, Placement } from './emulator-process.ts';
import { startFunction } from './function-process.ts';
import type { FunctionProcess } from './function-process.ts';
import { cordonOnce } from './measure-cordon.ts';
import type { Cordon } from './measure-cordon.ts';
import { median } from './result.ts';
import type { Goal, Result } from './result.ts';

const delayMs = 20;
/** The largest take seconds, and a curve needs fewer digits than a ratio. */
const mostRuns = 3;

/** The nodes of one pool, and the records that are open. */
export const sizes = {
  cordon: [16, 128, 512, 1024, 2304, 5120, 10_240],
  reconcile: [1, 16, 128, 512, 1024, 2304],
};

/** The first of these sizes and this one make the straight line with which the larger ones are compared. */
const lineTo = 1024;

/** Measures how a cordon grows with its pool, in time and memory, and a reconcile with the number of records that are open. */
export async function measureGrowth(
  emulator: EmulatorProcess,
  source: string,
  runs: number,
  progress: (run: number) => void,
): Promise<Result[]> {
  const cordons = new Map<number, Cordon[]>(sizes.cordon.map((nodes) => [nodes, []]));
  for (let run = 0; run < Math.min(runs, mostRuns); run++) {
    progress(run);
    for (const [nodes, measured] of cordons) {
      measured.push(await cordonOnce(emulator, source, { nodes, delayMs }));
    }
  }
  const pick = (read: (cordon: Cordon) => number) =>
    new Map([...cordons].map(([nodes, measured]) => [nodes, median(measured.map((each) => read(each)))]));
  return [
    ...describeCurve(
      pick(({ ms }) => ms),
      {
        name: (nodes) => `growth-cordon-${nodes}`,
        unit: 'ms',
        goal: 'ratio <= 1.1',
        what: (nodes) => `a cordon of ${nodes} nodes, each call delayed by ${delayMs} ms`,
      },
    ),
    ...describeCurve(
      pick(({ mb }) => mb),
      {
        name: (nodes) => `growth-cordon-${nodes}-rss`,
        unit: 'MB',
        goal: 'ratio <= 1.1',
        what: () => 'most memory of the function meanwhile',
      },
    ),
    ...describeCurve(await measureReconciles(emulator, source), {
      name: (records) => `growth-reconcile-${records}`,
      unit: 'ms',
      goal: 'ratio <= 1.1',
      what: (records) => `a reconcile of ${records} open restarts, once, each call delayed by ${delayMs} ms`,
    }),
  ];
}

interface Curve {
  name: (size: number) => string;
  unit: Result['unit'];
  /** What must hold for the largest size. */
  goal: Goal;
  what: (size: number) => string;
}

/** A row for each size, those beyond 1,024 against the straight line from the first one to that. */
export function describeCurve(measured: Map<number, number>, curve: Curve): Result[] {
  const [[first, start] = [0, 0]] = measured;
  const slope = ((measured.get(lineTo) ?? Number.NaN) - start) / (lineTo - first);
  const largest = Math.max(...measured.keys());
  return [...measured].map(([size, value]) => {
    const reference = size > lineTo ? start + slope * (size - first) : null;
    return {
      name: curve.name(size),
      value,
      unit: curve.unit,
      reference,
      ratio: reference === null ? null : value / reference,
      goal: size === largest ? curve.goal : null,
      what: `${curve.what(size)}${reference === null ? '' : `; against the straight line through ${first} and ${lineTo}`}`,
    };
  });
}

/** @returns how long one reconcile took, by the number of restarts that were open */
export async function measureReconciles(
  emulator: EmulatorProcess,
  source: string,
): Promise<Map<number, number>> {
  const slices = Math.max(...sizes.reconcile);
  const environment = {
    // Slices of one node: each restart reads all nodes of the cluster, to see whether there is room.
    ...(await emulator.build({ slices, sliceNodes: 1, delayMs, isOverridden: true })),
    RECOVERY_TIMEOUT_SECONDS: '3600',
  };
  const started = await startFunction({ source, target: 'failover', environment });
  const placements = await emulator.placements();
  const measured = new Map<number, number>();
  let open = 0;
  for (const wanted of sizes.reconcile) {
    await restartAll(started, placements.slice(open, wanted));
    open = wanted;
    const { status, body, ms } = await started.post({}, '/reconcile');
    const [report] = (body['clusters'] ?? []) as { open: number; waiting: string[] }[];
    if (status !== 200 || report?.open !== open || report.waiting.length !== open) {
      throw new Error(`not ${open} open restarts: ${JSON.stringify(body).slice(0, 2000)}`);
    }
    measured.set(open, ms);
  }
  await started.stop();
  return measured;
}

/** So many at a time: more would only wait for the one emulator. */
const atOnce = 16;

async function restartAll(started: FunctionProcess, placements: Placement[]): Promise<void> {
  const left = [...placements];
  const work = async (): Promise<void> => {
    for (let next = left.pop(); next; next = left.pop()) {
      const { status, body } = await started.post({
        requestor: 'bench',
        reason: 'bench',
        type: 'cordon_nodepool_and_restart_jobset',
        node_pool: next.pool,
        jobset_name: next.jobSet,
      });
      if (status !== 200) throw new Error(`the restart failed: ${JSON.stringify(body)}\n${started.output()}`);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
}
