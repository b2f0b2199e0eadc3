import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { StormNode, StormTally } from '../fixtures/storm.ts';
import type { StormKind } from './storm-world.ts';

/** A world to measure in: with neither `nodes` nor `slices`, the one of the demo. */
export interface WorldSpec {
  /** Machines of one slice, `slice-a`, with nothing running. */
  nodes?: number;
  /** The world of a storm, in place of all that follows but `delayMs` and `reconcileEveryMs`. */
  storm?: StormKind;
  /** The number of slices, each with its own running JobSet. */
  slices?: number;
  /** Machines of each of them, 16 unless given. */
  sliceNodes?: number;
  /** How soon a slice's machines are back after a repair, in seconds; 120 unless given. */
  repairDelaySeconds?: number;
  /** Slices more, with nothing running. */
  spareSlices?: number;
  /** A person has lifted the budget. */
  isOverridden?: boolean;
  /** How often the controllers run; never unless given. */
  reconcileEveryMs?: number;
  /** Machines of the cluster that are in another pool. */
  otherNodes?: number;
  /** Records of actions that are settled. */
  records?: number;
  /** Bytes that are added to each Node object. */
  paddingBytes?: number;
  /** How long each answer takes. */
  delayMs?: number;
  /** The share of the patches that get 429. */
  throttled?: { share: number; retryAfterSeconds: number };
}

/** What has reached the emulator since its world was built. */
export interface Traffic {
  requests: number;
  /** Patches of nodes that did not get 429. */
  patches: number;
  /** How often the patch of one node got 429, at most. */
  mostThrottled: number;
  /** All requests but the patches, as `API METHOD path`. */
  otherCalls: string[];
  /** TLS connections to the Kubernetes API. */
  connections: number;
  /** Nodes of `slice-a` that the scheduler may still use. */
  schedulable: number;
  /** When the first patch of a node arrived, in ms since the epoch; null before that. */
  firstPatchAt: number | null;
}

/** Where a JobSet runs. */
export interface Placement {
  jobSet: string;
  pool: string;
}

/** What a storm has cost, and what came of it. */
export interface StormReport extends StormTally {
  /** Restarts that JobSet counts. */
  restarts: number;
  /** Pools with a node that is cordoned. */
  cordonedPools: number;
}

/** What the emulator's process is asked. */
export type Question =
  | { ask: 'build'; spec: WorldSpec }
  | { ask: 'report' }
  | { ask: 'reconcile' }
  | { ask: 'placements' }
  | { ask: 'nodes' }
  | { ask: 'storm' }
  | { ask: 'copy-record'; count: number }
  | { ask: 'forget'; keptRecords: number }
  | { ask: 'round-trips'; since: number; delayMs: number };

/** An emulator in a process of its own. */
export interface EmulatorProcess {
  /** Builds a new world in place of the one before. @returns the environment that points a function at it */
  build(spec: WorldSpec): Promise<Record<string, string>>;
  report(): Promise<Traffic>;
  /** Lets come to pass what is due by now, such as machines that come back. */
  reconcile(): Promise<void>;
  placements(): Promise<Placement[]>;
  nodes(): Promise<StormNode[]>;
  /** What a storm has cost so far. */
  tallyStorm(): Promise<StormReport>;
  /** Adds so many records like the one of the first action. */
  copyRecord(count: number): Promise<void>;
  /** Drops the requests so far, and all records of settled actions but so many. */
  forget(keptRecords: number): Promise<void>;
  /** How many requests, from this number on, followed one another. */
  countRoundTrips(since: number, delayMs: number): Promise<number>;
  stop(): void;
}

/** Starts the emulator's process, which ends with this one. */
export async function startEmulatorProcess(): Promise<EmulatorProcess> {
  const child = fork(join(import.meta.dirname, 'emulator-child.ts'), {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  let ended: Error | undefined;
  /** Who waits, in the order of the questions, which is that of the answers. */
  const waiting: { resolve: (answer: unknown) => void; reject: (error: Error) => void }[] = [];
  child.on('message', (answer) => waiting.shift()?.resolve(answer));
  child.on('exit', (code) => {
    ended = new Error(`the emulator ended with ${code}; its output says why`);
    for (const { reject } of waiting.splice(0)) reject(ended);
  });
  await once(child, 'spawn');
  const ask = (question: Question): Promise<unknown> =>
    new Promise((resolve, reject) => {
      if (ended) return reject(ended);
      waiting.push({ resolve, reject });
      return child.send(question);
    });
  return {
    build: async (spec) => (await ask({ ask: 'build', spec })) as Record<string, string>,
    report: async () => (await ask({ ask: 'report' })) as Traffic,
    reconcile: async () => void (await ask({ ask: 'reconcile' })),
    placements: async () => (await ask({ ask: 'placements' })) as Placement[],
    nodes: async () => (await ask({ ask: 'nodes' })) as StormNode[],
    tallyStorm: async () => (await ask({ ask: 'storm' })) as StormReport,
    copyRecord: async (count) => void (await ask({ ask: 'copy-record', count })),
    forget: async (keptRecords) => void (await ask({ ask: 'forget', keptRecords })),
    countRoundTrips: async (since, delayMs) => (await ask({ ask: 'round-trips', since, delayMs })) as number,
    stop: () => child.disconnect(),
  };
}
