import { expect } from 'chai';
import { countEffects } from '../fixtures/count-writes.ts';
import { countCordoned, nodeNames } from '../fixtures/train-world.ts';
import { VirtualFailover } from '../fixtures/virtual-failover.ts';

// The promise `whole-before-release`: the random interleavings meet it seldom, so that it also has a test of its own.

describe('what follows from a repair', () => {
  const repair = {
    id: 'r',
    type: 'cordon_and_repair_nodepool',
    node_pool: 'slice-a',
    uncordon_when_repaired: true,
  };

  /** A slice whose Node objects survive the repair of its machines, so that their cordons stay. */
  async function createRepaired(): Promise<VirtualFailover> {
    const world = new VirtualFailover({ slice: { nodeObject: 'survives' } });
    expect((await world.send(repair)).status).to.equal(200);
    await world.pass(300);
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(4);
    world.newWrites();
    return world;
  }

  it('releases the pool that is whole', async () => {
    const world = await createRepaired();
    expect((await world.reconcile()).settled).to.deep.include({ id: 'r', verdict: 'repaired' });
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(0);
  });

  it('releases no pool of which a node has died since the verdict was given', async () => {
    const world = await createRepaired();
    // The record of the action is written with its verdict, and the follow-up begins after that.
    world.once(/^PUT .*\/leases\/action-/, () => {
      const [node = ''] = nodeNames(world.cluster, 'slice-a');
      world.cluster.killNode(node);
    });
    await world.reconcile();
    expect(world.isAllDone).to.equal(true);
    await world.pass(60);
    await world.reconcile();
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(4);
    expect(countEffects(world.newWrites())).to.deep.equal({});
  });
});
