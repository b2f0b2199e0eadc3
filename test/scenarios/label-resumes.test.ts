import { expect } from 'chai';
import { faultLabel, GpuWorld, statusLabel } from '../fixtures/gpu-world.ts';
import { repairAnnotation } from '../../src/names.ts';
import { deletedMachines } from '../fixtures/train-run.ts';
import { isPhase } from '../fixtures/faulted-request.ts';

describe('a repair that is resumed', () => {
  // F-269: a deletion was resumed after somebody had begun a report of the host, and made the report fail.
  for (const labels of [{ [faultLabel]: 'XID' }, { [statusLabel]: 'PodsEvicted' }]) {
    it(`deletes nothing once the host is being reported (${Object.keys(labels)[0]})`, async () => {
      const world = new GpuWorld();
      const action = { id: 'd', type: 'repair_nodepool', node_name: world.node };
      const lift = world.emulator.faults.add({
        api: 'compute',
        method: 'DELETE',
        times: Infinity,
        effect: { status: 403 },
      });
      expect((await world.send(action)).status).to.equal(502);
      lift();
      world.setLabels(labels);
      const asked = deletedMachines(world).length;
      const answer = await world.send(action);
      expect(answer.code, answer.error).to.equal('repair_refused');
      expect(answer.error).to.match(/is being reported as faulty/);
      expect(deletedMachines(world)).to.have.length(asked);
    });
  }

  it('does not label again what its mark says was accepted, though the annotation is gone', async () => {
    const world = new GpuWorld();
    const action = {
      id: 'a',
      type: 'repair_nodepool',
      node_name: world.node,
      repair: 'report_faulty_host',
      fault: 'xid',
    };
    const lift = world.emulator.faults.add({
      api: 'kubernetes',
      method: 'PUT',
      path: /\/action-/,
      match: isPhase('done'),
      times: Infinity,
      effect: { status: 500 },
    });
    expect((await world.send(action)).status).to.equal(502);
    lift();
    world.change(({ metadata }) => {
      delete metadata.annotations?.[repairAnnotation];
      delete metadata.labels?.[faultLabel];
    });
    const answer = await world.send(action);
    expect(answer.error).to.equal(undefined);
    expect(answer.steps[0]).to.include({ outcome: 'already_requested' });
    expect(world.askedRepairs()).to.have.length(1);
  });
});
