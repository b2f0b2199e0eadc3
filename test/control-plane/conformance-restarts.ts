import { expect } from 'chai';
import type { Stage } from './conformance.ts';
import { eventually } from './eventually.ts';
import { PATCH } from './kubernetes-client.ts';
import type { Answer, Condition, Job, JobSet, Pod } from './kubernetes-client.ts';
import { jobSetsPath } from './world.ts';
import type { JobSetSpec, World } from './world.ts';

const PREFIX = 'jobset.sigs.k8s.io';
const NODES = 4;

/** What has become of a run: attempts, and those of them that count towards maxRestarts. */
interface Expected {
  restarts: number;
  counted: number;
  /**
   * `moved`: every pod runs on another pool. `failed`: for good. `pending`: as many pods as were deleted wait for a place
   * that there is not, the others go on. `waiting`: nothing restarts until the pod on a dead machine is deleted too.
   */
  outcome: 'moved' | 'failed' | 'pending' | 'waiting';
  /** Of the JobSet that failed. */
  reason?: string;
}

interface Row {
  title: string;
  spec?: Partial<JobSetSpec>;
  /** Slices that are free, besides the ones that the JobSet runs on: one. */
  freeSlices?: number;
  /** The machine that dies before the trigger: the leader's or a follower's. */
  dead?: 'leader' | 'follower';
  trigger: (run: Run) => Promise<void>;
  expected: Expected;
  /** Only with `everyRestart`: the function never does this, or it takes long. */
  realOnly?: boolean;
}

/** A JobSet that runs, and the slice of its first Job was cordoned just now. */
interface Run {
  name: string;
  stage: Stage;
  world: World;
  /** The cordoned one. */
  pool: string;
  poolOfNode: Map<string, string>;
  /** How many Jobs it has, and the path of the first, which is the leader's. */
  jobs: number;
  job: string;
  leader: Pod;
  follower: Pod;
  /** The node whose machine is dead. */
  dead: string | undefined;
}

const SPREAD = { replicatedJobs: [{ name: 'a' }, { name: 'b' }] };
const onlyDefaults = { backoffLimit: null };
const disruption = (action: string): object => ({
  podFailurePolicy: { rules: [{ action, onPodConditions: [{ type: 'DisruptionTarget', status: 'True' }] }] },
});
const rule = (action: string, maxRestarts: number): object => ({
  maxRestarts,
  rules: [{ name: 'rule', action }],
});

const MOVED: Expected = { restarts: 1, counted: 1, outcome: 'moved' };

const WAITING: Expected = { restarts: 1, counted: 1, outcome: 'waiting' };

const ROWS: Row[] = [
  { title: 'the leader is deleted', trigger: deleteLeader, expected: MOVED },
  {
    title: 'the leader is deleted; podFailurePolicy Ignore',
    spec: { job: disruption('Ignore') },
    trigger: deleteLeader,
    expected: MOVED,
  },
  {
    title: 'the leader is deleted; podFailurePolicy FailJob',
    spec: { job: disruption('FailJob') },
    trigger: deleteLeader,
    expected: MOVED,
  },
  {
    title: 'the leader is deleted; podReplacementPolicy Failed',
    spec: { job: { podReplacementPolicy: 'Failed' } },
    trigger: deleteLeader,
    expected: MOVED,
  },
  {
    title: 'the leader is deleted; backoffLimit 6, the default',
    spec: onlyDefaults,
    trigger: deleteLeader,
    expected: { restarts: 0, counted: 0, outcome: 'pending' },
  },
  {
    title: 'the leader is deleted; no failurePolicy',
    spec: { failurePolicy: null },
    trigger: deleteLeader,
    expected: { restarts: 0, counted: 0, outcome: 'failed', reason: 'FailedJobs' },
  },
  {
    title: 'the leader is deleted; maxRestarts 0',
    spec: { failurePolicy: { maxRestarts: 0 } },
    trigger: deleteLeader,
    expected: { restarts: 0, counted: 0, outcome: 'failed', reason: 'ReachedMaxRestarts' },
  },
  {
    title: 'the leader is deleted; maxRestarts 0, RestartJobSetAndIgnoreMaxRestarts',
    spec: { failurePolicy: rule('RestartJobSetAndIgnoreMaxRestarts', 0) },
    trigger: deleteLeader,
    expected: { restarts: 1, counted: 0, outcome: 'moved' },
  },
  {
    title: 'the leader is deleted; RestartJobSet as a rule',
    spec: { failurePolicy: rule('RestartJobSet', 3) },
    trigger: deleteLeader,
    expected: MOVED,
  },
  {
    title: 'the leader is deleted; FailJobSet',
    spec: { failurePolicy: rule('FailJobSet', 3) },
    trigger: deleteLeader,
    expected: { restarts: 0, counted: 0, outcome: 'failed', reason: 'FailJobSetFailurePolicyAction' },
  },
  {
    title: 'the leader is deleted; FailJobSet for another reason than this one',
    spec: {
      failurePolicy: {
        maxRestarts: 3,
        rules: [{ name: 'rule', action: 'FailJobSet', onJobFailureReasons: ['DeadlineExceeded'] }],
      },
    },
    trigger: deleteLeader,
    expected: MOVED,
  },
  {
    title: 'the leader is deleted; FailJobSet for another replicated Job',
    spec: {
      ...SPREAD,
      failurePolicy: {
        maxRestarts: 3,
        rules: [{ name: 'rule', action: 'FailJobSet', targetReplicatedJobs: ['b'] }],
      },
    },
    trigger: deleteLeader,
    expected: MOVED,
  },
  {
    title: 'one leader is deleted of two replicated Jobs',
    spec: SPREAD,
    trigger: deleteLeader,
    expected: MOVED,
  },
  {
    title: 'the leader is deleted; BlockingRecreate',
    spec: { failurePolicy: { maxRestarts: 3, restartStrategy: 'BlockingRecreate' } },
    trigger: deleteLeader,
    expected: MOVED,
  },
  {
    title: 'the Job gets a deadline; backoffLimit 6',
    spec: onlyDefaults,
    trigger: setDeadline,
    expected: MOVED,
  },
  { title: 'the Job gets a deadline; backoffLimit 0', trigger: setDeadline, expected: MOVED },
  {
    title: 'the Job gets a deadline; podReplacementPolicy Failed',
    spec: { ...onlyDefaults, job: { podReplacementPolicy: 'Failed' } },
    trigger: setDeadline,
    expected: MOVED,
  },
  {
    title: 'the Job gets a deadline; podFailurePolicy Ignore',
    spec: { ...onlyDefaults, job: disruption('Ignore') },
    trigger: setDeadline,
    expected: MOVED,
  },
  {
    title: 'the Job gets a deadline; maxRestarts 0',
    spec: { failurePolicy: { maxRestarts: 0 } },
    trigger: setDeadline,
    expected: { restarts: 0, counted: 0, outcome: 'failed', reason: 'ReachedMaxRestarts' },
  },
  {
    title: 'the Job gets a deadline; FailJobSet for DeadlineExceeded',
    spec: {
      failurePolicy: {
        maxRestarts: 3,
        rules: [{ name: 'rule', action: 'FailJobSet', onJobFailureReasons: ['DeadlineExceeded'] }],
      },
    },
    trigger: setDeadline,
    expected: { restarts: 0, counted: 0, outcome: 'failed', reason: 'FailJobSetFailurePolicyAction' },
  },

  {
    title: 'the leader is deleted, its machine dead',
    dead: 'leader',
    trigger: deleteLeader,
    expected: MOVED,
  },
  {
    title: 'the leader is deleted with its own grace, its machine dead',
    dead: 'leader',
    trigger: deleteLeaderGently,
    expected: WAITING,
  },
  {
    title: "the leader is deleted, a follower's machine dead",
    dead: 'follower',
    trigger: deleteLeader,
    expected: WAITING,
  },
  {
    title: 'the leader and the follower on a dead machine are deleted',
    dead: 'follower',
    trigger: (run) => deleteLeader(run).then(() => deletePod(run, run.follower)),
    expected: MOVED,
  },
  {
    title: "the Job gets a deadline, a follower's machine dead",
    spec: onlyDefaults,
    dead: 'follower',
    trigger: setDeadline,
    expected: WAITING,
  },
  {
    title: "the Job gets a deadline, a follower's machine dead; podReplacementPolicy Failed",
    spec: { ...onlyDefaults, job: { podReplacementPolicy: 'Failed' } },
    dead: 'follower',
    trigger: setDeadline,
    expected: WAITING,
  },
  {
    title: 'the Job gets a deadline and the pod on the dead machine is deleted; podReplacementPolicy Failed',
    spec: { ...onlyDefaults, job: { podReplacementPolicy: 'Failed' } },
    dead: 'leader',
    trigger: (run) => setDeadline(run).then(() => deletePod(run, run.leader)),
    expected: MOVED,
  },

  {
    title: 'the leader is deleted with its own grace',
    trigger: deleteLeaderGently,
    expected: MOVED,
    realOnly: true,
  },
  {
    title: 'a follower is deleted',
    trigger: (run) => deletePod(run, run.follower),
    expected: MOVED,
    realOnly: true,
  },
  { title: 'the leader is evicted', trigger: evictLeader, expected: MOVED, realOnly: true },
  {
    title: 'the leader is evicted; podFailurePolicy Ignore',
    spec: { job: disruption('Ignore') },
    trigger: evictLeader,
    expected: { restarts: 0, counted: 0, outcome: 'pending' },
    realOnly: true,
  },
  {
    title: 'more pods are deleted than backoffLimit',
    spec: { backoffLimit: NODES - 1 },
    trigger: deleteAll,
    expected: MOVED,
    realOnly: true,
  },
  {
    title: 'the Job is deleted in the foreground',
    trigger: deleteJob,
    expected: { restarts: 0, counted: 0, outcome: 'moved' },
    realOnly: true,
  },
  {
    title: "the Job's status says FailureTarget",
    spec: onlyDefaults,
    trigger: failJob,
    expected: MOVED,
    realOnly: true,
  },
  {
    title: "the JobSet's status says one restart more; no failurePolicy",
    spec: { failurePolicy: null },
    trigger: countRestart,
    expected: { restarts: 1, counted: 0, outcome: 'moved' },
    realOnly: true,
  },
  {
    title: "a follower's machine is dead and its node goes",
    dead: 'follower',
    trigger: (run) => deleteLeader(run).then(() => run.stage.client.delete(`/api/v1/nodes/${run.dead}`)),
    expected: MOVED,
    realOnly: true,
  },
];

/** What restarts a JobSet, and what does not. */
export function describeRestarts(stage: () => Stage): void {
  let runs = 0;
  let world: World;
  const start = (row: Partial<Row> = {}): Promise<Run> => startRun(stage(), world, `run-${(runs += 1)}`, row);

  describe('restarts', function () {
    this.timeout(150_000);
    before(function () {
      if (!stage().can.runJobSets) this.skip();
      world = stage().createWorld();
    });
    afterEach(() => world.removeAll());

    for (const row of ROWS)
      it(`${row.title}: ${describeOutcome(row.expected)}`, async function () {
        if (row.realOnly && !stage().everyRestart) this.skip();
        const run = await start(row);
        await row.trigger(run);
        await OUTCOMES[row.expected.outcome](run, row.expected);
        expect(await readCounts(run)).to.deep.equal({
          restarts: row.expected.restarts,
          counted: row.expected.counted,
        });
      });

    it('keep the names of Jobs, under other uids, and take the spec from the template', async () => {
      const run = await start({ spec: onlyDefaults });
      const before = await readJob(run);
      await setDeadline(run);
      await OUTCOMES.moved(run, MOVED);
      const after = await readJob(run);
      expect(after.metadata.name).to.equal(before.metadata.name);
      expect(after.metadata.uid).not.to.equal(before.metadata.uid);
      expect(after.spec).not.to.have.property('activeDeadlineSeconds');
      expect(after.spec.backoffLimit).to.equal(6);
      expect(after.metadata.labels).to.include({ [`${PREFIX}/restart-attempt`]: '1' });
    });

    it('say on Jobs and pods what they belong to', async () => {
      const run = await start({ spec: SPREAD });
      const { metadata } = await readJobSet(run);
      const job = await readJob(run);
      const expected = {
        [`${PREFIX}/jobset-name`]: run.name,
        [`${PREFIX}/jobset-uid`]: metadata.uid,
        [`${PREFIX}/replicatedjob-name`]: 'a',
        [`${PREFIX}/replicatedjob-replicas`]: '1',
        [`${PREFIX}/global-replicas`]: '2',
        [`${PREFIX}/job-index`]: '0',
        [`${PREFIX}/job-global-index`]: '0',
        [`${PREFIX}/restart-attempt`]: '0',
      };
      expect(job.metadata.name).to.equal(`${run.name}-a-0`);
      expect(job.metadata.labels).to.include(expected);
      expect(job.metadata.annotations).to.include(expected);
      expect(job.metadata.ownerReferences?.map(({ kind, uid }) => ({ kind, uid }))).to.deep.equal([
        { kind: 'JobSet', uid: metadata.uid },
      ]);
      expect(run.leader.metadata.labels).to.include({
        ...expected,
        'batch.kubernetes.io/job-name': job.metadata.name,
        'batch.kubernetes.io/job-completion-index': '0',
      });
      expect(run.leader.metadata.annotations).to.include({
        ...expected,
        'alpha.jobset.sigs.k8s.io/exclusive-topology': 'cloud.google.com/gke-nodepool',
        'batch.kubernetes.io/job-completion-index': '0',
      });
      expect(run.leader.metadata.ownerReferences?.map(({ kind, uid }) => ({ kind, uid }))).to.deep.equal([
        { kind: 'Job', uid: job.metadata.uid },
      ]);
      expect(run.leader.metadata.finalizers).to.deep.equal(['batch.kubernetes.io/job-tracking']);
    });

    it('put the leader of a Job that is not exclusive elsewhere and leave the others; backoffLimit 6', async () => {
      const run = await start({ spec: { ...onlyDefaults, exclusive: false } });
      await deleteLeader(run);
      await eventually(
        'the leader runs on another pool, the others do where they did',
        async () => {
          const pools = poolsOf(run, await run.world.runningPods(run.name));
          return pools.length === NODES && pools.filter((pool) => pool === run.pool).length === NODES - 1;
        },
        { timeoutMs: 60_000, advance: stage().advance },
      );
      expect(await readCounts(run)).to.deep.equal({ restarts: 0, counted: 0 });
    });

    it('leave one of two exclusive Jobs pending where only one slice is left', async () => {
      const run = await start({ spec: SPREAD, freeSlices: 0 });
      await deleteLeader(run);
      await eventually(
        'one Job runs and the leader of the other is unschedulable',
        async () => {
          const pods = (await run.world.pods(run.name)).filter((pod) => attemptOf(pod) === '1');
          const running = pods.filter(({ status }) => status.phase === 'Running');
          return running.length === NODES && pods.some(isUnschedulable);
        },
        { timeoutMs: 60_000, advance: stage().advance },
      );
      expect(await readCounts(run)).to.deep.equal({ restarts: 1, counted: 1 });
    });

    it('do not happen to a suspended JobSet before it is resumed; then its deadline hits', async () => {
      const run = await start({ spec: onlyDefaults });
      const { client, advance } = stage();
      const path = `${jobSetsPath('default')}/${run.name}`;
      await client.patch(path, { spec: { suspend: true } });
      await eventually('its pods are gone', async () => (await world.pods(run.name)).length === 0, {
        advance,
      });
      await setDeadline(run);
      advance?.();
      expect(failureOf(await readJob(run))).to.equal(undefined);
      expect(await readCounts(run)).to.deep.equal({ restarts: 0, counted: 0 });
      await client.patch(path, { spec: { suspend: false } });
      await OUTCOMES.moved(run, MOVED);
      expect(await readCounts(run)).to.deep.equal({ restarts: 1, counted: 1 });
    });

    it('refuse a deadline for a Job of another uid, and take it with the right one', async () => {
      const run = await start();
      const other = await patchJob(run, {
        metadata: { uid: 'other' },
        spec: { activeDeadlineSeconds: 1000 },
      });
      expect(other.status).to.equal(422);
      const { metadata } = await readJob(run);
      const right = await patchJob(run, {
        metadata: { uid: metadata.uid },
        spec: { activeDeadlineSeconds: 1000 },
      });
      expect(right.status).to.equal(200);
    });

    it('cannot be forced by the condition Failed alone', async function () {
      if (!stage().everyRestart) this.skip();
      const run = await start();
      const answer = await patchJob(run, { status: { conditions: [jobCondition('Failed')] } }, '/status');
      expect(answer.status).to.equal(422);
    });

    it('do not follow from the condition DisruptionTarget alone', async function () {
      if (!stage().everyRestart) this.skip();
      const run = await start({ spec: { job: disruption('FailJob') } });
      await run.stage.client.request('PATCH', `${podPath(run.leader)}/status`, {
        body: { status: { conditions: [{ type: 'DisruptionTarget', status: 'True', reason: 'Tested' }] } },
        contentType: PATCH.strategic,
      });
      // Whatever the controllers make of it, they have made of it once a later change has been through them.
      await run.stage.client.patch(run.job, { metadata: { labels: { seen: 'later' } } });
      await deletePod(run, run.follower);
      await OUTCOMES.moved(run, MOVED);
      expect(await readCounts(run)).to.deep.equal({ restarts: 1, counted: 1 });
    });
  });
}

const OUTCOMES: Record<Expected['outcome'], (run: Run, expected: Expected) => Promise<void>> = {
  async moved(run, { restarts }) {
    const {
      world,
      stage: { advance },
    } = run;
    const count = run.jobs * NODES;
    await eventually(
      `all pods of attempt ${restarts} run on another pool`,
      async () => {
        const pods = (await world.runningPods(run.name)).filter((pod) => attemptOf(pod) === String(restarts));
        if (pods.length !== count || pods.some(({ metadata }) => metadata.uid === run.leader.metadata.uid))
          return false;
        return !poolsOf(run, pods).includes(run.pool);
      },
      { timeoutMs: 120_000, advance },
    );
  },

  async failed(run, { reason }) {
    const failed = await eventually(
      'the JobSet has failed',
      async () =>
        (await readJobSet(run)).status?.conditions?.find(
          ({ type, status }) => type === 'Failed' && status === 'True',
        ),
      { timeoutMs: 60_000, advance: run.stage.advance },
    );
    expect(failed.reason).to.equal(reason);
    expect((await readJobSet(run)).status?.terminalState).to.equal('Failed');
  },

  async pending(run) {
    const {
      world,
      stage: { advance },
    } = run;
    await eventually(
      'the new leader is unschedulable and the others run',
      async () => {
        const pods = await world.pods(run.name);
        const [waiting] = pods.filter(({ status }) => status.phase === 'Pending');
        const running = pods.filter(({ status }) => status.phase === 'Running');
        return waiting !== undefined && isUnschedulable(waiting) && running.length === NODES - 1;
      },
      { timeoutMs: 60_000, advance },
    );
  },

  async waiting(run, expected) {
    const {
      world,
      stage: { advance },
    } = run;
    const stuck = await eventually(
      'the Job is to fail, and only the pod on the dead machine is left',
      async () => {
        const isToFail = (await readJob(run)).status.conditions?.some(
          ({ type, status }) => type === 'FailureTarget' && status === 'True',
        );
        const [pod, ...others] = await world.pods(run.name);
        return isToFail === true && others.length === 0 && pod?.spec.nodeName === run.dead && pod;
      },
      { timeoutMs: 60_000, advance },
    );
    advance?.();
    expect(failureOf(await readJob(run))).to.equal(undefined);
    expect(await readCounts(run)).to.deep.equal({ restarts: 0, counted: 0 });
    await deletePod(run, stuck);
    await OUTCOMES.moved(run, expected);
  },
};

function describeOutcome({ outcome, restarts, counted, reason }: Expected): string {
  if (outcome === 'failed') return `the JobSet fails (${reason})`;
  if (outcome === 'pending') return 'its successor stays pending';
  if (outcome === 'waiting') return 'the restart waits until the pod on the dead machine is deleted too';
  return `it moves, ${restarts} restarts, ${counted} of them counted`;
}

async function startRun(stage: Stage, world: World, name: string, row: Partial<Row>): Promise<Run> {
  const { advance, client } = stage;
  const spec = { ...row.spec, name, parallelism: NODES };
  const jobs = spec.replicatedJobs?.length ?? 1;
  const poolOfNode = new Map<string, string>();
  const addSlice = async (pool: string): Promise<void> => {
    for (const node of await world.addTpuSlice(pool, { nodes: NODES })) poolOfNode.set(node, pool);
  };
  for (let index = 0; index < jobs; index += 1) await addSlice(`${name}-first-${index}`);
  await world.addJobSet(spec);
  const pods = await eventually(
    'all pods run',
    async () => {
      const running = await world.runningPods(name);
      return running.length === jobs * NODES && running;
    },
    { advance },
  );
  const find = (completionIndex: number): Pod => {
    const pod = pods.find(
      ({ metadata: { labels = {} } }) =>
        labels[`${PREFIX}/job-global-index`] === '0' &&
        labels['batch.kubernetes.io/job-completion-index'] === String(completionIndex),
    );
    if (pod === undefined) throw new Error(`JobSet ${name} has no pod ${completionIndex}`);
    return pod;
  };
  const [leader, follower] = [find(0), find(2)];
  const pool = poolOfNode.get(leader.spec.nodeName ?? '') ?? '';
  for (let index = 0; index < (row.freeSlices ?? 1); index += 1) await addSlice(`${name}-free-${index}`);
  for (const [node, its] of poolOfNode)
    if (its === pool) await client.patch(`/api/v1/nodes/${node}`, { spec: { unschedulable: true } });
  const dead = row.dead && (row.dead === 'leader' ? leader : follower).spec.nodeName;
  if (dead !== undefined) await world.killNode(dead);
  const job = `/apis/batch/v1/namespaces/default/jobs/${leader.metadata.labels?.['batch.kubernetes.io/job-name']}`;
  return { name, stage, world, pool, poolOfNode, jobs, job, leader, follower, dead };
}

async function deleteLeader(run: Run): Promise<void> {
  await deletePod(run, run.leader);
}

async function deletePod({ stage }: Run, pod: Pod): Promise<void> {
  await stage.client.delete(podPath(pod), {
    gracePeriodSeconds: 0,
    preconditions: { uid: pod.metadata.uid },
  });
}

async function deleteLeaderGently({ stage, leader }: Run): Promise<void> {
  await stage.client.delete(podPath(leader), { preconditions: { uid: leader.metadata.uid } });
}

async function setDeadline(run: Run): Promise<void> {
  const { metadata } = await readJob(run);
  const { status, text } = await patchJob(run, {
    metadata: { uid: metadata.uid },
    spec: { activeDeadlineSeconds: 1 },
  });
  expect(status, text).to.equal(200);
}

async function evictLeader({ stage, leader }: Run): Promise<void> {
  const { name, namespace } = leader.metadata;
  await stage.client.post(`${podPath(leader)}/eviction`, {
    apiVersion: 'policy/v1',
    kind: 'Eviction',
    metadata: { name, namespace },
  });
}

async function deleteAll(run: Run): Promise<void> {
  await Promise.all((await run.world.pods(run.name)).map((pod) => deletePod(run, pod)));
}

async function deleteJob({ stage, job }: Run): Promise<void> {
  await stage.client.delete(job, { propagationPolicy: 'Foreground' });
}

async function failJob(run: Run): Promise<void> {
  const { status, text } = await patchJob(
    run,
    { status: { conditions: [jobCondition('FailureTarget')] } },
    '/status',
  );
  expect(status, text).to.equal(200);
}

async function countRestart({ stage, name }: Run): Promise<void> {
  await stage.client.patch(`${jobSetsPath('default')}/${name}/status`, { status: { restarts: 1 } });
}

function jobCondition(type: string): object {
  const now = new Date().toISOString().replace(/\.\d+/, '');
  return { type, status: 'True', reason: 'Tested', message: '', lastProbeTime: now, lastTransitionTime: now };
}

function patchJob({ stage, job }: Run, body: object, subresource = ''): Promise<Answer<Job>> {
  return stage.client.request<Job>('PATCH', `${job}${subresource}`, { body, contentType: PATCH.merge });
}

function readJob({ stage, job }: Run): Promise<Job> {
  return stage.client.get<Job>(job);
}

function readJobSet({ stage, name }: Run): Promise<JobSet> {
  return stage.client.get<JobSet>(`${jobSetsPath('default')}/${name}`);
}

async function readCounts(run: Run): Promise<{ restarts: number; counted: number }> {
  const { status } = await readJobSet(run);
  return { restarts: status?.restarts ?? 0, counted: status?.restartsCountTowardsMax ?? 0 };
}

function failureOf({ status }: Job): Condition | undefined {
  return status.conditions?.find((each) => each.type === 'Failed' && each.status === 'True');
}

function isUnschedulable({ status }: Pod): boolean {
  return (
    status.phase === 'Pending' &&
    status.conditions?.some(({ type, reason }) => type === 'PodScheduled' && reason === 'Unschedulable') ===
      true
  );
}

function attemptOf({ metadata }: Pod): string | undefined {
  return metadata.labels?.[`${PREFIX}/restart-attempt`];
}

function poolsOf({ poolOfNode }: Run, pods: Pod[]): (string | undefined)[] {
  return pods.map(({ spec }) => poolOfNode.get(spec.nodeName ?? ''));
}

function podPath({ metadata }: Pod): string {
  return `/api/v1/namespaces/${metadata.namespace}/pods/${metadata.name}`;
}
