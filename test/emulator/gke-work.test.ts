import { expect } from 'chai';
import type { Switches } from './switches.ts';
import { createTestWorld, testClusterName, toRequest } from './test-world.ts';
import type { TestWorld } from './test-world.ts';

const pool = 'slice-a';

interface Row {
  what: string;
  turnOn: (switches: Switches) => () => void;
  status: string;
  /** The operation, and what its link ends in. */
  operation?: [type: string, target: string];
}

const rows: Row[] = [
  {
    what: 'an upgrade',
    turnOn: (switches) => switches.upgradePool(pool),
    status: 'RECONCILING',
    operation: ['UPGRADE_NODES', '/clusters/c/nodePools/slice-a'],
  },
  {
    what: 'the deletion of a pool',
    turnOn: (switches) => switches.deletePool(pool),
    status: 'STOPPING',
    operation: ['DELETE_NODE_POOL', '/clusters/c/nodePools/slice-a'],
  },
  {
    what: 'an upgrade of the control plane',
    turnOn: (switches) => switches.operateOn(undefined, 'UPGRADE_MASTER'),
    status: 'RUNNING',
    operation: ['UPGRADE_MASTER', '/clusters/c'],
  },
  { what: 'a stockout', turnOn: (switches) => switches.stockOut(pool), status: 'RUNNING_WITH_ERROR' },
  { what: 'a scale-down', turnOn: (switches) => switches.scaleDown(pool), status: 'RUNNING' },
  { what: 'a maintenance', turnOn: (switches) => switches.maintainHost(pool), status: 'RUNNING' },
];

describe('GkeWork', () => {
  for (const { what, turnOn, status, operation } of rows) {
    it(`shows ${what}, and its end`, () => {
      const world = createTestWorld();
      world.cluster.addTpuSlice(pool, { topology: '4x4' });
      const before = JSON.stringify(world.cluster.nodes());
      const turnOff = turnOn(world.cluster.switches);
      expect(poolOf(world)['status']).to.equal(status);
      const [shown] = operationsOf(world);
      if (operation) {
        const [operationType, target] = operation;
        expect(shown).to.include({ operationType, status: 'RUNNING', startTime: '2026-01-01T00:00:00.000Z' });
        // Google writes the number of the project there, not its id.
        expect(shown?.['targetLink']).to.match(new RegExp(`/projects/\\d+/locations/us-central1${target}$`));
      } else expect(shown).to.equal(undefined);
      world.advance(60);
      turnOff();
      expect(poolOf(world)['status']).to.equal('RUNNING');
      if (operation) {
        expect(operationsOf(world)[0]).to.include({ status: 'DONE', endTime: '2026-01-01T00:01:00.000Z' });
      }
      expect(strip(JSON.stringify(world.cluster.nodes()))).to.equal(strip(before));
    });
  }

  it('marks nodes as GKE does', () => {
    const world = createTestWorld();
    const names = world.cluster.addTpuSlice(pool, { topology: '4x4' });
    const { switches } = world.cluster;
    for (const turnOn of [
      () => switches.upgradePool(pool),
      () => switches.scaleDown(pool),
      () => switches.maintainHost(pool),
    ]) {
      turnOn();
    }
    const nodes = new Map(world.cluster.nodes().map((node) => [node.metadata.name, node]));
    const first = nodes.get(names[0] ?? '');
    expect(first?.metadata.labels).to.include({
      'operation.gke.io/type': 'drain',
      'cloud.google.com/active-node-maintenance': 'ONGOING',
    });
    const taintsOf = (name = '') => nodes.get(name)?.spec.taints?.map(({ key }) => key);
    expect(taintsOf(names[0])).to.deep.equal([
      'google.com/tpu',
      'ToBeDeletedByClusterAutoscaler',
      'cloud.google.com/impending-node-termination',
    ]);
    // A slice is scaled down as a whole.
    expect(taintsOf(names[3])).to.deep.equal(['google.com/tpu', 'ToBeDeletedByClusterAutoscaler']);
  });

  it('repairs by itself ten minutes after a node has stopped being Ready', () => {
    const world = createTestWorld();
    const [name = '', other = ''] = world.cluster.addPool('gpus', { gpu: true });
    world.cluster.switches.autoRepair('gpus');
    const idOf = (node: string) => world.emulator.fleet.list().find((each) => each.name === node)?.id;
    const before = [idOf(name), idOf(other)];
    world.cluster.killNode(name);
    world.advance(599);
    expect(operationsOf(world)).to.deep.equal([]);
    world.advance(1);
    expect(operationsOf(world)[0]).to.include({ operationType: 'AUTO_REPAIR_NODES', status: 'RUNNING' });
    expect(operationsOf(world)[0]?.['targetLink']).to.match(
      new RegExp(`/clusters/c/nodePools/gpus/node/${name}$`),
    );
    expect(poolOf(world, 'gpus')['status']).to.equal('RECONCILING');
    world.advance(150);
    expect(operationsOf(world)[0]).to.include({ status: 'DONE' });
    expect(operationsOf(world)).to.have.length(1);
    expect(idOf(name)).to.be.a('string').and.not.to.equal(before[0]);
    expect(idOf(other)).to.equal(before[1]);
    // Nobody asked Compute for it.
    expect(world.emulator.fleet.deletions).to.deep.equal([]);
  });

  it('says how the machines of a pool were bought, and what keeps them from coming', () => {
    const world = createTestWorld();
    const labels = Object.fromEntries(
      ['gke-spot', 'gke-flex-start', 'gke-queued'].map((name) => [`cloud.google.com/${name}`, 'true']),
    );
    world.cluster.addTpuSlice(pool, { labels });
    world.cluster.switches.stockOut(pool);
    expect(poolOf(world)).to.deep.include({
      queuedProvisioning: { enabled: true },
      conditions: [
        {
          code: 'GCE_STOCKOUT',
          canonicalCode: 'RESOURCE_EXHAUSTED',
          message: 'Insufficient capacity for machine type ct6e-standard-4t.',
        },
      ],
    });
    expect(poolOf(world)['config']).to.include({ spot: true, flexStart: true });
  });

  it('lists operations by location, one by name, and with numbers for enums', () => {
    const world = createTestWorld();
    world.cluster.addTpuSlice(pool);
    world.cluster.switches.upgradePool(pool);
    const [shown] = operationsOf(world);
    expect(get(world, `/v1/projects/p/locations/us-central1/operations/${String(shown?.['name'])}`)).to.equal(
      200,
    );
    expect(get(world, '/v1/projects/p/locations/us-central1/operations/none')).to.equal(404);
    expect(operationsOf(world, 'us-east1')).to.deep.equal([]);
    expect(operationsOf(world, 'us-central1', '?%24alt=json%3Benum-encoding=int')[0]).to.include({
      operationType: 4,
      status: 2,
    });
    expect(poolOf(world, pool, '?%24alt=json%3Benum-encoding=int')['status']).to.equal(4);
  });
});

function get({ emulator }: TestWorld, path: string): number {
  return emulator.handleContainer(toRequest(emulator, 'GET', path)).status;
}

function poolOf({ emulator }: TestWorld, name = pool, query = ''): Record<string, unknown> {
  const path = `/v1/${testClusterName}/nodePools/${name}${query}`;
  return JSON.parse(emulator.handleContainer(toRequest(emulator, 'GET', path)).body) as Record<
    string,
    unknown
  >;
}

function operationsOf(
  { emulator }: TestWorld,
  location = 'us-central1',
  query = '',
): Record<string, unknown>[] {
  const path = `/v1/projects/p/locations/${location}/operations${query}`;
  const body = JSON.parse(emulator.handleContainer(toRequest(emulator, 'GET', path)).body) as {
    operations?: Record<string, unknown>[];
  };
  return body.operations ?? [];
}

/** What changes with every write. */
function strip(nodes: string): string {
  return nodes.replaceAll(/"resourceVersion":"\d+"/g, '');
}
