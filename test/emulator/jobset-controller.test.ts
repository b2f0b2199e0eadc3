import { expect } from 'chai';
import type { EmulatedCluster } from './cluster.ts';
import type { FailurePolicy, Pod } from './objects.ts';
import { createTestWorld, indexOf, poolOf } from './test-world.ts';
import type { TestWorld } from './test-world.ts';
import type { ReplicatedJobOptions } from './world.ts';

const podCount = 16;

interface Run extends TestWorld {
  leader: Pod;
  follower: Pod;
  job: string;
}

interface Row {
  trigger: string;
  job?: Partial<ReplicatedJobOptions>;
  failurePolicy?: FailurePolicy | null;
  isExclusive?: boolean;
  replicatedJobs?: number;
  freeSlices?: string[];
  /** The machine that dies before the trigger. */
  dead?: 'leader' | 'follower';
  act: (run: Run) => void;
  /** How long the test waits: 60 s by default, so that it sees a slow recovery. */
  seconds?: number;
  restarts: 0 | 1;
  counted: 0 | 1;
  /** Running pods by pool. */
  running: Record<string, number>;
  pending?: number;
  /** Pods that are being deleted and never end. */
  stuck?: number;
  failed?: string;
}

const moved = { restarts: 1, counted: 1, running: { 'slice-c': podCount } } as const;
const failedRun = { restarts: 0, counted: 0, running: {} } as const;
const rule = (action: string): FailurePolicy => ({ rules: [{ action: action as 'FailJobSet' }] });
const onDisruption = (action: 'Ignore' | 'FailJob') => ({
  podFailurePolicy: { rules: [{ action, onPodConditions: [{ type: 'DisruptionTarget', status: 'True' }] }] },
});
const defaultJob = { backoffLimit: 6 };

/** The measured rows, in their order: a 16-pod Job on slice-b, which was cordoned just before; slice-c is free. */
const rows: Row[] = [
  { trigger: 'DELETE leader, grace 0', act: deleteLeader, ...moved },
  { trigger: 'DELETE follower, grace 0', act: (run) => deletePod(run, run.follower), ...moved },
  { trigger: 'DELETE leader, default grace', act: deleteGently, ...moved },
  { trigger: 'evict leader', act: evict, ...moved },
  {
    trigger: 'DELETE leader, podFailurePolicy Ignore',
    job: onDisruption('Ignore'),
    act: deleteLeader,
    ...moved,
  },
  {
    trigger: 'DELETE leader, podFailurePolicy FailJob',
    job: onDisruption('FailJob'),
    act: deleteLeader,
    ...moved,
  },
  {
    trigger: 'DELETE leader, podReplacementPolicy Failed',
    job: { podReplacementPolicy: 'Failed' },
    act: deleteLeader,
    ...moved,
  },
  {
    trigger: 'DELETE leader, backoffLimit 6, within the first 9 s',
    job: defaultJob,
    act: deleteLeader,
    seconds: 9,
    restarts: 0,
    counted: 0,
    running: { 'slice-b': podCount - 1 },
  },
  {
    trigger: 'DELETE leader, backoffLimit 6, exclusive: Pending for ever',
    job: defaultJob,
    act: deleteLeader,
    seconds: 3600,
    restarts: 0,
    counted: 0,
    running: { 'slice-b': podCount - 1 },
    pending: 1,
  },
  {
    trigger: 'DELETE leader, backoffLimit 6, not exclusive',
    job: defaultJob,
    isExclusive: false,
    act: deleteLeader,
    restarts: 0,
    counted: 0,
    running: { 'slice-b': podCount - 1, 'slice-c': 1 },
  },
  { trigger: 'DELETE all 16, backoffLimit 6', job: defaultJob, act: deleteAll, ...moved },
  {
    trigger: 'DELETE leader, no failurePolicy',
    failurePolicy: null,
    act: deleteLeader,
    ...failedRun,
    failed: 'FailedJobs',
  },
  {
    trigger: 'DELETE leader, maxRestarts 0',
    failurePolicy: { maxRestarts: 0 },
    act: deleteLeader,
    ...failedRun,
    failed: 'ReachedMaxRestarts',
  },
  {
    trigger: 'DELETE leader, maxRestarts 0, rule RestartJobSetAndIgnoreMaxRestarts',
    failurePolicy: rule('RestartJobSetAndIgnoreMaxRestarts'),
    act: deleteLeader,
    restarts: 1,
    counted: 0,
    running: { 'slice-c': podCount },
  },
  {
    trigger: 'DELETE leader, rule FailJobSet',
    failurePolicy: { maxRestarts: 3, ...rule('FailJobSet') },
    act: deleteLeader,
    ...failedRun,
    failed: 'FailJobSetFailurePolicyAction',
  },
  {
    trigger: 'DELETE leader, rule FailJobSet for another reason',
    failurePolicy: {
      maxRestarts: 3,
      rules: [{ action: 'FailJobSet', onJobFailureReasons: ['DeadlineExceeded'] }],
    },
    act: deleteLeader,
    ...moved,
  },
  {
    trigger: 'DELETE one leader of two replicatedJobs',
    replicatedJobs: 2,
    freeSlices: ['slice-c', 'slice-d'],
    act: deleteLeader,
    restarts: 1,
    counted: 1,
    running: { 'slice-a': podCount, 'slice-c': podCount },
  },
  {
    trigger: 'DELETE one leader of two replicatedJobs, only one slice left',
    replicatedJobs: 2,
    freeSlices: [],
    act: deleteLeader,
    restarts: 1,
    counted: 1,
    running: { 'slice-a': podCount },
    // The other leader. Its followers are created only once it has a node.
    pending: 1,
  },
  {
    trigger: 'DELETE leader, BlockingRecreate',
    failurePolicy: { maxRestarts: 3, restartStrategy: 'BlockingRecreate' },
    act: deleteLeader,
    ...moved,
  },
  {
    trigger: 'DELETE leader, rule RestartJob',
    failurePolicy: { maxRestarts: 3, ...rule('RestartJob') },
    act: deleteLeader,
    restarts: 0,
    counted: 0,
    running: { 'slice-c': podCount },
  },
  { trigger: 'PATCH deadline, backoffLimit 6', job: defaultJob, act: setDeadline, ...moved },
  { trigger: 'PATCH deadline, backoffLimit 0', act: setDeadline, ...moved },
  {
    trigger: 'PATCH deadline, podReplacementPolicy Failed',
    job: { ...defaultJob, podReplacementPolicy: 'Failed' },
    act: setDeadline,
    ...moved,
  },
  {
    trigger: 'PATCH deadline, maxRestarts 0',
    failurePolicy: { maxRestarts: 0 },
    act: setDeadline,
    ...failedRun,
    failed: 'ReachedMaxRestarts',
  },
  {
    trigger: 'DELETE the Job, foreground',
    act: deleteJob,
    restarts: 0,
    counted: 0,
    running: { 'slice-c': podCount },
  },
  {
    trigger: 'DELETE the dead leader, grace 0',
    dead: 'leader',
    act: deleteLeader,
    ...moved,
  },
  {
    trigger: 'DELETE the dead leader, default grace: stuck for ever',
    dead: 'leader',
    act: deleteGently,
    seconds: 3600,
    restarts: 0,
    counted: 0,
    running: {},
    stuck: 1,
  },
  {
    trigger: 'DELETE the dead leader, grace 0, podReplacementPolicy Failed: nothing fails',
    job: { podReplacementPolicy: 'Failed' },
    dead: 'leader',
    act: deleteLeader,
    restarts: 0,
    counted: 0,
    running: { 'slice-b': podCount - 1 },
    stuck: 1,
  },
  {
    trigger: "DELETE the leader, a follower's node dead: waits",
    dead: 'follower',
    act: deleteLeader,
    seconds: 3600,
    restarts: 0,
    counted: 0,
    running: {},
    stuck: 1,
  },
  {
    trigger: "DELETE the leader, a follower's node dead, and then the Node object goes",
    dead: 'follower',
    act: (run) => {
      deleteLeader(run);
      run.cluster.removeNode(run.follower.spec.nodeName ?? '');
    },
    seconds: 64,
    ...moved,
  },
  {
    trigger: 'DELETE the leader and the dead follower, both grace 0',
    dead: 'follower',
    act: (run) => {
      deleteLeader(run);
      deletePod(run, run.follower);
    },
    ...moved,
  },
  {
    trigger: 'PATCH deadline and DELETE the dead follower, podReplacementPolicy Failed',
    job: { ...defaultJob, podReplacementPolicy: 'Failed' },
    dead: 'follower',
    act: (run) => {
      setDeadline(run);
      run.advance(2);
      deletePod(run, run.follower);
    },
    ...moved,
  },
];

describe('runJobSets', () => {
  for (const row of rows) {
    it(`${row.trigger}: ${describeOutcome(row)}`, () => {
      const run = startRun(row);
      row.act(run);
      run.advance(2);
      run.advance(Math.max((row.seconds ?? 60) - 2, 0));
      expect(summarise(run.cluster)).to.deep.equal({
        restarts: row.restarts,
        counted: row.counted,
        running: row.running,
        pending: row.pending ?? 0,
        stuck: row.stuck ?? 0,
        failed: row.failed,
      });
    });
  }

  it('creates the next attempt from the template, with the same names', () => {
    const run = startRun({ job: defaultJob });
    const before = run.cluster.jobs()[0];
    setDeadline(run);
    run.advance(2);
    const after = run.cluster.jobs()[0];
    expect(after?.metadata.name).to.equal(before?.metadata.name);
    expect(after?.metadata.uid).not.to.equal(before?.metadata.uid);
    expect(after?.metadata.labels?.['jobset.sigs.k8s.io/restart-attempt']).to.equal('1');
    expect(after?.spec).not.to.have.property('activeDeadlineSeconds');
  });

  it('sets FailureTarget at once, and Failed only when the last pod is gone', () => {
    const run = startRun({ dead: 'follower' });
    deleteLeader(run);
    run.advance(10);
    const types = () => run.cluster.jobs()[0]?.status.conditions?.map(({ type }) => type);
    expect(types()).to.deep.equal(['FailureTarget']);
    deletePod(run, run.follower);
    run.emulator.reconcile();
    run.emulator.reconcile();
    run.advance(0);
    expect(run.cluster.jobsets()[0]?.status.restarts).to.equal(1);
  });

  it('restarts no more often than maxRestarts', () => {
    const run = startRun({ failurePolicy: { maxRestarts: 2 } });
    for (const node of run.cluster.nodes('slice-b')) {
      run.cluster.cordonAs('kubectl', node.metadata.name, false);
    }
    for (let attempt = 0; attempt < 3; attempt++) {
      const leader = run.cluster.pods().find((pod) => indexOf(pod) === 0);
      if (leader) deletePod(run, leader);
      run.advance(1);
    }
    expect(summarise(run.cluster)).to.include({ restarts: 2, counted: 2, failed: 'ReachedMaxRestarts' });
  });

  // Whichever of the two has the lower name.
  for (const seed of [1, 2, 3, 4]) {
    it(`creates no follower until a deleted leader has ended, because there are two leaders (seed ${seed})`, () => {
      const run = startRun({ job: defaultJob, dead: 'leader' }, seed);
      deleteGently(run);
      run.advance(0);
      run.advance(11);
      expect(run.cluster.pods().filter((pod) => indexOf(pod) === 0)).to.have.length(2);
      deletePod(run, run.follower);
      run.advance(0);
      run.advance(600);
      const indexes = run.cluster.pods().map(indexOf);
      expect(indexes).not.to.include(indexOf(run.follower));
    });
  }

  it('suspends without counting a restart, and resumes on another pool', () => {
    const run = startRun({});
    patch(run, '/apis/jobset.x-k8s.io/v1alpha2/namespaces/default/jobsets/train', {
      spec: { suspend: true },
    });
    run.advance(3);
    expect(run.cluster.pods()).to.deep.equal([]);
    patch(run, '/apis/jobset.x-k8s.io/v1alpha2/namespaces/default/jobsets/train', {
      spec: { suspend: false },
    });
    run.advance(3);
    expect(summarise(run.cluster)).to.include({ restarts: 0, counted: 0 });
    expect(summarise(run.cluster).running).to.deep.equal({ 'slice-c': podCount });
  });

  it('applies the deadline of a suspended Job only after the resume', () => {
    const run = startRun({});
    patch(run, '/apis/jobset.x-k8s.io/v1alpha2/namespaces/default/jobsets/train', {
      spec: { suspend: true },
    });
    run.advance(3);
    setDeadline(run);
    run.advance(60);
    expect(summarise(run.cluster)).to.include({ restarts: 0 });
    patch(run, '/apis/jobset.x-k8s.io/v1alpha2/namespaces/default/jobsets/train', {
      spec: { suspend: false },
    });
    run.advance(0);
    expect(summarise(run.cluster)).to.include({ restarts: 0 });
    run.advance(3);
    expect(summarise(run.cluster)).to.include({ restarts: 1, counted: 1 });
  });

  it('completes when all pods have succeeded, and stays complete', () => {
    const run = startRun({});
    for (const pod of run.cluster.pods()) run.cluster.finishPod('default', pod.metadata.name, 'Succeeded');
    run.advance(1);
    const [jobSet] = run.cluster.jobsets();
    expect(jobSet?.status.terminalState).to.equal('Completed');
    expect(run.cluster.jobs()[0]?.status).to.include({ succeeded: podCount, completedIndexes: toIndexes() });
    run.advance(600);
    expect(run.cluster.jobsets()[0]?.status.restarts).to.equal(0);
  });

  it('ignores a JobSet of another controller', () => {
    const { cluster, advance } = createTestWorld();
    cluster.addJobSet({ name: 'other', managedBy: 'example.com/kueue', replicatedJobs: [{ name: 'w' }] });
    advance(60);
    expect(cluster.jobs()).to.deep.equal([]);
  });
});

function startRun(row: Partial<Row>, seed = 1): Run {
  const world = createTestWorld(seed);
  const { cluster, advance } = world;
  const count = row.replicatedJobs ?? 1;
  cluster.addTpuSlice('slice-b');
  if (count > 1) cluster.addTpuSlice('slice-a');
  const replicatedJobs = Array.from({ length: count }, (_, index) => ({
    name: `workers-${index}`,
    parallelism: podCount,
    backoffLimit: 0,
    ...row.job,
    // The first Job is to run on slice-b.
    ...(count > 1 && index === 0 && { affinity: preferring('slice-a') }),
  }));
  cluster.addJobSet({
    name: 'train',
    replicatedJobs,
    ...(row.failurePolicy !== undefined && { failurePolicy: row.failurePolicy }),
    ...((row.isExclusive ?? true) && { exclusiveTopology: 'cloud.google.com/gke-nodepool' }),
  });
  advance(0);
  for (const pool of row.freeSlices ?? ['slice-c']) cluster.addTpuSlice(pool);
  for (const node of cluster.nodes('slice-b')) cluster.cordonAs('kubectl', node.metadata.name, true);
  advance(1);
  const pods = cluster.pods().filter((pod) => poolOf(cluster, pod) === 'slice-b');
  const leader = pods.find((pod) => indexOf(pod) === 0);
  const follower = pods.find((pod) => indexOf(pod) === 5);
  if (!leader || !follower) throw new Error('the JobSet does not run on slice-b');
  const dead = row.dead === undefined ? undefined : { leader, follower }[row.dead];
  if (dead) cluster.killNode(dead.spec.nodeName ?? '');
  const job = leader.metadata.labels?.['batch.kubernetes.io/job-name'] ?? '';
  return { ...world, leader, follower, job };
}

/** Anywhere but on one pool. */
function preferring(other: string): NonNullable<ReplicatedJobOptions['affinity']> {
  const matchExpressions = [{ key: 'cloud.google.com/gke-nodepool', operator: 'NotIn', values: [other] }];
  return {
    nodeAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{ matchExpressions }] },
    },
  };
}

function must({ status, body }: { status: number; body: unknown }): void {
  expect(status, JSON.stringify(body)).to.be.within(200, 299);
}

function deletePod({ cluster }: Run, { metadata: { name, uid } }: Pod): void {
  const options = { gracePeriodSeconds: 0, preconditions: { uid } };
  must(cluster.ask('DELETE', `/api/v1/namespaces/default/pods/${name}`, options));
}

function deleteLeader(run: Run): void {
  deletePod(run, run.leader);
}

function deleteGently({ cluster, leader }: Run): void {
  must(cluster.ask('DELETE', `/api/v1/namespaces/default/pods/${leader.metadata.name}`));
}

function deleteAll(run: Run): void {
  for (const pod of run.cluster.pods()) deletePod(run, pod);
}

function evict({ cluster, leader }: Run): void {
  const { name, namespace } = leader.metadata;
  const body = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name, namespace } };
  must(cluster.ask('POST', `/api/v1/namespaces/default/pods/${name}/eviction`, body));
}

function deleteJob({ cluster, job }: Run): void {
  must(
    cluster.ask('DELETE', `/apis/batch/v1/namespaces/default/jobs/${job}`, {
      propagationPolicy: 'Foreground',
    }),
  );
}

function setDeadline(run: Run): void {
  const uid = run.cluster.jobs().find((job) => job.metadata.name === run.job)?.metadata.uid;
  const body = { metadata: { uid }, spec: { activeDeadlineSeconds: 1 } };
  patch(run, `/apis/batch/v1/namespaces/default/jobs/${run.job}`, body);
}

function patch({ cluster }: Run, path: string, body: unknown): void {
  must(cluster.ask('PATCH', path, body, { 'content-type': 'application/merge-patch+json' }));
}

interface Summary {
  restarts: number;
  counted: number;
  running: Record<string, number>;
  pending: number;
  stuck: number;
  failed: string | undefined;
}

function summarise(cluster: EmulatedCluster): Summary {
  const [jobSet] = cluster.jobsets();
  const running: Record<string, number> = {};
  let pending = 0;
  let stuck = 0;
  for (const pod of cluster.pods()) {
    if (pod.metadata.deletionTimestamp) stuck += 1;
    else if (pod.status.phase === 'Pending') pending += 1;
    else if (pod.status.phase === 'Running') {
      const pool = poolOf(cluster, pod) ?? '';
      running[pool] = (running[pool] ?? 0) + 1;
    }
  }
  return {
    restarts: jobSet?.status.restarts ?? 0,
    counted: jobSet?.status.restartsCountTowardsMax ?? 0,
    running,
    pending,
    stuck,
    failed: jobSet?.status.conditions?.find(({ type }) => type === 'Failed')?.reason,
  };
}

function describeOutcome({ restarts, counted, running, pending, stuck, failed }: Row): string {
  if (failed) return `the JobSet fails (${failed})`;
  const pools = Object.entries(running).map(([pool, count]) => `${count} on ${pool}`);
  if (pending) pools.push(`${pending} pending`);
  if (stuck) pools.push(`${stuck} stuck`);
  return `+${restarts}/+${counted}, ${pools.join(', ')}`;
}

function toIndexes(): string {
  return Array.from({ length: podCount }, (_, index) => index).join(',');
}
