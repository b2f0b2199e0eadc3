import { expect } from 'chai';
import {
  acceptedRepair,
  createRepaired,
  cronJobName,
  endTest,
  setLabel,
  testJobs,
  testLabel,
} from '../fixtures/acceptance.ts';
import { countEffects } from '../fixtures/count-writes.ts';
import { annotateCluster, deletedMachines } from '../fixtures/train-run.ts';
import { countCordoned, nodeNames, whereTrainRuns } from '../fixtures/train-world.ts';
import {
  countSent,
  editRecord,
  isOpen,
  jsonOf,
  noteOf,
  verdictEvents,
  verdictLines,
} from '../fixtures/verdicts.ts';
import type { VirtualFailover } from '../fixtures/virtual-failover.ts';

const byJob = { accept: cronJobName };
const byLabel = { accept: testLabel };
const survives = { slice: { nodeObject: 'survives' as const } };

/** So many reconciles, a minute apart. */
async function reconcileFor(world: VirtualFailover, minutes: number): Promise<void> {
  for (let minute = 0; minute < minutes; minute++) {
    await world.reconcile();
    await world.pass(60);
  }
}

function whyOf(world: VirtualFailover): string {
  return String(jsonOf(world, 'r', 'verdict')['why']);
}

describe('a repaired pool that must pass a test', () => {
  it('is released once the Job of the CronJob is complete', async () => {
    const world = await createRepaired(byJob);
    world.newWrites();
    expect((await world.reconcile()).waiting).to.deep.equal(['r']);
    await world.pass(60);
    const [job, ...others] = testJobs(world);
    expect(others).to.deep.equal([]);
    expect(job?.metadata.annotations).to.include({ 'autometric-failover/action': 'r' });
    expect(job?.spec).to.include({ parallelism: 4, completions: 4, activeDeadlineSeconds: 1800 });
    const tested = world.cluster.pods('autometric-failover-system').map(({ spec }) => spec.nodeName);
    expect(tested).to.have.members(nodeNames(world.cluster, 'slice-a'));
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(4);
    expect((await world.reconcile()).waiting).to.deep.equal(['r']);
    await endTest(world, 'Succeeded');
    expect((await world.reconcile()).settled).to.deep.include({ id: 'r', verdict: 'repaired' });
    expect(jsonOf(world, 'r', 'verdict')).to.have.property('accepted_at');
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(0);
    expect(verdictEvents(world)).to.deep.equal(['FailoverRepaired']);
    expect(isOpen(world, 'r')).to.equal(false);
    expect(countEffects(world.newWrites())).to.deep.include({ 'POST jobs': 1 });
  });

  // F-327: a node that registers anew has no cordon, and the run came back to it before it was tested.
  it('is cordoned again where its nodes have registered anew', async () => {
    const world = await createRepaired(byJob);
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(0);
    await world.reconcile();
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(4);
  });

  it('is cordoned again before it is whole', async () => {
    const world = await createRepaired(byJob);
    const [node = ''] = nodeNames(world.cluster, 'slice-a');
    world.cluster.killNode(node);
    await world.reconcile();
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(4);
    expect(testJobs(world)).to.deep.equal([]);
  });

  it('stays cordoned where the Job fails, and somebody is told', async () => {
    const world = await createRepaired(byJob);
    await world.reconcile();
    await world.pass(60);
    await endTest(world, 'Failed');
    expect((await world.reconcile()).settled).to.deep.equal([{ id: 'r', verdict: 'not_accepted' }]);
    expect(whyOf(world)).to.match(
      /^the pool has not passed its test \(burn-in\), so it stays cordoned: Job .* failed: /,
    );
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(4);
    expect(noteOf(world, 'r.uncordon', 'phase')).to.equal(undefined);
    expect(verdictEvents(world)).to.deep.equal(['FailoverNotAccepted']);
    expect(world.log.find(({ event }) => event === 'verdict')).to.include({ severity: 'ERROR' });
    world.newWrites();
    await world.reconcile();
    expect(world.newWrites()).to.deep.equal([]);
  });

  // F-328: a test that never ended kept the action open, and its Job on the machines, for ever.
  it('stays cordoned where the test does not end in time, and Kubernetes ends its Job', async () => {
    const world = await createRepaired(byJob, { environment: { ACCEPT_TIMEOUT_SECONDS: '600' } });
    await reconcileFor(world, 9);
    expect(isOpen(world, 'r')).to.equal(true);
    await reconcileFor(world, 3);
    expect(jsonOf(world, 'r', 'verdict')).to.include({ verdict: 'not_accepted' });
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(4);
    expect(testJobs(world)[0]?.status.conditions?.find(({ type }) => type === 'Failed')).to.include({
      reason: 'DeadlineExceeded',
    });
  });

  it('is told of in time where nobody may make the Job: the pool is paused', async () => {
    const world = await createRepaired(byJob, {
      ...survives,
      environment: { ACCEPT_TIMEOUT_SECONDS: '600' },
    });
    annotateCluster(world, 'paused', 'a look');
    await reconcileFor(world, 12);
    expect(testJobs(world)).to.deep.equal([]);
    expect(jsonOf(world, 'r', 'verdict')).to.include({ verdict: 'not_accepted' });
    expect(whyOf(world)).to.match(/not within 600 s: failover is paused/);
  });

  const refusals: Record<string, [(world: VirtualFailover) => void, RegExp]> = {
    'there is no such CronJob': [
      ({ cluster }) => cluster.remove('cronjobs', 'autometric-failover-system', cronJobName),
      /there is no CronJob burn-in in namespace autometric-failover-system/,
    ],
    'the function may not make Jobs': [
      ({ cluster }) => void cluster.deny({ verb: 'create', resource: 'jobs' }),
      /could not be made: the Kubernetes API answered 403/,
    ],
  };
  for (const [what, [change, why]] of Object.entries(refusals)) {
    it(`stays cordoned where ${what}, and somebody is told at once`, async () => {
      const world = await createRepaired(byJob, survives);
      change(world);
      expect((await world.reconcile()).settled).to.deep.equal([{ id: 'r', verdict: 'not_accepted' }]);
      expect(whyOf(world)).to.match(why);
      expect(countCordoned(world.cluster, 'slice-a')).to.equal(4);
    });
  }

  it('does not run its test again where somebody has deleted the Job', async () => {
    const world = await createRepaired(byJob);
    await world.reconcile();
    await world.pass(60);
    const [job] = testJobs(world);
    world.cluster.remove('jobs', 'autometric-failover-system', job?.metadata.name ?? '');
    await world.pass(60);
    expect((await world.reconcile()).settled).to.deep.equal([{ id: 'r', verdict: 'not_accepted' }]);
    expect(testJobs(world)).to.deep.equal([]);
    expect(whyOf(world)).to.match(/was deleted before it was seen to end/);
  });

  // F-380: somebody had uncordoned the pool while it was tested, and it was cordoned again.
  it('is not cordoned again where somebody has uncordoned it', async () => {
    const world = await createRepaired(byJob, survives);
    await world.reconcile();
    await world.pass(5);
    expect((await world.send({ id: 'u', type: 'uncordon_nodepool', node_pool: 'slice-a' })).status).to.equal(
      200,
    );
    expect((await world.reconcile()).settled).to.deep.include({ id: 'r', verdict: 'not_accepted' });
    expect(whyOf(world)).to.match(/action u has uncordoned it before/);
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(0);
  });

  it('is not cordoned again where somebody has uncordoned a node of it by hand', async () => {
    const world = await createRepaired(byJob, survives);
    const [node = ''] = nodeNames(world.cluster, 'slice-a');
    world.cluster.cordonAs('kubectl', node, false);
    expect((await world.reconcile()).settled).to.deep.include({ id: 'r', verdict: 'not_accepted' });
    expect(whyOf(world)).to.match(/somebody has uncordoned nodes of it before/);
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(3);
  });
});

describe('a test of a repaired pool', () => {
  it('keeps the close of another incident from releasing the pool', async () => {
    const world = await createRepaired(byJob, survives);
    world.cluster.change('leases', 'autometric-failover-system', 'pool-slice-a', ({ metadata }) => {
      metadata.annotations = {
        ...metadata.annotations,
        'autometric-failover/cordoned-for': '{"0.a":"open"}',
      };
    });
    await world.reconcile();
    const { metadata } = world.cluster.get('leases', 'autometric-failover-system', 'pool-slice-a') ?? {};
    const holds: unknown = JSON.parse(metadata?.annotations?.['autometric-failover/cordoned-for'] ?? '{}');
    expect(holds).to.deep.equal({ '0.a': 'open', r: 'stays' });
    expect(countSent(world, /^POST .*\/jobs$/)).to.equal(1);
  });

  it('is not one that a Job from before has ended', async () => {
    const world = await createRepaired(byJob, survives);
    await world.reconcile();
    await world.pass(60);
    const [job] = testJobs(world);
    if (!job) throw new Error('no Job');
    await endTest(world, 'Succeeded');
    editRecord(world, 'r', { acceptance: undefined });
    expect((await world.reconcile()).settled).to.deep.equal([{ id: 'r', verdict: 'not_accepted' }]);
    expect(whyOf(world)).to.match(/is not the one that this action has made/);
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(4);
  });

  it('is asked for by the repair that follows a restart which did not help', async () => {
    const world = await createRepaired(
      {
        type: 'cordon_nodepool_and_restart_jobset',
        jobset_name: 'train',
        on_failure: 'cordon_and_repair_nodepool',
        ...byJob,
      },
      { slices: ['slice-a'], jobSet: {}, ...survives },
    );
    await world.pass(901);
    expect((await world.reconcile()).settled).to.deep.equal([{ id: 'r', verdict: 'not_recovered' }]);
    await world.pass(300);
    await reconcileFor(world, 2);
    expect(testJobs(world).map(({ metadata }) => metadata.annotations)).to.deep.equal([
      { 'autometric-failover/action': 'r.on-failure' },
    ]);
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(4);
    await endTest(world, 'Succeeded');
    expect((await world.reconcile()).settled).to.deep.include({ id: 'r.on-failure', verdict: 'repaired' });
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(0);
  });
});

describe('a repaired pool whose nodes must get a label', () => {
  it('is released once each node has it', async () => {
    const world = await createRepaired(byLabel);
    const [first = '', ...rest] = nodeNames(world.cluster, 'slice-a');
    await world.reconcile();
    for (const node of rest) setLabel(world, node, 'passed');
    setLabel(world, first, 'running');
    expect((await world.reconcile()).waiting).to.deep.equal(['r']);
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(4);
    setLabel(world, first, 'passed');
    expect((await world.reconcile()).settled).to.deep.include({ id: 'r', verdict: 'repaired' });
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(0);
    expect(testJobs(world)).to.deep.equal([]);
    expect(countSent(world, /cronjobs|jobs/)).to.equal(0);
  });

  // F-329: the Node object survived the repair, and still said `passed` of the machine before.
  it('is not released by a label from before the repair', async () => {
    const world = await createRepaired(
      { ...byLabel, dry_run: true },
      { ...survives, environment: { ACCEPT_TIMEOUT_SECONDS: '600' } },
    );
    for (const node of nodeNames(world.cluster, 'slice-a')) setLabel(world, node, 'passed');
    await world.pass(5);
    expect((await world.send({ ...acceptedRepair, ...byLabel })).status).to.equal(200);
    await world.pass(300);
    await world.reconcile();
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(4);
    expect(isOpen(world, 'r')).to.equal(true);
    await reconcileFor(world, 12);
    expect(jsonOf(world, 'r', 'verdict')).to.include({ verdict: 'not_accepted' });
    expect(whyOf(world)).to.match(/passed, but not since the repair/);
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(4);
  });

  it('is released by the same label once it was set anew', async () => {
    const world = await createRepaired({ ...byLabel, dry_run: true }, survives);
    const nodes = nodeNames(world.cluster, 'slice-a');
    for (const node of nodes) setLabel(world, node, 'passed');
    await world.pass(5);
    await world.send({ ...acceptedRepair, ...byLabel });
    await world.pass(300);
    await world.reconcile();
    for (const node of nodes) setLabel(world, node, null);
    for (const node of nodes) setLabel(world, node, 'passed');
    expect((await world.reconcile()).settled).to.deep.include({ id: 'r', verdict: 'repaired' });
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(0);
  });
});

describe('a run that restarts in place on a pool that must pass a test', () => {
  // F-381: the time for the test was taken from the time for the run, which was `not_recovered` as soon as it was let back.
  it('comes back once the test has passed, and has its own time from then on', async () => {
    const world = await createRepaired(
      {
        id: 'r',
        type: 'cordon_nodepool_and_restart_jobset',
        jobset_name: 'train',
        uncordon_when_repaired: undefined,
        when_no_spare: 'repair',
        ...byJob,
      },
      { slices: ['slice-a'], jobSet: {}, ...survives, environment: { RECOVERY_TIMEOUT_SECONDS: '300' } },
    );
    await reconcileFor(world, 10);
    expect(testJobs(world)).to.have.length(1);
    expect(whereTrainRuns(world.cluster)).to.deep.equal([]);
    expect(isOpen(world, 'r')).to.equal(true);
    await endTest(world, 'Succeeded');
    await world.reconcile();
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(0);
    await world.pass(60);
    await world.reconcile();
    expect(jsonOf(world, 'r', 'verdict')).to.include({ verdict: 'recovered' });
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-a #1']);
    expect(verdictLines(world)).to.include('r recovered');
    expect(deletedMachines(world)).to.have.length(1);
  });
});
