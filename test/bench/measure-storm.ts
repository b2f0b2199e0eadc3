import { setTimeout as sleep } from 'node:timers/promises';
import { logRules } from '../fixtures/log-entry.ts';
import { moduleDefaults } from '../fixtures/module-defaults.ts';
import { toPush } from '../fixtures/notification.ts';
import { PushQueue } from '../fixtures/push-queue.ts';
import type { PushedMessage } from '../fixtures/push-queue.ts';
import { toEntriesStorm, toPoolsStorm, toSliceStorm } from '../fixtures/storm.ts';
import type { StormMessage, StormNode } from '../fixtures/storm.ts';
import type { EmulatorProcess, StormReport } from './emulator-process.ts';
import { startFunction } from './function-process.ts';
import type { FunctionProcess } from './function-process.ts';
import type { Measure } from './measure-reconcile.ts';
import type { Result } from './result.ts';
import { deadPool, sliceNodes } from './storm-world.ts';
import type { StormKind } from './storm-world.ts';

/** How long the subscription waits for an answer (terraform/alerts.tf). */
const ackDeadlineMs = 600_000;
/** The controllers take most of a core in a world of thousands of nodes and pods. */
const reconcileEveryMs = 1000;
/** A storm that takes longer than this never ends. */
const mostMs = 900_000;
const entries = 10_000;

interface Storm {
  kind: StormKind;
  environment?: Record<string, string>;
  toMessages: (nodes: StormNode[], startedAt: number) => StormMessage[];
}

interface Weathered extends StormReport {
  messages: PushedMessage[];
  startedAt: number;
  /** When the last message was acknowledged. */
  endedAt: number;
  /** The most memory of any instance. */
  mb: number;
}

type MeasureOne = (emulator: EmulatorProcess, source: string) => Promise<Result[]>;

/**
 * Measures storms of what Pub/Sub pushes, from a cold start: as many instances as the module allows, each with as many requests
 * at a time as the module says, start when the first messages come. Each is measured once, because each is a whole storm.
 */
export const measureStorm: Measure = async (emulator, source, _runs, progress) => {
  const results: Result[] = [];
  for (const [index, measure] of [measureSliceStorm, measurePoolsStorm, measureEntriesStorm].entries()) {
    progress(index);
    results.push(...(await measure(emulator, source)));
  }
  return results;
};

/** Every node of a slice of 2,304 alerts. */
export const measureSliceStorm: MeasureOne = async (emulator, source) => {
  const toMessages = (nodes: StormNode[], startedAt: number) => toSliceStorm(ofDeadPool(nodes), startedAt);
  const weathered = await weather(emulator, source, { kind: 'slice', toMessages });
  assertOnceEach(weathered);
  return describe(weathered, { name: 'slice', each: 'a notification', mostCalls: 6, mostSeconds: 60 });
};

/** Every node of 64 pools alerts, of which the budget lets two be acted on. */
export const measurePoolsStorm: MeasureOne = async (emulator, source) => {
  const toMessages = (nodes: StormNode[], startedAt: number) =>
    toPoolsStorm(nodes, startedAt, 'cordon_and_repair_nodepool');
  const weathered = await weather(emulator, source, { kind: 'pools', toMessages });
  const { cordonedPools } = weathered;
  if (cordonedPools !== 2) throw new Error(`${cordonedPools} pools are cordoned, and the budget is 2`);
  return describe(weathered, { name: 'pools', each: 'an alert', mostCalls: 4, mostSeconds: 60 });
};

/** A log sink sends 10,000 entries about the machines of a slice at once. */
export const measureEntriesStorm: MeasureOne = async (emulator, source) => {
  const toMessages = (nodes: StormNode[], startedAt: number) =>
    toEntriesStorm(ofDeadPool(nodes), startedAt, entries);
  const environment = { LOG_RULES: JSON.stringify(logRules) };
  const weathered = await weather(emulator, source, { kind: 'slice', environment, toMessages });
  assertOnceEach(weathered);
  return describe(weathered, { name: 'entries', each: 'an entry', mostCalls: 4, mostSeconds: 300 });
};

function ofDeadPool(nodes: StormNode[]): StormNode[] {
  return nodes.filter(({ pool }) => pool === deadPool);
}

/** Publishes what a storm tells, and waits until each message is acknowledged. */
async function weather(
  emulator: EmulatorProcess,
  source: string,
  { kind, environment = {}, toMessages }: Storm,
): Promise<Weathered> {
  const world = await emulator.build({ storm: kind, reconcileEveryMs });
  const nodes = await emulator.nodes();
  const instances = new Map<number, Promise<FunctionProcess>>();
  // In its container an instance has half of the memory for its heap. Without it, V8 lets garbage grow with the machine's memory.
  const heap = {
    NODE_OPTIONS: `${moduleDefaults.nodeOptions} --max-heap-size=${moduleDefaults.memoryMb / 2}`,
  };
  const start = () =>
    startFunction({ source, target: 'failover', environment: { ...world, ...environment, ...heap } });
  const queue = new PushQueue({
    ...moduleDefaults,
    now: Date.now,
    after: (ms, run) => void setTimeout(run, ms).unref(),
    deliver: async (index, { payload, ...message }) => {
      const starting = instances.get(index) ?? start();
      instances.set(index, starting);
      const { url } = await starting;
      return push(`${url}/alerts`, toPush(payload, message));
    },
  });
  const startedAt = Date.now();
  const storm = toMessages(nodes, startedAt);
  for (const { atMs, payload } of storm) setTimeout(() => queue.publish(payload), atMs).unref();
  while (queue.messages.length < storm.length || !queue.isDone) {
    if (Date.now() - startedAt > mostMs) throw new Error(`the storm has not ended after ${mostMs} ms`);
    await sleep(100);
  }
  const all = await Promise.all(instances.values());
  const mb = Math.max(...all.map((instance) => instance.peakRssMb()));
  await Promise.all(all.map((instance) => instance.stop()));
  const dead = queue.messages.filter(({ acknowledgedAt }) => acknowledgedAt === undefined);
  if (dead.length > 0) throw new Error(`${dead.length} messages were never acknowledged`);
  const endedAt = Math.max(...queue.messages.map(({ acknowledgedAt = 0 }) => acknowledgedAt));
  return { ...(await emulator.tallyStorm()), messages: queue.messages, startedAt, endedAt, mb };
}

/** @returns the status, or 504 where the answer takes too long */
async function push(url: string, body: unknown): Promise<number> {
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(ackDeadlineMs),
    });
    await response.arrayBuffer();
    return response.status;
  } catch {
    return 504;
  }
}

/** One cordon of the slice, one restart and one repair. */
function assertOnceEach({ effects, restarts }: Weathered): void {
  const { 'PATCH nodes': cordons, 'DELETE instances': repairs } = effects;
  if (cordons === sliceNodes && repairs === 1 && restarts === 1) return;
  throw new Error(`not one cordon, one restart and one repair: ${JSON.stringify({ effects, restarts })}`);
}

function describe(
  { calls, mostInASecond, messages, repairedAt, startedAt, endedAt, mb }: Weathered,
  goals: { name: string; each: string; mostCalls: number; mostSeconds: number },
): Result[] {
  const { name, each, mostCalls, mostSeconds } = goals;
  const deliveries = messages.reduce((sum, { received }) => sum + received, 0);
  const toRow = (suffix: string, row: Pick<Result, 'value' | 'unit' | 'what'>, most: number): Result => ({
    name: `storm-${name}-${suffix}`,
    value: row.value,
    unit: row.unit,
    reference: null,
    ratio: null,
    goal: `value <= ${most}`,
    what: row.what,
  });
  const count = (number: number) => number.toLocaleString('en');
  const lasted = Math.round((endedAt - startedAt) / 1000);
  return [
    toRow(
      'calls',
      {
        value: calls / messages.length,
        unit: 'calls',
        what: `calls to all APIs for ${each}, of ${count(messages.length)} that reached an instance ${count(deliveries)} times`,
      },
      mostCalls,
    ),
    toRow(
      'second',
      {
        value: mostInASecond,
        unit: 'calls',
        what: 'the most calls to the API server in any second, without the patches of nodes and the deletions of pods',
      },
      200,
    ),
    toRow(
      'answered',
      {
        value: endedAt - (repairedAt ?? startedAt),
        unit: 'ms',
        what: `from the acceptance of the repair until all were acknowledged, ${lasted} s after the storm began`,
      },
      mostSeconds * 1000,
    ),
    toRow('rss', { value: mb, unit: 'MB', what: 'most memory of any instance meanwhile' }, 256),
  ];
}
