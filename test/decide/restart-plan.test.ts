import { expect } from 'chai';
import { readConfig } from '../../src/config.ts';
import { describeRestart, planNewerAttempt } from '../../src/decide/restart-plan.ts';
import type { RestartPlan } from '../../src/plan.ts';
import type { FailurePolicyRule } from '../emulator/objects.ts';
import { createInMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import type { InMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import { refusalOf } from '../fixtures/refusal-of.ts';
import {
  attemptLabel,
  carryOut,
  cordon,
  effects,
  indexLabel,
  leaderOn,
  plan,
  podsOn,
  restart,
  restarts,
  three,
} from '../fixtures/restarts.ts';
import { nodeNames, trainCluster, whereTrainRuns } from '../fixtures/train-world.ts';
import type { TrainWorldOptions } from '../fixtures/train-world.ts';

/** Two Jobs that share one pool. */
const bothOnOne: TrainWorldOptions = {
  slices: ['slice-a'],
  jobSet: { exclusiveTopology: '' },
  jobs: [
    { name: 'z', parallelism: 2 },
    { name: 'a', parallelism: 2 },
  ],
};

describe('planRestart', () => {
  it('chooses the index-0 pod of the Job on the pool, and says where the next attempt may run', async () => {
    const world = createInMemoryWorld();
    const leader = leaderOn(world, 'slice-a');
    const job = world.cluster.get('jobs', 'default', 'train-workers-0');
    expect(await plan(world)).to.deep.equal({
      outcome: 'restart',
      jobSet: {
        namespace: 'default',
        name: 'train',
        uid: world.cluster.get('jobsets', 'default', 'train')?.metadata.uid,
      },
      attempt: 0,
      job: { name: 'train-workers-0', uid: job?.metadata.uid, replicatedJob: 'workers' },
      leader: { name: leader.metadata.name, uid: leader.metadata.uid, nodeName: leader.spec.nodeName },
      way: 'leader_pod',
      terminatesWithinSeconds: 30,
      restartsLeft: 3,
      schedulableElsewhere: 4,
      spare: { slices: 1, needed: 1 },
      mayLandOn: ['slice-b'],
    });
    expect(world.emulator.writes()).to.deep.equal([]);
  });

  // F-53: with two replicatedJobs, the leader of the wrong Job was deleted.
  it('chooses the Job that is on the pool, not the first Job of the JobSet', async () => {
    const world = createInMemoryWorld({ slices: three, jobs: [{ name: 'a' }, { name: 'b', replicas: 2 }] });
    for (const [pool, job] of [
      ['slice-a', 'train-a-0'],
      ['slice-b', 'train-b-0'],
      ['slice-c', 'train-b-1'],
    ] as const) {
      const planned = await plan(world, { nodePool: pool });
      expect(planned.job?.name).to.equal(job);
      expect(planned.leader?.uid).to.equal(leaderOn(world, pool).metadata.uid);
    }
  });

  it('chooses the Job with the lowest global index on the pool, or the Job on the named node if one was named', async () => {
    const world = createInMemoryWorld(bothOnOne);
    expect((await plan(world)).job?.name).to.equal('train-z-0');
    const onA = podsOn(world, 'slice-a').find(({ metadata }) => metadata.name.startsWith('train-a-0-1'));
    const planned = await plan(world, { nodeName: onA?.spec.nodeName ?? '' });
    expect(planned.job?.name).to.equal('train-a-0');
    expect(planned.leader?.name).to.match(/^train-a-0-0-/);
  });

  it('chooses the leader of a Job with any live pod on the pool, wherever the leader runs', async () => {
    const world = createInMemoryWorld({
      slice: { topology: '2x4' },
      jobSet: { exclusiveTopology: '' },
      jobs: [{ parallelism: 4 }],
    });
    const [pool = ''] = ['slice-a', 'slice-b'].filter((each) =>
      podsOn(world, each).every(({ metadata }) => metadata.labels?.[indexLabel] !== '0'),
    );
    const planned = await plan(world, { nodePool: pool });
    expect(planned.outcome).to.equal('restart');
    expect(nodeNames(world.cluster, pool)).not.to.include(planned.leader?.nodeName);
  });

  // F-19: the JobSet restarts itself onto pool B before the alert for pool A arrives: its new leader lives.
  it('deletes nothing when the JobSet is not on the pool any more', async () => {
    const world = createInMemoryWorld();
    cordon(world, 'slice-a');
    world.cluster.finishPod('default', leaderOn(world, 'slice-a').metadata.name, 'Failed');
    world.emulator.settle();
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #1']);
    const before = effects(world);
    const planned = await plan(world);
    expect(planned).to.include({ outcome: 'not_on_pool', attempt: 1 });
    expect(planned).not.to.have.any.keys('job', 'leader', 'way');
    expect(await carryOut(world, planned)).to.deep.equal({
      step: 'restart',
      target: 'default/train',
      outcome: 'not_on_pool',
      attempt: 1,
      runs_on: ['slice-b'],
      warning: planned.warning,
    });
    expect(effects(world)).to.deep.equal(before);
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #1']);
  });

  it('ignores pods that have ended', async () => {
    const world = createInMemoryWorld();
    for (const { metadata } of podsOn(world, 'slice-a')) {
      world.cluster.change('pods', 'default', metadata.name, ({ status }) => (status.phase = 'Failed'));
    }
    expect((await plan(world)).outcome).to.equal('not_on_pool');
  });

  it('is already restarting when the Job is failing', async () => {
    const world = createInMemoryWorld();
    for (const name of nodeNames(world.cluster, 'slice-a')) world.cluster.killNode(name);
    world.cluster.finishPod('default', leaderOn(world, 'slice-a').metadata.name, 'Failed');
    world.emulator.settle();
    expect(await plan(world)).to.include({ outcome: 'already_restarting', attempt: 0 });
  });

  it('is not on the pool when the Job that is failing is on another one', async () => {
    const world = createInMemoryWorld();
    for (const name of nodeNames(world.cluster, 'slice-a')) world.cluster.killNode(name);
    world.cluster.finishPod('default', leaderOn(world, 'slice-a').metadata.name, 'Failed');
    world.emulator.settle();
    expect(await plan(world, { nodePool: 'slice-b', isFromAlert: true })).to.include({
      outcome: 'not_on_pool',
    });
  });

  it('repairs the pool of a Job that is failing only where that is asked for and there is no room', async () => {
    for (const [slices, wish, isInPlace] of [
      [['slice-a'], { whenNoSpare: 'repair' }, true],
      [['slice-a'], {}, false],
      [['slice-a', 'slice-b'], { whenNoSpare: 'repair' }, false],
    ] as const) {
      const world = createInMemoryWorld({ slices: [...slices] });
      for (const name of nodeNames(world.cluster, 'slice-a')) world.cluster.killNode(name);
      world.cluster.finishPod('default', leaderOn(world, 'slice-a').metadata.name, 'Failed');
      world.emulator.settle();
      const planned = await plan(world, { wish });
      expect(planned.outcome).to.equal('already_restarting');
      expect(planned.inPlace, JSON.stringify({ slices, wish })).to.equal(isInPlace ? true : undefined);
    }
  });

  it('may stay on its pool only where that is repaired if no other has room', async () => {
    const pinned = {
      slices: three,
      jobs: [{ nodeSelector: { 'cloud.google.com/gke-nodepool': 'slice-a' } }],
    };
    const world = createInMemoryWorld(pinned);
    expect(await refusalOf(plan(world))).to.include({ code: 'restart_refused' });
    expect(await plan(world, { wish: { whenNoSpare: 'repair' } })).to.include({
      outcome: 'restart',
      inPlace: true,
    });
  });

  it('takes no other pod for the leader where that is gone', async () => {
    const world = createInMemoryWorld();
    world.cluster.remove('pods', 'default', leaderOn(world, 'slice-a').metadata.name);
    const planned = await plan(world);
    expect(planned).to.include({ outcome: 'restart', way: 'job_deadline' });
    expect(planned).not.to.have.property('leader');
  });

  it('is already restarting when only pods of an older attempt are left on the pool', async () => {
    const world = createInMemoryWorld();
    world.cluster.change('jobsets', 'default', 'train', ({ status }) => (status.restarts = 1));
    const planned = await plan(world);
    expect(planned).to.include({ outcome: 'already_restarting', attempt: 1 });
    expect(planned).not.to.have.property('job');
  });

  // F-34: a terminating leader on a dead node is no proof of a restart.
  it('plans the deletion of a leader that hangs terminating on a dead node', async () => {
    const world = createInMemoryWorld();
    world.cluster.killNode(leaderOn(world, 'slice-a').spec.nodeName ?? '');
    world.clock.advance(301_000);
    // The taint manager has marked it; the Job controller has not looked yet.
    const { metadata } = leaderOn(world, 'slice-a');
    world.cluster.ask('DELETE', `/api/v1/namespaces/default/pods/${metadata.name}`);
    expect(leaderOn(world, 'slice-a').metadata.deletionTimestamp).not.to.equal(undefined);
    const planned = await plan(world);
    expect(planned).to.include({ outcome: 'restart', way: 'leader_pod' });
    expect(planned.leader?.uid).to.equal(metadata.uid);
  });

  // F-431: Kueue suspended a run and resumed it elsewhere, in the same attempt. A pod that a dead node left behind counted as the run, and
  // the run was restarted although it was well.
  it('finds a run nowhere but where it was resumed, although a pod of it hangs on a dead node', async () => {
    const world = createInMemoryWorld({ jobSet: { exclusiveTopology: '' } });
    const [dead = '', ...others] = nodeNames(world.cluster, 'slice-a');
    world.cluster.killNode(dead);
    cordon(world, 'slice-a');
    for (const suspend of [true, false]) {
      world.cluster.change('jobsets', 'default', 'train', ({ spec }) => (spec.suspend = suspend));
      world.emulator.settle();
      world.clock.advance(60_000);
      world.emulator.settle();
    }
    const left = podsOn(world, 'slice-a');
    expect(left.map(({ spec }) => spec.nodeName)).to.deep.equal([dead]);
    expect(left[0]?.metadata.deletionTimestamp).not.to.equal(undefined);
    expect(podsOn(world, 'slice-b')).to.have.length(others.length + 1);
    expect(await plan(world)).to.deep.include({ outcome: 'not_on_pool', attempt: 0, runsOn: ['slice-b'] });
    expect(await plan(world, { nodePool: 'slice-b' })).to.include({ outcome: 'restart' });
  });

  describe('refuses a JobSet', () => {
    const refused: {
      what: string;
      world: TrainWorldOptions;
      change?: (world: InMemoryWorld) => void;
      why: RegExp;
    }[] = [
      {
        what: 'that is suspended',
        world: {},
        change: (world) =>
          world.cluster.change('jobsets', 'default', 'train', ({ spec }) => (spec.suspend = true)),
        why: /is suspended; resume it first$/,
      },
      {
        what: 'that is being deleted',
        world: {},
        change: (world) =>
          world.cluster.change('jobsets', 'default', 'train', ({ metadata }) => {
            metadata.deletionTimestamp = '2026-11-23T03:00:00Z';
            metadata.finalizers = ['foregroundDeletion'];
          }),
        why: /is being deleted$/,
      },
      {
        what: 'that has failed',
        world: {},
        change: (world) =>
          world.cluster.change('jobsets', 'default', 'train', ({ status }) => {
            status.conditions = [{ type: 'Failed', status: 'True' }];
          }),
        why: /is finished \(Failed\)$/,
      },
      {
        what: 'that is completed',
        world: {},
        change: (world) =>
          world.cluster.change(
            'jobsets',
            'default',
            'train',
            ({ status }) => (status.terminalState = 'Completed'),
          ),
        why: /is finished \(Completed\)$/,
      },
      {
        what: 'of another controller',
        world: {},
        change: (world) =>
          world.cluster.change(
            'jobsets',
            'default',
            'train',
            ({ spec }) => (spec.managedBy = 'kueue.x-k8s.io/x'),
          ),
        why: /is managed by kueue\.x-k8s\.io\/x, not by the JobSet controller$/,
      },
      {
        what: 'that restarts in place',
        world: { jobSet: { failurePolicy: { maxRestarts: 3, restartStrategy: 'InPlaceRestart' } } },
        why: /has restartStrategy InPlaceRestart, which this function does not know how to restart$/,
      },
      // F-52: without a failurePolicy, or with its restarts used up, the "restart" ended the run.
      {
        what: 'whose pods may run on this very pool only',
        world: { jobs: [{ nodeSelector: { 'cloud.google.com/gke-nodepool': 'slice-a' } }] },
        why: /^the pods of Job train-workers-0 may run in node pool slice-a only, which is to be cordoned; repair it instead \(cordon_and_repair_nodepool\)$/,
      },
      {
        what: 'of which another Job on the pool may run there only',
        world: {
          slices: ['slice-a'],
          jobSet: { exclusiveTopology: '' },
          jobs: [
            { name: 'free', parallelism: 2 },
            {
              name: 'pinned',
              parallelism: 2,
              nodeSelector: { 'cloud.google.com/gke-nodepool': 'slice-a' },
            },
          ],
        },
        why: /^the pods of Job train-pinned-0 may run in node pool slice-a only/,
      },
    ];
    for (const { what, world: options, change, why } of refused) {
      it(what, async () => {
        const world = createInMemoryWorld(options);
        change?.(world);
        const refusal = await refusalOf(plan(world));
        expect(refusal).to.include({ code: 'restart_refused', status: 409 });
        expect(refusal.message).to.match(why);
        expect(world.emulator.writes()).to.deep.equal([]);
      });
    }

    it('that does not exist', async () => {
      const world = createInMemoryWorld({ jobSet: null });
      expect((await refusalOf(plan(world))).code).to.equal('target_not_found');
    });
  });

  it('restarts when one restart is left before maxRestarts', async () => {
    const world = createInMemoryWorld({ jobSet: { failurePolicy: { maxRestarts: 2 } } });
    world.cluster.change('jobsets', 'default', 'train', ({ status }) => (status.restartsCountTowardsMax = 1));
    expect((await plan(world)).outcome).to.equal('restart');
  });

  it('ignores a condition that is false', async () => {
    const world = createInMemoryWorld();
    world.cluster.change('jobsets', 'default', 'train', ({ status }) => {
      status.conditions = [
        { type: 'Failed', status: 'False' },
        { type: 'RestartingJobSet', status: 'True' },
      ];
    });
    expect((await plan(world)).outcome).to.equal('restart');
  });

  it('accepts a pin to several pools, a pin to another pool, and a pinned Job on another pool', async () => {
    const label = 'cloud.google.com/gke-nodepool';
    const affinity = {
      nodeAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: {
          nodeSelectorTerms: [
            { matchExpressions: [{ key: label, operator: 'In', values: ['slice-a', 'slice-b'] }] },
          ],
        },
      },
    };
    expect((await plan(createInMemoryWorld({ jobs: [{ affinity }] }))).outcome).to.equal('restart');
    const world = createInMemoryWorld({
      jobs: [{ name: 'free' }, { name: 'pinned', nodeSelector: { [label]: 'slice-b' } }],
    });
    expect(await plan(world)).to.include({ outcome: 'restart', schedulableElsewhere: 4 });
  });

  // F-55: the rules of the failure policy say FailJobSet, or …IgnoreMaxRestarts when restarts are used up.
  describe('follows the failure policy', () => {
    const leaderWay = { backoffLimit: 0 };
    const deadlineWay = { backoffLimit: 6 };
    const cases: {
      what: string;
      rules: FailurePolicyRule[];
      maxRestarts?: number;
      job?: object;
      why?: RegExp;
    }[] = [
      { what: 'RestartJobSet', rules: [{ name: 'r', action: 'RestartJobSet' }] },
      {
        what: 'RestartJobSet with no restarts left',
        rules: [{ name: 'r', action: 'RestartJobSet' }],
        maxRestarts: 0,
        why: /has used up its restarts/,
      },
      {
        what: 'RestartJobSetAndIgnoreMaxRestarts with no restarts left',
        rules: [{ name: 'r', action: 'RestartJobSetAndIgnoreMaxRestarts' }],
        maxRestarts: 0,
      },
      {
        what: 'FailJobSet',
        rules: [{ name: 'r', action: 'FailJobSet' }],
        why: /would fail for good \(rule r of its failurePolicy, for BackoffLimitExceeded\)$/,
      },
      {
        what: 'FailJobSet for the reason of the leader’s deletion',
        rules: [{ name: 'r', action: 'FailJobSet', onJobFailureReasons: ['BackoffLimitExceeded'] }],
        why: /would fail for good \(rule r of its failurePolicy, for BackoffLimitExceeded\)$/,
      },
      {
        what: 'FailJobSet for that reason, where the deadline is the way',
        rules: [{ name: 'r', action: 'FailJobSet', onJobFailureReasons: ['BackoffLimitExceeded'] }],
        job: deadlineWay,
      },
      {
        what: 'FailJobSet for the deadline, where that is the way',
        rules: [{ name: 'r', action: 'FailJobSet', onJobFailureReasons: ['DeadlineExceeded'] }],
        job: deadlineWay,
        why: /would fail for good \(rule r of its failurePolicy, for DeadlineExceeded\)$/,
      },
      {
        what: 'FailJobSet for the deadline, where the leader is the way',
        rules: [
          { name: 'r', action: 'FailJobSet', onJobFailureReasons: ['DeadlineExceeded', 'PodFailurePolicy'] },
        ],
      },
      {
        what: 'FailJobSet for another replicatedJob',
        rules: [{ name: 'r', action: 'FailJobSet', targetReplicatedJobs: ['other'] }],
      },
      {
        what: 'FailJobSet for this replicatedJob',
        rules: [{ name: 'r', action: 'FailJobSet', targetReplicatedJobs: ['other', 'workers'] }],
        why: /would fail for good/,
      },
      {
        what: 'the first rule that matches',
        rules: [
          { name: 'never', action: 'FailJobSet', targetReplicatedJobs: ['other'] },
          { name: 'first', action: 'RestartJobSetAndIgnoreMaxRestarts' },
          { name: 'later', action: 'FailJobSet' },
        ],
        maxRestarts: 0,
      },
      {
        what: 'RestartJob, which restarts one Job only',
        rules: [{ name: 'r', action: 'RestartJob' }],
        why: /would not be restarted as a whole: RestartJob \(rule r/,
      },
      {
        what: 'an action that is not known here',
        rules: [{ name: 'r', action: 'Shrug' as 'FailJobSet' }],
        why: /would not be restarted as a whole: Shrug \(rule r/,
      },
      {
        what: 'a condition that this function does not know',
        rules: [{ name: 'r', action: 'RestartJobSet', onJobFailureMessagePatterns: ['x'] }],
        why: /would not be restarted as a whole: a condition that this function does not know \(rule r/,
      },
      {
        what: 'a condition that this function does not know, of a rule for another replicatedJob',
        rules: [
          {
            name: 'r',
            action: 'FailJobSet',
            onJobFailureMessagePatterns: ['x'],
            targetReplicatedJobs: ['other'],
          },
        ],
      },
    ];
    for (const { what, rules, maxRestarts = 3, job = leaderWay, why } of cases) {
      it(`and ${why ? 'has every Job made anew because of' : 'restarts by'} ${what}`, async () => {
        const world = createInMemoryWorld({
          jobs: [job],
          jobSet: { failurePolicy: { maxRestarts } },
        });
        world.cluster.change('jobsets', 'default', 'train', ({ spec }) => {
          spec.failurePolicy = { maxRestarts, rules };
        });
        if (why) {
          const planned = await plan(world);
          expect(planned).to.include({ outcome: 'restart', way: 'jobs_recreated' });
          expect(planned.why).to.match(why);
          return;
        }
        expect((await restart(world)).outcome).to.equal('restarted');
        world.clock.advance(2_000);
        world.emulator.settle();
        expect(restarts(world)).to.equal(1);
      });
    }
  });

  it('restarts a JobSet that names the JobSet controller as its own', async () => {
    const world = createInMemoryWorld();
    world.cluster.change('jobsets', 'default', 'train', ({ spec }) => {
      spec.managedBy = 'jobset.sigs.k8s.io/jobset-controller';
    });
    expect((await plan(world)).outcome).to.equal('restart');
  });

  it('asks of the other Jobs only the rule that decides, which may ignore that no restart is left', async () => {
    const world = createInMemoryWorld(bothOnOne);
    world.cluster.change('jobsets', 'default', 'train', ({ spec }) => {
      const rules: FailurePolicyRule[] = [
        { name: 'first', action: 'RestartJobSetAndIgnoreMaxRestarts' },
        { name: 'later', action: 'FailJobSet' },
      ];
      spec.failurePolicy = { maxRestarts: 0, rules };
    });
    expect(await plan(world)).to.include({ outcome: 'restart', way: 'leader_pod' });
  });

  it('has only the Jobs of the attempt made anew', async () => {
    const world = createInMemoryWorld(bothOnOne);
    world.cluster.change(
      'jobsets',
      'default',
      'train',
      ({ spec }) => (spec.failurePolicy = { maxRestarts: 0 }),
    );
    world.cluster.change('jobs', 'default', 'train-a-0', ({ metadata }) =>
      Object.assign(metadata.labels ?? {}, { [attemptLabel]: '7' }),
    );
    const { way, jobs = [] } = await plan(world);
    expect(way).to.equal('jobs_recreated');
    expect(jobs.map(({ name }) => name)).to.deep.equal(['train-z-0']);
  });

  it('says that no node elsewhere could take the run', async () => {
    const world = createInMemoryWorld({ slices: ['slice-a'] });
    const step = await restart(world);
    expect(step).to.include({
      schedulable_elsewhere: 0,
      warning: 'no uncordoned node outside the pool matches the pods, so the JobSet will wait for capacity',
    });
  });

  it('does not count cordoned or non-matching nodes as room elsewhere', async () => {
    const world = createInMemoryWorld({
      slices: three,
      jobs: [{ nodeSelector: { 'cloud.google.com/gke-tpu-topology': '4x4' } }],
    });
    world.cluster.addPool('cpu');
    world.cluster.cordonAs('kubectl', nodeNames(world.cluster, 'slice-b')[0] ?? '', true);
    expect((await plan(world)).schedulableElsewhere).to.equal(7);
  });
});

describe('planNewerAttempt', () => {
  const config = readConfig({ CLUSTERS: trainCluster });
  const request = {
    namespace: 'default',
    jobSetName: 'train',
    nodePool: 'slice-a',
    nodeName: undefined,
    isFromAlert: true,
    wish: {},
  };

  it('restarts none but where the very Job that was decided on was made anew in its attempt', async () => {
    const world = createInMemoryWorld(bothOnOne);
    const decided = await plan(world);
    const replan = (planned: RestartPlan) => planNewerAttempt(world.kubernetes, planned, request, config);
    const anew: RestartPlan = { ...decided, job: { name: 'train-z-0', uid: 'old', replicatedJob: 'z' } };
    expect(await replan(decided)).to.equal(undefined);
    const { job: _, ...withoutJob } = decided;
    expect(await replan({ ...withoutJob, outcome: 'not_on_pool' })).to.equal(undefined);
    expect(await replan(anew)).to.include({ outcome: 'restart', attempt: 0 });
    world.cluster.change('jobs', 'default', 'train-z-0', ({ metadata }) =>
      Object.assign(metadata.labels ?? {}, { [attemptLabel]: '7' }),
    );
    expect(await replan(anew)).to.equal(undefined);
  });
});

describe('planNewerAttempt of a JobSet that is replaced meanwhile', () => {
  it('restarts nothing, because nobody has asked for the other one', async () => {
    const world = createInMemoryWorld();
    const decided = await plan(world);
    world.cluster.change('jobsets', 'default', 'train', ({ status }) => (status.restarts = 1));
    world.cluster.change('jobs', 'default', 'train-workers-0', relabel);
    for (const { metadata } of podsOn(world, 'slice-a')) {
      world.cluster.change('pods', 'default', metadata.name, relabel);
    }
    const config = readConfig({ CLUSTERS: trainCluster });
    const request = { namespace: 'default', jobSetName: 'train', nodePool: 'slice-a', nodeName: undefined };
    const replan = (kubernetes: InMemoryWorld['kubernetes']) =>
      planNewerAttempt(kubernetes, decided, { ...request, isFromAlert: true, wish: {} }, config);
    expect(await replan(world.kubernetes)).to.include({ outcome: 'restart', attempt: 1 });
    let reads = 0;
    const kubernetes = world.connect({
      onRequest({ url }) {
        if (!url.includes('/jobsets/train')) return;
        reads += 1;
        if (reads !== 2) return;
        world.cluster.change('jobsets', 'default', 'train', ({ metadata }) => (metadata.uid = 'another'));
        world.cluster.change('jobs', 'default', 'train-workers-0', ({ metadata }) => {
          for (const owner of metadata.ownerReferences ?? []) owner.uid = 'another';
        });
      },
    });
    expect(await replan(kubernetes)).to.equal(undefined);
    expect(reads).to.be.greaterThan(1);
  });
});

function relabel({ metadata }: { metadata: { labels?: Record<string, string> } }): void {
  Object.assign(metadata.labels ?? {}, { [attemptLabel]: '1' });
}

describe('describeRestart', () => {
  const jobSet = { namespace: 'default', name: 'train', uid: 'u' };
  const planned: RestartPlan = {
    jobSet,
    attempt: 0,
    outcome: 'restart',
    job: { name: 'train-workers-0', uid: 'w', replicatedJob: 'workers' },
    leader: { name: 'train-workers-0-0', uid: 'p', nodeName: 'n' },
  };

  it('names the leader that is deleted, and none where another way is taken', () => {
    expect(describeRestart({ ...planned, way: 'leader_pod' })).to.include({
      leader_pod: 'train-workers-0-0',
    });
    expect(describeRestart({ ...planned, way: 'job_deadline' })).not.to.have.property('leader_pod');
  });

  it('says why the pool is repaired in place only where it is', () => {
    const lacking: RestartPlan = { ...planned, lacksSpare: 'all is taken' };
    expect(describeRestart(lacking)).not.to.have.property('in_place');
    expect(describeRestart({ ...lacking, inPlace: true })).to.include({ in_place: 'all is taken' });
    expect(describeRestart({ ...planned, inPlace: true })).not.to.have.property('in_place');
  });

  it('warns in the words that an earlier version recorded', () => {
    const recorded: RestartPlan = { ...planned, lacksSpare: 'all is taken', roomWarning: 'all was taken' };
    expect(describeRestart(recorded)).to.include({ warning: 'all was taken' });
  });
});
