import { expect } from 'chai';
import { parseAction } from '../../src/request/action.ts';
import type { Action } from '../../src/request/action.ts';
import { readConfig } from '../../src/config.ts';
import { readSnapshot } from '../../src/decide/snapshot.ts';
import { createInMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import type { InMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import { refusalOf } from '../fixtures/refusal-of.ts';
import { nodeNames, trainCluster } from '../fixtures/train-world.ts';

const config = readConfig({ CLUSTERS: trainCluster });

function toAction(fields: Record<string, unknown> = {}): Action {
  const body = { type: 'cordon_nodepool', requestor: 't', reason: 'r', ...fields };
  return parseAction(
    { ...body, ...('node_name' in body ? {} : { node_pool: 'slice-a' }) },
    config.clusters,
    'id',
  );
}

function read({ kubernetes }: Pick<InMemoryWorld, 'kubernetes'>, action = toAction(), isResuming = false) {
  return readSnapshot(kubernetes, action, 'slice-a', isResuming);
}

describe('readSnapshot', () => {
  it('has the pool’s nodes, whether cordoned or not, and writes nothing', async () => {
    const world = createInMemoryWorld();
    const [cordoned = '', ...schedulable] = nodeNames(world.cluster, 'slice-a');
    world.cluster.cordonAs('kubectl', cordoned, true);
    const { nodes, nodePool, namedNode: named } = await read(world);
    expect(nodePool).to.equal('slice-a');
    expect(named).to.equal(undefined);
    expect(nodes.cordoned.map(({ name }) => name)).to.deep.equal([cordoned]);
    expect(nodes.schedulable.map(({ name }) => name).sort()).to.deep.equal(schedulable);
    expect(world.emulator.writes()).to.deep.equal([]);
  });

  it('refuses a pool without nodes, whose name may be a typo', async () => {
    const world = createInMemoryWorld({ slices: ['slice-b'], jobSet: null });
    expect(await refusalOf(read(world))).to.include({
      code: 'target_not_found',
      message: 'node pool slice-a has no nodes, did you mean slice-b?; node pools: slice-b',
    });
  });

  it('lets an action resume when the pool has no nodes any more and the named node is gone', async () => {
    const world = createInMemoryWorld({ slices: ['slice-b'], jobSet: null });
    const { nodes, eventTarget } = await read(world, toAction({ node_name: 'gke-x' }), true);
    expect(nodes).to.deep.equal({ schedulable: [], cordoned: [] });
    expect(eventTarget).to.equal(undefined);
  });

  it('refuses a node that was deleted, or moved to another pool, after its pool was resolved', async () => {
    const world = createInMemoryWorld();
    const gone = await refusalOf(read(world, toAction({ node_name: 'gke-x' })));
    expect(gone).to.include({
      code: 'target_not_found',
      message: 'there is no node gke-x; node pools: slice-a, slice-b',
    });
    const [other = ''] = nodeNames(world.cluster, 'slice-b');
    const moved = await refusalOf(read(world, toAction({ node_name: other })));
    expect(moved.code).to.equal('target_mismatch');
  });

  it('has the health of the node that was named', async () => {
    const world = createInMemoryWorld();
    const [name = ''] = nodeNames(world.cluster, 'slice-a');
    world.cluster.killNode(name);
    const { namedNode: named } = await read(world, toAction({ node_name: name }));
    expect(named).to.include({ name, isReady: false, readyChangedAt: world.clock.now() });
    expect(named?.problems).to.deep.equal([]);
    expect(named?.taintKeys).to.include('node.kubernetes.io/unreachable');
  });

  it('has the other problems of the named node, and its machine', async () => {
    const world = createInMemoryWorld();
    const [name = ''] = nodeNames(world.cluster, 'slice-a');
    world.cluster.change('nodes', undefined, name, ({ status }) => {
      for (const condition of status.conditions) {
        if (condition.type === 'DiskPressure') condition.status = 'True';
      }
      status.nodeInfo = { ...status.nodeInfo, systemUUID: 'the-machine' };
    });
    const { namedNode: named } = await read(world, toAction({ node_name: name }));
    expect(named).to.deep.include({
      isReady: true,
      problems: ['DiskPressure'],
      systemUuid: 'the-machine',
      providerId: `gce://demo-project/us-central1-a/${name}`,
    });
  });

  describe('shows Events on', () => {
    it('the JobSet that was named', async () => {
      const world = createInMemoryWorld();
      const { eventTarget } = await read(world, toAction({ jobset_name: 'train' }));
      expect(eventTarget).to.deep.equal({
        apiVersion: 'jobset.x-k8s.io/v1alpha2',
        kind: 'JobSet',
        namespace: 'default',
        name: 'train',
        uid: world.cluster.get('jobsets', 'default', 'train')?.metadata.uid,
      });
    });

    it('the named node, if no JobSet was named', async () => {
      const world = createInMemoryWorld();
      const name = nodeNames(world.cluster, 'slice-a')[2] ?? '';
      for (const fields of [{}, { jobset_name: 'gone' }]) {
        const { eventTarget } = await read(world, toAction({ node_name: name, ...fields }));
        expect(eventTarget).to.include({ kind: 'Node', name });
        expect(eventTarget).not.to.have.property('namespace');
      }
    });

    it('the pool’s first node otherwise, whether cordoned or not', async () => {
      const world = createInMemoryWorld();
      const [first = ''] = nodeNames(world.cluster, 'slice-a');
      expect((await read(world)).eventTarget?.name).to.equal(first);
      world.cluster.cordonAs('kubectl', first, true);
      expect((await read(world)).eventTarget?.name).to.equal(first);
    });
  });
});
