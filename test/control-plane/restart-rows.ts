/** What can happen to a JobSet, and the outcome. Each row was measured on a real control plane. */
import {
  countRestart,
  deleteAll,
  deleteJob,
  deleteJobs,
  deleteLeader,
  deleteLeaderGently,
  deletePod,
  evictLeader,
  failJob,
  hurryPods,
  jobFails,
  nodeCount,
  setDeadline,
  suspend,
} from './jobset-run.ts';
import type { Run, RunOptions } from './jobset-run.ts';
import type { JobSetSpec } from './world.ts';

export interface RestartRow extends RunOptions {
  title: string;
  trigger: (run: Run) => Promise<void>;
  expected: Expected;
}

export interface Expected {
  /** Attempts in all, and those of them that count towards maxRestarts. */
  restarts: number;
  counted: number;
  /**
   * `moved`: every pod runs on another pool. `failed`: for good. `pending`: the leader's successor waits for a place that
   * there is not, the others go on. `waiting`: nothing restarts until the pod on a dead machine is deleted too. `stuck`:
   * the leader is on its way for ever, and only a deadline ends that.
   */
  outcome: 'moved' | 'failed' | 'pending' | 'waiting' | 'stuck';
  /** Of the JobSet that failed. */
  reason?: string;
}

export const movedRun: Expected = { restarts: 1, counted: 1, outcome: 'moved' };
const uncounted: Expected = { restarts: 1, counted: 0, outcome: 'moved' };
const waiting: Expected = { restarts: 1, counted: 1, outcome: 'waiting' };
const pending: Expected = { restarts: 0, counted: 0, outcome: 'pending' };
const stuck: Expected = { restarts: 1, counted: 1, outcome: 'stuck' };
const byItself: Expected = { restarts: 0, counted: 0, outcome: 'moved' };
const failed = (reason: string): Expected => ({ restarts: 0, counted: 0, outcome: 'failed', reason });

export const twoJobs = { replicatedJobs: [{ name: 'a' }, { name: 'b' }] };
/** Kubernetes' default of 6. */
export const defaultLimit = { backoffLimit: null };
export const disruption = (action: string): Partial<JobSetSpec> => ({
  job: {
    podFailurePolicy: {
      rules: [{ action, onPodConditions: [{ type: 'DisruptionTarget', status: 'True' }] }],
    },
  },
});
const replaceFailed: Partial<JobSetSpec> = { job: { podReplacementPolicy: 'Failed' } };
/** Pods that take longer to end than any test waits. */
const slowPods: Partial<JobSetSpec> = { graceSeconds: 600 };
const restarts = (maxRestarts: number, more: object = {}): Partial<JobSetSpec> => ({
  failurePolicy: { maxRestarts, ...more },
});
const rule = (action: string, maxRestarts = 3, more: object = {}): Partial<JobSetSpec> =>
  restarts(maxRestarts, { rules: [{ name: 'rule', action, ...more }] });
const ignoring = 'RestartJobSetAndIgnoreMaxRestarts';
const onDeadline = { onJobFailureReasons: ['DeadlineExceeded'] };

export const restartRows: RestartRow[] = [
  ...rows('the leader is deleted', deleteLeader, {
    'backoffLimit 0': [{}, movedRun],
    'backoffLimit 6, the default': [defaultLimit, pending],
    'podFailurePolicy Ignore': [disruption('Ignore'), movedRun],
    'podFailurePolicy FailJob': [disruption('FailJob'), movedRun],
    'podReplacementPolicy Failed': [replaceFailed, movedRun],
    'no failurePolicy': [{ failurePolicy: null }, failed('FailedJobs')],
    'maxRestarts 0': [restarts(0), failed('ReachedMaxRestarts')],
    BlockingRecreate: [restarts(3, { restartStrategy: 'BlockingRecreate' }), movedRun],
    'rule RestartJobSet': [rule('RestartJobSet'), movedRun],
    [`rule ${ignoring}, maxRestarts 0`]: [rule(ignoring, 0), uncounted],
    'rule FailJobSet': [rule('FailJobSet'), failed('FailJobSetFailurePolicyAction')],
    'rule FailJobSet for another reason': [rule('FailJobSet', 3, onDeadline), movedRun],
    'rule FailJobSet for another replicated Job': [
      { ...twoJobs, ...rule('FailJobSet', 3, { targetReplicatedJobs: ['b'] }) },
      movedRun,
    ],
    'two replicated Jobs': [twoJobs, movedRun],
  }),
  ...rows('the Job gets a deadline', setDeadline, {
    'backoffLimit 0': [{}, movedRun],
    'backoffLimit 6': [defaultLimit, movedRun],
    'podFailurePolicy Ignore': [{ ...defaultLimit, ...disruption('Ignore') }, movedRun],
    'podReplacementPolicy Failed': [{ ...defaultLimit, ...replaceFailed }, movedRun],
    'maxRestarts 0': [restarts(0), failed('ReachedMaxRestarts')],
    'rule FailJobSet for this reason': [
      rule('FailJobSet', 3, onDeadline),
      failed('FailJobSetFailurePolicyAction'),
    ],
  }),

  ...rows("the leader's machine is dead and the leader deleted", deleteLeader, {
    'backoffLimit 0': [{ dead: 'leader' }, movedRun],
    'podReplacementPolicy Failed': [{ dead: 'leader', ...replaceFailed }, stuck],
  }),
  ...rows("the leader's machine is dead and the leader deleted with its own grace", deleteLeaderGently, {
    'backoffLimit 0': [{ dead: 'leader' }, waiting],
  }),
  ...rows("the leader's machine is dead and the Job gets a deadline", setDeadline, {
    'backoffLimit 0': [{ dead: 'leader' }, waiting],
  }),
  ...rows("a follower's machine is dead and the leader deleted", deleteLeader, {
    'backoffLimit 0': [{ dead: 'follower' }, waiting],
  }),
  ...rows("a follower's machine is dead, leader and follower deleted", deleteBoth, {
    'backoffLimit 0': [{ dead: 'follower' }, movedRun],
  }),
  ...rows("a follower's machine is dead and the Job gets a deadline", setDeadline, {
    'backoffLimit 6': [{ dead: 'follower', ...defaultLimit }, waiting],
    'podReplacementPolicy Failed': [{ dead: 'follower', ...defaultLimit, ...replaceFailed }, waiting],
  }),
  ...rows(
    "a follower's machine is dead, the Job gets a deadline, the follower is deleted",
    setDeadlineAndDelete,
    {
      'backoffLimit 6': [{ dead: 'follower', ...defaultLimit }, movedRun],
      'podReplacementPolicy Failed': [{ dead: 'follower', ...defaultLimit, ...replaceFailed }, movedRun],
    },
  ),

  ...rows('the leader is deleted with its own grace', deleteLeaderGently, {
    'backoffLimit 0': [{}, movedRun],
  }),
  ...rows('a follower is deleted', (run) => deletePod(run, run.follower), {
    'backoffLimit 0': [{}, movedRun],
  }),
  ...rows('the leader is evicted', evictLeader, {
    'backoffLimit 0': [{}, movedRun],
    'podFailurePolicy Ignore': [disruption('Ignore'), pending],
  }),
  ...rows('all pods are deleted', deleteAll, {
    'more than backoffLimit': [{ backoffLimit: nodeCount - 1 }, movedRun],
  }),
  ...rows('the Job is deleted in the foreground', deleteJob, { 'backoffLimit 0': [{}, byItself] }),
  ...rows('every Job is deleted in the foreground', deleteJobs, {
    'no failurePolicy, backoffLimit 0': [{ failurePolicy: null }, byItself],
    'no failurePolicy, backoffLimit 6': [{ ...defaultLimit, failurePolicy: null }, byItself],
    'maxRestarts 0': [restarts(0), byItself],
    'rule FailJobSet': [rule('FailJobSet'), byItself],
    'two replicated Jobs': [{ ...twoJobs, failurePolicy: null }, byItself],
    'startupPolicy InOrder': [
      { ...twoJobs, failurePolicy: null, startupPolicy: { startupPolicyOrder: 'InOrder' } },
      byItself,
    ],
    'not exclusive': [{ failurePolicy: null, exclusive: false }, byItself],
    'podReplacementPolicy Failed': [{ ...replaceFailed, failurePolicy: null }, byItself],
  }),
  ...rows('the JobSet is suspended, and resumed when its pods are gone', suspendAndResume, {
    'backoffLimit 0': [{}, byItself],
  }),
  ...rows("the Job's status says FailureTarget", failJob, { 'backoffLimit 6': [defaultLimit, movedRun] }),
  ...rows("the JobSet's status says one restart more", countRestart, {
    'no failurePolicy': [{ failurePolicy: null }, uncounted],
  }),
  ...rows(
    'the leader is deleted, and the others, which would take ten minutes, with grace 0',
    deleteAndHurry,
    {
      'backoffLimit 0': [slowPods, movedRun],
      'two replicated Jobs': [{ ...twoJobs, ...slowPods }, movedRun],
      "a follower's machine is dead": [{ ...slowPods, dead: 'follower' }, movedRun],
    },
  ),
  ...rows(
    'the Job gets a deadline, and once it fails its pods, which would take ten minutes, grace 0',
    failAndHurry,
    {
      'backoffLimit 6': [{ ...defaultLimit, ...slowPods }, movedRun],
      'podReplacementPolicy Failed': [{ ...defaultLimit, ...replaceFailed, ...slowPods }, movedRun],
    },
  ),
  ...rows(
    'every Job is deleted, and its pods, which would take ten minutes, with grace 0',
    deleteJobsAndHurry,
    {
      'no failurePolicy': [{ ...slowPods, failurePolicy: null }, byItself],
      'two replicated Jobs': [{ ...twoJobs, ...slowPods, failurePolicy: null }, byItself],
    },
  ),
  // About a minute in real time, because pods of a node that is gone are collected every 20 s, after 40 s of
  // quarantine.
  ...rows("a follower's machine is dead, the leader deleted, and the dead node goes", deleteLeaderAndNode, {
    'backoffLimit 0': [{ dead: 'follower' }, movedRun],
  }),
];

type Cases = Record<string, [Partial<JobSetSpec> & Pick<RunOptions, 'dead'>, Expected]>;

/** One trigger under several set-ups. */
function rows(what: string, trigger: RestartRow['trigger'], cases: Cases): RestartRow[] {
  return Object.entries(cases).map(([name, [{ dead, ...spec }, expected]]) => ({
    title: `${what}; ${name}`,
    spec,
    dead,
    trigger,
    expected,
  }));
}

async function deleteBoth(run: Run): Promise<void> {
  await deleteLeader(run);
  await deletePod(run, run.follower);
}

async function setDeadlineAndDelete(run: Run): Promise<void> {
  await setDeadline(run);
  await deletePod(run, run.follower);
}

async function deleteAndHurry(run: Run): Promise<void> {
  await deleteLeader(run);
  await hurryPods(run);
}

async function failAndHurry(run: Run): Promise<void> {
  await setDeadline(run);
  await jobFails(run);
  await hurryPods(run);
}

async function deleteJobsAndHurry(run: Run): Promise<void> {
  await deleteJobs(run);
  await hurryPods(run);
}

async function suspendAndResume(run: Run): Promise<void> {
  await suspend(run, true);
  await suspend(run, false);
}

async function deleteLeaderAndNode(run: Run): Promise<void> {
  await deleteLeader(run);
  await run.stage.client.delete(`/api/v1/nodes/${run.dead}`);
}
