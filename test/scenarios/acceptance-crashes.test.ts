import { expect } from 'chai';
import { addCronJob, createRepaired, cronJobName, endTest, testJobs } from '../fixtures/acceptance.ts';
import { GpuWorld } from '../fixtures/gpu-world.ts';
import { deletedMachines } from '../fixtures/train-run.ts';
import { countCordoned } from '../fixtures/train-world.ts';
import { countSent, isOpen, jsonOf, noteOf, verdictEvents } from '../fixtures/verdicts.ts';
import type { VirtualFailover } from '../fixtures/virtual-failover.ts';

const byJob = { accept: cronJobName };

// F-382: an instance died beside the test of a pool, and the test ran twice, or the pool was never released.
describe('an instance that dies at any request while a repaired pool is tested', () => {
  /** Lets an instance die after each request of the reconcile that begins the test, or of the one that sees its end. */
  async function dieAtEach(
    prepare: () => Promise<VirtualFailover>,
    finish: (world: VirtualFailover) => Promise<void>,
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
      const where = isOver ? 'of none' : `after request ${requests}, ${last?.method} ${last?.path}`;
      await finish(world);
      expect(testJobs(world), where).to.have.length(1);
      expect(countSent(world, /^POST .*\/jobs$/), where).to.equal(1);
      expect(jsonOf(world, 'r', 'verdict'), where).to.include({ verdict: 'repaired' });
      expect(jsonOf(world, 'r', 'verdict'), where).to.have.property('accepted_at');
      expect(countCordoned(world.cluster, 'slice-a'), where).to.equal(0);
      expect(isOpen(world, 'r'), where).to.equal(false);
      expect(noteOf(world, 'r.uncordon', 'phase'), where).to.equal('settled');
      expect(verdictEvents(world), where).to.deep.equal(['FailoverRepaired']);
      expect(deletedMachines(world), where).to.have.length(1);
      if (isOver) return requests;
    }
  }

  /** Others look in until the test runs, it passes, and they look in until all is done. */
  async function finishTest(world: VirtualFailover): Promise<void> {
    for (let minute = 0; minute < 4; minute++) {
      await world.pass(60);
      await world.reconcile();
      expect(countCordoned(world.cluster, 'slice-a')).to.equal(4);
    }
    await world.pass(60);
    await endTest(world, 'Succeeded');
    await finishVerdict(world);
  }

  async function finishVerdict(world: VirtualFailover): Promise<void> {
    for (let minute = 0; minute < 5; minute++) {
      await world.reconcile();
      await world.pass(60);
    }
  }

  it('leaves a test that others carry on: one Job', async () => {
    const requests = await dieAtEach(() => createRepaired(byJob), finishTest);
    expect(requests).to.be.above(12);
  });

  it('leaves the end of a test for others to see', async () => {
    const requests = await dieAtEach(async () => {
      const world = await createRepaired(byJob);
      await world.reconcile();
      await world.pass(60);
      await endTest(world, 'Succeeded');
      return world;
    }, finishVerdict);
    expect(requests).to.be.above(10);
  });

  it('is found again by the one whose answer was lost', async () => {
    const world = await createRepaired(byJob);
    world.emulator.faults.add({ method: 'POST', path: /\/jobs$/, times: 1, effect: 'reset_after' });
    expect((await world.reconcile()).errors).to.deep.equal([]);
    await world.pass(60);
    expect(testJobs(world)).to.have.length(1);
    await world.reconcile();
    await endTest(world, 'Succeeded');
    expect((await world.reconcile()).settled).to.deep.include({ id: 'r', verdict: 'repaired' });
  });
});

describe('two reconciles at the same time', () => {
  it('begin one test', async () => {
    const world = await createRepaired(byJob);
    const both = [
      world.beginReconcile({}, world.newInstance()),
      world.beginReconcile({}, world.newInstance()),
    ];
    await world.pass(30);
    expect(both.map(({ reports }) => reports?.[0]?.waiting)).to.deep.equal([['r'], ['r']]);
    expect(testJobs(world)).to.have.length(1);
    await endTest(world, 'Succeeded');
    await world.reconcile();
    await world.pass(60);
    await world.reconcile();
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(0);
  });
});

describe('a repaired machine of a pool of single machines', () => {
  // F-383: the test ran on a machine of the pool that had not been repaired, and passed.
  it('is tested itself, and the others of its pool are left alone', async () => {
    const world = new GpuWorld();
    addCronJob(world, { parallelism: 1, template: gpuTest });
    const repair = { id: 'r', type: 'repair_nodepool', node_name: world.other, uncordon_when_repaired: true };
    expect((await world.send({ ...repair, ...byJob })).status).to.equal(200);
    await world.pass(300);
    await world.reconcile();
    await world.pass(60);
    expect(world.cluster.pods('autometric-failover-system').map(({ spec }) => spec.nodeName)).to.deep.equal([
      world.other,
    ]);
    expect(world.read(world.other).spec.unschedulable).to.equal(true);
    expect(world.read().spec.unschedulable).to.equal(undefined);
    await endTest(world, 'Succeeded');
    expect((await world.reconcile()).settled).to.deep.include({ id: 'r', verdict: 'repaired' });
    expect(world.read(world.other).spec.unschedulable).to.equal(undefined);
  });
});

const gpuTest = {
  spec: {
    restartPolicy: 'Never',
    containers: [{ name: 'test', image: 'test', resources: { limits: { 'nvidia.com/gpu': '8' } } }],
  },
};
