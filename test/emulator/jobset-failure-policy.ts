import type { ClusterState } from './cluster-state.ts';
import { deleteObject } from './deletion.ts';
import { findCondition, setCondition } from './objects.ts';
import type { FailurePolicyAction, Job, JobSet } from './objects.ts';

/**
 * Does what a JobSet's failure policy says about its first failed Job: the first rule that matches the Job's reason
 * and replicatedJob, otherwise a restart as long as maxRestarts allows; without a policy the JobSet fails.
 */
export function executeFailurePolicy(state: ClusterState, jobSet: JobSet, failed: Job[]): void {
  const job = findFirstFailed(failed);
  const { failurePolicy } = jobSet.spec;
  if (!failurePolicy) return failJobSet(state, jobSet, job, 'FailedJobs', 'due to one or more job failures');
  switch (findAction(jobSet, job)) {
    case 'FailJobSet':
      return failJobSet(
        state,
        jobSet,
        job,
        'FailJobSetFailurePolicyAction',
        'due to FailJobSet failure policy action',
      );
    case 'RestartJobSet':
      if (isExhausted(jobSet)) return failExhausted(state, jobSet, job);
      return restartJobSet(state, jobSet, job, 'RestartJobSetFailurePolicyAction', 1);
    case 'RestartJobSetAndIgnoreMaxRestarts':
      return restartJobSet(state, jobSet, job, 'RestartJobSetAndIgnoreMaxRestartsFailurePolicyAction', 0);
    case 'RestartJob':
      if (isExhausted(jobSet)) return failExhausted(state, jobSet, job);
      return restartJob(state, jobSet, job);
    case 'RestartJobAndIgnoreMaxRestarts':
      return restartJob(state, jobSet, job);
  }
}

function findFirstFailed(failed: Job[]): Job {
  const failedAt = (job: Job) => findCondition(job.status.conditions, 'Failed')?.lastTransitionTime ?? '';
  return failed.reduce((first, job) => (failedAt(job) < failedAt(first) ? job : first));
}

function findAction(jobSet: JobSet, job: Job): FailurePolicyAction {
  const failure = findCondition(job.status.conditions, 'Failed');
  const replicatedJob = job.metadata.labels?.['jobset.sigs.k8s.io/replicatedjob-name'] ?? '';
  const rule = jobSet.spec.failurePolicy?.rules?.find(
    ({ onJobFailureReasons = [], onJobFailureMessagePatterns = [], targetReplicatedJobs = [] }) =>
      (onJobFailureReasons.length === 0 || onJobFailureReasons.includes(failure?.reason ?? '')) &&
      (onJobFailureMessagePatterns.length === 0 ||
        onJobFailureMessagePatterns.some((pattern) => new RegExp(pattern).test(failure?.message ?? ''))) &&
      (targetReplicatedJobs.length === 0 || targetReplicatedJobs.includes(replicatedJob)),
  );
  return rule?.action ?? 'RestartJobSet';
}

function isExhausted(jobSet: JobSet): boolean {
  return (jobSet.status.restartsCountTowardsMax ?? 0) >= (jobSet.spec.failurePolicy?.maxRestarts ?? 0);
}

function failExhausted(state: ClusterState, jobSet: JobSet, job: Job): void {
  failJobSet(state, jobSet, job, 'ReachedMaxRestarts', 'due to reaching max number of restarts');
}

function failJobSet(state: ClusterState, jobSet: JobSet, job: Job, reason: string, why: string): void {
  const message = `jobset failed ${why} (first failed job: ${job.metadata.name})`;
  state.update('jobsets', jobSet, (draft) => {
    const condition = { type: 'Failed', status: 'True' as const, reason, message };
    setCondition((draft.status.conditions ??= []), condition, state.time());
    draft.status.terminalState = 'Failed';
  });
  state.recordEvent(jobSet, 'jobset', 'Warning', reason, message);
}

function restartJobSet(state: ClusterState, jobSet: JobSet, job: Job, reason: string, counted: 0 | 1): void {
  const restarts = (jobSet.status.restarts ?? 0) + 1;
  const message = `restarting jobset (attempt ${restarts}), first failed job: ${job.metadata.name}`;
  state.update('jobsets', jobSet, (draft) => {
    draft.status.restarts = restarts;
    draft.status.restartsCountTowardsMax = (draft.status.restartsCountTowardsMax ?? 0) + counted;
    const condition = { type: 'RestartingJobSet', status: 'True' as const, reason };
    setCondition((draft.status.conditions ??= []), { ...condition, message }, state.time());
  });
  state.recordEvent(jobSet, 'jobset', 'Warning', reason, message);
}

function restartJob(state: ClusterState, jobSet: JobSet, job: Job): void {
  const name = job.metadata.labels?.['jobset.sigs.k8s.io/replicatedjob-name'];
  state.update('jobsets', jobSet, (draft) => {
    const status = draft.status.replicatedJobsStatus?.find((each) => each['name'] === name);
    if (status) status['jobRestarts'] = Number(status['jobRestarts'] ?? 0) + 1;
  });
  deleteObject(state, 'jobs', job, { propagationPolicy: 'Foreground' });
  const message = `restarting job ${job.metadata.name}`;
  state.recordEvent(jobSet, 'jobset', 'Warning', 'RestartJobFailurePolicyAction', message);
}
