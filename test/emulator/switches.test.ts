import { expect } from 'chai';
import { findCondition } from './objects.ts';
import type { Pod } from './objects.ts';
import { createTestWorld, poolOf } from './test-world.ts';
import type { TestWorld } from './test-world.ts';

const poolLabel = 'cloud.google.com/gke-nodepool';

describe('Switches', () => {
  describe('of room for pods', () => {
    it('fill a pool: pods stay Pending, and the scheduler says what is lacking', () => {
      const world = createSlices();
      const empty = world.cluster.switches.fillPool('slice-b');
      moveAway(world);
      expect(reasonOf(leader(world))).to.equal(
        '0/34 nodes are available: 16 Insufficient google.com/tpu, 16 node(s) were unschedulable, ' +
          "2 node(s) didn't match Pod's node affinity/selector. no new claims to deallocate, preemption: " +
          '0/34 nodes are available: 16 No preemption victims found for incoming pod, ' +
          '18 Preemption is not helpful for scheduling.',
      );
      expect(leader(world).status.phase).to.equal('Pending');
      empty();
      world.advance(1);
      expect(poolOf(world.cluster, leader(world))).to.equal('slice-b');
      expect(world.cluster.pods('others')).to.deep.equal([]);
    });

    it('taint a pool, and give its nodes back as they were', () => {
      const world = createSlices();
      const before = world.cluster.nodes('slice-b').map(({ spec }) => spec);
      const remove = world.cluster.switches.taintPool('slice-b');
      moveAway(world);
      expect(reasonOf(leader(world))).to.equal(
        '0/34 nodes are available: 16 node(s) had untolerated taint(s), 16 node(s) were unschedulable, ' +
          "2 node(s) didn't match Pod's node affinity/selector. no new claims to deallocate, preemption: " +
          '0/34 nodes are available: 34 Preemption is not helpful for scheduling.',
      );
      remove();
      expect(world.cluster.nodes('slice-b').map(({ spec }) => spec)).to.deep.equal(before);
      world.advance(1);
      expect(poolOf(world.cluster, leader(world))).to.equal('slice-b');
    });

    it('need a pool that is there', () => {
      const { cluster } = createSlices();
      expect(() => cluster.switches.fillPool('slice-c')).to.throw('no nodes in pool slice-c');
      expect(() => cluster.switches.taintPool('slice-c')).to.throw('no nodes in pool slice-c');
    });
  });
});

/** Two slices and a CPU pool; the exclusive JobSet `train` runs on slice-a. */
function createSlices(): TestWorld {
  const world = createTestWorld();
  for (const pool of ['slice-a', 'slice-b']) world.cluster.addTpuSlice(pool);
  world.cluster.addPool('default-pool');
  world.cluster.addJobSet({
    name: 'train',
    exclusiveTopology: poolLabel,
    replicatedJobs: [
      {
        name: 'workers',
        parallelism: 16,
        backoffLimit: 0,
        nodeSelector: { 'cloud.google.com/gke-tpu-topology': '8x8' },
      },
    ],
  });
  world.advance(0);
  expect(poolOf(world.cluster, leader(world))).to.equal('slice-a');
  return world;
}

/** Cordons slice-a and restarts the JobSet. */
function moveAway(world: TestWorld): void {
  for (const { metadata } of world.cluster.nodes('slice-a')) {
    world.cluster.cordonAs('kubectl', metadata.name, true);
  }
  const { metadata } = leader(world);
  world.cluster.ask('DELETE', `/api/v1/namespaces/default/pods/${metadata.name}`);
  world.advance(60);
}

function leader({ cluster }: TestWorld): Pod {
  const found = cluster
    .pods('default')
    .find(({ metadata }) => metadata.annotations?.['batch.kubernetes.io/job-completion-index'] === '0');
  if (!found) throw new Error('the JobSet has no leader');
  return found;
}

function reasonOf({ status }: Pod): string | undefined {
  const scheduled = findCondition(status.conditions, 'PodScheduled');
  expect(scheduled).to.include({ status: 'False', reason: 'Unschedulable' });
  return scheduled?.message;
}
