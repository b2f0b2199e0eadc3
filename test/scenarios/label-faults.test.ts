import { expect } from 'chai';
import { readMark } from '../../src/state/cooldown.ts';
import { failoverNamespace } from '../../src/names.ts';
import type { FaultEffect } from '../emulator/faults.ts';
import { faultLabel, GpuWorld } from '../fixtures/gpu-world.ts';
import { deletedMachines } from '../fixtures/train-run.ts';
import { toAnswer } from '../fixtures/upstream-answer.ts';

const label = { api: 'kubernetes', method: 'PATCH', path: /\/nodes\// } as const;

function reportOf({ node }: GpuWorld, id = 'a'): Record<string, unknown> {
  return { id, type: 'repair_nodepool', node_name: node, repair: 'report_faulty_host', fault: 'xid' };
}

function stateOfMark(world: GpuWorld): string | undefined {
  const lease = world.cluster.get('leases', failoverNamespace, 'pool-gpu-a');
  return readMark(lease?.metadata.annotations ?? {}, 'repair')?.state;
}

const passing: Record<string, FaultEffect> = {
  'a 409': toAnswer(409),
  'a 429': toAnswer(429),
  'a 500': toAnswer(500),
  'a 503': toAnswer(503),
  'a connection that breaks before': 'reset_before',
  'a connection that breaks after': 'reset_after',
  'an answer that is no JSON': 'malformed',
};

/** What the first answer is while the fault lasts, and what is known then. */
const lasting: Record<
  string,
  { effect: FaultEffect; code: string; mark: string | undefined; isSet: boolean }
> = {
  'a 401': { effect: toAnswer(401), code: 'upstream_failed', mark: undefined, isSet: false },
  'a 403': { effect: toAnswer(403), code: 'upstream_failed', mark: undefined, isSet: false },
  'a 409': { effect: toAnswer(409), code: 'target_changed', mark: undefined, isSet: false },
  'a 422': { effect: toAnswer(422), code: 'target_changed', mark: undefined, isSet: false },
  'a 429': { effect: toAnswer(429), code: 'upstream_failed', mark: undefined, isSet: false },
  'a 500': { effect: toAnswer(500), code: 'upstream_failed', mark: 'begun', isSet: false },
  'a connection that breaks before': {
    effect: 'reset_before',
    code: 'upstream_failed',
    mark: 'begun',
    isSet: false,
  },
  'a connection that breaks after': {
    effect: 'reset_after',
    code: 'upstream_failed',
    mark: 'begun',
    isSet: true,
  },
};

describe('a repair that a label asks for, when the call that sets the label meets', () => {
  for (const [what, effect] of Object.entries(passing)) {
    it(`${what} once: the node has the label in the end, and nothing is deleted`, async () => {
      const world = new GpuWorld();
      world.emulator.faults.add({ ...label, effect });
      await world.send(reportOf(world));
      const answer = await world.send(reportOf(world));
      expect(answer.status, answer.error).to.equal(200);
      expect(world.labels()).to.include({ [faultLabel]: 'XID' });
      expect(world.labels(world.other)).not.to.include.keys(faultLabel);
      expect(stateOfMark(world)).to.equal('accepted');
      expect(deletedMachines(world)).to.deep.equal([]);
    });
  }

  for (const [what, { effect, code, mark, isSet }] of Object.entries(lasting)) {
    it(`${what} all the time: says ${code}, keeps the mark only where the label may be set, and is carried on`, async () => {
      const world = new GpuWorld();
      const lift = world.emulator.faults.add({ ...label, times: Infinity, effect });
      const first = await world.send(reportOf(world));
      expect(first.code, first.error).to.equal(code);
      expect(stateOfMark(world)).to.equal(mark);
      expect(faultLabel in world.labels()).to.equal(isSet);
      lift();
      const sent = world.askedRepairs().length;
      const answer = await world.send(reportOf(world));
      expect(answer.status, answer.error).to.equal(200);
      expect(answer.steps[0]).to.include({ outcome: isSet ? 'already_requested' : 'report_requested' });
      expect(world.askedRepairs()).to.have.length(sent + (isSet ? 0 : 1));
      expect(world.labels()).to.include({ [faultLabel]: 'XID' });
      expect(stateOfMark(world)).to.equal('accepted');
      expect(deletedMachines(world)).to.deep.equal([]);
    });
  }
});
