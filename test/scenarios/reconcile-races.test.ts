import { expect } from 'chai';
import { failoverNamespace } from '../../src/names.ts';
import { countEffects } from '../fixtures/count-writes.ts';
import { annotateCluster, deletedMachines, restarts } from '../fixtures/train-run.ts';
import { countCordoned } from '../fixtures/train-world.ts';
import {
  countSent,
  editRecord,
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

/** How far the second one is behind the first: requests take 10 ms. */
const offsetsMs = [0, 3, 10, 14, 20, 33, 50, 120];

/** Lets two reconciles of two instances go on at once. */
async function reconcileTwice(world: VirtualFailover, offsetMs: number): Promise<string[]> {
  const first = world.beginReconcile({}, world.newInstance());
  await world.pass(offsetMs / 1000);
  const second = world.beginReconcile({}, world.newInstance(5_000));
  const reports = [await world.reportOf(first), await world.reportOf(second)];
  return reports.flatMap(({ settled }) => settled.map(({ id, verdict }) => `${id} ${verdict}`));
}

/** An action whose instance died after its plan was written, a while ago. */
async function leaveHalfWay(world: VirtualFailover, body: object = restartOfTrain): Promise<void> {
  const victim = world.newInstance();
  world.once(/PATCH .*nodes/, () => victim.crash());
  world.begin({ ...body }, victim);
  await world.pass(90);
}

describe('two reconciles at once', () => {
  for (const offsetMs of offsetsMs) {
    it(`${offsetMs} ms apart: one verdict, one Event, one line`, async () => {
      const world = new VirtualFailover();
      await world.send(restartOfTrain);
      await world.pass(60);
      expect(await reconcileTwice(world, offsetMs)).to.deep.equal(['a recovered']);
      expect(verdictLines(world)).to.deep.equal(['a recovered']);
      expect(verdictEvents(world)).to.deep.equal(['FailoverRecovered']);
      expect(countSent(world, /^POST .*events$/)).to.equal(3);
    });

    it(`${offsetMs} ms apart: one follow-up, one deletion`, async () => {
      const world = new VirtualFailover({ slices: ['slice-a'] });
      await world.send({ ...restartOfTrain, on_failure: 'cordon_and_repair_nodepool' });
      await world.pass(1201);
      expect(await reconcileTwice(world, offsetMs)).to.deep.equal(['a not_recovered']);
      expect(verdictLines(world)).to.deep.equal(['a not_recovered']);
      expect(deletedMachines(world)).to.have.length(1);
      expect(jsonOf(world, 'a', 'follow-up')).to.deep.equal({ id: 'a.on-failure', outcome: 'done' });
      expect(noteOf(world, 'a.on-failure', 'phase')).to.equal('done');
    });

    it(`${offsetMs} ms apart: one uncordon`, async () => {
      const world = new VirtualFailover({ jobSet: null });
      await world.send({ ...repairOfSlice, uncordon_when_repaired: true });
      await world.pass(600);
      // The replacements came uncordoned.
      await world.send({ id: 'c', type: 'cordon_nodepool', node_pool: 'slice-a' });
      world.newWrites();
      expect(await reconcileTwice(world, offsetMs)).to.deep.equal(['r repaired']);
      expect(countEffects(world.newWrites())).to.deep.equal({ 'PATCH nodes': 4 });
      expect(countCordoned(world.cluster, 'slice-a')).to.equal(0);
    });

    it(`${offsetMs} ms apart: what is carried on is restarted once`, async () => {
      const world = new VirtualFailover();
      await leaveHalfWay(world);
      await reconcileTwice(world, offsetMs);
      await world.pass(10);
      await world.reconcile();
      expect(restarts(world)).to.equal(1);
      expect(verdictLines(world)).to.deep.equal(['a recovered']);
      expect(Number(noteOf(world, 'a', 'resumes'))).to.equal(1);
    });
  }
});

describe('a reconcile beside', () => {
  for (const offsetMs of offsetsMs) {
    it(`a redelivery that comes ${offsetMs} ms later: one restart, and the redelivery is answered`, async () => {
      const world = new VirtualFailover();
      await leaveHalfWay(world);
      const begun = world.beginReconcile({}, world.newInstance());
      await world.pass(offsetMs / 1000);
      const answer = await world.send(restartOfTrain, world.newInstance());
      const report = await world.reportOf(begun);
      expect(answer).to.include({ status: 200 });
      expect([...report.resumed, ...report.waiting]).to.deep.equal(['a']);
      await world.pass(10);
      expect(restarts(world)).to.equal(1);
      await world.reconcile();
      expect(verdictLines(world)).to.deep.equal(['a recovered']);
    });

    it(`a redelivery that came ${offsetMs} ms earlier: one restart`, async () => {
      const world = new VirtualFailover();
      await leaveHalfWay(world);
      const sent = world.begin(restartOfTrain, world.newInstance());
      await world.pass(offsetMs / 1000);
      await world.reconcile({}, world.newInstance());
      expect(await world.answerOf(sent)).to.include({ status: 200 });
      await world.pass(10);
      expect(restarts(world)).to.equal(1);
    });

    it(`the same action, which runs for ${offsetMs} ms: it writes nothing while that holds the pool`, async () => {
      const world = new VirtualFailover();
      const sent = world.begin(restartOfTrain);
      await world.pass(offsetMs / 1000);
      const report = await world.reconcile({}, world.newInstance());
      expect(report).to.deep.include({ settled: [], resumed: [], errors: [] });
      expect(await world.answerOf(sent)).to.include({ status: 200 });
      await world.pass(10);
      expect(restarts(world)).to.equal(1);
      expect(noteOf(world, 'a', 'resumes')).to.equal(undefined);
      expect(noteOf(world, 'a', 'phase')).to.equal('done');
    });
  }

  it('a replay of the action: the record is settled once', async () => {
    const world = new VirtualFailover();
    await world.send(restartOfTrain);
    await world.pass(60);
    const begun = world.beginReconcile({}, world.newInstance());
    expect(await world.send(restartOfTrain)).to.include({ status: 200, isReplay: true });
    await world.reportOf(begun);
    expect(await world.send(restartOfTrain)).to.include({ status: 200, isReplay: true });
    expect(isOpen(world, 'a')).to.equal(false);
    expect(verdictLines(world)).to.deep.equal(['a recovered']);
  });

  it('a person who deletes the record while it is judged', async () => {
    const world = new VirtualFailover();
    await world.send(restartOfTrain);
    await world.pass(60);
    world.once(/GET .*jobsets/, () => {
      world.cluster.remove('leases', failoverNamespace, findRecord(world, 'a')?.metadata.name ?? '');
    });
    expect(await world.reconcile()).to.deep.include({ open: 1, settled: [], waiting: ['a'], errors: [] });
    expect(verdictLines(world)).to.deep.equal([]);
    expect(await world.reconcile()).to.deep.include({ open: 0, waiting: [] });
  });
});

describe('a reconcile of a record that was', () => {
  it('broken by hand: it says so each time, leaves it alone, and serves the others', async () => {
    for (const [key, text] of [
      ['plan', '{"claimId":'],
      ['plan', undefined],
      ['phase', 'nonsense'],
      ['answer', '{}'],
      ['request', '{"namespace":5}'],
      ['verdict', '{"verdict":"great"}'],
      ['version', '99'],
    ] as const) {
      const world = new VirtualFailover({ slices: ['slice-a', 'slice-b', 'slice-c'] });
      await world.send({ ...repairOfSlice, node_pool: 'slice-b' });
      await world.send(restartOfTrain);
      await world.pass(60);
      editRecord(world, 'r', { [key]: text });
      world.newWrites();
      const report = await world.reconcile();
      expect(report.errors, key).to.have.length(1);
      expect(report.errors[0], key).to.match(/the record of action r \(Lease action-.*\) is broken/);
      expect(report, key).to.deep.include({
        open: 2,
        resumed: [],
        settled: [{ id: 'a', verdict: 'recovered' }],
      });
      expect(report, key).not.to.have.property('failed');
      expect(countEffects(world.newWrites()), key).to.deep.equal({});
      expect(isOpen(world, 'r'), key).to.equal(true);
    }
  });

  it('made by version 0.1.0, which recorded no request: it is not carried on, and is abandoned in the end', async () => {
    const world = new VirtualFailover();
    await leaveHalfWay(world);
    editRecord(world, 'a', { request: undefined });
    world.newWrites();
    expect(await world.reconcile()).to.deep.include({ resumed: [], waiting: ['a'], errors: [] });
    expect(world.newWrites()).to.deep.equal([]);
    // Its sender still can.
    expect(await world.send(restartOfTrain)).to.include({ status: 200 });
    await world.pass(60);
    expect((await world.reconcile()).settled).to.deep.equal([{ id: 'a', verdict: 'recovered' }]);

    const other = new VirtualFailover();
    await leaveHalfWay(other);
    editRecord(other, 'a', { request: undefined });
    await other.pass(900);
    expect((await other.reconcile()).settled).to.deep.equal([{ id: 'a', verdict: 'abandoned' }]);
  });

  it('done by version 0.1.0, without the label of what is open: it is left alone', async () => {
    const world = new VirtualFailover();
    await world.send(restartOfTrain);
    editRecord(world, 'a', { request: undefined, 'done-at': undefined, version: undefined });
    const name = findRecord(world, 'a')?.metadata.name ?? '';
    world.cluster.change('leases', failoverNamespace, name, ({ metadata }) => {
      delete metadata.labels?.['autometric-failover/open'];
    });
    await world.pass(60);
    world.newWrites();
    expect(await world.reconcile()).to.deep.include({ open: 0, settled: [] });
    expect(world.newWrites()).to.deep.equal([]);
    expect(await world.send(restartOfTrain)).to.include({ status: 200, isReplay: true });
  });
});

describe('an action that stopped', () => {
  it('with a 5xx is carried on at most five times, and is abandoned then', async () => {
    const world = new VirtualFailover();
    world.emulator.faults.add({
      method: 'PATCH',
      path: /\/nodes\//,
      times: Infinity,
      effect: { status: 500 },
    });
    expect(await world.send(restartOfTrain)).to.include({ status: 502 });
    for (let minute = 1; minute <= 5; minute++) {
      const report = await world.reconcile();
      expect(report, `minute ${minute}`).to.deep.include({ resumed: ['a'], settled: [] });
      expect(report.errors).to.have.length(1);
      expect(noteOf(world, 'a', 'resumes')).to.equal(String(minute));
      await world.pass(60);
    }
    world.newWrites();
    expect((await world.reconcile()).settled).to.deep.equal([{ id: 'a', verdict: 'abandoned' }]);
    expect(countEffects(world.newWrites())).to.deep.equal({});
    expect(jsonOf(world, 'a', 'verdict')['why']).to.match(
      /^it stopped again after 5 more tries; it ended with upstream_failed: .*; nothing was deleted; no node of node pool slice-a is cordoned by it: /,
    );
    expect(verdictEvents(world)).to.deep.equal(['FailoverAbandoned']);
    expect(restarts(world)).to.equal(0);
  });

  it('with a 5xx once is carried on, and recovers', async () => {
    const world = new VirtualFailover();
    const lift = world.emulator.faults.add({
      method: 'PATCH',
      path: /\/nodes\//,
      times: Infinity,
      effect: { status: 500 },
    });
    expect(await world.send(restartOfTrain)).to.include({ status: 502 });
    lift();
    expect(await world.reconcile()).to.deep.include({ resumed: ['a'], errors: [] });
    await world.pass(10);
    expect((await world.reconcile()).settled).to.deep.equal([{ id: 'a', verdict: 'recovered' }]);
  });

  it('with a 4xx before it deleted anything waits for a person, and is abandoned in the end', async () => {
    const world = new VirtualFailover();
    world.once(/PATCH .*nodes/, () => annotateCluster(world, 'paused', 'a look'));
    const first = await world.send(restartOfTrain);
    expect(first).to.include({ status: 409, code: 'paused' });
    expect(jsonOf(world, 'a', 'stopped')).to.include({ code: 'paused', hasDeleted: false });
    world.cluster.change('leases', failoverNamespace, 'cluster', ({ metadata }) => {
      delete metadata.annotations?.['autometric-failover/paused'];
    });
    world.newWrites();
    for (let minute = 0; minute < 14; minute++) {
      expect(await world.reconcile()).to.deep.include({ resumed: [], waiting: ['a'], errors: [] });
      await world.pass(60);
    }
    expect(world.newWrites()).to.deep.equal([]);
    await world.pass(60);
    expect((await world.reconcile()).settled).to.deep.equal([{ id: 'a', verdict: 'abandoned' }]);
    expect(jsonOf(world, 'a', 'verdict')['why']).to.match(/within 900 s; it ended with paused: /);
  });

  it('with a 4xx after it deleted something is verified, and not carried on', async () => {
    const world = new VirtualFailover();
    const victim = world.newInstance();
    world.once(/DELETE .*pods/, () => world.once(/PUT .*leases\/action-/, () => victim.crash()));
    world.begin(restartOfTrain, victim);
    await world.pass(90);
    expect(noteOf(world, 'a', 'phase')).to.be.oneOf(['planned', 'done']);
    editRecord(world, 'a', { phase: 'planned', answer: undefined, 'done-at': undefined });
    await world.send({ id: 'u', type: 'uncordon_nodepool', node_pool: 'slice-a' });
    expect((await world.reconcile()).errors[0]).to.match(/^a: /);
    expect(jsonOf(world, 'a', 'stopped')).to.include({
      code: 'target_changed',
      status: 409,
      hasDeleted: true,
    });
    world.newWrites();
    expect((await world.reconcile()).settled).to.deep.equal([{ id: 'a', verdict: 'recovered' }]);
    expect(countEffects(world.newWrites())).to.deep.equal({});
    expect(restarts(world)).to.equal(1);
    expect(noteOf(world, 'a', 'resumes')).to.equal('1');
  });
});

describe('a scheduler that does not call for an hour', () => {
  it('loses no second of the recovery time', async () => {
    const world = new VirtualFailover();
    await world.send(restartOfTrain);
    await world.pass(3600);
    expect((await world.reconcile()).settled).to.deep.equal([{ id: 'a', verdict: 'recovered' }]);
    expect(jsonOf(world, 'a', 'verdict')['seconds']).to.be.within(0, 6);
  });

  it('has what was left half-way abandoned, and not carried on', async () => {
    const world = new VirtualFailover();
    await leaveHalfWay(world);
    await world.pass(3600);
    world.newWrites();
    expect(await world.reconcile()).to.deep.include({
      settled: [{ id: 'a', verdict: 'abandoned' }],
      resumed: [],
    });
    expect(countEffects(world.newWrites())).to.deep.equal({});
  });

  it('still does what follows, once', async () => {
    const world = new VirtualFailover({ slices: ['slice-a'] });
    await world.send({ ...restartOfTrain, on_failure: 'repair_nodepool', uncordon_when_repaired: true });
    await world.pass(3600);
    await world.reconcile();
    expect(deletedMachines(world)).to.have.length(1);
    await world.pass(3600);
    expect((await world.reconcile()).settled).to.deep.equal([{ id: 'a.on-failure', verdict: 'repaired' }]);
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(0);
    expect(deletedMachines(world)).to.have.length(1);
  });
});

/** Copies the record of action a, so that so many are open. */
function multiplyRecords(world: VirtualFailover, count: number): void {
  const record = findRecord(world, 'a');
  if (!record) throw new Error('action a has no record');
  const { name, labels, annotations } = record.metadata;
  const namespace = failoverNamespace;
  for (let index = 1; index < count; index++) {
    const metadata = {
      name: `${name.slice(0, 30)}-${index}`,
      namespace,
      labels,
      annotations: { ...annotations, 'autometric-failover/id': `a-${index}` },
    };
    const lease = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata, spec: record.spec };
    const path = `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases`;
    expect(world.cluster.ask('POST', path, lease)).to.include({ status: 201 });
  }
}

describe('many open actions', () => {
  const count = 2304;

  it('2,304 that are over cost three calls each', async () => {
    const world = new VirtualFailover();
    await world.send(restartOfTrain);
    await world.pass(60);
    multiplyRecords(world, count);
    const before = world.emulator.requests.length;
    const report = await world.reconcile();
    expect(report.settled).to.have.length(count);
    expect(report).to.deep.include({ open: count, waiting: [], errors: [] });
    // A verdict, an Event and the end of each; the run and the pool are read once.
    const calls = world.emulator.requests.length - before;
    expect(calls).to.equal(3 * count + 8);
    expect(await world.reconcile()).to.deep.include({ open: 0 });
  });

  it('2,304 that wait cost one look at their run together, and nothing is written', async () => {
    const world = new VirtualFailover({ slices: ['slice-a'] });
    await world.send(restartOfTrain);
    await world.pass(60);
    multiplyRecords(world, count);
    world.newWrites();
    const before = world.emulator.requests.length;
    expect((await world.reconcile()).waiting).to.have.length(count);
    expect(world.newWrites()).to.deep.equal([]);
    expect(world.emulator.requests.length - before).to.be.below(10);
  });
});

describe('the time that a reconcile may take', () => {
  // F-205: each got 10 s more for all.
  it('is not given again for each action that runs out of it', async () => {
    const slices = ['slice-a', 'slice-b', 'slice-c', 'slice-d', 'slice-e', 'slice-f'];
    const world = new VirtualFailover({ slices, jobSet: null, environment: { MAX_POOLS_PER_HOUR: '50' } });
    for (const pool of slices) {
      await leaveHalfWay(world, { id: pool, type: 'cordon_nodepool', node_pool: pool });
    }
    await world.pass(30);
    const slow = world.newInstance(0, ({ path }) => (path.endsWith('/nodes') ? 'never' : 'none'));
    const before = world.time.now;
    const report = await world.reconcile({ ACTION_DEADLINE_SECONDS: '60' }, slow);
    expect((world.time.now - before) / 1000).to.be.within(55, 75);
    expect([...report.resumed, ...report.waiting].sort()).to.deep.equal(slices);
  });
});
