import type { ClusterState } from './cluster-state.ts';
import { deleteObject } from './deletion.ts';
import {
  countsOnlyFailedPhase,
  createMissingPods,
  indexOf,
  isActive,
  isTerminating,
  parseIndexes,
  podsOf,
  recordFailures,
  tracking,
} from './job-pods.ts';
import { controllerOf, findCondition, isConditionTrue, isPodLive, setCondition } from './objects.ts';
import type { Job, Pod, PodFailurePolicyRule } from './objects.ts';

/**
 * Runs Jobs as kube-controller-manager does, as far as a JobSet's restart depends on it: counts ended pods, replaces
 * them up to backoffLimit, fails by backoff limit, deadline or pod failure policy (FailureTarget at once, Failed when
 * the last pod is gone), completes, suspends and resumes.
 */
export function runJobs(state: ClusterState): void {
  for (const job of state.store.list('jobs')) {
    if (job.spec.managedBy && job.spec.managedBy !== 'kubernetes.io/job-controller') continue;
    syncJob(state, job);
  }
  releaseOrphans(state);
}

/** Whether a Job is Complete or Failed, so that it never changes again. */
export function isJobFinished(job: Job): boolean {
  return (
    isConditionTrue(job.status.conditions, 'Complete') || isConditionTrue(job.status.conditions, 'Failed')
  );
}

function syncJob(state: ClusterState, job: Job): void {
  if (job.metadata.deletionTimestamp || isJobFinished(job)) {
    for (const pod of podsOf(state, job)) untrack(state, pod);
    return;
  }
  let current = state.update('jobs', job, (draft) => {
    if (!draft.spec.suspend) draft.status.startTime ??= state.time();
  });
  const counted = countEndedPods(state, current);
  current = counted.job;
  if (current.spec.suspend) suspendPods(state, current);
  current = setSuspended(state, current);

  const failure = findFailure(state, current, counted.failedByPolicy);
  if (failure) current = failJob(state, current, failure);
  else if (isCompleted(current)) current = completeJob(state, current);
  else if (!current.spec.suspend) createMissingPods(state, current);
  updateCounts(state, current);
}

/** Releases the pods of a Job that was deleted in the background, because nothing will count them. */
function releaseOrphans(state: ClusterState): void {
  for (const pod of state.store.lookup('pods', 'terminating', 'yes')) {
    const owner = controllerOf(pod);
    if (owner?.kind !== 'Job') continue;
    const job = state.store.get('jobs', pod.metadata.namespace, owner.name);
    if (job?.metadata.uid !== owner.uid) untrack(state, pod);
  }
}

interface Failure {
  reason: string;
  message: string;
}

function countEndedPods(state: ClusterState, job: Job): { job: Job; failedByPolicy: Failure | undefined } {
  let succeeded = 0;
  let failed = 0;
  let failedByPolicy: Failure | undefined;
  const indexes: number[] = [];
  for (const pod of podsOf(state, job)) {
    if (!pod.metadata.finalizers?.includes(tracking)) continue;
    if (pod.status.phase === 'Succeeded') {
      succeeded += 1;
      indexes.push(indexOf(pod));
    } else if (
      pod.status.phase === 'Failed' ||
      (pod.metadata.deletionTimestamp !== undefined && !countsOnlyFailedPhase(job))
    ) {
      const action = findPolicyAction(job, pod);
      if (action === 'FailJob') {
        failedByPolicy ??= {
          reason: 'PodFailurePolicy',
          message: `Pod ${pod.metadata.namespace}/${pod.metadata.name} matched a FailJob rule of the pod failure policy`,
        };
      }
      if (action !== 'Ignore') failed += 1;
    } else continue;
    untrack(state, pod);
  }
  if (succeeded === 0 && failed === 0) return { job, failedByPolicy };
  if (failed > 0) recordFailures(state, job, failed);
  const updated = state.update('jobs', job, (draft) => {
    if (succeeded > 0) draft.status.succeeded = (draft.status.succeeded ?? 0) + succeeded;
    if (failed > 0) draft.status.failed = (draft.status.failed ?? 0) + failed;
    const completed = new Set([...parseIndexes(draft.status.completedIndexes), ...indexes]);
    if (draft.spec.completionMode === 'Indexed' && completed.size > 0) {
      draft.status.completedIndexes = [...completed].sort((a, b) => a - b).join(',');
    }
  });
  return { job: updated, failedByPolicy };
}

function untrack(state: ClusterState, pod: Pod): void {
  if (!pod.metadata.finalizers?.includes(tracking)) return;
  state.update('pods', pod, (draft) => {
    const rest = (draft.metadata.finalizers ?? []).filter((each) => each !== tracking);
    if (rest.length > 0) draft.metadata.finalizers = rest;
    else delete draft.metadata.finalizers;
  });
}

function findPolicyAction(job: Job, pod: Pod): PodFailurePolicyRule['action'] {
  return job.spec.podFailurePolicy?.rules.find((rule) => isRuleMatched(rule, pod))?.action ?? 'Count';
}

function isRuleMatched({ onExitCodes, onPodConditions }: PodFailurePolicyRule, pod: Pod): boolean {
  if (onPodConditions?.length) {
    return onPodConditions.some(
      ({ type, status = 'True' }) => findCondition(pod.status.conditions, type)?.status === status,
    );
  }
  if (!onExitCodes) return false;
  return (pod.status.containerStatuses ?? []).some((each) => {
    const exitCode = (each['state'] as { terminated?: { exitCode: number } } | undefined)?.terminated
      ?.exitCode;
    if (exitCode === undefined || exitCode === 0) return false;
    if (onExitCodes.containerName && onExitCodes.containerName !== each['name']) return false;
    return onExitCodes.values.includes(exitCode) === (onExitCodes.operator === 'In');
  });
}

/** Suspended pods are not counted: they lose their finalizer before they are deleted. */
function suspendPods(state: ClusterState, job: Job): void {
  for (const pod of podsOf(state, job).filter(isActive)) {
    untrack(state, pod);
    const current = state.store.get('pods', pod.metadata.namespace, pod.metadata.name);
    if (current) deleteObject(state, 'pods', current);
  }
}

function setSuspended(state: ClusterState, job: Job): Job {
  const isSuspended = isConditionTrue(job.status.conditions, 'Suspended');
  if (Boolean(job.spec.suspend) === isSuspended) return job;
  return state.update('jobs', job, (draft) => {
    const condition = job.spec.suspend
      ? ({ status: 'True', reason: 'JobSuspended', message: 'Job suspended' } as const)
      : ({ status: 'False', reason: 'JobResumed', message: 'Job resumed' } as const);
    setCondition((draft.status.conditions ??= []), { type: 'Suspended', ...condition }, state.time());
    // The deadline starts again at each resume.
    if (job.spec.suspend) delete draft.status.startTime;
    else draft.status.startTime = state.time();
  });
}

function findFailure(state: ClusterState, job: Job, byPolicy: Failure | undefined): Failure | undefined {
  const target = findCondition(job.status.conditions, 'FailureTarget');
  if (target?.status === 'True') return { reason: target.reason ?? '', message: target.message ?? '' };
  if (byPolicy) return byPolicy;
  const { activeDeadlineSeconds, backoffLimit = 6, suspend } = job.spec;
  if ((job.status.failed ?? 0) > backoffLimit) {
    return { reason: 'BackoffLimitExceeded', message: 'Job has reached the specified backoff limit' };
  }
  if (activeDeadlineSeconds === undefined || suspend || !job.status.startTime) return undefined;
  const due = Date.parse(job.status.startTime) + activeDeadlineSeconds * 1000;
  if (due <= state.now()) {
    return { reason: 'DeadlineExceeded', message: 'Job was active longer than specified deadline' };
  }
  state.wakeAt(due);
  return undefined;
}

function failJob(state: ClusterState, job: Job, { reason, message }: Failure): Job {
  for (const pod of podsOf(state, job).filter(isActive)) deleteObject(state, 'pods', pod);
  // A Job that is about to end counts each remaining pod as failed, ended or not. Nothing waits for the finalizer any
  // more.
  for (const pod of podsOf(state, job)) untrack(state, pod);
  const isOver = !podsOf(state, job).some(isPodLive);
  const failed = state.update('jobs', job, (draft) => {
    const conditions = (draft.status.conditions ??= []);
    const condition = { status: 'True' as const, reason, message };
    setCondition(conditions, { type: 'FailureTarget', ...condition }, state.time());
    if (isOver) setCondition(conditions, { type: 'Failed', ...condition }, state.time());
  });
  if (isOver) state.recordEvent(failed, 'job-controller', 'Warning', reason, message);
  return failed;
}

function isCompleted(job: Job): boolean {
  return (job.status.succeeded ?? 0) >= (job.spec.completions ?? 1);
}

function completeJob(state: ClusterState, job: Job): Job {
  const isOver = !podsOf(state, job).some(isPodLive);
  return state.update('jobs', job, (draft) => {
    const conditions = (draft.status.conditions ??= []);
    const condition = {
      status: 'True' as const,
      reason: 'CompletionsReached',
      message: 'Reached expected number of succeeded pods',
    };
    setCondition(conditions, { type: 'SuccessCriteriaMet', ...condition }, state.time());
    if (!isOver) return;
    setCondition(conditions, { type: 'Complete', ...condition }, state.time());
    draft.status.completionTime = state.time();
  });
}

function updateCounts(state: ClusterState, job: Job): void {
  const pods = podsOf(state, job);
  const active = pods.filter(isActive);
  const ready = active.filter((pod) => isConditionTrue(pod.status.conditions, 'Ready')).length;
  const terminating = pods.filter(isTerminating).length;
  const stored = state.store.get('jobs', job.metadata.namespace, job.metadata.name);
  if (!stored) return;
  state.update('jobs', stored, (draft) => {
    Object.assign(draft.status, { ready, terminating, uncountedTerminatedPods: {} });
    if (active.length > 0) draft.status.active = active.length;
    else delete draft.status.active;
  });
}
