import { expect } from 'chai';
import { AlertWorld } from '../fixtures/alert-world.ts';
import type { AlertAnswer } from '../fixtures/alert-world.ts';
import { createNotification } from '../fixtures/notification.ts';
import { nodeNames, trainCluster, whereTrainRuns } from '../fixtures/train-world.ts';
import { addSystemNamespace } from '../emulator/scenario.ts';

const restart = { failover_action: 'cordon_nodepool_and_restart_jobset', failover_jobset: 'train' };
const repair = { failover_action: 'cordon_and_repair_nodepool' };
const pool = { type: 'k8s_node_pool', resource: { node_pool_name: 'slice-a' } };

async function createWorld(options: ConstructorParameters<typeof AlertWorld>[0] = {}): Promise<AlertWorld> {
  const world = new AlertWorld(options);
  await world.pass(60);
  return world;
}

/** A machine of slice-a dies and comes back, and the JobSet restarts by itself; slice-b is closed, so it stays on slice-a. */
async function recoverByItself(world: AlertWorld, { comesBack = true } = {}): Promise<void> {
  const { cluster } = world;
  const [node = ''] = nodeNames(cluster, 'slice-a');
  const elsewhere = nodeNames(cluster, 'slice-b');
  for (const name of elsewhere) cluster.cordonAs('kubectl', name, true);
  cluster.killNode(node);
  await world.pass(60);
  if (comesBack) cluster.reviveNode(node);
  await world.pass(10);
  const [pod] = cluster.pods('default');
  cluster.finishPod('default', pod?.metadata.name ?? '', 'Failed');
  await world.pass(30);
  for (const name of elsewhere) cluster.cordonAs('kubectl', name, false);
}

const outcomes = ({ body }: AlertAnswer) => body.steps?.map(({ step }) => step) ?? body.ignored ?? body.code;

// F-70: an alert that came late cordoned a slice that was whole again, and restarted a healthy run.
describe('an alert for a node pool that comes late', () => {
  it('does nothing once the slice is whole again and its run is younger than the incident', async () => {
    const world = await createWorld();
    const startedAt = world.time.now;
    await recoverByItself(world);
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-a #1']);
    world.effects();
    const { body } = await world.notify({ ...pool, labels: restart, startedAt });
    expect(body.ignored).to.match(/^recovered: JobSet default\/train has restarted \(attempt 1\)/);
    expect(world.effects()).to.deep.equal({});
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-a #1']);
  });

  it('says so in a dry run', async () => {
    const world = await createWorld();
    const startedAt = world.time.now;
    await recoverByItself(world);
    const labels = { ...restart, failover_dry_run: 'true' };
    expect((await world.notify({ ...pool, labels, startedAt })).body.ignored).to.match(/^recovered: /);
  });

  it('acts while a node of the slice is still not Ready', async () => {
    const world = await createWorld();
    const startedAt = world.time.now;
    await recoverByItself(world, { comesBack: false });
    expect(outcomes(await world.notify({ ...pool, labels: restart, startedAt }))).to.deep.equal([
      'cordon',
      'restart',
    ]);
  });

  it('acts on a slice that is whole where the run is older than the incident', async () => {
    const world = await createWorld();
    const startedAt = world.time.now;
    const [node = ''] = nodeNames(world.cluster, 'slice-a');
    world.cluster.killNode(node);
    await world.pass(20);
    world.cluster.reviveNode(node);
    await world.pass(10);
    expect(outcomes(await world.notify({ ...pool, labels: restart, startedAt }))).to.deep.equal([
      'cordon',
      'restart',
    ]);
  });

  // F-71: a resume asked only plans of repairs, so that a slice that had recovered was cordoned under a healthy run.
  it('does nothing when it is resumed, once slice and run have recovered', async () => {
    const world = await createWorld();
    const lift = world.cluster.deny({ verb: 'patch', resource: 'nodes' });
    const notification = createNotification({ ...pool, labels: restart, startedAt: world.time.now });
    expect((await world.send(notification)).status).to.equal(502);
    lift();
    await recoverByItself(world);
    world.effects();
    const { body } = await world.send(notification);
    expect(body.ignored).to.match(/^recovered: /);
    expect(world.effects()).to.deep.equal({});
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-a #1']);
  });

  it('finishes its own restart when it is resumed: the new run is its own doing', async () => {
    const world = await createWorld();
    const notification = createNotification({ ...pool, labels: restart, startedAt: world.time.now });
    const lift = world.cluster.deny({ verb: 'delete', resource: 'pods' });
    expect((await world.send(notification)).status).to.equal(502);
    lift();
    await world.pass(90);
    expect(outcomes(await world.send(notification))).to.deep.equal(['cordon', 'restart']);
    await world.pass(30);
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #1']);
  });
});

// F-72: a resume passed the cooldown, so that two machines of one pool were deleted within it.
describe('two repairs of one pool that both stopped before their deletion', () => {
  it('are resumed one after the other: the second is held back by the cooldown', async () => {
    const world = await createWorld({
      build: (emulator) => {
        const cluster = emulator.addCluster({ name: trainCluster });
        addSystemNamespace(cluster);
        cluster.addPool('slice-a', { gpu: true, nodes: 4 });
        return cluster;
      },
    });
    const [first = '', second = ''] = nodeNames(world.cluster, 'slice-a');
    const lift = world.cluster.deny({ verb: 'patch', resource: 'nodes' });
    const alerts: unknown[] = [];
    for (const [id, node] of [
      ['0.first', first],
      ['0.second', second],
    ] as const) {
      const startedAt = world.time.now;
      world.cluster.killNode(node);
      await world.pass(60);
      alerts.push(createNotification({ id, resource: { node_name: node }, labels: repair, startedAt }));
      expect((await world.send(alerts.at(-1))).status, id).to.equal(502);
    }
    lift();
    world.effects();
    expect(outcomes(await world.send(alerts[0]))).to.include.members(['cordon', 'repair']);
    expect((await world.send(alerts[1])).body.code).to.equal('rate_limited');
    expect(world.effects()).to.include({ 'DELETE instances': 1 });
  });
});
