import { expect } from 'chai';
import { annotateCluster, deletedMachines, restarts } from '../fixtures/train-run.ts';
import { countCordoned } from '../fixtures/train-world.ts';
import {
  findRecord,
  isOpen,
  jsonOf,
  noteOf,
  repairOfSlice,
  restartOfTrain,
  verdictEvents,
  verdictLines,
} from '../fixtures/verdicts.ts';
import { VirtualFailover } from '../fixtures/virtual-failover.ts';

/** The world has no room for the run but on the pool that is cordoned. */
const createFullWorld = (): VirtualFailover => new VirtualFailover({ slices: ['slice-a'] });

/**
 * Prepares a world, lets an instance die after each of the requests that its reconcile sends, and lets others finish.
 *
 * @returns how many requests a reconcile that does not die sends
 */
async function dieAtEach(
  prepare: () => Promise<VirtualFailover>,
  expectFinished: (world: VirtualFailover, where: string) => void,
): Promise<number> {
  for (let requests = 0; ; requests++) {
    const world = await prepare();
    const victim = world.newInstance();
    const from = world.emulator.requests.length;
    world.after(requests, () => victim.crash());
    const begun = world.beginReconcile({}, victim);
    await world.pass(30);
    const isOver = begun.reports !== undefined;
    const last = world.emulator.requests[from + requests];
    for (let minute = 0; minute < 5; minute++) {
      await world.reconcile();
      await world.pass(60);
    }
    expectFinished(world, isOver ? 'of none' : `after request ${requests}, ${last?.method} ${last?.path}`);
    if (isOver) return requests;
  }
}

/** An instance dies while it cordons for a restart; then so many seconds pass. */
async function leaveHalfWay(seconds: number): Promise<VirtualFailover> {
  const world = new VirtualFailover();
  const first = world.newInstance();
  world.once(/PATCH .*nodes/, () => first.crash());
  world.begin(restartOfTrain, first);
  await world.pass(seconds);
  return world;
}

describe('an instance that dies at any request of its reconcile', () => {
  it('leaves a verdict for the next one to finish: one verdict, one Event', async () => {
    const requests = await dieAtEach(
      async () => {
        const world = new VirtualFailover();
        await world.send(restartOfTrain);
        await world.pass(60);
        return world;
      },
      (world, where) => {
        expect(jsonOf(world, 'a', 'verdict'), where).to.include({ verdict: 'recovered' });
        expect(noteOf(world, 'a', 'phase'), where).to.equal('settled');
        expect(isOpen(world, 'a'), where).to.equal(false);
        expect(verdictEvents(world), where).to.deep.equal(['FailoverRecovered']);
        expect(new Set(verdictLines(world)), where).to.have.keys('a recovered');
        expect(verdictLines(world).length, where).to.be.at.most(2);
        expect(restarts(world), where).to.equal(1);
      },
    );
    expect(requests).to.equal(7);
  });

  it('leaves an escalation for the next one to finish: one deletion', async () => {
    const requests = await dieAtEach(
      async () => {
        const world = createFullWorld();
        await world.send({ ...restartOfTrain, on_failure: 'cordon_and_repair_nodepool' });
        await world.pass(1201);
        return world;
      },
      (world, where) => {
        expect(deletedMachines(world), where).to.have.length(1);
        expect(jsonOf(world, 'a', 'verdict'), where).to.include({ verdict: 'not_recovered' });
        expect(isOpen(world, 'a'), where).to.equal(false);
        expect(jsonOf(world, 'a', 'follow-up'), where).to.include({ id: 'a.on-failure' });
        expect(verdictEvents(world), where).to.deep.equal(['FailoverNotRecovered', 'FailoverRepaired']);
        expect(jsonOf(world, 'a.on-failure', 'verdict'), where).to.include({ verdict: 'repaired' });
        expect(verdictLines(world).filter((line) => line.startsWith('a ')).length, where).to.be.at.most(2);
        expect(verdictLines(world).filter((line) => line.startsWith('a.')).length, where).to.equal(1);
        expect(countCordoned(world.cluster, 'slice-a'), where).to.be.oneOf([0, 4]);
      },
    );
    expect(requests).to.be.above(25);
  });

  it('leaves an uncordon for the next one to finish', async () => {
    const requests = await dieAtEach(
      async () => {
        const world = new VirtualFailover({ jobSet: null });
        await world.send({ ...repairOfSlice, uncordon_when_repaired: true });
        await world.pass(600);
        return world;
      },
      (world, where) => {
        expect(countCordoned(world.cluster, 'slice-a'), where).to.equal(0);
        expect(jsonOf(world, 'r', 'verdict'), where).to.include({ verdict: 'repaired' });
        expect(isOpen(world, 'r'), where).to.equal(false);
        expect(noteOf(world, 'r.uncordon', 'phase'), where).to.equal('settled');
        expect(verdictEvents(world), where).to.deep.equal(['FailoverRepaired']);
        expect(deletedMachines(world), where).to.have.length(1);
      },
    );
    expect(requests).to.be.above(10);
  });

  it('leaves an abandoned action for the next one to tell of', async () => {
    await dieAtEach(
      () => leaveHalfWay(901),
      (world, where) => {
        expect(jsonOf(world, 'a', 'verdict'), where).to.include({ verdict: 'abandoned' });
        expect(isOpen(world, 'a'), where).to.equal(false);
        expect(verdictEvents(world), where).to.deep.equal(['FailoverAbandoned']);
        expect(restarts(world), where).to.equal(0);
      },
    );
  });

  it('leaves what it carried on for the next one to carry on: one restart', async () => {
    await dieAtEach(
      () => leaveHalfWay(90),
      (world, where) => {
        expect(restarts(world), where).to.equal(1);
        expect(jsonOf(world, 'a', 'verdict'), where).to.include({ verdict: 'recovered' });
        expect(verdictEvents(world), where).to.deep.equal(['FailoverRecovered']);
        expect(Number(noteOf(world, 'a', 'resumes')), where).to.be.within(1, 2);
      },
    );
  });
});

describe('what follows from a verdict and cannot be done yet', () => {
  // F-200: it was told of once a minute.
  it('is told of once, however often it is tried', async () => {
    const world = createFullWorld();
    await world.send({ ...restartOfTrain, on_failure: 'repair_nodepool' });
    await world.pass(1201);
    annotateCluster(world, 'paused', 'a look');
    for (let minute = 0; minute < 5; minute++) {
      expect((await world.reconcile()).waiting).to.deep.equal(['a']);
      await world.pass(60);
    }
    expect(verdictLines(world)).to.deep.equal(['a not_recovered']);
    expect(verdictEvents(world)).to.deep.equal(['FailoverNotRecovered']);
    expect(jsonOf(world, 'a', 'follow-up')).to.deep.equal({ id: 'a.on-failure', outcome: 'begun' });
    expect(deletedMachines(world)).to.deep.equal([]);
    annotateCluster(world, 'paused', '');
    world.cluster.change('leases', 'autometric-failover-system', 'cluster', ({ metadata }) => {
      delete metadata.annotations?.['autometric-failover/paused'];
    });
    await world.reconcile();
    expect(jsonOf(world, 'a', 'follow-up')).to.include({ outcome: 'done' });
    expect(deletedMachines(world)).to.have.length(1);
    expect(verdictLines(world)).to.deep.equal(['a not_recovered']);
  });

  it('is given up after a while, with its reason', async () => {
    const world = createFullWorld();
    await world.send({ ...restartOfTrain, on_failure: 'repair_nodepool' });
    await world.pass(1201);
    annotateCluster(world, 'paused', 'a look');
    for (let minute = 0; minute < 17; minute++) {
      await world.reconcile();
      await world.pass(60);
    }
    expect(isOpen(world, 'a')).to.equal(false);
    expect(jsonOf(world, 'a', 'follow-up')).to.include({ outcome: 'refused', code: 'paused' });
    expect(verdictLines(world)).to.deep.equal(['a not_recovered']);
    expect(
      world.log.filter(({ event, severity }) => event === 'refused' && severity === 'ERROR'),
    ).to.have.length(1);
  });

  // F-201: it was given up once a minute.
  it('is carried on by its own record once it has a plan, and given up once', async () => {
    const world = createFullWorld();
    await world.send({ ...restartOfTrain, on_failure: 'cordon_and_repair_nodepool' });
    await world.pass(1201);
    world.emulator.faults.add({
      api: 'compute',
      method: 'DELETE',
      path: /instances/,
      times: Infinity,
      effect: { status: 500 },
    });
    for (let minute = 0; minute < 20; minute++) {
      await world.reconcile();
      await world.pass(60);
    }
    expect(jsonOf(world, 'a', 'follow-up')).to.include({ id: 'a.on-failure', outcome: 'begun' });
    expect(jsonOf(world, 'a.on-failure', 'verdict')).to.include({ verdict: 'abandoned' });
    expect(noteOf(world, 'a.on-failure', 'resumes')).to.equal('5');
    expect(verdictLines(world)).to.deep.equal(['a not_recovered', 'a.on-failure abandoned']);
    expect(isOpen(world, 'a')).to.equal(false);
    expect(isOpen(world, 'a.on-failure')).to.equal(false);
  });
});

describe('an abandoned action that is sent again', () => {
  // F-202: the name of the Event was taken.
  it('gets a second verdict, and an Event of its own', async () => {
    const world = new VirtualFailover();
    const first = world.newInstance();
    world.once(/PATCH .*nodes/, () => first.crash());
    world.begin(restartOfTrain, first);
    await world.pass(901);
    expect((await world.reconcile()).settled).to.deep.equal([{ id: 'a', verdict: 'abandoned' }]);
    expect(await world.send(restartOfTrain)).to.include({ status: 200 });
    expect(noteOf(world, 'a', 'verdict')).to.equal(undefined);
    await world.pass(60);
    expect((await world.reconcile()).settled).to.deep.equal([{ id: 'a', verdict: 'recovered' }]);
    expect(verdictEvents(world)).to.deep.equal(['FailoverAbandoned', 'FailoverRecovered']);
    expect(findRecord(world, 'a')?.metadata.labels).not.to.have.property('autometric-failover/open');
  });
});
