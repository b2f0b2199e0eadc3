/** A JobSet with slices of its own, on which nothing else runs: what the promises call the world. There are several at once. */
import type { FailoverRig } from './failover-rig.ts';

export interface Lane {
  name: string;
  jobSet: string;
  pools: string[];
}

export const nodesPerPool = 2;

export function nameLanes(count: number): Lane[] {
  return Array.from({ length: count }, (_, index) => ({
    name: `lane-${index}`,
    jobSet: `train-${index}`,
    pools: [`slice-${index}a`, `slice-${index}b`],
  }));
}

/** JobSets of different kinds, each with one slice to run on and another one to move to. */
export async function buildLanes(rig: FailoverRig, lanes: Lane[]): Promise<void> {
  for (const [index, { jobSet, pools }] of lanes.entries()) {
    const [first = '', second = ''] = pools;
    const accelerator = `tpu-v6e-slice-${index}`;
    await rig.world.addTpuSlice(first, { nodes: nodesPerPool, accelerator });
    await rig.world.addJobSet({
      name: jobSet,
      parallelism: nodesPerPool,
      accelerator,
      failurePolicy: { maxRestarts: 1000 },
      // The leader's deletion ends the one, the deadline of its Job the other.
      ...(index % 3 === 2 && { backoffLimit: null }),
    });
    await rig.allRunOn(jobSet, first, nodesPerPool);
    await rig.world.addTpuSlice(second, { nodes: nodesPerPool, accelerator });
  }
}

/** One of them. */
export function choose<T>(all: readonly T[], random: () => number): T | undefined {
  return all[Math.floor(random() * all.length)];
}
