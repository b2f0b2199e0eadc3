import { expect } from 'chai';
import type { EmulatedCluster } from '../emulator/cluster.ts';
import type { Pod } from '../emulator/objects.ts';
import { AlertWorld } from '../fixtures/alert-world.ts';
import { countEffects } from '../fixtures/count-writes.ts';
import { restarts } from '../fixtures/train-run.ts';
import { whereTrainRuns } from '../fixtures/train-world.ts';
import { VirtualFailover } from '../fixtures/virtual-failover.ts';

// A pod that has ended, and that its dead node's kubelet will never remove, holds a restart up as a running one does.

const restart = {
  id: 'a',
  type: 'cordon_nodepool_and_restart_jobset',
  node_pool: 'slice-a',
  jobset_name: 'train',
};
const indexLabel = 'batch.kubernetes.io/job-completion-index';

function podOf(cluster: EmulatedCluster, index: number): Pod {
  const found = cluster.pods('default').find(({ metadata }) => metadata.labels?.[indexLabel] === `${index}`);
  if (!found) throw new Error(`there is no pod ${index}`);
  return found;
}

/** The kubelet has reported that the pod's containers have ended, and dies before it removes the pod. */
function endOnDeadNode(cluster: EmulatedCluster, index: number, phase: 'Succeeded' | 'Failed'): Pod {
  const pod = podOf(cluster, index);
  cluster.killNode(pod.spec.nodeName ?? '');
  cluster.ask('DELETE', `/api/v1/namespaces/default/pods/${pod.metadata.name}`);
  cluster.finishPod('default', pod.metadata.name, phase);
  return pod;
}

/** `train` restarts by itself, and attempt 1 waits for a pod of attempt 0 that hangs on slice-a. */
async function createHanging(index = 0): Promise<{ world: VirtualFailover; pod: Pod }> {
  const world = new VirtualFailover();
  const pod = endOnDeadNode(world.cluster, index, 'Failed');
  await world.pass(90);
  expect(restarts(world)).to.equal(1);
  expect(world.cluster.pods('default').map(({ metadata }) => metadata.name)).to.deep.equal([
    pod.metadata.name,
  ]);
  world.newWrites();
  return { world, pod };
}

// F-155: a pod that had ended hung on a dead node: the restart waited for it for ever, or was said to have moved by itself.
describe('a pod that has ended and hangs on a dead node', () => {
  it('is deleted by a restart, which would wait for it for ever', async () => {
    const world = new VirtualFailover();
    const pod = endOnDeadNode(world.cluster, 2, 'Succeeded');
    await world.pass(90);
    expect(restarts(world)).to.equal(0);
    world.newWrites();
    const { steps } = await world.send(restart);
    expect(steps.at(-1)).to.deep.include({
      outcome: 'restarted',
      deleted_on_dead_nodes: [pod.metadata.name],
    });
    await world.pass(5);
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #1']);
  });

  it('is listed while its node has been silent for less than a minute, and freed by the same id later', async () => {
    const world = new VirtualFailover();
    const pod = endOnDeadNode(world.cluster, 2, 'Succeeded');
    await world.pass(20);
    const { steps } = await world.send(restart);
    expect(steps.at(-1)).to.deep.include({
      outcome: 'restarted',
      may_hold_up_the_restart: [pod.metadata.name],
    });
    await world.pass(60);
    expect(whereTrainRuns(world.cluster)).to.deep.equal([]);
    const again = await world.send(restart);
    expect(again.steps.at(-1)).to.deep.include({ deleted_on_dead_nodes: [pod.metadata.name] });
    await world.pass(5);
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #1']);
  });

  for (const [how, body] of Object.entries({
    'names the pool': {},
    'names the node': { node_pool: undefined },
    'names the JobSet only': { node_pool: undefined },
  })) {
    it(`is deleted where the JobSet has restarted by itself and hangs, and the action ${how}`, async () => {
      const { world, pod } = await createHanging();
      const named = how === 'names the node' ? { node_name: pod.spec.nodeName } : {};
      const { steps, error } = await world.send({ ...restart, ...body, ...named });
      expect(steps.at(-1), error).to.deep.include({
        target: 'default/train',
        outcome: 'already_restarting',
        attempt: 1,
        deleted_on_dead_nodes: [pod.metadata.name],
      });
      expect(steps.at(-1)).not.to.have.any.keys('runs_on', 'warning');
      const writes = world.newWrites();
      expect(countEffects(writes)).to.deep.equal({ 'PATCH nodes': 4, 'DELETE pods': 1 });
      expect(writes.find(({ method }) => method === 'DELETE')?.body).to.deep.equal({
        gracePeriodSeconds: 0,
        preconditions: { uid: pod.metadata.uid },
      });
      await world.pass(5);
      expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #1']);
      expect(restarts(world)).to.equal(1);
    });
  }

  it('says the same in a dry run', async () => {
    const { world } = await createHanging();
    const { steps } = await world.send({ ...restart, dry_run: true });
    expect(steps.at(-1)).to.deep.include({ outcome: 'already_restarting', attempt: 1 });
  });

  it('is freed where its Job is failing, and no pod of the attempt is live', async () => {
    const world = new VirtualFailover();
    for (const { metadata } of world.cluster.nodes('slice-a')) world.cluster.killNode(metadata.name);
    for (const index of [0, 1, 2, 3]) endOnDeadNode(world.cluster, index, 'Failed');
    // The Job's controller has counted the failure, and the JobSet's has not looked yet.
    const time = new Date(world.time.now).toISOString();
    world.cluster.change('jobs', 'default', 'train-workers-0', ({ status }) => {
      status.conditions = [{ type: 'FailureTarget', status: 'True', lastTransitionTime: time }];
    });
    const { steps } = await world.send({ ...restart, dry_run: true });
    expect(steps.at(-1)).to.deep.include({ outcome: 'already_restarting', attempt: 0 });
  });

  it('is no reason to free anything on a living node', async () => {
    const { world, pod } = await createHanging();
    world.cluster.change('nodes', undefined, pod.spec.nodeName ?? '', ({ status }) => {
      const ready = status.conditions.find(({ type }) => type === 'Ready');
      if (ready) ready.status = 'True';
    });
    const { steps } = await world.send(restart);
    expect(steps.at(-1)).to.include({ outcome: 'already_restarting' });
    expect(countEffects(world.newWrites())).to.deep.equal({ 'PATCH nodes': 4 });
  });

  for (const [what, options] of Object.entries({
    'its node, and no JobSet': (pod: Pod) => ({ resource: { node_name: pod.spec.nodeName ?? '' } }),
    'its pool, and the JobSet': () => ({
      type: 'k8s_node_pool',
      resource: { node_pool_name: 'slice-a' },
      jobSet: 'train',
    }),
    'the JobSet': () => ({
      type: 'k8s_entity',
      resource: { entity_type: 'jobset', entity_namespace: 'default', entity_name: 'train' },
    }),
  } as Record<string, (pod: Pod) => { type?: string; resource: Record<string, string>; jobSet?: string }>)) {
    it(`is deleted for an alert that names ${what}`, async () => {
      const world = new AlertWorld();
      const pod = endOnDeadNode(world.cluster, 0, 'Failed');
      await world.pass(90);
      expect(whereTrainRuns(world.cluster)).to.deep.equal([]);
      world.effects();
      const { jobSet, ...alert } = options(pod);
      const labels = {
        failover_action: 'cordon_nodepool_and_restart_jobset',
        ...(jobSet ? { failover_jobset: jobSet } : {}),
      };
      const { body } = await world.notify({ ...alert, labels });
      expect(body.steps?.at(-1), JSON.stringify(body)).to.deep.include({
        outcome: 'already_restarting',
        deleted_on_dead_nodes: [pod.metadata.name],
      });
      await world.pass(5);
      expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #1']);
    });
  }
});
