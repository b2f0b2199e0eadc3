import { expect } from 'chai';
import { countEffects } from '../fixtures/count-writes.ts';
import { GpuWorld } from '../fixtures/gpu-world.ts';
import { annotateCluster } from '../fixtures/train-run.ts';
import { nodeNames } from '../fixtures/train-world.ts';
import {
  editRecord,
  jsonOf,
  noteOf,
  repairOfSlice,
  restartOfTrain,
  verdictLines,
} from '../fixtures/verdicts.ts';
import { VirtualFailover } from '../fixtures/virtual-failover.ts';

/** The instance dies at its first cordon, and its lock expires. */
async function leaveHalfWay(world: VirtualFailover): Promise<void> {
  const instance = world.newInstance();
  world.once(/PATCH .*nodes/, () => instance.crash());
  world.begin(restartOfTrain, instance);
  await world.pass(80);
  world.newWrites();
}

function whyOf(world: VirtualFailover, id = 'a'): unknown {
  return jsonOf(world, id, 'verdict')['why'];
}

// F-233: the settings did not allow the action any more. It was carried on, refused and logged each minute.
describe('an action that reconcile carries on, and that is refused before its claim', () => {
  const settings = { ALLOWED_ACTIONS: 'cordon_nodepool' };

  it('is tried once and told once, and is given up in the end', async () => {
    const world = new VirtualFailover();
    await leaveHalfWay(world);
    const first = await world.reconcile(settings);
    expect(first.resumed).to.deep.equal(['a']);
    expect(first.errors).to.have.length(1);
    expect(noteOf(world, 'a', 'phase')).to.equal('stopped');
    expect(jsonOf(world, 'a', 'stopped')).to.include({ code: 'forbidden', status: 403, hasDeleted: false });
    world.newWrites();
    for (let minute = 0; minute < 13; minute++) {
      expect(await world.reconcile(settings)).to.deep.include({ resumed: [], waiting: ['a'], errors: [] });
      await world.pass(60);
    }
    expect(world.newWrites()).to.deep.equal([]);
    expect(world.log.filter(({ event }) => event === 'refused')).to.have.length(1);
    await world.pass(120);
    expect((await world.reconcile(settings)).settled).to.deep.equal([{ id: 'a', verdict: 'abandoned' }]);
    expect(verdictLines(world)).to.deep.equal(['a abandoned']);
    expect(countEffects(world.newWrites())).to.deep.equal({});
  });

  it('is verified if it had deleted something', async () => {
    const world = new VirtualFailover();
    const instance = world.newInstance();
    world.once(/DELETE .*pods/, () => world.once(/PUT .*leases\/action-/, () => instance.crash()));
    world.begin(restartOfTrain, instance);
    await world.pass(90);
    // Its last write arrived.
    editRecord(world, 'a', { phase: 'planned', answer: undefined, 'done-at': undefined });
    await world.reconcile(settings);
    expect(jsonOf(world, 'a', 'stopped')).to.include({ code: 'forbidden', hasDeleted: true });
    expect((await world.reconcile(settings)).settled).to.deep.equal([{ id: 'a', verdict: 'recovered' }]);
  });

  it('can be sent again by a person once it is allowed again', async () => {
    const world = new VirtualFailover();
    await leaveHalfWay(world);
    await world.reconcile(settings);
    expect(await world.send(restartOfTrain)).to.include({ status: 200 });
    await world.pass(10);
    expect((await world.reconcile()).settled).to.deep.equal([{ id: 'a', verdict: 'recovered' }]);
  });
});

// F-234: an action was refused after its plan, and had deleted nothing. `abandoned` said only that the pool "may be left cordoned".
describe('the verdict abandoned', () => {
  it('says that nothing was deleted, and which nodes it left cordoned', async () => {
    const world = new VirtualFailover();
    world.once(/PATCH .*nodes/, () => annotateCluster(world, 'paused', 'a look'));
    expect(await world.send(restartOfTrain)).to.include({ code: 'paused' });
    await world.pass(901);
    expect((await world.reconcile()).settled).to.deep.equal([{ id: 'a', verdict: 'abandoned' }]);
    expect(whyOf(world)).to.match(
      /^nobody has finished it within 900 s; it ended with paused: .*; nothing was deleted; 4 of 4 nodes of node pool slice-a are cordoned by it: send the same id again to finish it, or uncordon_nodepool to give them back$/,
    );
  });

  it('says that nothing was done where no node is cordoned by it', async () => {
    const world = new VirtualFailover();
    world.once(/PATCH .*nodes/, () => annotateCluster(world, 'paused', 'a look'));
    await world.send(restartOfTrain);
    for (const name of nodeNames(world.cluster, 'slice-a')) world.cluster.cordonAs('kubectl', name, false);
    const [one = ''] = nodeNames(world.cluster, 'slice-a');
    world.cluster.change('nodes', undefined, one, (node) => {
      node.spec.unschedulable = true;
      delete node.metadata.annotations?.['autometric-failover/action'];
    });
    await world.pass(901);
    await world.reconcile();
    expect(whyOf(world)).to.match(
      /; nothing was deleted; no node of node pool slice-a is cordoned by it: send the same id again to finish it$/,
    );
  });

  it('says what it has begun to delete, and whether that was accepted', async () => {
    const world = new VirtualFailover({ jobSet: null });
    const lift = world.emulator.faults.add({
      api: 'compute',
      method: 'DELETE',
      times: Infinity,
      effect: { status: 503 },
    });
    expect((await world.send(repairOfSlice)).status).to.be.within(500, 504);
    lift();
    await world.pass(901);
    await world.reconcile();
    expect(whyOf(world, 'r')).to.match(
      /; it began the repair, and whether the deletion was accepted is not known; 4 of 4 nodes /,
    );
  });

  it('says which label it has begun to set, and whether that was accepted', async () => {
    const world = new GpuWorld();
    const patch = { api: 'kubernetes', method: 'PATCH', path: /\/nodes\// } as const;
    const lift = world.emulator.faults.add({ ...patch, times: Infinity, effect: { status: 503 } });
    const reboot = { id: 'l', type: 'repair_nodepool', node_name: world.node, repair: 'reboot' };
    expect((await world.send(reboot)).status).to.be.within(500, 504);
    lift();
    await world.pass(901);
    await world.reconcile();
    expect(whyOf(world, 'l')).to.match(
      /; it began the repair \(reboot\), and whether its label was set is not known; no node /,
    );
  });
});
