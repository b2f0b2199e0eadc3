import type { EmulatedCluster } from '../emulator/cluster.ts';
import type { Emulator } from '../emulator/emulator.ts';
import { addSystemNamespace, demoCluster } from '../emulator/scenario.ts';
import { addPools, addRun, toStormNodes } from '../fixtures/storm.ts';

/** What fails: a slice of 2,304 nodes with the run on it, beside a free one; or 64 pools of 16 nodes each. */
export type StormKind = 'slice' | 'pools';

export const sliceNodes = 2304;
const slice = { nodes: sliceNodes, topology: '16x24x24' };
const pools = { count: 64, nodes: 16 };

/** The pool whose machines die. */
export const deadPool = 'slice-a';

/**
 * Builds the world in which a storm begins. Its machines have run for a minute, and of the slice they all died 90 s ago.
 *
 * @param setBehind sets how long ago the emulator's clock is
 */
export function createStormWorld(
  emulator: Emulator,
  kind: StormKind,
  setBehind: (ms: number) => void,
): EmulatedCluster {
  setBehind(150_000);
  const cluster = emulator.addCluster({ name: demoCluster });
  addSystemNamespace(cluster);
  if (kind === 'pools') {
    addPools(cluster, pools.count, pools.nodes);
  } else {
    addRun(cluster, slice);
    emulator.settle();
    cluster.addTpuSlice('slice-b', slice);
  }
  emulator.settle();
  setBehind(90_000);
  if (kind === 'slice') for (const { name } of toStormNodes(cluster, deadPool)) cluster.killNode(name);
  emulator.settle();
  setBehind(0);
  emulator.settle();
  return cluster;
}
