import { startBareClient } from './bare-client.ts';
import type { EmulatorProcess, Traffic, WorldSpec } from './emulator-process.ts';
import { startFunction } from './function-process.ts';
import { median } from './result.ts';
import type { Result } from './result.ts';

/** CORDON_CONCURRENCY unless it is set. */
const defaultConcurrency = 64;

/** What one cordon of the pool took. */
export interface Cordon {
  ms: number;
  mb: number;
  traffic: Traffic;
}

/** The most that the largest cordon may take, as a multiple of what the bare client takes. */
const goals: Record<string, number> = { '2304-20': 1.25, '2304-5': 1.5 };

/**
 * Measures cordons of 128, 1,000 and 2,304 nodes with 5, 20 and 100 ms of delay, in turn with a bare client that sends the same
 * patches and nothing else.
 */
export async function measureCordons(
  emulator: EmulatorProcess,
  source: string,
  runs: number,
  progress: (run: number) => void,
): Promise<Result[]> {
  const worlds = [128, 1000, 2304].flatMap((nodes) => [5, 20, 100].map((delayMs) => ({ nodes, delayMs })));
  const samples = worlds.map((world) => ({ world, cordons: [] as Cordon[], bare: [] as number[] }));
  for (let run = 0; run < runs; run++) {
    progress(run);
    for (const { world, cordons, bare } of samples) {
      bare.push(await patchBare(emulator, world));
      cordons.push(await cordonOnce(emulator, source, world));
    }
  }
  return samples.flatMap(({ world: { nodes, delayMs }, cordons, bare }) => {
    const ms = median(cordons.map((cordon) => cordon.ms));
    const reference = median(bare);
    const goal = goals[`${nodes}-${delayMs}`];
    const result: Result = {
      name: `cordon-${nodes}-${delayMs}ms`,
      value: ms,
      unit: 'ms',
      reference,
      ratio: ms / reference,
      goal: goal === undefined ? null : `ratio <= ${goal}`,
      what: `a cordon of ${nodes} nodes, each call delayed by ${delayMs} ms; against a bare client that sends the same patches, ${defaultConcurrency} at a time`,
    };
    return nodes === 2304 && delayMs === 20 ? [result, ...describeLargest(cordons, nodes)] : [result];
  });
}

function describeLargest(measured: Cordon[], nodes: number): Result[] {
  const mb = median(measured.map((cordon) => cordon.mb));
  const connections = Math.max(...measured.map(({ traffic }) => traffic.connections));
  const { otherCalls } = measured[0]?.traffic ?? { otherCalls: [] };
  const calls = otherCalls.length;
  // The list of the schedulable nodes, and one page of each: those that are cordoned already, and the fresh list.
  const pages = Math.ceil(nodes / 500) + 2;
  return [
    {
      name: `cordon-${nodes}-rss`,
      value: mb,
      unit: 'MB',
      reference: null,
      ratio: null,
      goal: 'value <= 130',
      what: 'most memory of the function meanwhile',
    },
    {
      name: `cordon-${nodes}-connections`,
      value: connections,
      unit: 'connections',
      reference: null,
      ratio: null,
      goal: 'value <= 8',
      what: 'TLS connections to the API server',
    },
    {
      name: `cordon-${nodes}-calls`,
      value: calls,
      unit: 'calls',
      reference: 12 + pages,
      ratio: calls / (12 + pages),
      goal: `value <= ${12 + pages}`,
      what: `calls beside the patches, to all APIs; at most 12, and ${pages} pages of lists of nodes, 500 a page`,
    },
  ];
}

/** Measures the largest cordon against one patch at a time. */
export async function measureSequential(
  emulator: EmulatorProcess,
  source: string,
  runs: number,
  progress: (run: number) => void,
): Promise<Result[]> {
  const world = { nodes: 2304, delayMs: 20 };
  const parallel: number[] = [];
  const sequential: number[] = [];
  for (let run = 0; run < runs; run++) {
    progress(run);
    parallel.push((await cordonOnce(emulator, source, world)).ms);
    sequential.push((await cordonOnce(emulator, source, world, { CORDON_CONCURRENCY: '1' })).ms);
  }
  const ms = median(parallel);
  const reference = median(sequential);
  return [
    {
      name: 'cordon-2304-sequential',
      value: ms,
      unit: 'ms',
      reference,
      ratio: reference / ms,
      goal: 'ratio >= 25',
      what: 'the same against one patch at a time: so many times faster',
    },
  ];
}

/** Measures that what is not of the pool, or of no interest, does not show: a second cordon, large nodes, a large cluster. */
export async function measureFootprint(
  emulator: EmulatorProcess,
  source: string,
  runs: number,
  progress: (run: number) => void,
): Promise<Result[]> {
  const alone: Cordon[] = [];
  const surrounded: Cordon[] = [];
  const again: number[] = [];
  for (let run = 0; run < runs; run++) {
    progress(run);
    alone.push(await cordonOnce(emulator, source, { nodes: 128 }));
    surrounded.push(
      await cordonOnce(emulator, source, { nodes: 128, otherNodes: 4872, paddingBytes: 12_000 }),
    );
    again.push(await cordonTwice(emulator, source));
  }
  const mb = median(surrounded.map((cordon) => cordon.mb));
  const reference = median(alone.map((cordon) => cordon.mb));
  return [
    {
      name: 'cordon-again-patches',
      value: Math.max(...again),
      unit: 'calls',
      reference: null,
      ratio: null,
      goal: 'value <= 0',
      what: 'patches sent for a pool that is cordoned already',
    },
    {
      name: 'cordon-128-of-5000-rss',
      value: mb,
      unit: 'MB',
      reference,
      ratio: mb / reference,
      goal: 'ratio <= 1.1',
      what: 'most memory for 128 nodes of 12 KB each in a cluster of 5,000; against 128 small nodes alone',
    },
  ];
}

export async function cordonOnce(
  emulator: EmulatorProcess,
  source: string,
  world: WorldSpec,
  settings: Record<string, string> = {},
): Promise<Cordon> {
  const environment = { ...(await emulator.build(world)), ...settings };
  const started = await startFunction({ source, target: 'failover', environment });
  const { ms, status, body } = await started.post(action);
  const mb = started.peakRssMb();
  await started.stop();
  const traffic = await emulator.report();
  if (status !== 200 || traffic.schedulable > 0 || traffic.patches !== world.nodes) {
    throw new Error(`the pool is not cordoned: ${JSON.stringify({ body, traffic })}\n${started.output()}`);
  }
  return { ms, mb, traffic };
}

/** @returns how long the bare client took for the patches of such a cordon */
async function patchBare(emulator: EmulatorProcess, world: WorldSpec): Promise<number> {
  const bare = await startBareClient(await emulator.build(world));
  const { ms } = await bare.patchAll(defaultConcurrency);
  bare.stop();
  const { schedulable, patches } = await emulator.report();
  if (schedulable > 0 || patches !== world.nodes) {
    throw new Error(`the bare client has patched ${patches} nodes and left ${schedulable}`);
  }
  return ms;
}

/** @returns how many patches the second time sent */
async function cordonTwice(emulator: EmulatorProcess, source: string): Promise<number> {
  const environment = await emulator.build({ nodes: 128 });
  const started = await startFunction({ source, target: 'failover', environment });
  await started.post(action);
  const first = await emulator.report();
  const { status, body } = await started.post(action);
  await started.stop();
  const both = await emulator.report();
  if (status !== 200 || first.patches !== 128) {
    throw new Error(`the second cordon failed: ${JSON.stringify(body)}`);
  }
  return both.patches - first.patches;
}

/** Without an id: each one sent is another action. */
const action = { requestor: 'bench', reason: 'bench', type: 'cordon_nodepool', node_pool: 'slice-a' };
