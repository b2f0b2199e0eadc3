import { expect } from 'chai';
import { AlertWorld } from '../fixtures/alert-world.ts';
import { countCordoned, nodeNames, whereTrainRuns } from '../fixtures/train-world.ts';
import type { TrainWorldOptions } from '../fixtures/train-world.ts';
import { VirtualFailover } from '../fixtures/virtual-failover.ts';

// Which pool an alert means that names only a JobSet, where the JobSet runs on several.

const poolLabel = 'cloud.google.com/gke-nodepool';
const onCpu = { parallelism: 1, resources: {}, nodeSelector: { [poolLabel]: 'cpu' } };
const entity = {
  type: 'k8s_entity',
  resource: { entity_type: 'jobset', entity_namespace: 'default', entity_name: 'train' },
};
const cluster = { type: 'k8s_cluster' };
const restart = { failover_action: 'cordon_nodepool_and_restart_jobset', failover_jobset: 'train' };

/** Pathways' shape: the head runs on a pool of CPUs, the workers on a slice. */
async function createPathways(jobs: TrainWorldOptions['jobs'] = [{}]): Promise<AlertWorld> {
  const world = new AlertWorld({ jobs: [{ name: 'head', ...onCpu }, ...jobs] });
  world.cluster.addPool('cpu', { nodes: 2 });
  await world.pass(10);
  world.effects();
  return world;
}

function outcomes({ body }: { body: { steps?: Record<string, unknown>[] } }): unknown[] {
  return (body.steps ?? []).map(({ step, target, outcome }) => [step, target, outcome]);
}

// F-157: an alert about a Pathways run was always ambiguous, and a policy has no label for a pool.
describe('an alert that names only a JobSet', () => {
  for (const [type, alert] of Object.entries({ k8s_entity: entity, k8s_cluster: cluster })) {
    it(`means the pool with accelerators, not the pool of its head (${type})`, async () => {
      const world = await createPathways();
      expect(whereTrainRuns(world.cluster)).to.deep.equal(['cpu #0', 'slice-a #0']);
      const answer = await world.notify({ ...alert, labels: restart });
      expect(outcomes(answer), JSON.stringify(answer.body)).to.deep.equal([
        ['cordon', 'slice-a', undefined],
        ['restart', 'default/train', 'restarted'],
      ]);
      await world.pass(10);
      expect(countCordoned(world.cluster, 'cpu')).to.equal(0);
      expect(whereTrainRuns(world.cluster)).to.deep.equal(['cpu #1', 'slice-b #1']);
    });
  }

  it('means the pool on which its workers hang, although its head runs again', async () => {
    const world = await createPathways();
    const worker = world.cluster
      .pods('default')
      .find(({ metadata }) => metadata.name.startsWith('train-workers-0-0'));
    world.cluster.killNode(worker?.spec.nodeName ?? '');
    world.cluster.ask('DELETE', `/api/v1/namespaces/default/pods/${worker?.metadata.name}`);
    world.cluster.finishPod('default', worker?.metadata.name ?? '', 'Failed');
    await world.pass(90);
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['cpu #1']);
    const answer = await world.notify({ ...entity, labels: restart });
    expect(outcomes(answer)).to.deep.equal([
      ['cordon', 'slice-a', undefined],
      ['restart', 'default/train', 'already_restarting'],
    ]);
    await world.pass(10);
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['cpu #1', 'slice-b #1']);
  });

  it('does not mean the pool of the head while the workers wait for nodes', async () => {
    const world = await createPathways([{ nodeSelector: { [poolLabel]: 'none' } }]);
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['cpu #0']);
    const { body } = await world.notify({ ...entity, labels: restart });
    expect(body).to.include({ code: 'target_ambiguous' });
    expect(world.effects()).to.deep.equal({});
  });

  it('says what works where the workers are on several pools', async () => {
    const world = await createPathways([{ replicas: 2 }]);
    const { body } = await world.notify({ ...entity, labels: restart });
    expect(body).to.include({
      code: 'target_ambiguous',
      error:
        'JobSet default/train runs on several node pools (slice-a, slice-b); the alert names only the JobSet: use a condition on ' +
        'k8s_node, k8s_node_pool, k8s_pod or k8s_container, which tells the pool',
    });
    expect(world.effects()).to.deep.equal({});
  });

  it('means the one pool of a JobSet that needs no accelerators', async () => {
    const world = new AlertWorld({ jobs: [{ ...onCpu, parallelism: 2 }] });
    world.cluster.addPool('cpu', { nodes: 4 });
    await world.pass(10);
    const labels = { ...restart, failover_action: 'cordon_nodepool' };
    const answer = await world.notify({ ...entity, labels });
    expect(outcomes(answer)).to.deep.equal([['cordon', 'cpu', undefined]]);
  });

  it('is another thing than a caller that names only a JobSet, who can name the pool', async () => {
    const world = new VirtualFailover({ jobs: [{ name: 'head', ...onCpu }, {}] });
    world.cluster.addPool('cpu', { nodes: 2 });
    await world.pass(10);
    const { error } = await world.send({
      id: 'a',
      type: 'cordon_nodepool_and_restart_jobset',
      jobset_name: 'train',
    });
    expect(error).to.equal(
      'JobSet default/train runs on several node pools (cpu, slice-a); name the node_pool',
    );
  });
});

// F-158: a preempted machine registered anew under its name, and its cordon was lost.
describe('a machine that registers anew under its name', () => {
  it('is cordoned by a new action, and released with the others; the same id repeats its answer', async () => {
    const world = new VirtualFailover();
    const cordon = { id: 'a', type: 'cordon_nodepool', node_pool: 'slice-a' };
    const first = await world.send(cordon);
    const [node = ''] = nodeNames(world.cluster, 'slice-a');
    world.cluster.replaceInstance(node, 'reregistered');
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(3);
    expect((await world.send(cordon)).steps).to.deep.equal(first.steps);
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(3);
    const { steps } = await world.send({ ...cordon, id: 'b' });
    expect(steps.at(-1)).to.include({ cordoned: 1, already_cordoned: 3 });
    const released = await world.send({ ...cordon, id: 'c', type: 'uncordon_nodepool' });
    expect(released.steps.at(-1)).to.include({ uncordoned: 4, kept: 0 });
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(0);
  });
});
