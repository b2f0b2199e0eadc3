import { expect } from 'chai';
import type { FaultEffect } from '../emulator/faults.ts';
import { countEffects } from '../fixtures/count-writes.ts';
import { annotateCluster, deletedMachines, restarts } from '../fixtures/train-run.ts';
import { countCordoned, nodeNames, whereTrainRuns } from '../fixtures/train-world.ts';
import { isOpen, jsonOf, noteOf, restartOfTrain, verdictEvents, verdictLines } from '../fixtures/verdicts.ts';
import { toAnswer } from '../fixtures/upstream-answer.ts';
import { VirtualFailover } from '../fixtures/virtual-failover.ts';

const inPlace = { ...restartOfTrain, when_no_spare: 'repair' };

/** The only slice is the one that is bad. */
function createFullWorld(slice = {}, environment = {}): VirtualFailover {
  return new VirtualFailover({ slices: ['slice-a'], slice, environment });
}

/** Lets time pass, and reconcile look, minute by minute. */
async function minutes(world: VirtualFailover, count: number): Promise<void> {
  for (let minute = 0; minute < count; minute++) {
    await world.pass(60);
    await world.reconcile();
  }
}

/** The run is back on the slice that was repaired, and nothing was done twice. */
function expectBack(world: VirtualFailover, where = ''): void {
  expect(deletedMachines(world), where).to.have.length(1);
  expect(whereTrainRuns(world.cluster), where).to.have.length(1);
  expect(whereTrainRuns(world.cluster)[0], where).to.match(/^slice-a #[1-9]$/);
  expect(countCordoned(world.cluster, 'slice-a'), where).to.equal(0);
  expect(jsonOf(world, 'a', 'verdict'), where).to.include({ verdict: 'recovered' });
  expect(jsonOf(world, 'a', 'verdict'), where).to.have.property('repaired_at');
  expect(isOpen(world, 'a'), where).to.equal(false);
  expect(verdictEvents(world), where).to.deep.equal(['FailoverRecovered']);
}

// F-300: a run was restarted where no slice was free, and waited for hours while its own slice could have been repaired in 10 minutes.
describe('when_no_spare repair, where no slice is free', () => {
  for (const nodeObject of ['reregistered', 'survives'] as const) {
    it(`ends the run, repairs its slice, releases it, and the run comes back to it (Node objects: ${nodeObject})`, async () => {
      const world = createFullWorld({ nodeObject });
      const { status, steps } = await world.send(inPlace);
      expect(status).to.equal(200);
      expect(steps.map(({ step, outcome }) => [step, outcome])).to.deep.equal([
        ['cordon', undefined],
        ['restart', 'restarted'],
        ['repair', 'deletion_accepted'],
      ]);
      expect(steps[1]).to.deep.include({ spare: { slices: 0, needed: 1 } });
      expect(steps[1]?.['in_place']).to.match(/no uncordoned node outside the pool matches the pods/);
      expect(steps[1]).not.to.have.property('warning');
      expect(countEffects(world.newWrites())).to.deep.equal({
        'PATCH nodes': 4,
        'DELETE pods': 1,
        'DELETE instances': 1,
      });
      await minutes(world, 10);
      expectBack(world);
      expect(restarts(world)).to.equal(1);
      expect(verdictLines(world)).to.deep.equal(['a recovered']);
      expect(noteOf(world, 'a.uncordon', 'phase')).to.equal('settled');
    });
  }

  it('plans it in a dry run, and touches nothing', async () => {
    const world = createFullWorld();
    const { steps } = await world.send({ ...inPlace, dry_run: true });
    expect(steps.map(({ step, outcome }) => [step, outcome])).to.deep.equal([
      ['cordon', 'would_cordon'],
      ['restart', 'would_restart'],
      ['repair', 'would_delete'],
    ]);
    expect(steps[1]).to.deep.include({ spare: { slices: 0, needed: 1 } });
    expect(countEffects(world.newWrites())).to.deep.equal({});
  });

  it('moves the run where a slice is free, and repairs nothing', async () => {
    const world = new VirtualFailover();
    const { steps } = await world.send(inPlace);
    expect(steps.map(({ step }) => step)).to.deep.equal(['cordon', 'restart']);
    expect(steps[1]).to.deep.include({ spare: { slices: 1, needed: 1 } });
    await minutes(world, 10);
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #1']);
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(4);
    expect(deletedMachines(world)).to.deep.equal([]);
  });

  it('repairs the slice of a run that may run nowhere else, which a restart alone refuses', async () => {
    const world = new VirtualFailover({
      jobs: [{ nodeSelector: { 'cloud.google.com/gke-nodepool': 'slice-a' } }],
    });
    expect(await world.send({ ...restartOfTrain, id: 'b' })).to.include({ code: 'restart_refused' });
    const { steps } = await world.send(inPlace);
    expect(steps[1]?.['in_place']).to.match(/may run in node pool slice-a only/);
    await minutes(world, 10);
    expectBack(world);
  });

  it('makes every Job anew where the failure of one would end the run for good', async () => {
    const world = new VirtualFailover({ slices: ['slice-a'], jobSet: { failurePolicy: null } });
    const { steps } = await world.send(inPlace);
    expect(steps[1]).to.include({ way: 'jobs_recreated' });
    await minutes(world, 10);
    expect(deletedMachines(world)).to.have.length(1);
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-a #0']);
    expect(jsonOf(world, 'a', 'verdict')).to.include({ verdict: 'recovered' });
  });

  // F-301: the limits of a repair did not hold for a repair that a restart came to.
  describe('has the gates of every repair', () => {
    it('the cooldown of the pool', async () => {
      const world = createFullWorld();
      await world.send({ id: 'r', type: 'repair_nodepool', node_pool: 'slice-a' });
      world.newWrites();
      expect(await world.send(inPlace)).to.include({ status: 429, code: 'rate_limited' });
      expect(countEffects(world.newWrites())).to.deep.equal({});
      const { steps } = await world.send({ ...inPlace, dry_run: true });
      expect(steps[0]).to.include({ step: 'limits', outcome: 'would_refuse', code: 'rate_limited' });
    });

    it('the attempts of the pool', async () => {
      const world = createFullWorld({ stopSeconds: 1, repairDelaySeconds: 10 });
      for (const id of ['r1', 'r2', 'r3']) {
        expect((await world.send({ id, type: 'repair_nodepool', node_pool: 'slice-a' })).status).to.equal(
          200,
        );
        await world.pass(3700);
      }
      world.newWrites();
      const answer = await world.send(inPlace);
      expect(answer).to.include({ status: 409, code: 'attempts_exhausted' });
      expect(answer.error).to.include('node pool slice-a was repaired 3 times');
      expect(countEffects(world.newWrites())).to.deep.equal({});
    });

    it("GKE's own upgrade of the pool", async () => {
      const world = createFullWorld();
      world.cluster.switches.upgradePool('slice-a');
      expect(await world.send(inPlace)).to.include({ status: 409, code: 'pool_busy' });
      expect(countEffects(world.newWrites())).to.deep.equal({});
    });

    it("GKE's own repair: nothing is deleted, and the run waits for that", async () => {
      const world = createFullWorld({ nodeObject: 'survives' });
      world.cluster.killNode(nodeNames(world.cluster, 'slice-a')[0] ?? '');
      world.cluster.switches.autoRepair('slice-a');
      await world.pass(630);
      const { steps } = await world.send(inPlace);
      // Its node has been dead for so long that the run has ended by itself.
      expect(steps[1]).to.include({ outcome: 'already_restarting' });
      expect(steps[2]).to.include({ step: 'repair', outcome: 'gke_is_repairing' });
      await minutes(world, 15);
      expect(deletedMachines(world)).to.deep.equal([]);
      expect(whereTrainRuns(world.cluster).join(' ')).to.match(/^slice-a #[1-9]$/);
      expect(countCordoned(world.cluster, 'slice-a')).to.equal(0);
      expect(jsonOf(world, 'a', 'verdict')).to.include({ verdict: 'recovered' });
    });

    it('the maintenance of its host, because nothing would be repaired', async () => {
      const world = createFullWorld();
      world.cluster.switches.maintainHost('slice-a');
      const answer = await world.send(inPlace);
      expect(answer).to.include({ status: 409, code: 'restart_refused' });
      expect(answer.error).to.match(/cannot be repaired in place now: GKE maintains the host/);
      expect(countEffects(world.newWrites())).to.deep.equal({});
    });

    it('the actions that the configuration allows', async () => {
      const world = createFullWorld();
      const settings = { ALLOWED_ACTIONS: 'cordon_nodepool_and_restart_jobset,uncordon_nodepool' };
      const answer = await world.send(inPlace, world.instance, settings);
      expect(answer).to.include({ status: 403, code: 'forbidden' });
      expect(answer.error).to.include('cordon_and_repair_nodepool is not allowed here');
    });
  });

  it('is refused where it cannot be seen what is free: a machine is not deleted on a guess', async () => {
    const world = new VirtualFailover({ environment: { ALLOWED_NAMESPACES: 'default,research' } });
    world.emulator.faults.add({
      method: 'GET',
      path: /namespaces\/research\/pods/,
      times: Infinity,
      effect: { status: 403 },
    });
    const answer = await world.send(inPlace);
    expect(answer).to.include({ status: 409, code: 'restart_refused' });
    expect(answer.error).to.match(/the pods of namespace research .* could not be read/);
    expect(countEffects(world.newWrites())).to.deep.equal({});
    const { steps } = await world.send({ ...restartOfTrain, id: 'b' });
    expect(steps[1]).to.include({ outcome: 'restarted' }).and.not.have.property('spare');
    expect(steps[1]?.['warning']).to.match(/what is free is not known/);
  });
});

describe('the verdict of a run that restarts in place', () => {
  it('is not_repaired where the machine does not come back, and the pool stays cordoned', async () => {
    const world = createFullWorld({ nodeObject: 'survives', repairDelaySeconds: 7200 });
    await world.send({ ...inPlace, on_failure: 'repair_nodepool' });
    await minutes(world, 29);
    expect(isOpen(world, 'a')).to.equal(true);
    await minutes(world, 3);
    expect(jsonOf(world, 'a', 'verdict')).to.include({ verdict: 'not_repaired' });
    expect(noteOf(world, 'a.uncordon', 'phase')).to.equal(undefined);
    expect(deletedMachines(world)).to.have.length(1);
  });

  it('is not_recovered where the run does not come back to the whole pool, and no second repair follows', async () => {
    const world = createFullWorld();
    await world.send({ ...inPlace, on_failure: 'repair_nodepool' });
    world.cluster.switches.failImagePulls(() => true);
    await minutes(world, 15);
    expect(isOpen(world, 'a')).to.equal(true);
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(0);
    await minutes(world, 10);
    expect(jsonOf(world, 'a', 'verdict')).to.include({ verdict: 'not_recovered' });
    expect(jsonOf(world, 'a', 'verdict')['why']).to.match(/^not within 1200 s: .*Image/);
    expect(deletedMachines(world)).to.have.length(1);
  });

  it('is run_ended where the JobSet is gone, and the pool is released all the same', async () => {
    const world = createFullWorld({ nodeObject: 'survives' });
    await world.send(inPlace);
    world.cluster.remove('jobsets', 'default', 'train');
    await minutes(world, 10);
    expect(jsonOf(world, 'a', 'verdict')).to.include({ verdict: 'run_ended' });
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(0);
  });

  it('leaves the pool cordoned on the same physical host, and says so', async () => {
    const world = createFullWorld({ nodeObject: 'survives' });
    world.cluster.switches.keepHosts('slice-a');
    await world.send(inPlace);
    await minutes(world, 30);
    const verdict = jsonOf(world, 'a', 'verdict');
    expect(verdict).to.include({ verdict: 'not_recovered' });
    expect(verdict['why']).to.match(/is on host .*, whose machine was bad/);
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(4);
  });

  it('is recovered while the cluster is paused, too: a pool is given back then as well', async () => {
    const world = createFullWorld({ nodeObject: 'survives' });
    await world.send(inPlace);
    annotateCluster(world, 'paused', 'a look');
    await minutes(world, 8);
    expectBack(world);
  });

  it('stays what it is when the action is sent again', async () => {
    const world = createFullWorld();
    const { steps } = await world.send(inPlace);
    await minutes(world, 10);
    world.newWrites();
    const again = await world.send(inPlace);
    expect(again).to.include({ status: 200, isReplay: true });
    expect(again.steps).to.deep.equal(steps);
    expect(countEffects(world.newWrites())).to.deep.equal({});
  });
});

// F-302: an instance died between the end of the run and the repair of its slice, and the run waited for ever.
describe('an instance that dies at any write of a restart in place', () => {
  it('leaves it for reconcile to finish: one deletion of a machine, and the run is back', async () => {
    const whole = createFullWorld();
    await whole.send(inPlace);
    const methods = whole.emulator.requests.map(({ method }) => method);
    const writes = [...methods.keys()].filter((request) => methods[request] !== 'GET');
    expect(writes.length).to.be.above(12);
    for (const request of writes) {
      const world = createFullWorld({ nodeObject: 'survives' });
      const doomed = world.newInstance();
      let where = '';
      world.after(request, ({ method, path }) => {
        where = `crashed at request ${request}, ${method} ${path}`;
        doomed.crash();
      });
      world.begin(inPlace, doomed);
      await minutes(world, 5);
      // Before its plan is recorded, nothing was done, and it is forgotten.
      if (noteOf(world, 'a', 'phase') === undefined) await world.send(inPlace);
      await minutes(world, 12);
      expectBack(world, where);
      expect(restarts(world), where).to.equal(1);
    }
  });

  it('in a reconcile: one release, one verdict', async () => {
    for (let requests = 0; requests < 60; requests++) {
      const world = createFullWorld({ nodeObject: 'survives' });
      await world.send(inPlace);
      await world.pass(400);
      const victim = world.newInstance();
      world.after(requests, () => victim.crash());
      const begun = world.beginReconcile({}, victim);
      await world.pass(30);
      const isOver = begun.reports !== undefined;
      await minutes(world, 6);
      expectBack(world, `request ${requests}`);
      if (isOver) {
        expect(requests).to.be.above(10);
        return;
      }
    }
    expect.fail('a reconcile sends fewer requests');
  });
});

// F-303: a call of a restart in place failed after the run was ended, and the slice was never repaired.
describe('a restart in place, when a call fails', () => {
  const calls = [
    { what: 'the deletion of the leader', method: 'DELETE', path: /\/pods\// },
    { what: 'the deletion of the machine', method: 'DELETE', path: /\/instances\//, api: 'compute' },
    { what: 'a write of the pool\u2019s Lease', method: 'PUT', path: /leases\/pool-/ },
    { what: 'a write of the record', method: 'PUT', path: /leases\/action-/ },
    { what: 'a cordon', method: 'PATCH', path: /\/nodes\// },
    { what: 'the list of what stays', method: 'GET', path: /namespaces\/default\/pods/ },
  ] as const;
  const effects: Record<string, FaultEffect> = {
    'with 500': toAnswer(500),
    'with 429': toAnswer(429),
    'with a connection that breaks before': 'reset_before',
    'with a connection that breaks after': 'reset_after',
    'without an answer': 'malformed',
  };
  for (const { what, ...call } of calls) {
    for (const [how, effect] of Object.entries(effects)) {
      it(`${what}, ${how}, twice: it ends with one deletion of a machine and the run back`, async () => {
        const world = createFullWorld({ nodeObject: 'survives' });
        world.emulator.faults.add({ api: 'kubernetes', ...call, times: 2, effect });
        await world.send(inPlace);
        await minutes(world, 5);
        // What stopped before its plan is sent again by its caller.
        if (noteOf(world, 'a', 'phase') === undefined) {
          expect((await world.send(inPlace)).status).to.equal(200);
        }
        await minutes(world, 12);
        expectBack(world);
      });
    }
  }
});
