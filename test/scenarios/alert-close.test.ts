import { expect } from 'chai';
import { AlertWorld } from '../fixtures/alert-world.ts';
import type { AlertAnswer } from '../fixtures/alert-world.ts';
import { createNotification } from '../fixtures/notification.ts';
import type { NotificationOptions } from '../fixtures/notification.ts';
import { countCordoned, nodeNames, trainCluster, whereTrainRuns } from '../fixtures/train-world.ts';
import { addSystemNamespace } from '../emulator/scenario.ts';

const onClose = { failover_on_close: 'uncordon_nodepool' };
const cordon = { failover_action: 'cordon_nodepool', ...onClose };
const restart = { failover_action: 'cordon_nodepool_and_restart_jobset', ...onClose };
const repair = { failover_action: 'cordon_and_repair_nodepool', ...onClose };
const pool = { type: 'k8s_node_pool', resource: { node_pool_name: 'slice-a' } };

async function createWorld(options: ConstructorParameters<typeof AlertWorld>[0] = {}): Promise<AlertWorld> {
  const world = new AlertWorld(options);
  await world.pass(60);
  return world;
}

function steps({ body }: AlertAnswer): unknown[] | string {
  return (
    body.steps?.map(({ step, ...rest }) => ({ step, uncordoned: rest['uncordoned'], kept: rest['kept'] })) ??
    JSON.stringify(body)
  );
}

const cordoned = (world: AlertWorld) => countCordoned(world.cluster, 'slice-a');
const leaseNames = (world: AlertWorld) =>
  world.cluster.leases('autometric-failover-system').map(({ metadata }) => metadata.name.replace(/-.*/, ''));

function independentNodes(nodes = 4): ConstructorParameters<typeof AlertWorld>[0] {
  return {
    build: (emulator) => {
      const cluster = emulator.addCluster({ name: trainCluster });
      addSystemNamespace(cluster);
      cluster.addPool('slice-a', { gpu: true, nodes });
      return cluster;
    },
  };
}

describe('the close of an incident', () => {
  it('uncordons the pool that was cordoned for it, once, and answers the same again', async () => {
    const world = await createWorld();
    await world.notify({ ...pool, labels: restart });
    expect(cordoned(world)).to.equal(4);
    await world.pass(600);
    const closed = createNotification({
      ...pool,
      labels: restart,
      state: 'closed',
      startedAt: world.time.now - 600_000,
    });
    const answer = await world.send(closed);
    expect(steps(answer)).to.deep.equal([{ step: 'uncordon', uncordoned: 4, kept: 0 }]);
    expect(answer.body.id).to.equal('0.constructed01.closed');
    expect(world.lastLine).to.include({
      outcome: 'done',
      type: 'uncordon_nodepool',
      action_id: '0.constructed01.closed',
    });
    expect(cordoned(world)).to.equal(0);
    world.effects();
    expect(steps(await world.send(closed))).to.equal(
      '{"id":"0.constructed01.closed","ignored":"closed, and no node pool is cordoned for it"}',
    );
    expect(world.effects()).to.deep.equal({});
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #1']);
  });

  it('finds the pool even if the node of the incident is gone and its record is swept', async () => {
    const world = await createWorld(independentNodes());
    const [node = ''] = nodeNames(world.cluster, 'slice-a');
    const options = { resource: { node_name: node }, labels: cordon, startedAt: world.time.now };
    await world.notify(options);
    await world.pass(26 * 3600);
    world.cluster.removeNode(node);
    for (const { metadata } of world.cluster.leases('autometric-failover-system')) {
      if (metadata.name.startsWith('action-')) {
        world.cluster.remove('leases', 'autometric-failover-system', metadata.name);
      }
    }
    expect(steps(await world.notify({ ...options, state: 'closed' }))).to.deep.equal([
      { step: 'uncordon', uncordoned: 3, kept: 0 },
    ]);
  });

  it('only records itself when its policy does not ask to uncordon', async () => {
    const world = await createWorld();
    const labels = { failover_action: 'cordon_nodepool' };
    await world.notify({ ...pool, labels });
    world.effects();
    const { status, body } = await world.notify({ ...pool, labels, state: 'closed' });
    expect({ status, ignored: body.ignored }).to.deep.equal({
      status: 200,
      ignored: 'closed, and its policy has no label failover_on_close',
    });
    expect(world.lastLine).to.include({ severity: 'INFO', event: 'ignored', outcome: 'ignored' });
    expect(world.effects()).to.deep.equal({});
    expect(leaseNames(world)).to.include('closed');
  });

  // F-29: the close of an incident overtakes its open: the open cordons nothing.
  for (const labels of [cordon, restart, { failover_action: 'cordon_nodepool' }]) {
    it(`that arrives before its open makes the open do nothing (${JSON.stringify(labels)})`, async () => {
      const world = await createWorld();
      const startedAt = world.time.now;
      const closed = await world.notify({ ...pool, labels, state: 'closed', startedAt });
      expect(closed.body.ignored).to.match(/^closed, and /);
      await world.pass(60);
      for (const renotify of [false, true]) {
        const { status, body } = await world.notify({ ...pool, labels, startedAt, renotify });
        expect({ status, ignored: body.ignored }).to.deep.equal({
          status: 200,
          ignored: 'its incident has closed already',
        });
      }
      expect(world.effects()).to.deep.equal({});
      expect(leaseNames(world)).to.have.members(['cluster', 'closed']);
      // Another incident on the pool is none of its business, and neither is this one of that one's.
      expect((await world.notify({ ...pool, labels, id: '0.other' })).body.steps).to.have.length.greaterThan(
        0,
      );
      await world.notify({ ...pool, labels, id: '0.other', state: 'closed' });
      expect(cordoned(world)).to.equal('failover_on_close' in labels ? 0 : 4);
    });
  }

  it('waits for its open while that is running, and then undoes it', async () => {
    const world = await createWorld();
    // Each node takes a quarter of a minute.
    const busy = { status: 503, headers: { 'retry-after': '15' } };
    world.emulator.faults.add({ method: 'PATCH', path: /nodes/, times: 4, effect: busy });
    const open = world.publish(createNotification({ ...pool, labels: cordon, startedAt: world.time.now }));
    await world.pass(1);
    const closed = world.publish(
      createNotification({ ...pool, labels: cordon, startedAt: world.time.now, state: 'closed' }),
    );
    await world.deliverAll([open, closed]);
    expect(open.answer?.body.steps).to.have.length(1);
    expect(closed.deliveries).to.equal(2);
    expect(cordoned(world)).to.equal(0);
  });

  it('undoes an open that stopped halfway, which does not resume afterwards', async () => {
    const world = await createWorld();
    const [, second = ''] = nodeNames(world.cluster, 'slice-a');
    const allow = world.cluster.deny({ verb: 'patch', resource: 'nodes', name: second });
    const options = { ...pool, labels: cordon, startedAt: world.time.now };
    expect((await world.notify(options)).status).to.equal(502);
    expect(cordoned(world)).to.equal(3);
    allow();
    const { body } = await world.notify({ ...options, state: 'closed' });
    expect(body.steps?.map(({ step }) => step)).to.deep.equal(['notice', 'uncordon']);
    expect(cordoned(world)).to.equal(0);
    // F-47: a late retry cordoned the pool again after the clean-up.
    expect((await world.notify(options)).body.ignored).to.equal('its incident has closed already');
    expect(cordoned(world)).to.equal(0);
  });

  // F-41: one of two incidents on a pool closes: the pool stays cordoned.
  it('leaves the pool cordoned until the last incident that asked for it has closed', async () => {
    const world = await createWorld();
    const ids = ['0.a', '0.b', '0.c'];
    for (const id of ids) await world.notify({ ...pool, id, labels: cordon });
    const close = (id: string) => world.notify({ ...pool, id, labels: cordon, state: 'closed' });
    expect((await close('0.b')).body.ignored).to.equal(
      'closed; node pool slice-a stays cordoned because incident 0.a and 1 more are still open',
    );
    expect((await close('0.a')).body.ignored).to.equal(
      'closed; node pool slice-a stays cordoned because incident 0.c is still open',
    );
    expect(cordoned(world)).to.equal(4);
    expect(steps(await close('0.c'))).to.deep.equal([{ step: 'uncordon', uncordoned: 4, kept: 0 }]);
  });

  it('keeps the hold of an incident that another one handled or that was rate limited', async () => {
    const world = await createWorld();
    const [first = '', second = ''] = nodeNames(world.cluster, 'slice-a');
    const alert = (id: string, node: string, state: string) =>
      world.notify({ id, resource: { node_name: node }, labels: repair, state, startedAt: world.time.now });
    await alert('0.a', first, 'open');
    expect((await alert('0.b', second, 'open')).body.ignored).to.match(/^handled/);
    expect((await alert('0.a', first, 'closed')).body.ignored).to.match(
      /because incident 0\.b is still open$/,
    );
    expect(cordoned(world)).to.equal(4);
  });

  it('keeps no hold for an incident that was over when its notification arrived', async () => {
    const world = await createWorld();
    const [node = ''] = nodeNames(world.cluster, 'slice-a');
    const startedAt = world.time.now;
    await world.notify({ ...pool, id: '0.a', labels: cordon });
    await world.pass(10);
    world.cluster.killNode(node);
    await world.pass(30);
    world.cluster.reviveNode(node);
    await world.pass(10);
    const late = await world.notify({
      id: '0.late',
      resource: { node_name: node },
      labels: repair,
      startedAt,
    });
    expect(late.body.ignored).to.match(/^recovered/);
    expect(steps(await world.notify({ ...pool, id: '0.a', labels: cordon, state: 'closed' }))).to.deep.equal([
      { step: 'uncordon', uncordoned: 4, kept: 0 },
    ]);
  });

  // F-30: a dead node falls silent, and that closes the incident: nothing is uncordoned that is not Ready.
  describe('by silence', () => {
    it('leaves a slice cordoned for as long as one of its nodes is not Ready', async () => {
      const world = await createWorld();
      const [dead = ''] = nodeNames(world.cluster, 'slice-a');
      await world.notify({ ...pool, labels: cordon });
      world.cluster.killNode(dead);
      await world.pass(60);
      const close = () => world.notify({ ...pool, labels: cordon, state: 'closed' });
      expect((await close()).body.ignored).to.equal(
        "closed; node pool slice-a stays cordoned because only 3 of the slice's 4 nodes are Ready; " +
          'send uncordon_nodepool once it is whole',
      );
      expect(cordoned(world)).to.equal(4);
      // Delivered again when it is whole, it is done.
      world.cluster.reviveNode(dead);
      await world.pass(10);
      expect(steps(await close())).to.deep.equal([{ step: 'uncordon', uncordoned: 4, kept: 0 }]);
    });

    it('leaves a slice cordoned that lacks a node, or all', async () => {
      const world = await createWorld();
      await world.notify({ ...pool, labels: cordon });
      const [first, ...others] = nodeNames(world.cluster, 'slice-a');
      world.cluster.removeNode(first ?? '');
      const close = () => world.notify({ ...pool, labels: cordon, state: 'closed' });
      expect((await close()).body.ignored).to.match(/only 3 of the slice's 4 nodes are Ready/);
      for (const node of others) world.cluster.removeNode(node);
      expect((await close()).body.ignored).to.match(/has no node that was cordoned for it and is Ready$/);
    });

    it('uncordons the Ready nodes of independent ones, and the rest when a later incident closes', async () => {
      const world = await createWorld(independentNodes());
      const [dead = ''] = nodeNames(world.cluster, 'slice-a');
      await world.notify({ ...pool, labels: cordon });
      world.cluster.killNode(dead);
      await world.pass(60);
      const answer = await world.notify({ ...pool, labels: cordon, state: 'closed' });
      expect(answer.body.steps).to.deep.equal([
        {
          step: 'uncordon',
          target: 'slice-a',
          nodes: 4,
          uncordoned: 3,
          kept: 1,
          kept_nodes: dead,
          why: 'they are not Ready, GKE is draining them, or somebody else has cordoned them',
        },
      ]);
      expect(world.cluster.get('nodes', undefined, dead)?.spec.unschedulable).to.equal(true);
      world.cluster.reviveNode(dead);
      await world.pass(10);
      await world.notify({ ...pool, id: '0.next', labels: cordon });
      expect(
        steps(await world.notify({ ...pool, id: '0.next', labels: cordon, state: 'closed' })),
      ).to.deep.equal([{ step: 'uncordon', uncordoned: 4, kept: 0 }]);
    });

    it('uncordons nothing when no node is Ready', async () => {
      const world = await createWorld(independentNodes(2));
      await world.notify({ ...pool, labels: cordon });
      for (const node of nodeNames(world.cluster, 'slice-a')) world.cluster.killNode(node);
      await world.pass(60);
      const { body } = await world.notify({ ...pool, labels: cordon, state: 'closed' });
      expect(body.ignored).to.equal(
        'closed; node pool slice-a has no node that was cordoned for it and is Ready',
      );
      expect(cordoned(world)).to.equal(2);
    });
  });

  describe('leaves alone', () => {
    // F-44: the undo uncordoned a node that a person had cordoned.
    it('what a person has cordoned, before or after', async () => {
      const world = await createWorld();
      const [before = '', after = ''] = nodeNames(world.cluster, 'slice-a');
      world.cluster.cordonAs('kubectl', before, true);
      await world.notify({ ...pool, labels: cordon });
      world.cluster.cordonAs('kubectl', after, false);
      world.cluster.cordonAs('kubectl', after, true);
      const { body } = await world.notify({ ...pool, labels: cordon, state: 'closed' });
      expect(body.steps?.[0]).to.include({ uncordoned: 2, kept: 2 });
      expect(
        [before, after].map((name) => world.cluster.get('nodes', undefined, name)?.spec.unschedulable),
      ).to.deep.equal([true, true]);
    });

    it('what an action had cordoned before the incident', async () => {
      const world = await createWorld();
      await world.notify({ ...pool, id: '0.keeper', labels: { failover_action: 'cordon_nodepool' } });
      await world.notify({ ...pool, id: '0.b', labels: cordon });
      const { body } = await world.notify({ ...pool, id: '0.b', labels: cordon, state: 'closed' });
      expect(body.ignored).to.match(/has no node that was cordoned for it and is Ready$/);
      expect(cordoned(world)).to.equal(4);
    });

    it('the hold of an incident whose policy does not uncordon on close', async () => {
      const world = await createWorld();
      await world.notify({ ...pool, id: '0.a', labels: cordon });
      await world.notify({ ...pool, id: '0.keeper', labels: { failover_action: 'cordon_nodepool' } });
      const { body } = await world.notify({ ...pool, id: '0.a', labels: cordon, state: 'closed' });
      expect(body.ignored).to.equal(
        'closed; node pool slice-a stays cordoned because action 0.keeper cordoned it too; send uncordon_nodepool to release it',
      );
      expect(cordoned(world)).to.equal(4);
    });

    it('what is cordoned again after somebody uncordoned it', async () => {
      const world = await createWorld();
      await world.notify({ ...pool, id: '0.a', labels: cordon });
      await world.notify({ ...pool, id: '0.lift', labels: { failover_action: 'uncordon_nodepool' } });
      expect(cordoned(world)).to.equal(0);
      await world.notify({ ...pool, id: '0.keeper', labels: { failover_action: 'cordon_nodepool' } });
      const { body } = await world.notify({ ...pool, id: '0.a', labels: cordon, state: 'closed' });
      expect(body.ignored).to.equal('closed, and no node pool is cordoned for it');
      expect(cordoned(world)).to.equal(4);
    });

    it('a pool on which its incident was refused', async () => {
      const world = await createWorld({
        jobSet: { failurePolicy: { maxRestarts: 3, restartStrategy: 'InPlaceRestart' } },
      });
      const options: Partial<NotificationOptions> = { ...pool, labels: restart };
      expect((await world.notify(options)).body.code).to.equal('restart_refused');
      expect((await world.notify({ ...options, state: 'closed' })).body.ignored).to.match(
        /no node pool is cordoned for it$/,
      );
    });
  });

  it('handles an incident whose id is the name of a property of every object', async () => {
    const world = await createWorld();
    await world.notify({ ...pool, id: '0.other', labels: cordon });
    const sliceB = { type: 'k8s_node_pool', resource: { node_pool_name: 'slice-b' } };
    for (const id of ['constructor', '__proto__', 'toString']) {
      const { body } = await world.notify({ ...sliceB, id, labels: cordon });
      expect(body.steps).to.have.length(1);
      expect(steps(await world.notify({ ...sliceB, id, labels: cordon, state: 'closed' })), id).to.deep.equal(
        [{ step: 'uncordon', uncordoned: 4, kept: 0 }],
      );
    }
  });

  it('is forgotten after a day, with the records', async () => {
    const world = await createWorld();
    await world.notify({ ...pool, labels: cordon });
    await world.notify({ ...pool, labels: cordon, state: 'closed' });
    expect(leaseNames(world)).to.include('closed');
    await world.pass(25 * 3600);
    await world.notify({ ...pool, id: '0.next', labels: cordon });
    expect(leaseNames(world)).not.to.include('closed');
  });
});
