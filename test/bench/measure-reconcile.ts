import { createNotification } from '../fixtures/notification.ts';
import type { EmulatorProcess } from './emulator-process.ts';
import { startFunction } from './function-process.ts';
import type { FunctionProcess } from './function-process.ts';
import { median, quantile } from './result.ts';
import type { Result } from './result.ts';

/** A group of the bench. */
export type Measure = (
  emulator: EmulatorProcess,
  source: string,
  runs: number,
  progress: (run: number) => void,
) => Promise<Result[]>;

const delayMs = 20;
const warmUps = 5;
const settledRecords = 1000;
const openRestarts = 100;

const asked = { requestor: 'bench', reason: 'bench' };

async function expectDone(started: FunctionProcess, body: unknown, path?: string): Promise<number> {
  const answer = await started.post(body, path);
  if (answer.status === 200 && !('ignored' in answer.body)) return answer.ms;
  throw new Error(`not done: ${JSON.stringify(answer.body)}\n${started.output()}`);
}

/** Measures the call that Cloud Scheduler makes each minute: of an idle cluster, and of one with many open restarts. */
export const measureReconcile: Measure = async (emulator, source, runs, progress) => [
  ...(await measureIdle(emulator, source, runs, progress)),
  ...(await measureOpen(emulator, source)),
];

const measureIdle: Measure = async (emulator, source, runs, progress) => {
  const environment = await emulator.build({ delayMs });
  const started = await startFunction({ source, target: 'failover', environment });
  await expectDone(started, { ...asked, type: 'cordon_nodepool', node_pool: 'slice-a' });
  await emulator.copyRecord(settledRecords - 1);
  for (let run = 0; run < warmUps; run++) await expectDone(started, {}, '/reconcile');
  // With this number of measurements, one is beyond p99.
  const count = Math.max(runs, 100);
  const times: number[] = [];
  const before = await emulator.report();
  const cpuBefore = started.cpuMs();
  for (let run = 0; run < count; run++) {
    progress(run);
    times.push(await expectDone(started, {}, '/reconcile'));
  }
  const cpuMs = (started.cpuMs() - cpuBefore) / count;
  const calls = ((await emulator.report()).requests - before.requests) / count;
  await started.stop();
  const what = `a warm reconcile of a cluster with ${settledRecords.toLocaleString('en')} settled records and nothing open`;
  const describe = (suffix: string, share: number): Result => ({
    name: `reconcile-idle${suffix}`,
    value: quantile(times, share),
    unit: 'ms',
    reference: null,
    ratio: null,
    goal: 'value <= 300',
    what: `${what}, each call delayed by ${delayMs} ms: ${suffix === '' ? 'half' : '99 %'} take at most this`,
  });
  return [
    describe('', 0.5),
    describe('-p99', 0.99),
    {
      name: 'reconcile-idle-cpu',
      value: cpuMs,
      unit: 'ms',
      reference: null,
      ratio: null,
      goal: null,
      what: 'the CPU time of each of these, of the whole process',
    },
    {
      name: 'reconcile-idle-calls',
      value: calls,
      unit: 'calls',
      reference: null,
      ratio: null,
      goal: 'value <= 1',
      what: 'calls of each of these, to all APIs',
    },
  ];
};

async function measureOpen(emulator: EmulatorProcess, source: string): Promise<Result[]> {
  const environment = {
    ...(await emulator.build({ slices: openRestarts })),
    MAX_POOLS_PER_HOUR: '1000',
  };
  const started = await startFunction({ source, target: 'failover', environment });
  for (const { pool, jobSet } of await emulator.placements()) {
    const type = 'cordon_nodepool_and_restart_jobset';
    await expectDone(started, { ...asked, type, node_pool: pool, jobset_name: jobSet });
  }
  const before = await emulator.report();
  const { status, body, ms } = await started.post({}, '/reconcile');
  const after = await emulator.report();
  await started.stop();
  const [report] = (body['clusters'] ?? []) as { open: number; waiting: string[] }[];
  if (status !== 200 || report?.open !== openRestarts || report.waiting.length !== openRestarts) {
    throw new Error(`not ${openRestarts} open restarts: ${JSON.stringify(body)}`);
  }
  const ofRestarts = after.otherCalls
    .slice(before.otherCalls.length)
    .filter((call) => !call.endsWith('/leases'));
  return [
    {
      name: 'reconcile-open-calls',
      value: ofRestarts.length / openRestarts,
      unit: 'calls',
      reference: null,
      ratio: null,
      goal: 'value <= 3',
      what: `calls for each of ${openRestarts} open restarts in one reconcile, beside its one list of what is open`,
    },
    {
      name: 'reconcile-open',
      value: ms,
      unit: 'ms',
      reference: null,
      ratio: null,
      goal: null,
      what: 'that reconcile as a whole, once, without delay',
    },
  ];
}

/**
 * Measures how long after an alert its first cordon reaches the API server: where the alert starts an instance, and where
 * it finds one that has served reconciles only, as a call a minute leaves it.
 */
export const measureFirstCordon: Measure = async (emulator, source, runs, progress) => {
  const cold: number[] = [];
  const warm: number[] = [];
  for (let run = 0; run < runs; run++) {
    progress(run);
    for (const isWarm of [false, true]) {
      const environment = await emulator.build({ delayMs });
      let startedAt = Date.now();
      const started = await startFunction({ source, target: 'failover', environment });
      if (isWarm) {
        for (let call = 0; call < warmUps; call++) await expectDone(started, {}, '/reconcile');
        startedAt = Date.now();
      }
      const notification = createNotification({
        startedAt: Date.now(),
        type: 'k8s_node_pool',
        resource: { node_pool_name: 'slice-a' },
      });
      await expectDone(started, notification, '/alerts');
      await started.stop();
      const { firstPatchAt } = await emulator.report();
      if (firstPatchAt === null) throw new Error('nothing was cordoned');
      (isWarm ? warm : cold).push(firstPatchAt - startedAt);
    }
  }
  const reference = median(cold);
  const value = median(warm);
  return [
    {
      name: 'alert-first-cordon',
      value,
      unit: 'ms',
      reference,
      ratio: value / reference,
      goal: null,
      what: `an alert → its first cordon arrives, on an instance that has served reconciles; against a spawn for the alert. Each call is delayed by ${delayMs} ms`,
    },
  ];
};
