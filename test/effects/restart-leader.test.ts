import { expect } from 'chai';
import { createInMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import type { InMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import { refusalOf } from '../fixtures/refusal-of.ts';
import { carryOut, cordon, effects, leaderOn, marks, plan, restarts } from '../fixtures/restarts.ts';
import { leader as runningLeader } from '../fixtures/train-run.ts';
import { whereTrainRuns } from '../fixtures/train-world.ts';
import { VirtualFailover } from '../fixtures/virtual-failover.ts';

// F-84: the leader had finished by the time it was deleted, so that its Job never failed.
describe('restartJobSet, of a leader that is not what was planned', () => {
  async function planLeader(world: InMemoryWorld) {
    cordon(world, 'slice-a');
    const planned = await plan(world);
    expect(planned).to.include({ way: 'leader_pod' });
    return planned;
  }

  function moveOn(world: InMemoryWorld): void {
    world.clock.advance(2_000);
    world.emulator.settle();
  }

  for (const phase of ['Succeeded', 'Failed'] as const) {
    it(`ends the Job by its deadline where the leader has ${phase.toLowerCase()} since`, async () => {
      const world = createInMemoryWorld();
      const planned = await planLeader(world);
      world.cluster.finishPod('default', planned.leader?.name ?? '', phase);
      const step = await carryOut(world, planned);
      expect(step).to.include({ outcome: 'restarted', way: 'job_deadline' });
      expect(step).not.to.have.property('leader_pod');
      expect(effects(world)).to.deep.equal({ 'PATCH jobs': 1 });
      moveOn(world);
      expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #1']);
    });
  }

  it('ends the Job by its deadline where the leader goes between the look and its deletion', async () => {
    const world = createInMemoryWorld();
    const planned = await planLeader(world);
    let isGone = false;
    const step = await carryOut(world, planned, {
      onRequest({ method, url }) {
        if (method !== 'DELETE' || !url.includes('/pods/') || isGone) return;
        isGone = true;
        // Its controller has not seen it, or would not mind.
        world.cluster.remove('pods', 'default', planned.leader?.name ?? '');
      },
    });
    expect(step).to.include({ outcome: 'restarted', way: 'job_deadline' });
    expect(effects(world)).to.deep.equal({ 'DELETE pods': 1, 'PATCH jobs': 1 });
    moveOn(world);
    expect(restarts(world)).to.equal(1);
  });

  it('leaves the Job’s deadline alone where its own deletion was carried out and the answer lost', async () => {
    const world = createInMemoryWorld();
    const planned = await planLeader(world);
    world.emulator.faults.add({ method: 'DELETE', path: /\/pods\//, effect: 'reset_after' });
    let deletions = 0;
    const step = await carryOut(world, planned, {
      onRequest({ method, url }) {
        const isDeletion = method === 'DELETE' && url.includes('/pods/');
        // Its controllers have done their part before the second try.
        if (isDeletion && ++deletions === 2) world.emulator.settle();
      },
    });
    expect(step).to.include({ outcome: 'restarted', way: 'leader_pod' });
    expect(marks(world).cooldown).to.include({ state: 'accepted' });
    expect(effects(world)).to.deep.equal({ 'DELETE pods': 2 });
  });

  it('refuses where the policy would end the run for the deadline, and leaves no mark', async () => {
    const rules = [{ name: 'end', action: 'FailJobSet' as const, onJobFailureReasons: ['DeadlineExceeded'] }];
    const world = createInMemoryWorld({ jobSet: { failurePolicy: { maxRestarts: 3, rules } } });
    const planned = await planLeader(world);
    world.cluster.finishPod('default', leaderOn(world, 'slice-a').metadata.name, 'Succeeded');
    expect(await refusalOf(carryOut(world, planned))).to.include({ code: 'restart_refused' });
    expect(effects(world)).to.deep.equal({});
    expect(marks(world)).to.deep.equal({ jobSet: null, cooldown: undefined });
  });

  it('looks again on a resume, too, however late', async () => {
    const world = new VirtualFailover();
    const restart = {
      id: 'a',
      type: 'cordon_nodepool_and_restart_jobset',
      node_pool: 'slice-a',
      jobset_name: 'train',
    };
    const lift = world.emulator.faults.add({
      method: 'DELETE',
      path: /\/pods\//,
      times: Infinity,
      effect: { status: 500 },
    });
    expect(await world.send(restart)).to.include({ status: 502 });
    lift();
    world.newWrites();
    world.cluster.finishPod('default', runningLeader(world).metadata.name, 'Succeeded');
    await world.pass(600);
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-a #0']);
    expect((await world.send(restart)).steps.at(-1)).to.include({
      outcome: 'restarted',
      way: 'job_deadline',
    });
    await world.pass(5);
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #1']);
  });
});
