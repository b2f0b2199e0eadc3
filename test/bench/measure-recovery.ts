import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { ControlPlaneUnavailable } from '../control-plane/build-programs.ts';
import type { ControlPlane } from '../control-plane/capabilities.ts';
import { startControlPlane } from '../control-plane/control-plane.ts';
import { createFailoverRig } from '../control-plane/failover-rig.ts';
import type { EmulatorProcess } from './emulator-process.ts';
import { startFunction } from './function-process.ts';
import { RecoveryRun } from './recovery-run.ts';
import type { RecoverySpec, Way } from './recovery-run.ts';
import { median } from './result.ts';
import type { Result } from './result.ts';

/** More take too long: every run needs a JobSet of 16 pods on a slice of its own. */
const mostRounds = 5;

interface Row extends RecoverySpec {
  name: string;
  /** By hand, with `kubectl cordon -l` and `kubectl delete pod`, the run comes back, too. */
  isBackByHand: boolean;
}

const rows: Row[] = [0, 6].flatMap((backoffLimit) =>
  [false, true].flatMap((hasDeadFollower) => [
    ...[0, 20].map((podSeconds) => toRow({ backoffLimit, hasDeadFollower, podSeconds })),
    toRow({ backoffLimit, hasDeadFollower, podSeconds: 30, graceSeconds: 0 }),
  ]),
);

function toRow(spec: RecoverySpec): Row {
  const { backoffLimit, hasDeadFollower, podSeconds, graceSeconds } = spec;
  const parts = [`backoff-${backoffLimit}`, ...(hasDeadFollower ? ['dead'] : []), `pods-${podSeconds}`];
  const name = ['recovery', ...parts, ...(graceSeconds === undefined ? [] : [`grace-${graceSeconds}`])].join(
    '-',
  );
  // A Job with retries replaces the pod that is deleted, and a dead kubelet never ends one.
  const isBackByHand = backoffLimit === 0 && !hasDeadFollower && graceSeconds === undefined;
  return { ...spec, name, isBackByHand };
}

/** The only one that is also measured by each of the function's two triggers, sent by hand. */
const plainRow = rows[0]!;

/**
 * Measures on the real control plane how long a run is away: from the request until all 16 pods of the next attempt run on
 * another slice. It is compared with the JobSet controller's own limit: the pool is cordoned before, and at the moment of the
 * request the Job is told to fail by hand. Says that it is not measured where no control plane can be built.
 */
export async function measureRecovery(
  _emulator: EmulatorProcess,
  source: string,
  runs: number,
  progress: (run: number) => void,
): Promise<Result[]> {
  let controlPlane: ControlPlane;
  try {
    controlPlane = await startControlPlane();
  } catch (error) {
    if (!(error instanceof ControlPlaneUnavailable)) throw error;
    console.error(`recovery: not measured, because ${error.message}`);
    return [];
  }
  if (await lacksKubectl()) {
    await controlPlane.stop();
    console.error('recovery: not measured, because kubectl is not installed');
    return [];
  }
  const rig = await createFailoverRig(controlPlane);
  const started = await startFunction({
    source,
    target: 'failover',
    environment: { ...rig.environment, MAX_POOLS_PER_HOUR: '1000' },
  });
  try {
    const rounds = Math.min(runs, mostRounds);
    const times = new Map<string, number[]>();
    let count = 0;
    const measure = async (row: Row, way: Way): Promise<void> => {
      const run = await RecoveryRun.begin(row, controlPlane, `r${count++}`);
      progress(count);
      const seconds = await run.recover(way, started);
      const key = `${row.name} ${way}`;
      times.set(key, [...(times.get(key) ?? []), seconds]);
      await run.remove();
    };
    const waysOf = (row: Row): Way[] => [
      'function',
      'limit',
      ...(row.isBackByHand ? ['kubectl' as const] : []),
      ...(row === plainRow ? (['leader', 'deadline'] as const) : []),
    ];
    await measure({ ...plainRow, name: 'warm-up' }, 'function');
    // One after the other: beside one another, what one run sets up delays the recovery of the next by seconds.
    for (let round = 0; round < rounds; round++) {
      for (const row of rows) {
        for (const way of waysOf(row)) await measure(row, way);
      }
    }
    return [...rows.map((row) => toResult(row, times)), compareTriggers(times)];
  } finally {
    await started.stop();
    await rig.stop();
    await controlPlane.stop();
  }
}

async function lacksKubectl(): Promise<boolean> {
  return promisify(execFile)('kubectl', ['version', '--client']).then(
    () => false,
    () => true,
  );
}

function toMilliseconds(times: Map<string, number[]>, row: Row, way: Way): number {
  return median(times.get(`${row.name} ${way}`) ?? []) * 1000;
}

function compareTriggers(times: Map<string, number[]>): Result {
  const value = toMilliseconds(times, plainRow, 'leader');
  const reference = toMilliseconds(times, plainRow, 'deadline');
  return {
    name: 'recovery-leader-or-deadline',
    value,
    unit: 'ms',
    reference,
    ratio: value / reference,
    goal: null,
    what:
      'from the deletion of the leader by hand until 16 pods run on another slice; backoffLimit 0, the pool cordoned before, ' +
      'pods that take 0 s to end; against the patch of the Job’s deadline by hand',
  };
}

function toResult(row: Row, times: Map<string, number[]>): Result {
  const of = (way: Way) => toMilliseconds(times, row, way);
  const [value, reference] = [of('function'), of('limit')];
  const { backoffLimit, hasDeadFollower, podSeconds, graceSeconds } = row;
  const pods =
    graceSeconds === undefined
      ? `pods that take ${podSeconds} s to end`
      : `pods that would take ${podSeconds} s to end, and restart_grace_seconds ${graceSeconds}`;
  const freed = hasDeadFollower ? ' and its dead pod deleted' : '';
  const hurried = graceSeconds === undefined ? '' : `, and its pods deleted with grace ${graceSeconds}`;
  const kubectl = row.isBackByHand
    ? `${(of('kubectl') / 1000).toFixed(1)} s with kubectl cordon -l and kubectl delete pod`
    : 'with kubectl cordon -l and kubectl delete pod of the leader it takes the pods’ own time, or for ever';
  return {
    name: row.name,
    value,
    unit: 'ms',
    reference,
    ratio: value / reference,
    goal: 'ratio <= 1.1',
    what:
      `from the request until 16 pods run on another slice; backoffLimit ${backoffLimit}, ` +
      `${hasDeadFollower ? 'a follower’s machine dead for two minutes, ' : ''}${pods}; ` +
      `against a pool cordoned before, and the Job failed by hand${freed}${hurried}; ${kubectl}`,
  };
}
