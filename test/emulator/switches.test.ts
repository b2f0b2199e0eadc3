import { expect } from 'chai';
import { findCondition } from './objects.ts';
import type { Node, Pod } from './objects.ts';
import { createTestWorld, poolOf, toRequest } from './test-world.ts';
import type { TestWorld } from './test-world.ts';

const poolLabel = 'cloud.google.com/gke-nodepool';
const hostLabel = 'cloud.google.com/gce-topology-host';
const idAnnotation = 'container.googleapis.com/instance_id';

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

  describe('of images', () => {
    it('fail pulls: bound pods wait and say why, the others start, and all run when it is turned off', () => {
      const world = createTestWorld();
      const pull = world.cluster.switches.failImagePulls(
        ({ metadata }) => metadata.labels?.['jobset.sigs.k8s.io/jobset-name'] === 'struck',
      );
      world.cluster.addTpuSlice('slice-a');
      for (const name of ['struck', 'spared']) {
        world.cluster.addJobSet({ name, replicatedJobs: [{ name: 'workers', parallelism: 2 }] });
      }
      const podsOf = (name: string) =>
        world.cluster.pods().filter(({ metadata }) => metadata.name.startsWith(name));
      const waitingOf = ({ status: { phase, containerStatuses } }: Pod) => [
        phase,
        (containerStatuses?.[0]?.['state'] as { waiting?: { reason: string } } | undefined)?.waiting?.reason,
      ];
      world.advance(0);
      expect(podsOf('struck').map(waitingOf)).to.deep.equal([
        ['Pending', 'ErrImagePull'],
        ['Pending', 'ErrImagePull'],
      ]);
      expect(podsOf('spared').map(({ status }) => status.phase)).to.deep.equal(['Running', 'Running']);
      world.advance(10);
      const [pod] = podsOf('struck');
      expect(pod && waitingOf(pod)).to.deep.equal(['Pending', 'ImagePullBackOff']);
      const readyOf = (each: Pod | undefined) => findCondition(each?.status.conditions, 'Ready');
      expect(readyOf(pod)).to.deep.equal({
        type: 'Ready',
        status: 'False',
        reason: 'ContainersNotReady',
        message: 'containers with unready status: [main]',
        lastTransitionTime: '2026-01-01T00:00:00Z',
      });
      expect(findCondition(pod?.status.conditions, 'PodScheduled')?.status).to.equal('True');
      const failed = world.cluster.events().filter(({ reason }) => reason === 'Failed');
      expect(failed.map(({ involvedObject }) => involvedObject.name)).to.have.members(
        podsOf('struck').map(({ metadata }) => metadata.name),
      );
      expect(failed[0]?.message).to.match(/^Failed to pull image "train:latest": /);

      world.advance(50);
      pull();
      world.advance(0);
      const [started] = podsOf('struck');
      expect(started?.status.phase).to.equal('Running');
      expect(readyOf(started)).to.deep.equal({
        type: 'Ready',
        status: 'True',
        lastTransitionTime: '2026-01-01T00:01:00Z',
      });
    });
  });

  describe('of machines', () => {
    it('withhold machines: a slice comes back from a repair with one node missing, until it is turned off', () => {
      const world = createSlices();
      const names = nodeNames(world, 'slice-a');
      const release = world.cluster.switches.withholdMachines('slice-a');
      deleteMachine(world, names[3]);
      world.advance(119);
      expect(nodeNames(world, 'slice-a')).to.deep.equal(names);
      world.advance(1);
      const back = world.cluster.nodes('slice-a');
      expect(back).to.have.length(15);
      expect(back.every(isReady)).to.equal(true);
      expect(world.emulator.fleet.list().filter(({ group }) => group.pool === 'slice-a')).to.have.length(15);
      world.advance(3600);
      expect(nodeNames(world, 'slice-a')).to.have.length(15);
      const statusOf = (): unknown =>
        world.cluster.describePools().find(({ name }) => name === 'slice-a')?.status;
      expect(statusOf()).to.equal('RECONCILING');
      release();
      expect(statusOf()).to.equal('RUNNING');
      world.advance(0);
      expect(nodeNames(world, 'slice-a')).to.deep.equal(names);
      expect(world.cluster.nodes('slice-a').every(isReady)).to.equal(true);
      deleteMachine(world, names[3]);
      world.advance(120);
      expect(nodeNames(world, 'slice-a')).to.deep.equal(names);
    });

    it('withhold no further machine at the next repair, and only of their pool', () => {
      const world = createSlices();
      world.cluster.switches.withholdMachines('slice-a', 2);
      for (const pool of ['slice-a', 'slice-b']) deleteMachine(world, nodeNames(world, pool)[0]);
      world.advance(120);
      expect(nodeNames(world, 'slice-a')).to.have.length(14);
      expect(nodeNames(world, 'slice-b')).to.have.length(16);
      deleteMachine(world, nodeNames(world, 'slice-a')[0]);
      world.advance(120);
      expect(nodeNames(world, 'slice-a')).to.have.length(14);
    });

    it('fail deletions: Compute accepts one, its operation ends with an error, and the machine stays', () => {
      const world = createSlices();
      const [name = ''] = nodeNames(world, 'slice-a');
      const before = { nodes: world.cluster.nodes(), pods: world.cluster.pods() };
      const succeed = world.cluster.switches.failDeletions('slice-a');
      const operation = deleteMachine(world, name);
      expect(operation).to.include({ status: 'RUNNING' }).and.not.to.have.property('error');
      world.advance(30);
      const done = ask(world, 'GET', `operations/${String(operation['name'])}`);
      expect(done).to.include({ status: 'DONE', progress: 100, httpErrorStatusCode: 503 });
      expect(done['error']).to.have.nested.property('errors[0].code', 'INTERNAL_ERROR');
      expect(ask(world, 'GET', `instances/${name}`)).to.include({ status: 'RUNNING' });
      expect({ nodes: world.cluster.nodes(), pods: world.cluster.pods() }).to.deep.equal(before);
      expect(world.emulator.fleet.deletions).to.deep.equal([]);

      succeed();
      expect(deleteMachine(world, name)).not.to.have.property('error');
      world.advance(30);
      expect(ask(world, 'GET', `operations/${String(operation['name'])}`)).to.have.property('error');
      expect(world.emulator.fleet.deletions).to.have.length(1);
    });

    for (const nodeObject of ['reregistered', 'survives'] as const) {
      it(`keep hosts: a replacement runs on the same host and is another machine, if its node is ${nodeObject}`, () => {
        const world = createTestWorld();
        world.cluster.addTpuSlice('slice-a', { nodeObject });
        const isMoved = (): { host: boolean; machine: boolean } => {
          const before = new Map(world.cluster.nodes().map((node) => [node.metadata.name, node]));
          deleteMachine(world, nodeNames(world, 'slice-a')[0]);
          world.advance(120);
          const changes = world.cluster.nodes().map((node) => {
            const old = before.get(node.metadata.name);
            return old && { host: hostOf(node) !== hostOf(old), machine: isAnotherMachine(old, node) };
          });
          const [first] = changes;
          expect(changes).to.deep.equal(changes.map(() => first));
          return first ?? { host: false, machine: false };
        };
        expect(isMoved()).to.deep.equal({ host: true, machine: true });
        const move = world.cluster.switches.keepHosts('slice-a');
        expect(isMoved()).to.deep.equal({ host: false, machine: true });
        move();
        expect(isMoved()).to.deep.equal({ host: true, machine: true });
      });

      it(`withhold accelerators: replacements are Ready without any, if nodes are ${nodeObject}`, () => {
        const world = createTestWorld();
        for (const pool of ['slice-a', 'slice-b']) world.cluster.addTpuSlice(pool, { nodeObject });
        const before = chipsOf(world);
        const give = world.cluster.switches.withholdAccelerators('slice-a');
        expect(chipsOf(world)).to.deep.equal(before);
        for (const pool of ['slice-a', 'slice-b']) deleteMachine(world, nodeNames(world, pool)[0]);
        world.advance(120);
        expect(world.cluster.nodes().every(isReady)).to.equal(true);
        expect(chipsOf(world)).to.deep.equal([['0'], ['4']]);
        world.cluster.addJobSet({ name: 'train', replicatedJobs: [{ name: 'workers', parallelism: 17 }] });
        world.advance(1);
        const pending = world.cluster.pods().find(({ status }) => status.phase === 'Pending');
        expect(pending && reasonOf(pending)).to.match(
          /^0\/32 nodes are available: 32 Insufficient google\.com\/tpu\./,
        );
        give();
        world.advance(1);
        expect(chipsOf(world)).to.deep.equal(before);
        expect(world.cluster.pods().every(({ status }) => status.phase === 'Running')).to.equal(true);
      });
    }

    it('tell their host by GKE labels and in Compute, on nodes with accelerators only', () => {
      const world = createSlices();
      const labelsOf = (pool: string) =>
        world.cluster.nodes(pool).map(({ metadata }) => {
          const labels = Object.entries(metadata.labels ?? {});
          return Object.fromEntries(labels.filter(([key]) => key.includes('gce-topology')));
        });
      const [first, second] = labelsOf('slice-a');
      expect(first).to.have.all.keys(
        ['block', 'subblock', 'host'].map((level) => `cloud.google.com/gce-topology-${level}`),
      );
      expect({ ...second, [hostLabel]: '' }).to.deep.equal({ ...first, [hostLabel]: '' });
      expect(new Set(world.cluster.nodes('slice-a').map(hostOf)).size).to.equal(16);
      expect(labelsOf('default-pool')).to.deep.equal([{}, {}]);
      const [node] = world.cluster.nodes('slice-a');
      const { resourceStatus } = ask(world, 'GET', `instances/${node?.metadata.name}`) as Record<
        string,
        object
      >;
      expect(resourceStatus).to.have.nested.property('physicalHostTopology.host', first?.[hostLabel]);
    });

    it('need a pool that is there', () => {
      const { switches } = createSlices().cluster;
      expect(() => switches.withholdMachines('slice-c')).to.throw('no pool slice-c');
      expect(() => switches.failDeletions('slice-c')).to.throw('no pool slice-c');
      expect(() => switches.keepHosts('slice-c')).to.throw('no pool slice-c');
      expect(() => switches.withholdAccelerators('slice-c')).to.throw('no pool slice-c');
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

function nodeNames({ cluster }: TestWorld, pool: string): string[] {
  return cluster
    .nodes(pool)
    .map(({ metadata }) => metadata.name)
    .sort();
}

function isReady({ status }: Node): boolean {
  return findCondition(status.conditions, 'Ready')?.status === 'True';
}

function hostOf({ metadata }: Node): string {
  const host = metadata.labels?.[hostLabel];
  if (host === undefined) throw new Error(`node ${metadata.name} does not tell its host`);
  return host;
}

function isAnotherMachine(a: Node, b: Node): boolean {
  const same = [
    a.metadata.annotations?.[idAnnotation] === b.metadata.annotations?.[idAnnotation],
    ...['bootID', 'machineID', 'systemUUID'].map((id) => a.status.nodeInfo[id] === b.status.nodeInfo[id]),
  ];
  expect(same).to.deep.equal(same.map(() => same[0]));
  return same[0] === false;
}

/** How many chips the nodes of slice-a have, and those of slice-b. */
function chipsOf({ cluster }: TestWorld): (string | undefined)[][] {
  return ['slice-a', 'slice-b'].map((pool) => {
    const counts = cluster.nodes(pool).map(({ status }) => status.allocatable['google.com/tpu']);
    return [...new Set(counts)];
  });
}

/** @returns the operation that Compute answers */
function deleteMachine(world: TestWorld, name = ''): Record<string, unknown> {
  return ask(world, 'DELETE', `instances/${name}`);
}

function ask({ emulator }: TestWorld, method: string, path: string): Record<string, unknown> {
  const request = toRequest(emulator, method, `/compute/v1/projects/p/zones/us-central1-a/${path}`);
  const { status, body } = emulator.handleCompute(request);
  expect(status, body).to.equal(200);
  return JSON.parse(body) as Record<string, unknown>;
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
