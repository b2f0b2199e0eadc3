import { setImmediate } from 'node:timers/promises';
import { expect } from 'chai';
import { deletePodsOnDeadNodes } from '../../src/effects/dead-nodes.ts';
import { FailoverError } from '../../src/errors.ts';
import { readPods } from '../../src/gke/jobset.ts';
import type { Pod } from '../emulator/objects.ts';
import { createInMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import type { InMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import { refusalOf } from '../fixtures/refusal-of.ts';
import {
  attemptLabel,
  carryOut,
  cordon,
  effects,
  plan,
  podsOn,
  restart,
  restarts,
  three,
} from '../fixtures/restarts.ts';
import { nodeNames, whereTrainRuns } from '../fixtures/train-world.ts';

// F-32: another pod of the attempt sits on a dead node: the restart does not hang.
describe('deletePodsOnDeadNodes, called by restartJobSet', () => {
  /** The node of the follower dies; the JobSet has not noticed. */
  function killFollower(world: InMemoryWorld): Pod {
    const follower = podsOn(world, 'slice-a')[1];
    if (!follower) throw new Error('no follower');
    world.cluster.killNode(follower.spec.nodeName ?? '');
    return follower;
  }

  it('deletes a pod on a dead node too, at once and by its uid, and the JobSet moves', async () => {
    const world = createInMemoryWorld();
    cordon(world, 'slice-a');
    const follower = killFollower(world);
    world.clock.advance(60_000);
    const step = await restart(world);
    expect(step).to.deep.include({ outcome: 'restarted', deleted_on_dead_nodes: [follower.metadata.name] });
    expect(effects(world)).to.deep.equal({ 'DELETE pods': 2 });
    const deletion = world.emulator.writes().find(({ path }) => path.endsWith(follower.metadata.name));
    expect(deletion?.body).to.deep.equal({
      gracePeriodSeconds: 0,
      preconditions: { uid: follower.metadata.uid },
    });
    world.emulator.settle();
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #1']);
  });

  it('leaves the pod for 59 s, says so, and deletes it after 60 s when the same action is sent again', async () => {
    const world = createInMemoryWorld();
    cordon(world, 'slice-a');
    const follower = killFollower(world);
    world.clock.advance(59_000);
    const planned = await plan(world);
    const step = await carryOut(world, planned);
    expect(step).to.deep.include({ outcome: 'restarted', may_hold_up_the_restart: [follower.metadata.name] });
    expect(step).not.to.have.property('deleted_on_dead_nodes');
    world.emulator.settle();
    expect(restarts(world)).to.equal(0);
    world.clock.advance(1_000);
    expect(await carryOut(world, planned)).to.deep.include({
      outcome: 'already_restarting',
      deleted_on_dead_nodes: [follower.metadata.name],
    });
    world.emulator.settle();
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #1']);
  });

  it('deletes a pod that the eviction has already marked for deletion', async () => {
    const world = createInMemoryWorld({ jobs: [{ podReplacementPolicy: 'Failed' }] });
    cordon(world, 'slice-a');
    const follower = killFollower(world);
    world.clock.advance(301_000);
    world.emulator.settle();
    expect(podsOn(world, 'slice-a')[1]?.metadata.deletionTimestamp).not.to.equal(undefined);
    expect(await restart(world)).to.deep.include({ deleted_on_dead_nodes: [follower.metadata.name] });
  });

  it('deletes a pod whose node is gone', async () => {
    const world = createInMemoryWorld();
    const follower = podsOn(world, 'slice-a')[1];
    world.cluster.removeNode(follower?.spec.nodeName ?? '');
    world.cluster.change('pods', 'default', follower?.metadata.name ?? '', ({ status }) => {
      status.conditions = [{ type: 'Ready', status: 'False' }];
    });
    expect(await restart(world)).to.deep.include({ deleted_on_dead_nodes: [follower?.metadata.name] });
  });

  it('leaves a pod that is only not ready, and one that is terminating on a living node', async () => {
    const world = createInMemoryWorld();
    const [, notReady, leaving] = podsOn(world, 'slice-a');
    world.cluster.change('pods', 'default', notReady?.metadata.name ?? '', ({ status }) => {
      status.conditions = [{ type: 'Ready', status: 'False' }];
    });
    world.cluster.change('pods', 'default', leaving?.metadata.name ?? '', ({ metadata }) => {
      metadata.deletionTimestamp = '2026-11-23T03:00:30Z';
      metadata.deletionGracePeriodSeconds = 30;
    });
    world.clock.advance(120_000);
    const step = await restart(world);
    expect(step).not.to.have.any.keys('deleted_on_dead_nodes', 'may_hold_up_the_restart');
    expect(effects(world)).to.deep.equal({ 'DELETE pods': 1 });
  });

  it('leaves the pods of a newer attempt, of another JobSet, and those that have ended', async () => {
    const world = createInMemoryWorld();
    world.cluster.addJobSet({
      name: 'other',
      replicatedJobs: [{ name: 'workers', parallelism: 4, resources: {} }],
    });
    world.emulator.settle();
    const [, newer, ended] = podsOn(world, 'slice-a').filter(({ metadata }) =>
      metadata.name.startsWith('train'),
    );
    world.cluster.change('pods', 'default', newer?.metadata.name ?? '', ({ metadata }) => {
      metadata.labels = { ...metadata.labels, [attemptLabel]: '1' };
    });
    world.cluster.change('pods', 'default', ended?.metadata.name ?? '', ({ status }) => {
      status.phase = 'Failed';
      status.conditions = [{ type: 'Ready', status: 'False' }];
    });
    for (const node of world.cluster.nodes()) world.cluster.killNode(node.metadata.name);
    world.clock.advance(120_000);
    const step = await restart(world);
    const deleted = step.deleted_on_dead_nodes ?? [];
    // The leader, whose finalizer keeps it until its Job has counted it, and the last follower.
    expect(deleted.map((name) => name.slice(0, 'train-workers-0-0'.length))).to.deep.equal([
      'train-workers-0-0',
      'train-workers-0-3',
    ]);
  });

  it('leaves a run on another pool alone when only pods of an older attempt are on this pool', async () => {
    const world = createInMemoryWorld({ jobs: [{ name: 'a' }, { name: 'b' }] });
    // The attempt of Job b is the current one; of Job a the old pods hang on a dead machine.
    world.cluster.change('jobsets', 'default', 'train', ({ status }) => (status.restarts = 1));
    const onB = podsOn(world, 'slice-b').map(({ metadata }) => metadata.name);
    for (const name of onB) {
      world.cluster.change('pods', 'default', name, ({ metadata }) => {
        metadata.labels = { ...metadata.labels, [attemptLabel]: '1' };
      });
    }
    const [, stuck] = podsOn(world, 'slice-a');
    world.cluster.killNode(stuck?.spec.nodeName ?? '');
    world.cluster.killNode(podsOn(world, 'slice-b')[1]?.spec.nodeName ?? '');
    world.clock.advance(120_000);
    expect(await restart(world)).to.deep.include({
      outcome: 'already_restarting',
      deleted_on_dead_nodes: [stuck?.metadata.name],
    });
    expect(effects(world)).to.deep.equal({ 'DELETE pods': 1 });
  });

  it('deletes the pod even when another action has restarted the attempt', async () => {
    const world = createInMemoryWorld({ slices: three, jobs: [{ name: 'a' }, { name: 'b' }] });
    await restart(world, { id: 'b', nodePool: 'slice-b' });
    const follower = killFollower(world);
    world.clock.advance(60_000);
    expect(await restart(world)).to.deep.include({
      outcome: 'already_restarted',
      deleted_on_dead_nodes: [follower.metadata.name],
    });
  });

  it('checks beforeDeletion before this deletion too', async () => {
    const world = createInMemoryWorld();
    killFollower(world);
    world.clock.advance(60_000);
    let looks = 0;
    const refusal = await refusalOf(
      restart(world, {
        async beforeDeletion() {
          if (++looks === 2) throw new FailoverError('paused', 'paused');
        },
      }),
    );
    expect(refusal.code).to.equal('paused');
    expect(effects(world)).to.deep.equal({ 'DELETE pods': 1 });
  });

  it('fails when a pod cannot be deleted, and deletes it when it is resumed', async () => {
    const world = createInMemoryWorld();
    const { metadata } = killFollower(world);
    world.clock.advance(60_000);
    const planned = await plan(world);
    const allow = world.cluster.deny({ verb: 'delete', resource: 'pods', name: metadata.name });
    const refusal = await refusalOf(carryOut(world, planned));
    expect(refusal).to.include({ code: 'upstream_failed' });
    expect(refusal.message).to.include('may not delete pods');
    allow();
    expect(await carryOut(world, planned)).to.deep.include({ deleted_on_dead_nodes: [metadata.name] });
  });

  it('starts nothing new after one pod cannot be deleted', async () => {
    const world = createInMemoryWorld({
      slices: ['slice-a'],
      slice: { nodes: 200 },
      jobs: [{ parallelism: 200 }],
    });
    for (const name of nodeNames(world.cluster, 'slice-a')) world.cluster.killNode(name);
    world.clock.advance(60_000);
    const planned = await plan(world);
    const { name = '' } = planned.leader ?? {};
    world.emulator.faults.add({
      method: 'DELETE',
      match: ({ path }) => !path.endsWith(name),
      times: Infinity,
      effect: { status: 403 },
    });
    expect((await refusalOf(carryOut(world, planned))).code).to.equal('upstream_failed');
    expect(effects(world)['DELETE pods']).to.be.within(2, 70);
  });

  it('treats a node that never reported Ready as dead one minute after its creation', async () => {
    for (const [seconds, isDead] of [
      [59, false],
      [60, true],
    ] as const) {
      const world = createInMemoryWorld();
      const { metadata, spec } = killFollower(world);
      world.cluster.change('nodes', undefined, spec.nodeName ?? '', ({ status }) => (status.conditions = []));
      world.clock.advance(seconds * 1000);
      const step = await restart(world);
      expect(step.deleted_on_dead_nodes).to.deep.equal(isDead ? [metadata.name] : undefined);
    }
  });

  it('accepts that a pod was deleted meanwhile', async () => {
    const world = createInMemoryWorld();
    const follower = killFollower(world);
    world.clock.advance(60_000);
    const step = await restart(world, {
      onRequest({ method, url }) {
        if (method === 'DELETE' && url.includes(follower.metadata.name)) {
          world.cluster.remove('pods', 'default', follower.metadata.name);
        }
      },
    });
    expect(step).to.deep.include({ deleted_on_dead_nodes: [follower.metadata.name] });
  });

  it('deletes the pods of a slice with only dead machines before its lock expires, and names the first twenty', async () => {
    const world = createInMemoryWorld({
      slices: ['slice-a'],
      slice: { nodes: 100 },
      jobs: [{ parallelism: 100 }],
    });
    for (const name of nodeNames(world.cluster, 'slice-a')) world.cluster.killNode(name);
    world.clock.advance(60_000);
    let inFlight = 0;
    let most = 0;
    const step = await restart(world, {
      async onRequest({ url }) {
        if (!/\/(nodes|pods)\//.test(url)) return;
        most = Math.max(most, ++inFlight);
        await setImmediate();
        inFlight--;
      },
    });
    expect(most).to.equal(64);
    // F-345: a hundred reads, one for each node.
    const reads = world.emulator.requests.filter(
      ({ method, path }) => method === 'GET' && path.startsWith('/api/v1/nodes/'),
    );
    expect(reads).to.deep.equal([]);
    // The leader is still there when the dead nodes' pods are listed: its finalizer keeps it until its Job has counted it.
    expect(effects(world)).to.deep.equal({ 'DELETE pods': 101 });
    const named = step.deleted_on_dead_nodes ?? [];
    expect(named).to.have.length(21);
    expect(named[20]).to.equal('and 80 more');
  });

  it('deletes a pod of an earlier attempt, too', async () => {
    const world = createInMemoryWorld({ slices: three });
    cordon(world, 'slice-a');
    await restart(world);
    world.emulator.settle();
    const old = podsOn(world, 'slice-b')[1];
    world.cluster.change('pods', 'default', old?.metadata.name ?? '', ({ metadata }) => {
      expect(metadata.labels).to.include({ [attemptLabel]: '1' });
      metadata.labels = { ...metadata.labels, [attemptLabel]: '0' };
    });
    world.cluster.killNode(old?.spec.nodeName ?? '');
    world.clock.advance(60_000);
    const step = await restart(world, { id: 'b', nodePool: 'slice-b' });
    expect(step).to.deep.include({ outcome: 'restarted', deleted_on_dead_nodes: [old?.metadata.name] });
  });

  it('leaves the pods where the JobSet was made anew under its name while its leader was deleted', async () => {
    const world = createInMemoryWorld();
    killFollower(world);
    world.clock.advance(60_000);
    const step = await restart(world, {
      onRequest({ method, url }) {
        if (method !== 'DELETE' || !url.includes('/pods/')) return;
        world.cluster.change('jobsets', 'default', 'train', ({ metadata }) => (metadata.uid = 'another'));
      },
    });
    expect(step).to.include({ outcome: 'restarted' });
    expect(step).not.to.have.property('deleted_on_dead_nodes');
    expect(effects(world)).to.deep.equal({ 'DELETE pods': 1 });
  });

  it('names the pods by their names, however they were found', async () => {
    const { kubernetes } = createInMemoryWorld();
    const waiting = await readPods(kubernetes, 'default', 'train');
    const names = waiting.map(({ name }) => name).toSorted();
    const ending = { namespace: 'default', name: 'train', uid: 'any', lastAttempt: 0 };
    const tools = { kubernetes, concurrency: 1, beforeDeletion: async () => undefined };
    for (const pods of [waiting, waiting.toReversed()]) {
      const found = Promise.resolve({ dead: [], waiting: pods });
      expect(await deletePodsOnDeadNodes(ending, tools, found)).to.deep.equal({
        may_hold_up_the_restart: names,
      });
    }
  });

  for (const nodes of [20, 32]) {
    it(`reads ${nodes} dead nodes, and no list of all nodes, and no node for a pod that has none`, async () => {
      const world = createInMemoryWorld({
        slices: ['slice-a'],
        slice: { nodes },
        jobs: [{ parallelism: nodes }, { name: 'waiting', parallelism: 1, nodeSelector: { nowhere: '' } }],
      });
      const names = nodeNames(world.cluster, 'slice-a');
      const pods = podsOn(world, 'slice-a').map(({ metadata }) => metadata.name);
      for (const name of names) world.cluster.killNode(name);
      world.clock.advance(60_000);
      const planned = await plan(world);
      const { requests } = world.emulator;
      const before = requests.length;
      const { deleted_on_dead_nodes: deleted = [] } = await carryOut(world, planned);
      const reads = requests
        .slice(before)
        .filter(({ method, path }) => method === 'GET' && path.startsWith('/api/v1/nodes'));
      const read = reads.map(({ path }) => path.replace(/^.*\//, ''));
      expect(read.toSorted()).to.deep.equal(names);
      const more = nodes > 20 ? [`and ${nodes - 20} more`] : [];
      expect(deleted).to.deep.equal([...pods.toSorted().slice(0, 20), ...more]);
    });
  }
});
