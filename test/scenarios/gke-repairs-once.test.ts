import { expect } from 'chai';
import { AlertWorld } from '../fixtures/alert-world.ts';
import type { Delivery } from '../fixtures/alert-world.ts';
import { createNotification } from '../fixtures/notification.ts';
import { VirtualFailover } from '../fixtures/virtual-failover.ts';
import { countCordoned, nodeNames } from '../fixtures/train-world.ts';

function alertOf(world: AlertWorld, node: string, action = 'repair_nodepool'): Delivery {
  const labels = { failover_action: action };
  const startedAt = world.time.now;
  return world.publish(
    createNotification({ id: `0.${node}`, startedAt, labels, resource: { node_name: node } }),
  );
}

async function openActions(world: AlertWorld): Promise<string[]> {
  const { clusters } = await world.reconcile();
  return clusters[0]?.waiting ?? [];
}

describe('the alerts of one slice that GKE itself repairs', () => {
  // F-285: each of sixteen alerts was an action of its own, with a verdict of its own.
  it('are one open action, and the others are handled', async () => {
    const world = new AlertWorld({ slice: { topology: '8x8' } });
    world.cluster.switches.hangAutoRepair('slice-a');
    const nodes = nodeNames(world.cluster, 'slice-a');
    expect(nodes).to.have.length(16);
    for (const node of nodes) world.cluster.killNode(node);
    const deliveries = nodes.map((node) => alertOf(world, node, 'cordon_and_repair_nodepool'));
    await world.deliverAll(deliveries);
    const answers = deliveries.map(({ answer }) => answer?.body);
    const acted = answers.filter((body) => body?.steps !== undefined);
    expect(acted).to.have.length(1);
    expect(acted[0]?.steps?.at(-1)).to.include({ outcome: 'gke_is_repairing' });
    const ignored = answers.flatMap((body) => body?.ignored ?? []);
    expect(ignored).to.have.length(nodes.length - 1);
    for (const why of ignored) {
      expect(why).to.match(
        /^handled: GKE repairs node pool slice-a.* since .*, and action 0\.\S+ looks what becomes of it$/,
      );
    }
    expect(await openActions(world)).to.deep.equal([acted[0]?.id]);
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(nodes.length);
    expect(world.emulator.fleet.deletions).to.deep.equal([]);
  });

  it('are handled also where the pool is repaired only', async () => {
    const world = new AlertWorld();
    world.cluster.switches.hangAutoRepair('slice-a');
    const [one = '', two = ''] = nodeNames(world.cluster, 'slice-a');
    for (const node of [one, two]) world.cluster.killNode(node);
    const deliveries = [alertOf(world, one), alertOf(world, two)];
    await world.deliverAll(deliveries);
    expect(deliveries.filter(({ answer }) => answer?.body.ignored !== undefined)).to.have.length(1);
    expect(await openActions(world)).to.have.length(1);
  });

  it('are handled no more once the first has its verdict', async () => {
    const world = new AlertWorld();
    world.cluster.switches.hangAutoRepair('slice-a');
    const [one = '', two = ''] = nodeNames(world.cluster, 'slice-a');
    for (const node of [one, two]) world.cluster.killNode(node);
    const first = alertOf(world, one);
    await world.deliverAll([first]);
    await world.pass(5_500);
    expect(await openActions(world)).to.deep.equal([]);
    const second = alertOf(world, two);
    await world.deliverAll([second]);
    expect(second.answer?.body.steps?.[0]).to.include({ outcome: 'gke_is_repairing' });
  });
});

describe('the alerts of independent machines that GKE itself repairs', () => {
  it('are one open action for each machine', async () => {
    const world = new AlertWorld();
    world.cluster.addPool('gpus', { gpu: true, nodes: 3 });
    await world.pass(1);
    const [one = '', two = ''] = nodeNames(world.cluster, 'gpus');
    for (const node of [one, two]) {
      world.cluster.killNode(node);
      world.cluster.switches.hangAutoRepair('gpus', node);
    }
    const deliveries = [alertOf(world, one), alertOf(world, two)];
    await world.deliverAll(deliveries);
    for (const { answer } of deliveries) {
      expect(answer?.body.steps?.[0], answer?.body.ignored).to.include({ outcome: 'gke_is_repairing' });
    }
    expect(await openActions(world)).to.have.length(2);
    const again = world.publish(
      createNotification({
        id: '0.again',
        startedAt: world.time.now,
        labels: { failover_action: 'repair_nodepool' },
        resource: { node_name: one },
      }),
    );
    await world.deliverAll([again]);
    expect(again.answer?.body.ignored).to.match(/^handled: /);
  });
});

describe('while an action waits for a repair that GKE makes', () => {
  it('the dry run of another alert is handled, too', async () => {
    const world = new AlertWorld();
    world.cluster.switches.hangAutoRepair('slice-a');
    const [one = ''] = nodeNames(world.cluster, 'slice-a');
    world.cluster.killNode(one);
    await world.deliverAll([alertOf(world, one)]);
    const labels = { failover_action: 'repair_nodepool', failover_dry_run: 'true' };
    const shown = await world.notify({ id: '0.dry', labels, resource: { node_name: one } });
    expect(shown.body.ignored).to.match(/^handled: /);
  });

  it('a person is answered each time, and the same alert gets its recorded answer', async () => {
    const world = new VirtualFailover({ jobSet: null });
    world.cluster.switches.hangAutoRepair('slice-a');
    for (const id of ['r', 's']) {
      const { steps } = await world.send({ id, type: 'repair_nodepool', node_pool: 'slice-a' });
      expect(steps[0]).to.include({ outcome: 'gke_is_repairing' });
    }
    const alerts = new AlertWorld();
    alerts.cluster.switches.hangAutoRepair('slice-a');
    const [one = ''] = nodeNames(alerts.cluster, 'slice-a');
    alerts.cluster.killNode(one);
    await alerts.deliverAll([alertOf(alerts, one)]);
    const again = alertOf(alerts, one);
    await alerts.deliverAll([again]);
    expect(again.answer?.body.steps?.[0]).to.include({ outcome: 'gke_is_repairing' });
  });
});
