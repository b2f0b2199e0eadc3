import { expect } from 'chai';
import { parseQuantity } from './quantity.ts';
import { createTestWorld, poolOf } from './test-world.ts';
import type { TestWorld } from './test-world.ts';
import type { JobSetOptions } from './world.ts';

const domain = 'alpha.jobset.sigs.k8s.io';

describe('the emulated scheduler', () => {
  it('asks for each resource that a pod requests, cpu and memory included', () => {
    const world = createTestWorld();
    world.cluster.addPool('cpu', { nodes: 1 });
    const run = (name: string, resources: Record<string, number>) =>
      addJobSet(world, { name, replicatedJobs: [{ name: 'w', resources }] });
    run('fits', { cpu: 3, memory: 1e9 });
    run('too-much-cpu', { cpu: 2 });
    run('too-much-memory', { memory: 17e9 });
    run('no-such-device', { 'example.com/device': 1 });
    expect(placed(world)).to.deep.equal({
      'fits-w-0': 'cpu',
      'too-much-cpu-w-0': undefined,
      'too-much-memory-w-0': undefined,
      'no-such-device-w-0': undefined,
    });
  });

  it('reads quantities as Kubernetes writes them', () => {
    const quantities = ['4', '250m', '16393244Ki', '1e3', '2E', '1.5Gi', 8];
    expect(quantities.map(parseQuantity)).to.deep.equal([
      4,
      0.25,
      16393244 * 1024,
      1000,
      2e18,
      1610612736,
      8,
    ]);
    expect(() => parseQuantity('4 chips')).to.throw('not a quantity');
  });
});

describe('the node-selector strategy of exclusive placement', () => {
  const labelled = (job: string) => ({
    topology: '2x4',
    labels: { [`${domain}/namespaced-job`]: `default_${job}` },
    taints: [{ key: `${domain}/no-schedule`, value: 'true', effect: 'NoSchedule' as const }],
  });

  it('places each Job on the nodes that are labelled for it, again after a restart', () => {
    const world = createTestWorld();
    world.cluster.addTpuSlice('slice-a', labelled('t-w-1'));
    world.cluster.addTpuSlice('slice-b', labelled('t-w-0'));
    world.cluster.addTpuSlice('slice-c', { topology: '2x4' });
    addJobSet(world, {
      name: 't',
      exclusiveTopology: 'cloud.google.com/gke-nodepool',
      annotations: { [`${domain}/node-selector`]: 'true' },
      replicatedJobs: [{ name: 'w', replicas: 2, parallelism: 2, backoffLimit: 0 }],
    });
    expect(placed(world)).to.deep.equal({ 't-w-0': 'slice-b', 't-w-1': 'slice-a' });
    for (const { metadata } of world.cluster.nodes('slice-b')) {
      world.cluster.cordonAs('kubectl', metadata.name, true);
    }
    const [pod] = world.cluster.pods();
    world.cluster.finishPod('default', pod?.metadata.name ?? '', 'Failed');
    world.advance(60);
    expect(placed(world)).to.deep.equal({ 't-w-0': undefined, 't-w-1': 'slice-a' });
  });
});

function addJobSet(world: TestWorld, options: JobSetOptions): void {
  world.cluster.addJobSet(options);
  world.emulator.settle();
}

/** The pool that each Job's pods are on; undefined where they wait. */
function placed({ cluster }: TestWorld): Record<string, string | undefined> {
  return Object.fromEntries(
    cluster
      .pods()
      .map((pod) => [pod.metadata.labels?.['batch.kubernetes.io/job-name'] ?? '', poolOf(cluster, pod)]),
  );
}
