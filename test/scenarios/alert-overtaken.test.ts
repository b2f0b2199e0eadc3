import { expect } from 'chai';
import type { JobSetOptions } from '../emulator/world.ts';
import { AlertWorld } from '../fixtures/alert-world.ts';
import type { AlertAnswer } from '../fixtures/alert-world.ts';
import { createNotification } from '../fixtures/notification.ts';
import { countCordoned, nodeNames, whereTrainRuns } from '../fixtures/train-world.ts';
import type { TrainWorldOptions } from '../fixtures/train-world.ts';

const restart = { failover_action: 'cordon_nodepool_and_restart_jobset', failover_jobset: 'train' };
const repair = { failover_action: 'cordon_and_repair_nodepool' };
const pool = { type: 'k8s_node_pool', resource: { node_pool_name: 'slice-a' } };

async function createWorld(options: TrainWorldOptions = {}): Promise<AlertWorld> {
  const world = new AlertWorld(options);
  await world.pass(60);
  return world;
}

const outcomes = ({ body }: AlertAnswer) =>
  body.steps?.map(({ step, outcome }) => [step, outcome].join(' ').trim()) ?? body.ignored ?? body.code;

/** The node of slice-a that comes so many places down the list. */
const nameNode = (world: AlertWorld, index: number) => nodeNames(world.cluster, 'slice-a')[index] ?? '';

/** A person closes slice-b, so that the run can only come back to slice-a; or opens it again. */
function closeSliceB({ cluster }: AlertWorld, isClosed: boolean): void {
  for (const name of nodeNames(cluster, 'slice-b')) cluster.cordonAs('kubectl', name, isClosed);
}

/** GKE makes slice-a anew. */
function recreateSlice({ cluster }: AlertWorld): void {
  for (const name of nodeNames(cluster, 'slice-a')) cluster.replaceInstance(name, 'reregistered');
}

/** A pod of the run crashes, and the JobSet restarts by itself. */
function failRun({ cluster }: AlertWorld): void {
  const pod = cluster
    .pods('default')
    .find(({ metadata }) => metadata.labels?.['jobset.sigs.k8s.io/job-index'] === '0');
  cluster.finishPod('default', pod?.metadata.name ?? '', 'Failed');
}

async function bounce(world: AlertWorld, node: string): Promise<void> {
  world.cluster.killNode(node);
  await world.pass(60);
  world.cluster.reviveNode(node);
  await world.pass(10);
}

/** Of an alert that is told of a machine. */
function machine({ cluster }: AlertWorld, node: string) {
  const annotations = cluster.get('nodes', undefined, node)?.metadata.annotations ?? {};
  const instanceId = annotations['container.googleapis.com/instance_id'] ?? '';
  return {
    type: 'gce_instance',
    clusterLabels: null,
    resource: { project_id: 'demo-project', zone: 'us-central1-a', instance_id: instanceId },
  };
}

/** A JobSet on slice-a and slice-b: of the pods of one Job, the other Job's failure takes no notice. */
function twoJobs(jobSet: Partial<JobSetOptions> = {}): TrainWorldOptions {
  return { slices: ['slice-a', 'slice-b', 'slice-c', 'slice-d'], jobs: [{ replicas: 2 }], jobSet };
}

/** A node under the second Job dies. @returns the pod on it, which does not end */
async function killNodeInSliceB(world: AlertWorld): Promise<string> {
  const [node = ''] = nodeNames(world.cluster, 'slice-b');
  const pod = world.cluster.pods('default').find(({ spec }) => spec.nodeName === node);
  world.cluster.killNode(node);
  await world.pass(10);
  return pod?.metadata.name ?? '';
}

// F-160: a newer attempt that had started on the pool during the cordon was ended without a look at the alert.
describe('an alert that is overtaken while it cordons', () => {
  /** Something happens, and the controllers come to rest, when the first node is about to be cordoned. */
  function duringCordon({ emulator }: AlertWorld, happen: () => void): void {
    let hasHappened = false;
    const match = () => {
      if (!hasHappened) {
        hasHappened = true;
        happen();
        emulator.settle();
      }
      return false;
    };
    emulator.faults.add({ method: 'PATCH', path: /\/nodes\//, match, effect: 'none' });
  }

  it('leaves the run alone that has come back to a slice which is whole again', async () => {
    const world = await createWorld();
    const startedAt = world.time.now;
    world.cluster.killNode(nameNode(world, 0));
    await world.pass(60);
    duringCordon(world, () => {
      closeSliceB(world, true);
      recreateSlice(world);
    });
    const answer = await world.notify({ ...pool, labels: restart, startedAt });
    const step = answer.body.steps?.at(-1);
    expect(step).to.include({ step: 'restart', outcome: 'already_restarting', attempt: 0 });
    expect(step?.['warning']).to.match(
      /recovered: JobSet default\/train has restarted \(attempt 1\) .*; it is left alone, and node pool slice-a stays cordoned under it$/,
    );
    expect(world.effects()).not.to.have.property('DELETE pods');
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(4);
    await world.pass(30);
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-a #1']);
  });

  it('ends the run that has come back to a node which did not', async () => {
    const world = await createWorld();
    const startedAt = world.time.now;
    await world.pass(60);
    duringCordon(world, () => {
      closeSliceB(world, true);
      failRun(world);
    });
    const resource = { node_name: nameNode(world, 0) };
    const answer = await world.notify({ resource, labels: restart, startedAt });
    expect(outcomes(answer)).to.deep.equal(['cordon', 'restart restarted']);
    expect(answer.body.steps?.at(-1)).to.include({ attempt: 1 });
    expect(world.effects()).to.include({ 'DELETE pods': 1 });
    closeSliceB(world, false);
    await world.pass(30);
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #2']);
  });
});

describe('an alert that is resumed', () => {
  // F-161: a resume looked only at the machine that the plan had chosen, which may never have been bad.
  it('repairs nothing once its slice has recovered, though not by the planned machine', async () => {
    const world = await createWorld();
    const lift = world.cluster.deny({ verb: 'patch', resource: 'nodes' });
    const notification = createNotification({ ...pool, labels: repair, startedAt: world.time.now });
    expect((await world.send(notification)).status).to.equal(502);
    lift();
    await bounce(world, nameNode(world, 1));
    world.effects();
    expect((await world.send(notification)).body.ignored).to.match(/^recovered: node \S+ is Ready since/);
    expect(world.effects()).to.deep.equal({});
  });

  // F-162: a resume forgot which node the alert was about, and asked whether the whole pool was back.
  describe('for a machine', () => {
    async function begin(world: AlertWorld): Promise<unknown> {
      const lift = world.cluster.deny({ verb: 'patch', resource: 'nodes' });
      const notification = createNotification({
        ...machine(world, nameNode(world, 0)),
        labels: restart,
        startedAt: world.time.now,
      });
      expect((await world.send(notification)).status).to.equal(502);
      lift();
      return notification;
    }

    it('goes on where only another node of the slice has come back', async () => {
      const world = await createWorld();
      const notification = await begin(world);
      closeSliceB(world, true);
      await bounce(world, nameNode(world, 1));
      failRun(world);
      await world.pass(30);
      closeSliceB(world, false);
      expect(outcomes(await world.send(notification))).to.deep.equal([
        'cordon',
        'restart already_restarting',
      ]);
    });

    it('does nothing where its node has come back, and another one has not', async () => {
      const world = await createWorld();
      const notification = await begin(world);
      const other = nameNode(world, 1);
      await bounce(world, nameNode(world, 0));
      failRun(world);
      await world.pass(30);
      expect(whereTrainRuns(world.cluster)).to.have.lengthOf(1);
      world.cluster.killNode(other);
      await world.pass(10);
      world.effects();
      expect((await world.send(notification)).body.ignored).to.match(/^recovered: JobSet default\/train/);
      expect(world.effects()).to.deep.equal({});
    });

    it('does nothing where GKE has put another machine behind its node', async () => {
      const world = await createWorld();
      const notification = await begin(world);
      await world.pass(10);
      world.cluster.replaceInstance(nameNode(world, 0), 'survives');
      await world.pass(60);
      world.effects();
      expect((await world.send(notification)).body.ignored).to.match(/^recovered: JobSet default\/train/);
      expect(world.effects()).to.deep.equal({});
    });
  });

  // F-163: a restart that was only begun counted as done by the alert itself, so that its resume was never asked.
  it('does nothing once its slice has recovered, though it had begun to delete the leader', async () => {
    const world = await createWorld();
    world.emulator.faults.add({ method: 'DELETE', path: /\/pods\//, times: 50, effect: { status: 500 } });
    const notification = createNotification({ ...pool, labels: restart, startedAt: world.time.now });
    expect((await world.send(notification)).status).to.equal(502);
    await world.pass(90);
    world.emulator.faults.clear();
    closeSliceB(world, true);
    recreateSlice(world);
    await world.pass(30);
    closeSliceB(world, false);
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-a #1']);
    world.effects();
    expect((await world.send(notification)).body.ignored).to.match(/^recovered: JobSet default\/train/);
    expect(world.effects()).to.deep.equal({});
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-a #1']);
  });

  it('finishes the restart that it has begun where that hangs, though its node has come back', async () => {
    const world = await createWorld(twoJobs());
    const startedAt = world.time.now;
    const node = nameNode(world, 0);
    await bounce(world, node);
    const held = await killNodeInSliceB(world);
    world.emulator.faults.add({ method: 'DELETE', path: /\/pods\//, effect: 'reset_after' });
    world.emulator.faults.add({ method: 'DELETE', path: /\/pods\//, times: 50, effect: { status: 500 } });
    const notification = createNotification({ resource: { node_name: node }, labels: restart, startedAt });
    expect((await world.send(notification)).status).to.equal(502);
    world.emulator.faults.clear();
    await world.pass(90);
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #0', 'slice-c #1']);
    const answer = await world.send(notification);
    expect(answer.body.steps?.at(-1)).to.deep.include({ deleted_on_dead_nodes: [held] });
    await world.pass(10);
    expect(whereTrainRuns(world.cluster)).not.to.include('slice-b #0');
  });
});

// F-164: an attempt without Jobs counted as younger than the incident, while it waited for a pod on a dead node.
describe('an alert about a JobSet whose own restart hangs', () => {
  it('frees the pod on the dead node, rather than to take the run for recovered', async () => {
    const world = await createWorld(
      twoJobs({ failurePolicy: { maxRestarts: 3, restartStrategy: 'BlockingRecreate' } }),
    );
    const held = await killNodeInSliceB(world);
    failRun(world);
    await world.pass(120);
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #0']);
    const answer = await world.notify({ type: 'k8s_cluster', labels: restart });
    expect(outcomes(answer)).to.deep.equal(['cordon', 'restart already_restarting']);
    expect(answer.body.steps?.at(-1)).to.deep.include({ deleted_on_dead_nodes: [held] });
    await world.pass(10);
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-a #1', 'slice-c #1']);
  });
});
