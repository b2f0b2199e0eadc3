import { expect } from 'chai';
import { parseAction } from '../../src/request/action.ts';
import type { Action } from '../../src/request/action.ts';
import { readConfig } from '../../src/config.ts';
import { readNamedJobSet, suggestNode, suggestPool } from '../../src/decide/existing-names.ts';
import { resolvePool } from '../../src/decide/targets.ts';
import { createInMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import { refusalOf } from '../fixtures/refusal-of.ts';
import { nodeNames, trainCluster } from '../fixtures/train-world.ts';

const config = readConfig({ CLUSTERS: trainCluster });

function toAction(fields: Record<string, unknown>): Action {
  const body = { type: 'cordon_nodepool', requestor: 't', reason: 'r', ...fields };
  return parseAction(body, config.clusters, 'id');
}

describe('a refusal of a name that does not exist', () => {
  it('lists the node pools, the nearest first', async () => {
    const { kubernetes } = createInMemoryWorld();
    expect(await suggestPool(kubernetes, 'slica')).to.equal(
      ', did you mean slice-a?; node pools: slice-a, slice-b',
    );
    expect(await suggestPool(kubernetes, 'workers')).to.equal('; node pools: slice-a, slice-b');
  });

  it('names the nearest node, and not thousands of them', async () => {
    const { kubernetes, cluster } = createInMemoryWorld();
    const [name = ''] = nodeNames(cluster, 'slice-b');
    expect(await suggestNode(kubernetes, name.toUpperCase())).to.equal(
      `, did you mean ${name}?; node pools: slice-a, slice-b`,
    );
  });

  it('lists twenty node pools beside a node at most', async () => {
    const { kubernetes, cluster } = createInMemoryWorld({ slices: [], jobSet: null });
    const pools = Array.from({ length: 21 }, (_, index) => `pool-${index + 10}`);
    for (const pool of pools) cluster.addPool(pool, { nodes: 1 });
    expect(await suggestNode(kubernetes, 'workers')).to.equal(
      `; node pools: ${pools.slice(0, 20).join(', ')}`,
    );
  });

  it('says that a node’s name is that of a pool', async () => {
    const { kubernetes } = createInMemoryWorld();
    const refusal = await refusalOf(resolvePool(kubernetes, toAction({ node_name: 'slice-a' })));
    expect(refusal.message).to.equal(
      'there is no node slice-a; slice-a is a node pool: send it as node_pool',
    );
  });

  it('lists the JobSets of the namespace, and none of another', async () => {
    const { kubernetes, cluster } = createInMemoryWorld();
    cluster.addNamespace('research');
    expect((await refusalOf(readNamedJobSet(kubernetes, 'default', 'trian'))).message).to.equal(
      'there is no JobSet trian in namespace default, did you mean train?; JobSets with pods there: train',
    );
    expect((await refusalOf(readNamedJobSet(kubernetes, 'research', 'train'))).message).to.equal(
      'there is no JobSet train in namespace research',
    );
  });

  it('is the same refusal where the names cannot be listed', async () => {
    const { kubernetes, cluster, emulator } = createInMemoryWorld();
    cluster.deny({ verb: 'list', resource: 'pods' });
    expect(await refusalOf(readNamedJobSet(kubernetes, 'default', 'other'))).to.include({
      code: 'target_not_found',
      message: 'there is no JobSet other in namespace default',
    });
    emulator.faults.add({ path: /nodes/, times: Infinity, effect: { status: 503 } });
    expect(await suggestPool(kubernetes, 'slice-x')).to.equal('');
  });

  it('lists nothing for an alert, whose names nobody typed', async () => {
    const { kubernetes, emulator } = createInMemoryWorld();
    const action = { ...toAction({ node_name: 'gke-x' }), incident: {} as Action['incident'] & object };
    expect((await refusalOf(resolvePool(kubernetes, action))).message).to.equal('there is no node gke-x');
    expect(emulator.requests).to.have.lengthOf(1);
  });
});
