import { expect } from 'chai';
import { isOpen, jsonOf, verdictEvents, verdictLines } from '../fixtures/verdicts.ts';
import { GpuWorld } from '../fixtures/gpu-world.ts';
import { countCordoned } from '../fixtures/train-world.ts';

const report = { repair: 'report_faulty_host', fault: 'xid' };

function act(world: GpuWorld, body: object) {
  return world.send({ id: 'a', type: 'cordon_and_repair_nodepool', node_name: world.node, ...body });
}

function verdictOf(world: GpuWorld): Record<string, unknown> {
  return jsonOf(world, 'a', 'verdict');
}

describe('the verdict of a repair that a label asked for', () => {
  it('is reported once GKE has moved the machine to another host, and the pool is released', async () => {
    const world = new GpuWorld();
    expect((await act(world, { ...report, uncordon_when_repaired: true })).status).to.equal(200);
    await world.minutes(10);
    expect(isOpen(world, 'a')).to.equal(true);
    await world.minutes(8);
    expect(verdictOf(world)).to.include({ verdict: 'reported' }).and.have.property('repaired_at');
    expect(verdictOf(world)['seconds']).to.be.within(800, 1000);
    expect(verdictEvents(world)).to.deep.equal(['FailoverReported']);
    expect(verdictLines(world)).to.deep.equal(['a reported']);
    expect(countCordoned(world.cluster, 'gpu-a')).to.equal(0);
  });

  it('is reported without the machine in all-capacity mode, and the pool stays cordoned', async () => {
    const world = new GpuWorld({ machineType: 'a4x-highgpu-4g' });
    await act(world, { ...report, uncordon_when_repaired: true });
    await world.minutes(14);
    expect(verdictOf(world)).to.include({ verdict: 'reported' }).and.not.have.property('repaired_at');
    expect(countCordoned(world.cluster, 'gpu-a')).to.equal(2);
  });

  for (const word of ['Error', 'ERROR']) {
    it(`is report_failed where GKE says ${word}`, async () => {
      const world = new GpuWorld();
      world.cluster.switches.failReports('gpu-a', word);
      await act(world, report);
      await world.minutes(4);
      expect(verdictOf(world)).to.include({ verdict: 'report_failed' });
      expect(verdictOf(world)['why']).to.include(`with ${word}`);
      expect(verdictEvents(world)).to.deep.equal(['FailoverReportFailed']);
    });
  }

  it('is report_failed where a person deletes the machine meanwhile and the Node is still there', async () => {
    const world = new GpuWorld({ stopSeconds: 7200, repairDelaySeconds: 7200 });
    await act(world, report);
    const machine = world.emulator.fleet.list().find(({ name }) => name === world.node);
    if (machine) world.emulator.fleet.delete(machine, undefined, 'admin@example.com');
    // The pool's times are sixty times as long.
    await world.minutes(100);
    expect(verdictOf(world)['verdict']).to.be.oneOf(['report_failed', 'not_reported']);
  });

  it('is not_reported after 30 minutes in which GKE does nothing', async () => {
    const world = new GpuWorld();
    world.cluster.switches.ignoreLabels('gpu-a');
    await act(world, report);
    await world.minutes(29);
    expect(isOpen(world, 'a')).to.equal(true);
    await world.minutes(3);
    expect(verdictOf(world)).to.include({ verdict: 'not_reported' });
    expect(verdictEvents(world)).to.deep.equal(['FailoverNotReported']);
  });

  it('is reported on the same host where the group keeps its hosts', async () => {
    const world = new GpuWorld();
    world.cluster.switches.keepHosts('gpu-a');
    await act(world, { ...report, uncordon_when_repaired: true });
    await world.minutes(33);
    expect(verdictOf(world)).to.include({ verdict: 'reported' });
    expect(verdictOf(world)['why']).to.match(/still on host/);
    expect(countCordoned(world.cluster, 'gpu-a')).to.equal(2);
  });

  it('is repaired after a reboot, and not_repaired where GKE does nothing', async () => {
    for (const ignores of [false, true]) {
      const world = new GpuWorld();
      if (ignores) world.cluster.switches.ignoreLabels('gpu-a');
      await act(world, { repair: 'reboot' });
      await world.minutes(ignores ? 32 : 4);
      expect(verdictOf(world)).to.include({ verdict: ignores ? 'not_repaired' : 'repaired' });
      if (ignores) expect(verdictOf(world)['why']).to.match(/its bootID is the same/);
    }
  });

  // F-267: the maintenance of a host took 35 minutes, and its verdict was not_repaired after 30.
  it('is repaired after a maintenance that takes longer than REPAIR_TIMEOUT_SECONDS', async () => {
    const world = new GpuWorld();
    world.cluster.switches.announceMaintenance('gpu-a');
    await act(world, { repair: 'maintenance' });
    await world.minutes(32);
    expect(isOpen(world, 'a')).to.equal(true);
    await world.minutes(5);
    expect(verdictOf(world)).to.include({ verdict: 'repaired' });
  });

  it('does not believe a reboot by somebody else to be the maintenance', async () => {
    const world = new GpuWorld();
    world.cluster.switches.announceMaintenance('gpu-a');
    world.cluster.switches.ignoreLabels('gpu-a');
    await act(world, { repair: 'maintenance' });
    world.change(({ status }) => {
      status.nodeInfo['bootID'] = 'another';
    });
    await world.minutes(62);
    expect(verdictOf(world)).to.include({ verdict: 'not_repaired' });
    expect(verdictOf(world)['why']).to.match(/its host was not maintained/);
  });
});
