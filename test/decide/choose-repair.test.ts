import { expect } from 'chai';
import { GpuWorld } from '../fixtures/gpu-world.ts';

const repair = { type: 'repair_nodepool', node_pool: 'gpu-a', dry_run: true };

function label(world: GpuWorld, name: string, labels: Record<string, string>): void {
  world.cluster.change('nodes', undefined, name, ({ metadata }) =>
    Object.assign(metadata.labels ?? {}, labels),
  );
}

const maintained = { 'cloud.google.com/active-node-maintenance': 'ONGOING' };

describe('the choice of a machine in a pool', () => {
  /** The second node is the bad one. */
  async function create(): Promise<GpuWorld> {
    const world = new GpuWorld({ nodes: 3 });
    world.cluster.killNode(world.other);
    await world.pass(90);
    return world;
  }

  it('judges the node of that machine, not the first one of the pool', async () => {
    const world = await create();
    label(world, world.node, maintained);
    expect((await world.send(repair)).steps.at(-1)).to.include({
      target: world.other,
      outcome: 'would_delete',
    });
    label(world, world.other, maintained);
    const { steps } = await world.send(repair);
    expect(steps.at(-1)).to.include({ target: world.other, outcome: 'under_maintenance' });
    expect(world.emulator.fleet.deletions).to.deep.equal([]);
  });

  it('leaves it to GKE without a look at the way, which would be refused', async () => {
    const world = await create();
    const spot = { 'cloud.google.com/gke-spot': 'true' };
    label(world, world.other, { ...spot, 'cloud.google.com/fault-behavior': 'XID' });
    expect(await world.send(repair)).to.include({ code: 'repair_refused' });
    label(world, world.other, maintained);
    expect((await world.send(repair)).steps.at(-1)).to.include({ outcome: 'under_maintenance' });
    world.cluster.switches.operateOn('gpu-a', 'UPGRADE_NODES');
    expect(await world.send({ ...repair, dry_run: false })).to.include({ code: 'pool_busy' });
    expect(world.emulator.fleet.deletions).to.deep.equal([]);
  });

  it('doubts only for a deletion that another machine comes', async () => {
    const world = await create();
    label(world, world.other, { 'cloud.google.com/gke-spot': 'true' });
    expect((await world.send(repair)).steps.at(-1)?.['may_not_come_back']).to.match(/Spot VMs/);
    const { steps, error } = await world.send({ ...repair, repair: 'reboot' });
    expect(steps.at(-1), error).to.include({ outcome: 'would_reboot' });
    expect(steps.at(-1)).not.to.have.property('may_not_come_back');
  });
});
