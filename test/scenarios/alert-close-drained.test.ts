import { expect } from 'chai';
import type { Node } from '../emulator/objects.ts';
import { addSystemNamespace } from '../emulator/scenario.ts';
import { AlertWorld } from '../fixtures/alert-world.ts';
import { countCordoned, nodeNames, trainCluster } from '../fixtures/train-world.ts';
import { jsonOf } from '../fixtures/verdicts.ts';

const labels = { failover_action: 'cordon_nodepool', failover_on_close: 'uncordon_nodepool' };
const pool = { type: 'k8s_node_pool', resource: { node_pool_name: 'slice-a' }, labels };

/** What GKE writes on a node before it drains it. That it cordons the node, too, writes nothing where it is cordoned. */
type Sign = [string, (node: Node) => void];
const signs: Sign[] = [
  [
    'an upgrade drains',
    ({ metadata }) => void (metadata.labels = { ...metadata.labels, 'operation.gke.io/type': 'drain' }),
  ],
  [
    'maintenance takes',
    ({ metadata }) =>
      void (metadata.labels = { ...metadata.labels, 'cloud.google.com/active-node-maintenance': 'ONGOING' }),
  ],
  [
    'is about to be terminated',
    ({ spec }) =>
      void (spec.taints = [
        ...(spec.taints ?? []),
        { key: 'cloud.google.com/impending-node-termination', effect: 'NoSchedule' },
      ]),
  ],
  [
    'the autoscaler removes',
    ({ spec }) =>
      void (spec.taints = [
        ...(spec.taints ?? []),
        { key: 'ToBeDeletedByClusterAutoscaler', effect: 'NoSchedule' },
      ]),
  ],
  // F-430: NVSentinel writes no cordon where the node is cordoned already, and takes an uncordon for a person's wish.
  [
    'NVSentinel has quarantined',
    ({ metadata }) =>
      void (metadata.annotations = { ...metadata.annotations, quarantineHealthEventIsCordoned: 'True' }),
  ],
  // F-291: an administrator's conditions were not asked.
  ...['DrainInProgress', 'Drained', 'MaintenanceInProgress', 'GracefulNodeShutdownInProgress'].map(
    (type): Sign => [
      `has the condition ${type}`,
      ({ status }) => void status?.conditions?.push({ type, status: 'True' }),
    ],
  ),
];

async function createWorld(isSlice: boolean): Promise<AlertWorld> {
  const build: ConstructorParameters<typeof AlertWorld>[0] = {
    build: (emulator) => {
      const cluster = emulator.addCluster({ name: trainCluster });
      addSystemNamespace(cluster);
      cluster.addPool('slice-a', { gpu: true, nodes: 3 });
      return cluster;
    },
  };
  const world = new AlertWorld(isSlice ? {} : build);
  await world.pass(60);
  return world;
}

// F-212: the close of an incident uncordoned a node that GKE was draining, and pods came onto it.
describe('the close of an incident on a pool with a node that', () => {
  for (const [sign, mark] of signs) {
    it(`${sign}: uncordons the others, if each is a machine of its own`, async () => {
      const world = await createWorld(false);
      await world.notify(pool);
      const [leaving = ''] = nodeNames(world.cluster, 'slice-a');
      world.cluster.change('nodes', undefined, leaving, mark);
      const { body } = await world.notify({ ...pool, state: 'closed' });
      expect(body.steps?.[0]).to.include({
        uncordoned: 2,
        kept: 1,
        kept_nodes: leaving,
        why: 'they are not Ready, GKE is draining them, or somebody else has cordoned them',
      });
      expect(world.cluster.get('nodes', undefined, leaving)?.spec.unschedulable).to.equal(true);
    });

    it(`${sign}: leaves a slice cordoned`, async () => {
      const world = await createWorld(true);
      await world.notify(pool);
      const [leaving = ''] = nodeNames(world.cluster, 'slice-a');
      world.cluster.change('nodes', undefined, leaving, mark);
      world.effects();
      expect((await world.notify({ ...pool, state: 'closed' })).body.ignored).to.equal(
        "closed; node pool slice-a stays cordoned because only 3 of the slice's 4 nodes are Ready and GKE drains none of " +
          'these; send uncordon_nodepool once it is whole',
      );
      expect(world.effects()).to.deep.equal({});
      expect(countCordoned(world.cluster, 'slice-a')).to.equal(4);
    });
  }
});

function by(sign: string): string {
  return sign.startsWith('NVSentinel') ? sign : 'GKE is draining';
}

describe('a pool that is to be uncordoned once its machine is back', () => {
  for (const [sign, mark] of signs) {
    it(`stays cordoned while it has a node that ${sign}`, async () => {
      const world = await createWorld(false);
      const [bad = '', leaving = ''] = nodeNames(world.cluster, 'slice-a');
      await world.notify({
        id: '0.one',
        resource: { node_name: bad },
        labels: { failover_action: 'cordon_and_repair_nodepool', failover_uncordon_when_repaired: 'true' },
      });
      await world.pass(600);
      world.cluster.change('nodes', undefined, leaving, mark);
      const cordoned = countCordoned(world.cluster, 'slice-a');
      expect(cordoned).to.be.above(0);
      world.effects();
      const [report] = (await world.reconcile()).clusters;
      expect(report?.settled).to.deep.equal([{ id: '0.one', verdict: 'repaired' }]);
      expect(jsonOf(world, '0.one', 'follow-up')).to.deep.include({
        outcome: 'not_needed',
        why: `node pool slice-a stays cordoned because ${by(sign)} ${leaving}`,
      });
      expect(world.effects()).to.deep.equal({});
      expect(countCordoned(world.cluster, 'slice-a')).to.equal(cordoned);
    });
  }
});
