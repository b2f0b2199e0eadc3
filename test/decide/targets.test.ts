import { expect } from 'chai';
import { parseAction } from '../../src/request/action.ts';
import type { Action } from '../../src/request/action.ts';
import { readConfig } from '../../src/config.ts';
import { findPools, nodeNotFound, requirePoolOf, resolvePool } from '../../src/decide/targets.ts';
import { createInMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import type { InMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import { incidentOf } from '../fixtures/node-health.ts';
import { refusalOf } from '../fixtures/refusal-of.ts';
import { nodeNames, trainCluster } from '../fixtures/train-world.ts';
import type { TrainWorldOptions } from '../fixtures/train-world.ts';

const config = readConfig({ CLUSTERS: trainCluster });

function toAction(fields: Record<string, unknown>): Action {
  return parseAction({ requestor: 't', reason: 'r', ...fields }, config.clusters, 'id');
}

function cordon(fields: Record<string, unknown>): Action {
  return toAction({ type: 'cordon_nodepool', ...fields });
}

function restart(fields: Record<string, unknown> = {}): Action {
  return toAction({ type: 'cordon_nodepool_and_restart_jobset', jobset_name: 'train', ...fields });
}

/** Two Jobs that share the pools as exclusive placement has it: one each. */
const onBoth: TrainWorldOptions = { jobs: [{ name: 'a' }, { name: 'b' }] };

function firstNode({ cluster }: InMemoryWorld, pool: string): string {
  return nodeNames(cluster, pool)[0] ?? '';
}

describe('resolvePool', () => {
  it('takes a pool that is named, without a call', async () => {
    const { kubernetes, emulator } = createInMemoryWorld();
    expect(await resolvePool(kubernetes, cordon({ node_pool: 'slice-a' }))).to.equal('slice-a');
    expect(await resolvePool(kubernetes, restart({ node_pool: 'slice-b' }))).to.equal('slice-b');
    expect(emulator.requests).to.deep.equal([]);
  });

  it('takes the pool of a node that is named, with one call', async () => {
    const world = createInMemoryWorld();
    const name = firstNode(world, 'slice-b');
    expect(await resolvePool(world.kubernetes, cordon({ node_name: name }))).to.equal('slice-b');
    expect(await resolvePool(world.kubernetes, restart({ node_name: name, node_pool: 'slice-b' }))).to.equal(
      'slice-b',
    );
    expect(world.emulator.requests).to.have.length(2);
  });

  // F-3: `node_name` from one pool with `node_pool` of another: pool A was cordoned, a machine of pool B deleted.
  it('refuses a node that is not in the pool that is named, and says in which it is', async () => {
    const world = createInMemoryWorld();
    const name = firstNode(world, 'slice-b');
    const both = cordon({ node_name: name, node_pool: 'slice-a' });
    const refusal = await refusalOf(resolvePool(world.kubernetes, both));
    expect(refusal).to.include({ code: 'target_mismatch', status: 409 });
    expect(refusal.message).to.equal(
      `node ${name} is not in node pool slice-a but in slice-b; name one of them`,
    );
  });

  it('refuses a node that does not exist, even if a pool is named too', async () => {
    const { kubernetes } = createInMemoryWorld();
    for (const fields of [{}, { node_pool: 'slice-a' }]) {
      const refusal = await refusalOf(resolvePool(kubernetes, cordon({ node_name: 'gke-x', ...fields })));
      expect(refusal).to.include({
        code: 'target_not_found',
        status: 404,
        message: 'there is no node gke-x; node pools: slice-a, slice-b',
      });
    }
  });

  // F-4: an empty pool name, `*` or a list became a selector that matched every node.
  it('refuses a node that is in no pool, or whose pool has no name', async () => {
    for (const label of [undefined, '']) {
      const world = createInMemoryWorld();
      const name = firstNode(world, 'slice-a');
      world.cluster.change('nodes', undefined, name, ({ metadata }) => {
        delete metadata.labels?.['cloud.google.com/gke-nodepool'];
        if (label !== undefined) {
          metadata.labels = { ...metadata.labels, 'cloud.google.com/gke-nodepool': label };
        }
      });
      const refusal = await refusalOf(resolvePool(world.kubernetes, cordon({ node_name: name })));
      expect(refusal).to.include({
        code: 'target_not_found',
        message: `node ${name} is in no node pool (it has no label cloud.google.com/gke-nodepool)`,
      });
    }
  });

  it('takes the pool that all live pods of the JobSet run on', async () => {
    const { kubernetes } = createInMemoryWorld();
    expect(await resolvePool(kubernetes, restart())).to.equal('slice-a');
  });

  it('refuses a JobSet on several pools and names them', async () => {
    const { kubernetes } = createInMemoryWorld(onBoth);
    const refusal = await refusalOf(resolvePool(kubernetes, restart()));
    expect(refusal).to.include({ code: 'target_ambiguous', status: 409 });
    expect(refusal.message).to.equal(
      'JobSet default/train runs on several node pools (slice-a, slice-b); name the node_pool',
    );
  });

  it('ignores pods that have ended or are terminating', async () => {
    const world = createInMemoryWorld(onBoth);
    const onB = new Set(nodeNames(world.cluster, 'slice-b'));
    for (const { metadata, spec } of world.cluster
      .pods('default')
      .filter((pod) => onB.has(pod.spec.nodeName ?? ''))) {
      world.cluster.finishPod('default', metadata.name, 'Succeeded');
      expect(spec.nodeName).not.to.equal(undefined);
    }
    expect(await resolvePool(world.kubernetes, restart())).to.equal('slice-a');
    for (const name of nodeNames(world.cluster, 'slice-a')) world.cluster.killNode(name);
    const [pod] = world.cluster.pods('default').filter(({ status }) => status.phase === 'Running');
    world.cluster.ask('DELETE', `/api/v1/namespaces/default/pods/${pod?.metadata.name}`);
    expect(await resolvePool(world.kubernetes, restart())).to.equal('slice-a');
  });

  it('takes for an alert the pool that ended pods hang on, not one where nothing terminates', async () => {
    const world = createInMemoryWorld(onBoth);
    const onB = new Set(nodeNames(world.cluster, 'slice-b'));
    for (const name of nodeNames(world.cluster, 'slice-a')) world.cluster.killNode(name);
    for (const { metadata, spec } of world.cluster.pods('default')) {
      if (!onB.has(spec.nodeName ?? '')) {
        world.cluster.ask('DELETE', `/api/v1/namespaces/default/pods/${metadata.name}`);
      }
      world.cluster.change('pods', 'default', metadata.name, ({ status }) => (status.phase = 'Failed'));
    }
    const alert = { ...restart(), incident: incidentOf({}) };
    expect(await resolvePool(world.kubernetes, alert)).to.equal('slice-a');
  });

  it('refuses a JobSet without a pod on a node', async () => {
    const { kubernetes } = createInMemoryWorld({ jobSet: { suspend: true } });
    const refusal = await refusalOf(resolvePool(kubernetes, restart()));
    expect(refusal).to.include({
      code: 'target_ambiguous',
      message: 'no pod of JobSet default/train runs on a node; name the node_pool to cordon',
    });
  });

  it('refuses a JobSet that does not exist, or is in another namespace', async () => {
    const world = createInMemoryWorld();
    world.cluster.addNamespace('research');
    for (const [action, message] of [
      [
        restart({ jobset_name: 'other' }),
        'there is no JobSet other in namespace default; JobSets with pods there: train',
      ],
      [restart({ namespace: 'research' }), 'there is no JobSet train in namespace research'],
    ] as const) {
      const refusal = await refusalOf(resolvePool(world.kubernetes, action));
      expect(refusal).to.include({ code: 'target_not_found', message });
    }
  });
});

describe('requirePoolOf', () => {
  const node = { name: 'n', uid: 'u', nodePool: 'p', labels: {}, annotations: {}, createdAt: 0 };

  it('says which pool a node is in', () => {
    expect(requirePoolOf(node, undefined)).to.equal('p');
    expect(requirePoolOf(node, 'p')).to.equal('p');
  });
});

describe('findPools', () => {
  it('makes two calls for a pool, however many nodes it has', async () => {
    const world = createInMemoryWorld({ slice: { topology: '8x8' } });
    const names = new Set([...nodeNames(world.cluster, 'slice-a'), ...nodeNames(world.cluster, 'slice-b')]);
    expect(names.size).to.equal(32);
    expect(await findPools(world.kubernetes, names)).to.deep.equal(['slice-a', 'slice-b']);
    expect(world.emulator.requests.length).to.be.at.most(4);
  });

  it('skips a node that is gone or in no pool', async () => {
    const world = createInMemoryWorld();
    const [gone = '', loose = '', other = ''] = nodeNames(world.cluster, 'slice-a');
    world.cluster.removeNode(gone);
    world.cluster.change('nodes', undefined, loose, ({ metadata }) => {
      delete metadata.labels?.['cloud.google.com/gke-nodepool'];
    });
    expect(await findPools(world.kubernetes, new Set([gone, loose, other]))).to.deep.equal(['slice-a']);
    expect(await findPools(world.kubernetes, new Set([gone]))).to.deep.equal([]);
  });

  it('names the pools in the same order, whichever node comes first', async () => {
    const world = createInMemoryWorld();
    const names = new Set([firstNode(world, 'slice-b'), firstNode(world, 'slice-a')]);
    expect(await findPools(world.kubernetes, names)).to.deep.equal(['slice-a', 'slice-b']);
  });
});

describe('nodeNotFound', () => {
  it('says that an alert is over where it asks for the repair of a node that is gone', async () => {
    const { kubernetes } = createInMemoryWorld();
    const action = toAction({ type: 'cordon_and_repair_nodepool', node_name: 'gke-x' });
    const gone = await nodeNotFound(kubernetes, { ...action, incident: incidentOf({}) });
    expect(gone).to.include({ message: 'recovered: node gke-x and its machine are gone', isOver: true });
  });
});
