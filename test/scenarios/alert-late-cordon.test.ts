import { expect } from 'chai';
import { AlertWorld } from '../fixtures/alert-world.ts';
import { createNotification } from '../fixtures/notification.ts';
import { countCordoned, nodeNames, trainCluster, whereTrainRuns } from '../fixtures/train-world.ts';
import { addSystemNamespace } from '../emulator/scenario.ts';

const cordon = { failover_action: 'cordon_nodepool' };
const onClose = { ...cordon, failover_on_close: 'uncordon_nodepool' };
const pool = { type: 'k8s_node_pool', resource: { node_pool_name: 'slice-a' } };

async function createWorld(options: ConstructorParameters<typeof AlertWorld>[0] = {}): Promise<AlertWorld> {
  const world = new AlertWorld(options);
  await world.pass(60);
  return world;
}

/** A machine of slice-a is dead for a minute. */
async function breakForAMinute(world: AlertWorld, node: string): Promise<void> {
  world.cluster.killNode(node);
  await world.pass(60);
  world.cluster.reviveNode(node);
  await world.pass(10);
}

const firstNode = ({ cluster }: AlertWorld) => nodeNames(cluster, 'slice-a')[0] ?? '';

// F-210: a late alert that only cordons left a slice cordoned that was whole again.
describe('an alert that only cordons and comes late', () => {
  const subjects = [
    {
      about: 'the pool',
      options: () => pool,
      says: /^recovered: every node of the pool is Ready, and node \S+ is Ready since \S+, after the incident began at/,
    },
    {
      about: 'the node',
      options: (world: AlertWorld) => ({ resource: { node_name: firstNode(world) } }),
      says: /^recovered: node \S+ is Ready since \S+, after the incident began at/,
    },
  ];
  for (const { about, options, says } of subjects) {
    it(`about ${about} does nothing once that is back`, async () => {
      const world = await createWorld();
      const startedAt = world.time.now;
      await breakForAMinute(world, firstNode(world));
      world.effects();
      const { body } = await world.notify({ ...options(world), labels: cordon, startedAt });
      expect(body.ignored).to.match(says);
      expect(world.effects()).to.deep.equal({});
      expect(countCordoned(world.cluster, 'slice-a')).to.equal(0);
    });

    it(`about ${about} says so in a dry run`, async () => {
      const world = await createWorld();
      const startedAt = world.time.now;
      await breakForAMinute(world, firstNode(world));
      const labels = { ...cordon, failover_dry_run: 'true' };
      expect((await world.notify({ ...options(world), labels, startedAt })).body.ignored).to.match(says);
    });

    it(`about ${about} acts while that is still bad`, async () => {
      const world = await createWorld();
      const startedAt = world.time.now;
      world.cluster.killNode(firstNode(world));
      await world.pass(60);
      const { body } = await world.notify({ ...options(world), labels: cordon, startedAt });
      expect(body.steps).to.have.length(1);
      expect(world.effects()).to.deep.equal({ 'PATCH nodes': 4 });
    });

    it(`about ${about} acts on one that looks healthy and was so when the incident began`, async () => {
      const world = await createWorld();
      await breakForAMinute(world, firstNode(world));
      await world.pass(60);
      world.effects();
      const { body } = await world.notify({ ...options(world), labels: cordon });
      expect(body.steps).to.have.length(1);
      expect(world.effects()).to.deep.equal({ 'PATCH nodes': 4 });
    });
  }

  it('about a pool acts while another node of it is bad', async () => {
    const world = await createWorld();
    const startedAt = world.time.now;
    await breakForAMinute(world, firstNode(world));
    world.cluster.killNode(nodeNames(world.cluster, 'slice-a')[1] ?? '');
    await world.pass(60);
    expect((await world.notify({ ...pool, labels: cordon, startedAt })).body.steps).to.have.length(1);
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(4);
  });

  it('about a pool acts while a node of the slice is missing', async () => {
    const world = await createWorld();
    const startedAt = world.time.now;
    await breakForAMinute(world, firstNode(world));
    world.cluster.removeNode(nodeNames(world.cluster, 'slice-a')[1] ?? '');
    expect((await world.notify({ ...pool, labels: cordon, startedAt })).body.steps).to.have.length(1);
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(3);
  });

  it('leaves no hold behind, so that the close of another incident uncordons the pool', async () => {
    const world = await createWorld();
    const startedAt = world.time.now;
    await breakForAMinute(world, firstNode(world));
    const late = { ...pool, id: '0.late', labels: onClose, startedAt };
    expect((await world.notify(late)).body.ignored).to.match(/^recovered: /);
    const next = { ...pool, id: '0.next', labels: onClose };
    expect((await world.notify(next)).body.steps).to.have.length(1);
    expect((await world.notify({ ...next, state: 'closed' })).body.steps).to.have.length(1);
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(0);
  });

  it('about machines that have nothing to do with each other does nothing once they are all Ready again', async () => {
    const world = await createWorld({
      build: (emulator) => {
        const cluster = emulator.addCluster({ name: trainCluster });
        addSystemNamespace(cluster);
        cluster.addPool('slice-a', { gpu: true, nodes: 3 });
        return cluster;
      },
    });
    const startedAt = world.time.now;
    await breakForAMinute(world, firstNode(world));
    world.effects();
    expect((await world.notify({ ...pool, labels: cordon, startedAt })).body.ignored).to.match(
      /^recovered: /,
    );
    expect(world.effects()).to.deep.equal({});
  });

  it('does nothing more when it is resumed, and says which nodes it leaves cordoned', async () => {
    const world = await createWorld();
    const [first = '', , third = ''] = nodeNames(world.cluster, 'slice-a');
    const notification = createNotification({ ...pool, labels: cordon, startedAt: world.time.now });
    const lift = world.cluster.deny({ verb: 'patch', resource: 'nodes', name: third });
    expect((await world.send(notification, { CORDON_CONCURRENCY: '1' })).status).to.equal(502);
    expect(countCordoned(world.cluster, 'slice-a')).to.be.within(2, 3);
    lift();
    await breakForAMinute(world, first);
    world.effects();
    const left = countCordoned(world.cluster, 'slice-a');
    const { body } = await world.send(notification, { CORDON_CONCURRENCY: '1' });
    expect(body.ignored).to.match(/^recovered: every node/);
    expect(body.ignored).to.contain(`; ${left} nodes that it had cordoned stay so until uncordon_nodepool`);
    expect(world.effects()).to.deep.equal({});
  });

  it('about a JobSet does nothing when it is resumed, once the run is younger than the incident', async () => {
    const world = await createWorld();
    const about = {
      type: 'k8s_entity',
      resource: { entity_type: 'jobset', entity_namespace: 'default', entity_name: 'train' },
    };
    const notification = createNotification({ ...about, labels: cordon, startedAt: world.time.now });
    const lift = world.cluster.deny({ verb: 'patch', resource: 'nodes' });
    expect((await world.send(notification)).status).to.equal(502);
    lift();
    await world.pass(2);
    const [pod] = world.cluster.pods('default');
    world.cluster.finishPod('default', pod?.metadata.name ?? '', 'Failed');
    await world.pass(60);
    expect(whereTrainRuns(world.cluster)[0]).to.match(/#1$/);
    world.effects();
    expect((await world.send(notification)).body.ignored).to.match(/^recovered: JobSet default\/train/);
    expect(world.effects()).to.deep.equal({});
  });
});
