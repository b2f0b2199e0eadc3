import type { EmulatedCluster } from './cluster.ts';
import type { Emulator } from './emulator.ts';

export const demoCluster = 'projects/demo-project/locations/us-central1/clusters/demo';

export interface DemoOptions {
  /** Adds a third slice, which is free. */
  hasSliceC?: boolean;
  /** Adds two GPU machines of a reservation, whose hosts can be reported as faulty. */
  hasGpuPool?: boolean;
  paddingBytes?: number;
  /** From an accepted deletion until the machines are back, 120. */
  repairDelaySeconds?: number;
}

/** How soon a deleted machine has stopped, and is back; nothing where the pool's usual times hold. */
export function toRepairTimes({ repairDelaySeconds }: { repairDelaySeconds?: number }): {
  repairDelaySeconds?: number;
  stopSeconds?: number;
} {
  return repairDelaySeconds === undefined ? {} : { repairDelaySeconds, stopSeconds: repairDelaySeconds / 2 };
}

/**
 * Builds the world of the demo: two TPU v6e slices of 16 machines, a CPU pool, and the JobSet `default/train`, which
 * runs on slice-a and may move to slice-b.
 */
export function createDemoWorld(emulator: Emulator, options: DemoOptions = {}): EmulatedCluster {
  const cluster = emulator.addCluster({ name: demoCluster });
  addSystemNamespace(cluster);
  const padding = {
    ...(options.paddingBytes === undefined ? {} : { paddingBytes: options.paddingBytes }),
    ...toRepairTimes(options),
  };
  cluster.addTpuSlice('slice-a', padding);
  cluster.addTpuSlice('slice-b', padding);
  if (options.hasSliceC) cluster.addTpuSlice('slice-c', padding);
  cluster.addPool('default-pool', padding);
  if (options.hasGpuPool) {
    const labels = { 'cloud.google.com/reservation-name': 'gpus' };
    cluster.addPool('gpu-a', { ...padding, gpu: true, labels });
  }
  cluster.addJobSet({
    name: 'train',
    exclusiveTopology: 'cloud.google.com/gke-nodepool',
    failurePolicy: { maxRestarts: 3 },
    replicatedJobs: [
      {
        name: 'workers',
        replicas: 1,
        parallelism: 16,
        backoffLimit: 0,
        nodeSelector: {
          'cloud.google.com/gke-tpu-accelerator': 'tpu-v6e-slice',
          'cloud.google.com/gke-tpu-topology': '8x8',
        },
      },
    ],
  });
  emulator.settle();
  return cluster;
}

/** Adds what a deployment creates in a cluster: the namespace of the Leases, and the Lease that people annotate. */
export function addSystemNamespace(cluster: EmulatedCluster): void {
  cluster.addNamespace('autometric-failover-system');
  const lease = {
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: { name: 'cluster', namespace: 'autometric-failover-system' },
    spec: {},
  };
  const path = '/apis/coordination.k8s.io/v1/namespaces/autometric-failover-system/leases';
  const { status, body } = cluster.ask('POST', path, lease);
  if (status !== 201) throw new Error(`the Lease "cluster" was not created: ${JSON.stringify(body)}`);
}
