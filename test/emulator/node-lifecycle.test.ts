import { expect } from 'chai';
import { findCondition } from './objects.ts';
import type { Node } from './objects.ts';
import { createTestWorld, indexOf, poolOf } from './test-world.ts';
import type { TestWorld } from './test-world.ts';

describe('manageNodes', () => {
  it('notices a dead machine: its node is Unknown from now on and tainted, its pods are not ready', () => {
    const { world, node } = startRun();
    world.advance(100);
    world.cluster.killNode(node);
    const { spec, status } = read(world, node);
    expect(findCondition(status.conditions, 'Ready')).to.include({
      status: 'Unknown',
      reason: 'NodeStatusUnknown',
      lastTransitionTime: '2026-01-01T00:01:40Z',
    });
    expect(
      spec.taints?.filter(({ key }) => key.endsWith('unreachable')).map(({ effect }) => effect),
    ).to.deep.equal(['NoSchedule', 'NoExecute']);
    const [pod] = world.cluster.pods().filter((each) => each.spec.nodeName === node);
    expect(findCondition(pod?.status.conditions, 'Ready')?.status).to.equal('False');
    expect(pod?.status.phase).to.equal('Running');
  });

  it('marks the pods of a dead machine for deletion after 300 s, and they never end', () => {
    const { world, node } = startRun();
    world.cluster.killNode(node);
    const pod = () => world.cluster.pods().find((each) => each.spec.nodeName === node);
    world.advance(299);
    expect(pod()?.metadata).not.to.have.property('deletionTimestamp');
    world.advance(1);
    expect(pod()?.metadata.deletionTimestamp).to.equal('2026-01-01T00:05:30Z');
    expect(findCondition(pod()?.status.conditions, 'DisruptionTarget')?.reason).to.equal(
      'DeletionByTaintManager',
    );
    world.advance(86_400);
    expect(pod()?.status.phase).to.equal('Running');
  });

  it('keeps pods that tolerate a dead machine without limit, and deletes at once those that do not tolerate it', () => {
    const { cluster, advance } = createTestWorld();
    cluster.addTpuSlice('slice-a');
    const key = 'node.kubernetes.io/unreachable';
    const tolerations = (seconds?: number) => [
      {
        key,
        operator: 'Exists' as const,
        effect: 'NoExecute',
        ...(seconds !== undefined && { tolerationSeconds: seconds }),
      },
    ];
    const replicatedJobs = [
      { name: 'ever', tolerations: tolerations() },
      { name: 'never', tolerations: tolerations(0) },
    ];
    cluster.addJobSet({ name: 'train', replicatedJobs });
    advance(0);
    for (const pod of cluster.pods()) cluster.killNode(pod.spec.nodeName ?? '');
    const doomed = () =>
      cluster
        .pods()
        .filter(({ metadata }) => metadata.deletionTimestamp !== undefined)
        .map(({ metadata }) => metadata.labels?.['jobset.sigs.k8s.io/replicatedjob-name']);
    advance(0);
    expect(doomed()).to.deep.equal(['never']);
    advance(86_400);
    expect(doomed()).to.deep.equal(['never']);
  });

  it('brings a machine back: its node and pods are ready, and pods in deletion end', () => {
    const { world, node } = startRun();
    world.cluster.killNode(node);
    world.advance(60);
    world.cluster.reviveNode(node);
    const { spec, status } = read(world, node);
    expect(findCondition(status.conditions, 'Ready')).to.include({
      status: 'True',
      lastTransitionTime: '2026-01-01T00:01:00Z',
    });
    expect(spec.taints?.map(({ key }) => key)).to.deep.equal(['google.com/tpu']);
    const [pod] = world.cluster.pods().filter((each) => each.spec.nodeName === node);
    expect(findCondition(pod?.status.conditions, 'Ready')?.status).to.equal('True');

    world.cluster.killNode(node);
    world.advance(301);
    world.cluster.reviveNode(node);
    world.advance(0);
    const uids = world.cluster.pods().map(({ metadata }) => metadata.uid);
    expect(uids).not.to.include(pod?.metadata.uid);
  });

  it('taints cordoned nodes, and removes the taint after the uncordon', () => {
    const { world, node } = startRun();
    world.cluster.cordonAs('kubectl', node, true);
    world.advance(0);
    const keys = () => read(world, node).spec.taints?.map(({ key }) => key);
    expect(keys()).to.include('node.kubernetes.io/unschedulable');
    world.cluster.cordonAs('kubectl', node, false);
    world.advance(0);
    expect(keys()).not.to.include('node.kubernetes.io/unschedulable');
  });

  it('taints a node under pressure, and a node whose kubelet reports that it is not ready', () => {
    const { world, node } = startRun();
    world.cluster.change('nodes', undefined, node, ({ status }) => {
      for (const condition of status.conditions) {
        if (condition.type === 'DiskPressure') condition.status = 'True';
        if (condition.type === 'Ready') condition.status = 'False';
      }
    });
    world.advance(0);
    expect(read(world, node).spec.taints?.map(({ key }) => key)).to.include.members([
      'node.kubernetes.io/disk-pressure',
      'node.kubernetes.io/not-ready',
    ]);
  });

  it('removes the pods of a node that is gone, after 60 s', () => {
    const { world, node } = startRun();
    const before = world.cluster.pods().find((each) => each.spec.nodeName === node);
    world.cluster.removeNode(node);
    world.advance(0);
    world.advance(59);
    expect(world.cluster.get('pods', 'default', before?.metadata.name ?? '')?.status.phase).to.equal(
      'Running',
    );
    world.advance(1);
    expect(world.cluster.get('pods', 'default', before?.metadata.name ?? '')).to.equal(undefined);
  });
});

describe('schedulePods', () => {
  it('says why a pod does not fit', () => {
    const { cluster, advance } = createTestWorld();
    for (const name of cluster.addTpuSlice('slice-a')) cluster.cordonAs('kubectl', name, true);
    cluster.addPool('default-pool');
    cluster.addJobSet({ name: 'train', replicatedJobs: [{ name: 'w' }] });
    advance(0);
    const [pod] = cluster.pods();
    expect(findCondition(pod?.status.conditions, 'PodScheduled')).to.include({
      status: 'False',
      reason: 'Unschedulable',
      message:
        '0/18 nodes are available: 16 node(s) were unschedulable, 2 Insufficient google.com/tpu. ' +
        'no new claims to deallocate, preemption: 0/18 nodes are available: ' +
        '18 Preemption is not helpful for scheduling.',
    });
    expect(cluster.events().map(({ reason }) => reason)).to.deep.equal(['FailedScheduling']);
  });

  it('says that there are no nodes', () => {
    const { cluster, advance } = createTestWorld();
    cluster.addJobSet({ name: 'train', replicatedJobs: [{ name: 'w' }] });
    advance(0);
    expect(findCondition(cluster.pods()[0]?.status.conditions, 'PodScheduled')?.message).to.equal(
      'no nodes available to schedule pods',
    );
  });

  it('binds one pod of a whole machine to each node, and leaves the rest pending', () => {
    const { cluster, advance } = createTestWorld();
    cluster.addTpuSlice('slice-a', { topology: '4x4' });
    cluster.addJobSet({ name: 'train', replicatedJobs: [{ name: 'w', parallelism: 6 }] });
    advance(0);
    const placed = cluster.pods().flatMap((pod) => pod.spec.nodeName ?? []);
    expect(new Set(placed).size).to.equal(4);
    expect(cluster.pods().filter(({ status }) => status.phase === 'Pending')).to.have.length(2);
  });

  it('respects node selectors, affinities and taints', () => {
    const { cluster, advance } = createTestWorld();
    cluster.addTpuSlice('slice-a');
    cluster.addTpuSlice('slice-b', { taints: [{ key: 'team', value: 'x', effect: 'NoSchedule' }] });
    cluster.addPool('gpus', { gpu: true, zone: 'us-central1-b' });
    const only = (values: string[]) => ({
      nodeAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: {
          nodeSelectorTerms: [
            { matchExpressions: [{ key: 'cloud.google.com/gke-nodepool', operator: 'In', values }] },
          ],
        },
      },
    });
    cluster.addJobSet({
      name: 'a',
      replicatedJobs: [
        { name: 'tainted', affinity: only(['slice-b']) },
        {
          name: 'tolerated',
          affinity: only(['slice-b']),
          tolerations: [{ key: 'team', operator: 'Equal', value: 'x', effect: 'NoSchedule' }],
        },
        {
          name: 'gpu',
          resources: { 'nvidia.com/gpu': 8 },
          nodeSelector: { 'topology.kubernetes.io/zone': 'us-central1-b' },
        },
        { name: 'nowhere', nodeSelector: { 'topology.kubernetes.io/zone': 'us-central1-f' } },
      ],
    });
    advance(0);
    const pools = cluster
      .pods()
      .map((pod) => [pod.metadata.labels?.['jobset.sigs.k8s.io/replicatedjob-name'], poolOf(cluster, pod)]);
    expect(Object.fromEntries(pools)).to.deep.equal({
      tainted: undefined,
      tolerated: 'slice-b',
      gpu: 'gpus',
      nowhere: undefined,
    });
  });

  it('gives each exclusive Job a slice of its own', () => {
    const { cluster, advance } = createTestWorld();
    for (const pool of ['slice-a', 'slice-b', 'slice-c']) cluster.addTpuSlice(pool);
    cluster.addJobSet({
      name: 'train',
      exclusiveTopology: 'cloud.google.com/gke-nodepool',
      replicatedJobs: [{ name: 'w', replicas: 2, parallelism: 8 }],
    });
    advance(0);
    const pools = new Map<string, Set<string | undefined>>();
    for (const pod of cluster.pods()) {
      const job = pod.metadata.labels?.['job-name'] ?? '';
      pools.set(job, (pools.get(job) ?? new Set()).add(poolOf(cluster, pod)));
    }
    expect([...pools.values()].map((each) => [...each])).to.deep.equal([['slice-a'], ['slice-b']]);
    const follower = cluster.pods().find((pod) => indexOf(pod) === 3);
    expect(follower?.spec.nodeSelector).to.have.property('cloud.google.com/gke-nodepool');
  });
});

/** A JobSet on slice-a, and the node of one of its pods. */
function startRun(): { world: TestWorld; node: string } {
  const world = createTestWorld();
  world.cluster.addTpuSlice('slice-a');
  world.cluster.addJobSet({
    name: 'train',
    replicatedJobs: [{ name: 'w', parallelism: 16, backoffLimit: 0 }],
  });
  world.advance(0);
  const node = world.cluster.pods().find((pod) => indexOf(pod) === 5)?.spec.nodeName;
  if (!node) throw new Error('the JobSet does not run');
  return { world, node };
}

function read({ cluster }: TestWorld, name: string): Node {
  const node = cluster.get('nodes', undefined, name);
  if (!node) throw new Error(`no node ${name}`);
  return node;
}
