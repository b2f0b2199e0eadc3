import { expect } from 'chai';
import { countEffects } from '../fixtures/count-writes.ts';
import { deletedMachines, holderOf, leader, machineIds, podUids, restarts } from '../fixtures/train-run.ts';
import { countCordoned, nodeNames, whereTrainRuns } from '../fixtures/train-world.ts';
import { VirtualFailover } from '../fixtures/virtual-failover.ts';

// The sequences under "Fences" in docs/failures.md. Each must end without harm: the real pipeline in several instances, in
// virtual time.

const cordon = { id: 'a', type: 'cordon_nodepool', node_pool: 'slice-a' };
const restart = { ...cordon, type: 'cordon_nodepool_and_restart_jobset', jobset_name: 'train' };
const repair = { ...cordon, type: 'cordon_and_repair_nodepool' };
const three = ['slice-a', 'slice-b', 'slice-c'];
const podDeletion = /^DELETE .*\/pods\//;
const machineDeletion = /^DELETE .*\/instances\//;
const nodePatch = /^PATCH .*\/nodes\//;
/** The mark on the pool's Lease, which is written directly before a deletion. */
const lockUpdate = /^PUT .*\/leases\/pool-/;
const recordUpdate = /^PUT .*\/leases\/action-/;
const eventCreation = /^POST .*\/events$/;

describe('a crash', () => {
  // F-11: a crash after the cordon and before the deletion: the retry resumes.
  for (const [what, body, isGone] of [
    ['restart', restart, (world: VirtualFailover) => restarts(world) === 1],
    ['repair', repair, (world: VirtualFailover) => deletedMachines(world).length === 1],
  ] as const) {
    it(`between the cordon and the ${what} is completed by the same request`, async () => {
      const world = new VirtualFailover();
      const doomed = world.newInstance();
      world.once(lockUpdate, () => doomed.crash());
      // The claim is the first such write of a known pool, so the pool is new here: its Lease is made by a POST.
      world.begin(body, doomed);
      await world.pass(5);
      expect(countCordoned(world.cluster, 'slice-a')).to.equal(4);
      expect(isGone(world)).to.equal(false);
      world.newWrites();
      // Its lock is in the way until it expires.
      expect(await world.send(body)).to.include({ status: 409, code: 'action_in_progress' });
      await world.pass(60);
      const answer = await world.send(body);
      expect(answer).to.include({ status: 200, isReplay: false });
      expect(answer.steps[0]).to.include({ cordoned: 0, already_cordoned: 4 });
      await world.pass(2);
      expect(isGone(world)).to.equal(true);
      expect(Object.values(countEffects(world.newWrites()))).to.deep.equal([1]);
    });
  }

  // F-20: a crash after the deletion and before the record: the retry chooses nothing else.
  it('after the machine was deleted does not make the retry choose another machine, before and after it is back', async () => {
    for (const seconds of [75, 300, 7200]) {
      const world = new VirtualFailover();
      const doomed = world.newInstance();
      world.once(machineDeletion, () => doomed.crash());
      world.begin(repair, doomed);
      await world.pass(seconds);
      const [deleted] = deletedMachines(world);
      const before = machineIds(world, 'slice-a');
      const answer = await world.send(repair);
      expect(answer.status).to.equal(200);
      expect(answer.steps.at(-1)).to.include({ target: deleted });
      expect(deletedMachines(world)).to.deep.equal([deleted]);
      await world.pass(300);
      if (seconds > 120) expect(machineIds(world, 'slice-a')).to.deep.equal(before);
    }
  });

  it('after the leader was deleted does not make the retry restart the new attempt', async () => {
    const world = new VirtualFailover({ slices: ['slice-a', 'slice-b'] });
    const doomed = world.newInstance();
    world.once(podDeletion, () => doomed.crash());
    world.begin(restart, doomed);
    await world.pass(75);
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #1']);
    const before = podUids(world);
    const answer = await world.send(restart);
    expect(answer.steps.at(-1)).to.include({ outcome: 'already_restarting', attempt: 0 });
    await world.pass(5);
    expect(podUids(world)).to.deep.equal(before);
  });

  // F-35: a restart that named only the JobSet does not touch the pool that the JobSet has moved to.
  it('of a restart that named only the JobSet leaves the retry on the recorded pool', async () => {
    for (const moment of [podDeletion, recordUpdate]) {
      const world = new VirtualFailover();
      const byName = { ...restart, node_pool: null };
      const doomed = world.newInstance();
      world.once(podDeletion, () =>
        world.once(moment === podDeletion ? /./ : recordUpdate, () => doomed.crash()),
      );
      world.begin(byName, doomed);
      await world.pass(75);
      expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #1']);
      const before = podUids(world);
      const answer = await world.send(byName);
      expect(answer.status).to.equal(200);
      expect(answer.steps[0]).to.include({ target: 'slice-a' });
      await world.pass(5);
      expect(countCordoned(world.cluster, 'slice-b')).to.equal(0);
      expect(podUids(world)).to.deep.equal(before);
    }
  });

  // F-38: the mark of a restart was written, then the instance died: not already_restarted for ever.
  it('between the mark of a restart and the deletion does not block a restart forever', async () => {
    const world = new VirtualFailover({ slices: three, jobs: [{ name: 'x' }, { name: 'y' }] });
    const doomed = world.newInstance();
    world.once(/^POST .*\/leases$/, () =>
      world.once(/^POST .*\/leases$/, () => world.once(/^POST .*\/leases$/, () => doomed.crash())),
    );
    world.begin({ ...restart, id: 'doomed' }, doomed);
    await world.pass(100);
    expect(restarts(world)).to.equal(0);
    const second = await world.send({ ...restart, id: 'b', node_pool: 'slice-b' });
    expect(second.steps.at(-1)).to.include({ outcome: 'already_restarted' });
    await world.pass(240);
    const third = await world.send({ ...restart, id: 'c', node_pool: 'slice-b' });
    expect(third.steps.at(-1)).to.include({ outcome: 'restarted' });
  });

  // F-40: an unfinished action that resumes after another one still has its own plan.
  it('leaves a plan that the retry carries out, whatever happened on the pool meanwhile', async () => {
    const world = new VirtualFailover();
    const doomed = world.newInstance();
    const planned = nodeNames(world.cluster, 'slice-a')[3] ?? '';
    world.cluster.killNode(planned);
    world.once(lockUpdate, () => doomed.crash());
    world.begin({ ...repair, id: 'first' }, doomed);
    await world.pass(80);
    world.cluster.reviveNode(planned);
    world.cluster.killNode(nodeNames(world.cluster, 'slice-a')[0] ?? '');
    const second = await world.send({ ...cordon, id: 'second' });
    expect(second.steps[0]).to.include({ step: 'notice', unfinished_action: 'first' });
    const first = await world.send({ ...repair, id: 'first' });
    expect(first.steps.at(-1)).to.include({ target: planned, outcome: 'deletion_accepted' });
    expect(deletedMachines(world)).to.deep.equal([planned]);
  });
});

describe('a JobSet that restarts between the decision and the cordon, and comes back to the same pool', () => {
  /** A person deletes the leader while no other slice is free. */
  function restartInPlace(world: VirtualFailover): void {
    const others = nodeNames(world.cluster, 'slice-b');
    for (const name of others) world.cluster.cordonAs('kubectl', name, true);
    const path = `/api/v1/namespaces/default/pods/${leader(world).metadata.name}`;
    expect(world.cluster.ask('DELETE', path, { gracePeriodSeconds: 0 }).status).to.equal(200);
    world.emulator.settle();
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-a #1']);
    for (const name of others) world.cluster.cordonAs('kubectl', name, false);
  }

  it('is restarted once more by the claim that decided', async () => {
    const world = new VirtualFailover();
    world.once(nodePatch, () => restartInPlace(world));
    const answer = await world.send(restart);
    expect(answer.steps.at(-1)).to.include({ outcome: 'restarted', attempt: 1 });
    await world.pass(5);
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #2']);
    expect(countEffects(world.newWrites())).to.deep.equal({ 'PATCH nodes': 4, 'DELETE pods': 1 });
  });

  it('is left alone by a resume, because a resume never chooses again', async () => {
    const world = new VirtualFailover();
    const doomed = world.newInstance();
    world.once(nodePatch, () => {
      restartInPlace(world);
      doomed.crash();
    });
    world.begin(restart, doomed);
    await world.pass(75);
    const before = podUids(world);
    const answer = await world.send(restart);
    expect(answer.steps.at(-1)).to.include({ outcome: 'already_restarting', attempt: 0 });
    await world.pass(5);
    expect(podUids(world)).to.deep.equal(before);
    expect(countEffects(world.newWrites())).to.deep.equal({ 'PATCH nodes': 4 });
  });
});

describe('a machine', () => {
  // F-21: the machine is re-created under its name before the deletion: the replacement lives.
  it('that was re-created between the decision and the deletion is not deleted', async () => {
    const world = new VirtualFailover();
    let replacement = '';
    world.once(nodePatch, () => {
      replacement = world.cluster.replaceInstance(nodeNames(world.cluster, 'slice-a')[0] ?? '');
    });
    const answer = await world.send(repair);
    expect(answer.steps.at(-1)).to.include({ outcome: 'already_gone' });
    expect(deletedMachines(world)).to.deep.equal([]);
    expect(machineIds(world, 'slice-a')).to.include(replacement);
  });

  // F-36: GKE replaced the machine; a redelivery or a renotification hours later leaves the replacement.
  it('that GKE replaced is not deleted by a redelivery hours later', async () => {
    const world = new VirtualFailover();
    world.emulator.faults.add({ api: 'compute', times: Infinity, effect: { status: 503 } });
    expect(await world.send(repair)).to.include({ status: 502, code: 'upstream_failed' });
    world.emulator.faults.clear();
    for (const name of nodeNames(world.cluster, 'slice-a')) world.cluster.replaceInstance(name);
    await world.pass(3 * 3600);
    const before = machineIds(world, 'slice-a');
    const answer = await world.send(repair);
    expect(answer.steps.at(-1)).to.include({ outcome: 'already_gone' });
    expect(machineIds(world, 'slice-a')).to.deep.equal(before);
    expect((await world.send(repair)).isReplay).to.equal(true);
  });

  // F-10: the answer was lost after Compute accepted, and the retry deleted the replacement.
  it('is deleted once when every answer of Compute is lost', async () => {
    const world = new VirtualFailover();
    world.emulator.faults.add({ api: 'compute', times: 5, effect: 'reset_after' });
    expect(await world.send(repair)).to.include({ status: 502, code: 'upstream_failed' });
    await world.pass(300);
    const before = machineIds(world, 'slice-a');
    expect((await world.send(repair)).status).to.equal(200);
    await world.pass(300);
    expect(deletedMachines(world)).to.have.length(1);
    expect(machineIds(world, 'slice-a')).to.deep.equal(before);
  });

  // F-26: the machine is deleted and the write of the record fails: the cooldown holds.
  it('that was deleted is not repaired again at once, even if its record could not be written', async () => {
    const world = new VirtualFailover();
    world.once(machineDeletion, () => {
      world.emulator.faults.add({
        method: 'PUT',
        path: /\/action-/,
        times: Infinity,
        effect: { status: 500 },
      });
    });
    expect((await world.send(repair)).status).to.equal(502);
    world.emulator.faults.clear();
    const next = await world.send({ ...repair, id: 'next' });
    expect(next).to.include({ status: 429, code: 'rate_limited' });
    expect(deletedMachines(world)).to.have.length(1);
    // Its own id resumes all the same.
    expect((await world.send(repair)).status).to.equal(200);
    expect(deletedMachines(world)).to.have.length(1);
  });

  // F-27: cordon_and_repair_nodepool, and repair_nodepool a minute later: one repair.
  it('is repaired once by cordon_and_repair_nodepool and a repair_nodepool a minute later', async () => {
    const world = new VirtualFailover();
    await world.send(repair);
    await world.pass(60);
    const next = await world.send({ ...repair, id: 'b', type: 'repair_nodepool' });
    expect(next).to.include({ status: 429, code: 'rate_limited' });
    await world.pass(3600 - 61);
    expect((await world.send({ ...repair, id: 'c' })).code).to.equal('rate_limited');
    await world.pass(2);
    expect((await world.send({ ...repair, id: 'd' })).status).to.equal(200);
    expect(deletedMachines(world)).to.have.length(2);
  });
});

describe('an instance that is throttled', () => {
  // F-23: a throttled instance thaws after another action took its lock: its next write does not happen.
  for (const [what, body, moment] of [
    ['before its cordons', repair, eventCreation],
    ['among its cordons', repair, nodePatch],
    ['before it deletes a machine', repair, lockUpdate],
    ['before it deletes a leader', restart, lockUpdate],
  ] as const) {
    it(`${what} writes nothing more once another action has the pool`, async () => {
      const world = new VirtualFailover({ slices: three });
      const frozen = world.newInstance();
      world.once(moment, () => frozen.freeze(200_000));
      const first = world.begin({ ...body, id: 'frozen' }, frozen, { CORDON_CONCURRENCY: '1' });
      await world.pass(100);
      expect(first.answer).to.equal(undefined);
      const second = await world.send({ ...cordon, id: 'second' });
      expect(second.status).to.equal(200);
      world.newWrites();
      const answer = await world.answerOf(first);
      expect(answer).to.include({ status: 504, code: 'upstream_timeout' });
      // Its own Event is all that it may still say.
      expect(countEffects(world.newWrites())).to.deep.equal({});
      expect(deletedMachines(world)).to.deep.equal([]);
      expect(restarts(world)).to.equal(0);
    });
  }

  it('stops once the retry of its own request has resumed the action, and deletes no second machine', async () => {
    const world = new VirtualFailover();
    const frozen = world.newInstance();
    world.once(nodePatch, () => frozen.freeze(200_000));
    const first = world.begin(repair, frozen);
    await world.pass(100);
    expect((await world.send(repair)).status).to.equal(200);
    expect((await world.answerOf(first)).status).to.equal(504);
    expect((await world.send(repair)).isReplay).to.equal(true);
    expect(deletedMachines(world)).to.have.length(1);
  });

  it('does not overestimate the time left on a lock that it was granted while frozen', async () => {
    for (const [moment, skew] of [
      [/^GET .*\/leases\/pool-/, 0],
      [/^POST .*\/leases$/, 60_000],
    ] as const) {
      const world = new VirtualFailover();
      const frozen = world.newInstance(skew);
      world.once(moment, () => frozen.freeze(90_000));
      const first = world.begin(repair, frozen);
      await world.pass(89);
      const second = world.begin({ ...repair, id: 'second' });
      const answers = [await world.answerOf(first), await world.answerOf(second)];
      expect(answers.filter(({ status }) => status === 200)).to.have.length(1);
      for (const { status } of answers) expect(status).to.be.oneOf([200, 409, 429, 504]);
      expect(deletedMachines(world)).to.have.length(1);
    }
  });
});

describe('two requests at once', () => {
  // F-22: a redelivery of a running action is not the holder of its lock.
  it('are carried out once when they are the same action', async () => {
    for (const apart of [0, 4, 20, 100]) {
      const world = new VirtualFailover();
      const first = world.begin(repair, world.newInstance());
      await world.pass(apart / 1000);
      const second = world.begin(repair, world.newInstance());
      const answers = [await world.answerOf(first), await world.answerOf(second)];
      expect(answers.map(({ status }) => status)).to.deep.equal([200, 200]);
      expect(answers[0]?.steps).to.deep.equal(answers[1]?.steps);
      expect(deletedMachines(world)).to.have.length(1);
      expect(countEffects(world.newWrites())).to.deep.equal({ 'PATCH nodes': 4, 'DELETE instances': 1 });
    }
  });

  it('are carried out once when the first takes longer than the second waits', async () => {
    const world = new VirtualFailover();
    const slow = world.newInstance();
    world.once(nodePatch, () => slow.freeze(30_000));
    const first = world.begin(repair, slow);
    await world.pass(1);
    const second = await world.send(repair);
    expect(second).to.include({ status: 409, code: 'action_in_progress' });
    // It polls at random intervals for about 10 s, and the lock can be taken 70 s after its renewal.
    expect(Number(second.retryAfter)).to.be.within(58, 62);
    expect(second.error).to.match(
      /^action a is still being carried out; its last sign of life was \d+ s ago, and if it is dead, its lock can be taken at \S+Z: send the same id again then$/,
    );
    expect((await world.answerOf(first)).status).to.equal(200);
    expect(await world.send(repair)).to.include({ status: 200, isReplay: true });
    expect(deletedMachines(world)).to.have.length(1);
  });

  // F-24: a request that resolved its targets while another acted decides on fresh reads.
  it('decide one after the other, the second on the state that the first left', async () => {
    const world = new VirtualFailover();
    const slow = world.newInstance();
    world.once(nodePatch, () => slow.freeze(3_000));
    const first = world.begin({ ...restart, id: 'first', node_pool: null }, slow);
    await world.pass(1);
    // Its names resolve to slice-a, where the JobSet still runs.
    const second = await world.send({ ...restart, id: 'second', node_pool: null });
    expect((await world.answerOf(first)).status).to.equal(200);
    expect(second.status).to.be.oneOf([200, 429]);
    await world.pass(5);
    expect(restarts(world)).to.equal(1);
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #1']);
    expect(countCordoned(world.cluster, 'slice-b')).to.equal(0);
  });

  // F-9: different ids for the same target at once were admitted twice.
  it('with different ids repair a pool once', async () => {
    const world = new VirtualFailover();
    const sent = Array.from({ length: 10 }, (_, index) =>
      world.begin({ ...repair, id: `id-${index}` }, world.newInstance()),
    );
    const answers = [];
    for (const each of sent) answers.push(await world.answerOf(each));
    expect(answers.filter(({ status }) => status === 200)).to.have.length(1);
    for (const { code } of answers.filter(({ status }) => status !== 200)) {
      expect(code).to.equal('rate_limited');
    }
    expect(deletedMachines(world)).to.have.length(1);
    expect(holderOf(world)).to.equal(undefined);
  });
});
