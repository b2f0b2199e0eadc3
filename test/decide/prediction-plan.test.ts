import { expect } from 'chai';
import type { Node } from '../emulator/objects.ts';
import { createInMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import type { InMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import { refusalOf } from '../fixtures/refusal-of.ts';
import { plan } from '../fixtures/restarts.ts';
import { nodeNames } from '../fixtures/train-world.ts';

// What the prediction of the next attempt leaves in the plan, and what single nodes of the pool mean for it.

const poolLabel = 'cloud.google.com/gke-nodepool';
const spread = { exclusiveTopology: '' };
const purpose = { 'example.com/for': 'head' };
const unschedulable = 'node.kubernetes.io/unschedulable';
const everything = [{ operator: 'Exists' as const }];
const ofTpus = [{ key: 'google.com/tpu', operator: 'Exists' as const }];

/** A Job of one pod that uses no devices. */
const head = (more: object = {}) => ({ name: 'head', parallelism: 1, resources: {}, ...more });

function changeNode({ cluster }: InMemoryWorld, name: string, change: (node: Node) => void): void {
  cluster.change('nodes', undefined, name, change);
}

/** Labels a node as the head's pods ask for it. */
function markForHead(world: InMemoryWorld, name: string): void {
  changeNode(world, name, ({ metadata }) => Object.assign(metadata.labels ?? {}, purpose));
}

describe('the plan of a restart', () => {
  it('has the pools whose nodes could take a pod of any Job, and no others', async () => {
    const onCpu = head({ nodeSelector: { [poolLabel]: 'cpu' } });
    const world = createInMemoryWorld({ jobSet: spread, jobs: [{}, onCpu] });
    world.cluster.addPool('cpu', { nodes: 3 });
    world.cluster.addPool('unfit', { nodes: 1 });
    expect((await plan(world)).mayLandOn).to.deep.equal(['cpu', 'slice-b']);
  });

  it('has a hundred of them at most, the first by name', async () => {
    const world = createInMemoryWorld({
      slices: ['slice-a'],
      jobSet: spread,
      jobs: [{ resources: {}, tolerations: ofTpus }],
    });
    const pools = Array.from({ length: 101 }, (_, index) => `p-${index + 100}`);
    for (const pool of pools.toReversed()) world.cluster.addPool(pool, { nodes: 1 });
    expect((await plan(world)).mayLandOn).to.deep.equal(pools.slice(0, 100));
  });

  it('counts the nodes for the Job that is made to fail, wherever that is in the list', async () => {
    const onCpu = head({ nodeSelector: { [poolLabel]: 'cpu' } });
    const world = createInMemoryWorld({ jobSet: spread, jobs: [onCpu, {}] });
    world.cluster.addPool('cpu', { nodes: 3 });
    const { job, schedulableElsewhere } = await plan(world);
    expect(job?.name).to.equal('train-workers-0');
    expect(schedulableElsewhere).to.equal(4);
  });

  // An earlier version of this function reads `roomWarning`, this one `lacksSpare`.
  it('says what is short, by slices as large as the one of the pool', async () => {
    const planned = await plan(createInMemoryWorld({ slices: ['slice-a'], jobSet: spread }));
    const lacksSpare = 'no uncordoned node outside the pool matches the pods';
    expect(planned.spare).to.deep.equal({ slices: 0, needed: 1 });
    expect(planned).to.include({
      lacksSpare,
      roomWarning: `${lacksSpare}, so the JobSet will wait for capacity`,
    });
  });
});

describe('pods that a cordon does not keep off the pool', () => {
  it('are not restarted where one of its nodes would take them, whichever it is', async () => {
    const jobs = [{}, head({ nodeSelector: purpose, tolerations: everything })];
    const names = nodeNames(createInMemoryWorld({ jobSet: spread, jobs }).cluster, 'slice-a');
    for (const index of names.keys()) {
      const world = createInMemoryWorld({ jobSet: spread, jobs });
      const [elsewhere = ''] = world.cluster.addPool('cpu');
      markForHead(world, elsewhere);
      markForHead(world, nodeNames(world.cluster, 'slice-a')[index] ?? '');
      const { code, message } = await refusalOf(plan(world));
      expect(code).to.equal('restart_refused');
      expect(message).to.match(/^the pods of Job train-head-0 tolerate /);
    }
  });

  it('are not restarted from there, though another taint keeps new ones off by now', async () => {
    const tolerations = [{ key: unschedulable, operator: 'Exists' as const }];
    const world = createInMemoryWorld({ jobSet: spread, jobs: [{ tolerations }] });
    for (const name of nodeNames(world.cluster, 'slice-a')) {
      changeNode(world, name, ({ spec }) => {
        spec.taints = [...(spec.taints ?? []), { key: 'example.com/drained', effect: 'NoSchedule' }];
      });
    }
    expect((await refusalOf(plan(world))).message).to.match(/^the pods of Job train-workers-0 tolerate /);
  });

  it('are restarted where they name a node of another pool', async () => {
    const world = createInMemoryWorld({ jobSet: spread, jobs: [{}, head({ tolerations: everything })] });
    const [nodeName = ''] = nodeNames(world.cluster, 'slice-b');
    for (const { metadata } of world.cluster.pods('default')) {
      if (metadata.name.startsWith('train-head')) world.cluster.remove('pods', 'default', metadata.name);
    }
    world.cluster.change('jobs', 'default', 'train-head-0', ({ spec }) =>
      Object.assign(spec.template.spec, { nodeName }),
    );
    expect((await plan(world)).outcome).to.equal('restart');
  });
});

describe('pods that ask for what no other pool has', () => {
  it('are not restarted where only one node of the pool has it', async () => {
    const jobs = [{}, head({ nodeSelector: purpose, tolerations: ofTpus })];
    const world = createInMemoryWorld({ jobSet: spread, jobs });
    markForHead(world, nodeNames(world.cluster, 'slice-a')[2] ?? '');
    expect((await refusalOf(plan(world))).message).to.match(
      /^the pods of Job train-head-0 ask for nodes with example\.com\/for=head, and no node outside/,
    );
  });
});

describe('a Job that has not been made yet', () => {
  it('is bound to no place by a pod of the JobSet on the pool whose Job is not known', async () => {
    const world = createInMemoryWorld({
      slices: ['slice-a', 'slice-b', 'slice-c'],
      jobs: [{}, { name: 'z' }],
    });
    world.cluster.remove('jobs', 'default', 'train-z-0');
    world.cluster.change('jobsets', 'default', 'train', ({ spec }) => {
      const { template } = spec.replicatedJobs[1]?.template.spec ?? {};
      Object.assign(template ?? {}, { metadata: { labels: { 'kueue.x-k8s.io/tas': 'true' } } });
    });
    const onPool = new Set(nodeNames(world.cluster, 'slice-a'));
    const orphan = world.cluster
      .pods('default')
      .findLast(({ spec }) => onPool.has(spec.nodeName ?? ''))?.metadata;
    world.cluster.change('pods', 'default', orphan?.name ?? '', ({ metadata }) => {
      delete metadata.ownerReferences;
    });
    expect((await plan(world)).outcome).to.equal('restart');
  });
});
