import { expect } from 'chai';
import type { FaultEffect } from '../emulator/faults.ts';
import { createVirtualWorld } from '../fixtures/faulted-world.ts';
import type { FaultedWorld } from '../fixtures/faulted-world.ts';
import { isPhase } from '../fixtures/faulted-request.ts';
import { toAnswer } from '../fixtures/upstream-answer.ts';

const deletion = { api: 'compute', method: 'DELETE' } as const;
const lastRecord = { api: 'kubernetes', method: 'PUT', path: /\/action-/, match: isPhase('done') } as const;
const instanceId = 'container.googleapis.com/instance_id';

describe('a repair while Compute refuses', () => {
  // F-39: Compute answered 403, and the permission was corrected: the next try is not rate limited.
  it('does not rate limit the next try, whatever its id', async () => {
    const world = await createVirtualWorld({ action: 'repair' });
    const grant = world.emulator.faults.add({ ...deletion, times: Infinity, effect: toAnswer(403) });
    const refused = await world.send();
    expect(refused).to.have.property('status', 502);
    expect(refused.body.error).to.include('grant compute.instances.delete');
    grant();
    expect(await world.send({ ...world.action, id: 'incident-2' })).to.have.property('status', 200);
    expect(world.emulator.fleet.deletions).to.have.length(1);
  });

  // F-60: a permanent failure of the provider (403, 400) was reported as in progress for ever.
  for (const [what, effect] of Object.entries({
    'a 403': toAnswer(403),
    'a 400 for a machine that is protected': toReason(400, 'invalidResourceUsage'),
  })) {
    it(`reports ${what} as a failure each time, and never as a repair that is running`, async () => {
      const world = await createVirtualWorld({ action: 'repair' });
      const lift = world.emulator.faults.add({ ...deletion, times: Infinity, effect });
      for (let time = 1; time <= 3; time++) {
        const answer = await world.send();
        expect(answer.body, `time ${time}`).to.include({ code: 'upstream_failed' });
        await world.rest(60_000);
      }
      lift();
      const answer = await world.send();
      expect(answer.body.steps?.[1]).to.include({ step: 'repair', outcome: 'deletion_accepted' });
      expect(world.emulator.fleet.deletions).to.have.length(1);
    });
  }

  // F-59: the machine was gone already, or its group was re-creating it: an endless 500.
  it('is done when the machine was replaced just before', async () => {
    const world = await createVirtualWorld({ action: 'repair' });
    const [node = ''] = world.nodes;
    const replace = () => world.cluster.replaceInstance(node, 'survives');
    world.emulator.faults.add({ ...deletion, match: () => Boolean(replace()), effect: 'none' });
    const answer = await world.send();
    expect(answer).to.have.property('status', 200);
    expect(answer.body.steps?.[1]).to.include({ step: 'repair', outcome: 'already_gone' });
    expect(world.emulator.fleet.deletions).to.deep.equal([]);
  });

  it('is done when the group is re-creating the machine', async () => {
    const world = await createVirtualWorld({ action: 'repair' });
    world.emulator.faults.add({ ...deletion, effect: toReason(400, 'resourceNotReady') });
    const answer = await world.send();
    expect(answer).to.have.property('status', 200);
    expect(answer.body.steps?.[1]).to.include({ step: 'repair', outcome: 'already_repairing' });
  });
});

const lost: Record<string, FaultEffect> = { 'a reset': 'reset_after', 'no answer': 'hang_after' };

describe('a repair whose answers are lost', () => {
  // F-10: the answer was lost after Compute accepted, and the retry deleted the replacement.
  for (const [what, effect] of Object.entries(lost)) {
    it(`does not delete the replacement when it is sent again after ${what}`, async () => {
      const world = await createVirtualWorld({ action: 'repair' });
      const [node = ''] = world.nodes;
      const lift = world.emulator.faults.add({ ...deletion, times: Infinity, effect });
      expect((await world.send()).status).to.be.oneOf([502, 504]);
      await world.rest();
      lift();
      const answer = await world.send();
      expect(answer).to.have.property('status', 200);
      expectReplaced(world, node);
      const asked = world.emulator.requests.filter(({ api }) => api === 'compute');
      // To Compute all of them are one request.
      expect(new Set(asked.map(({ query }) => query['requestId']))).to.have.property('size', 1);
    });

    it(`never deletes by name when it is sent again after ${what}`, async () => {
      const world = await createVirtualWorld({ action: 'repair' });
      const [node = ''] = world.nodes;
      world.cluster.change(
        'nodes',
        undefined,
        node,
        ({ metadata }) => delete metadata.annotations?.[instanceId],
      );
      const lift = world.emulator.faults.add({ ...deletion, times: Infinity, effect });
      expect((await world.send()).status).to.be.oneOf([502, 504]);
      await world.rest();
      lift();
      const answer = await world.send();
      expect(answer.body).to.include({ code: 'repair_refused' });
      expect(answer.body.error).to.include(`gcloud compute instances delete ${node} --zone us-central1-a`);
      expectReplaced(world, node);
    });
  }

  // F-20: a crash after the deletion and before the record: the retry chooses nothing else.
  it('never deletes a replacement, however often its record could not be written', async () => {
    const world = await createVirtualWorld({ action: 'repair' });
    const lift = world.emulator.faults.add({ ...lastRecord, times: Infinity, effect: toAnswer(500) });
    for (let time = 1; time <= 3; time++) {
      expect(await world.send(), `time ${time}`).to.have.property('status', 502);
      await world.rest();
    }
    lift();
    const answer = await world.send();
    expect(answer.body.steps?.[0]).to.include({ step: 'cordon', cordoned: 0, replacements_left_alone: 4 });
    expect(world.effects()).to.include({ cordonedReplacements: 0, repairs: 1 });
    expect(world.deletedReplacements()).to.deep.equal([]);
  });

  // F-26: the machine is deleted and the write of the record fails: the cooldown holds.
  it('keeps the cooldown even if its record could not be written', async () => {
    const world = await createVirtualWorld({ action: 'repair' });
    const lift = world.emulator.faults.add({ ...lastRecord, times: Infinity, effect: toAnswer(500) });
    expect(await world.send()).to.have.property('status', 502);
    lift();
    const next = await world.send({ ...world.action, id: 'incident-2' });
    expect(next).to.have.property('status', 429);
    expect(next.body).to.include({ code: 'rate_limited' });
    expect(await world.send()).to.have.property('status', 200);
    expect(world.emulator.fleet.deletions).to.have.length(1);
  });
});

describe('a restart that was refused', () => {
  // F-13: a failed attempt used up the hour, and the corrected request was refused.
  it('does not rate limit the next try, whatever its id', async () => {
    const world = await createVirtualWorld({ action: 'restart' });
    const allow = world.cluster.deny({ verb: 'delete', resource: 'pods' });
    const refused = await world.send();
    expect(refused).to.have.property('status', 502);
    expect(refused.body.error).to.include('may not delete pods in namespace default');
    allow();
    expect(await world.send({ ...world.action, id: 'incident-2' })).to.have.property('status', 200);
    await world.rest(5_000);
    expect(world.effects()).to.include({ restarts: 1 });
  });
});

/** One machine was deleted, and its replacement runs under the same name. */
function expectReplaced(world: FaultedWorld, node: string): void {
  expect(world.emulator.fleet.deletions).to.have.length(1);
  expect(world.deletedReplacements()).to.deep.equal([]);
  const machine = world.emulator.fleet.list().find(({ name }) => name === node);
  expect(machine).to.have.property('status', 'RUNNING');
  expect(world.instanceIds).not.to.include(machine?.id);
}

function toReason(status: number, reason: string): FaultEffect {
  const error = { code: status, message: reason, errors: [{ domain: 'global', reason, message: reason }] };
  return { status, body: { error } };
}
