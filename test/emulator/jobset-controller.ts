import { createHash } from 'node:crypto';
import { admitCreate } from './admission.ts';
import type { ClusterState } from './cluster-state.ts';
import { deleteObject } from './deletion.ts';
import { exclusiveTopologyAnnotation, nodeSelectorAnnotation } from './exclusive-placement.ts';
import { isJobFinished } from './job-controller.ts';
import { executeFailurePolicy } from './jobset-failure-policy.ts';
import { cloneJson, isConditionTrue, setCondition } from './objects.ts';
import type { Job, JobSet, PodSpec, ReplicatedJob } from './objects.ts';
import { resourceOf } from './resources.ts';

const prefix = 'jobset.sigs.k8s.io/';
const restartAttempt = `${prefix}restart-attempt`;

/**
 * Runs JobSets as JobSet's controller does: creates each attempt's Jobs, and when one fails restarts them all under
 * the same names, or fails for good, as the failure policy says.
 */
export function runJobSets(state: ClusterState): void {
  for (const jobSet of state.store.list('jobsets')) {
    const { managedBy } = jobSet.spec;
    if (managedBy && managedBy !== 'jobset.sigs.k8s.io/jobset-controller') continue;
    if (!jobSet.metadata.deletionTimestamp) syncJobSet(state, jobSet);
  }
}

function syncJobSet(state: ClusterState, jobSet: JobSet): void {
  const jobs = state.store.lookup('jobs', 'owner', jobSet.metadata.uid);
  if (isOver(jobSet)) {
    for (const job of jobs) if (!isJobFinished(job) && !job.metadata.deletionTimestamp) deleteJob(state, job);
    return;
  }
  const attempt = jobSet.status.restarts ?? 0;
  const isPrevious = (job: Job) =>
    job.metadata.deletionTimestamp !== undefined || Number(job.metadata.labels?.[restartAttempt]) < attempt;
  const previous = jobs.filter(isPrevious);
  const current = jobs.filter((job) => !isPrevious(job));
  let updated = updateReplicatedJobsStatus(state, jobSet, current);

  const failed = current.filter((job) => isConditionTrue(job.status.conditions, 'Failed'));
  if (failed.length > 0) return executeFailurePolicy(state, updated, failed);
  if (isSuccessful(updated, current)) return completeJobSet(state, updated);

  for (const job of previous) if (!job.metadata.deletionTimestamp) deleteJob(state, job);
  updated = setSuspended(state, updated);
  for (const job of current) setJobSuspended(state, job, Boolean(updated.spec.suspend));
  const isBlocked = updated.spec.failurePolicy?.restartStrategy === 'BlockingRecreate' && previous.length > 0;
  if (!isBlocked) createMissingJobs(state, updated);
  settleRestart(state, updated);
}

function isOver(jobSet: JobSet): boolean {
  return (
    isConditionTrue(jobSet.status.conditions, 'Completed') ||
    isConditionTrue(jobSet.status.conditions, 'Failed')
  );
}

function deleteJob(state: ClusterState, job: Job): void {
  deleteObject(state, 'jobs', job, { propagationPolicy: 'Foreground' });
}

function updateReplicatedJobsStatus(state: ClusterState, jobSet: JobSet, jobs: Job[]): JobSet {
  return state.update('jobsets', jobSet, (draft) => {
    draft.status.restarts ??= 0;
    draft.status.restartsCountTowardsMax ??= 0;
    draft.status.replicatedJobsStatus = jobSet.spec.replicatedJobs.map((replicatedJob) => {
      const own = jobs.filter(
        (job) => job.metadata.labels?.[`${prefix}replicatedjob-name`] === replicatedJob.name,
      );
      const before = jobSet.status.replicatedJobsStatus?.find((each) => each['name'] === replicatedJob.name);
      const count = (test: (job: Job) => boolean) => own.filter(test).length;
      return {
        name: replicatedJob.name,
        ready: count((job) => isJobReady(job)),
        succeeded: count((job) => isConditionTrue(job.status.conditions, 'Complete')),
        failed: count((job) => isConditionTrue(job.status.conditions, 'Failed')),
        active: count((job) => (job.status.active ?? 0) > 0),
        suspended: count((job) => Boolean(job.spec.suspend)),
        ...(before?.['jobRestarts'] !== undefined && { jobRestarts: before['jobRestarts'] }),
      };
    });
  });
}

function isJobReady(job: Job): boolean {
  const { parallelism = 1, completions = parallelism } = job.spec;
  const { succeeded = 0, ready = 0 } = job.status;
  return !isJobFinished(job) && succeeded + ready >= Math.min(parallelism, completions);
}

function isSuccessful(jobSet: JobSet, jobs: Job[]): boolean {
  const { operator, targetReplicatedJobs } = jobSet.spec.successPolicy ?? { operator: 'All' };
  const isTarget = (name: string) => !targetReplicatedJobs?.length || targetReplicatedJobs.includes(name);
  const complete = jobs.filter(
    (job) =>
      isConditionTrue(job.status.conditions, 'Complete') &&
      isTarget(job.metadata.labels?.[`${prefix}replicatedjob-name`] ?? ''),
  ).length;
  if (operator === 'Any') return complete > 0;
  const wanted = jobSet.spec.replicatedJobs.filter(({ name }) => isTarget(name));
  return complete > 0 && complete === wanted.reduce((sum, { replicas = 1 }) => sum + replicas, 0);
}

function completeJobSet(state: ClusterState, jobSet: JobSet): void {
  const message = 'jobset completed successfully';
  state.update('jobsets', jobSet, (draft) => {
    const condition = { type: 'Completed', status: 'True' as const, reason: 'AllJobsCompleted', message };
    setCondition((draft.status.conditions ??= []), condition, state.time());
    draft.status.terminalState = 'Completed';
  });
  state.recordEvent(jobSet, 'jobset', 'Normal', 'AllJobsCompleted', message);
}

function setSuspended(state: ClusterState, jobSet: JobSet): JobSet {
  const isSuspended = isConditionTrue(jobSet.status.conditions, 'Suspended');
  if (Boolean(jobSet.spec.suspend) === isSuspended) return jobSet;
  return state.update('jobsets', jobSet, (draft) => {
    const condition = jobSet.spec.suspend
      ? ({ status: 'True', reason: 'SuspendedJobs', message: 'jobset is suspended' } as const)
      : ({ status: 'False', reason: 'ResumeJobs', message: 'jobset is resumed' } as const);
    setCondition((draft.status.conditions ??= []), { type: 'Suspended', ...condition }, state.time());
  });
}

function setJobSuspended(state: ClusterState, job: Job, isSuspended: boolean): void {
  if (isJobFinished(job) || Boolean(job.spec.suspend) === isSuspended) return;
  state.update('jobs', job, (draft) => {
    draft.spec.suspend = isSuspended;
    draft.metadata.generation = (draft.metadata.generation ?? 1) + 1;
  });
}

function createMissingJobs(state: ClusterState, jobSet: JobSet): void {
  const globalReplicas = jobSet.spec.replicatedJobs.reduce((sum, { replicas = 1 }) => sum + replicas, 0);
  let globalIndex = 0;
  for (const replicatedJob of jobSet.spec.replicatedJobs) {
    for (let index = 0; index < (replicatedJob.replicas ?? 1); index++) {
      const job = toJob(jobSet, replicatedJob, index, globalIndex++, globalReplicas);
      // The name is free again only when the last attempt's Job is really gone.
      if (state.store.get('jobs', job.metadata.namespace, job.metadata.name)) continue;
      admitCreate(state, resourceOf('jobs'), job);
      state.create('jobs', job);
    }
  }
}

function toJob(
  jobSet: JobSet,
  replicatedJob: ReplicatedJob,
  index: number,
  globalIndex: number,
  globalReplicas: number,
): Job {
  const { name, namespace = 'default', uid } = jobSet.metadata;
  const jobName = `${name}-${replicatedJob.name}-${index}`;
  const labels: Record<string, string> = {
    [`${prefix}jobset-name`]: name,
    [`${prefix}jobset-uid`]: uid,
    [`${prefix}replicatedjob-name`]: replicatedJob.name,
    [`${prefix}replicatedjob-replicas`]: String(replicatedJob.replicas ?? 1),
    [`${prefix}global-replicas`]: String(globalReplicas),
    [`${prefix}job-index`]: String(index),
    [`${prefix}job-global-index`]: String(globalIndex),
    [`${prefix}job-key`]: createHash('sha1').update(`${namespace}/${jobName}`).digest('hex'),
    [`${prefix}group-name`]: replicatedJob.groupName ?? 'default',
    [`${prefix}group-replicas`]: String(globalReplicas),
    [`${prefix}job-group-index`]: String(globalIndex),
    [restartAttempt]: String(jobSet.status.restarts ?? 0),
  };
  const { coordinator } = jobSet.spec;
  if (coordinator) {
    const { replicatedJob: target, jobIndex = 0, podIndex = 0 } = coordinator;
    labels[`${prefix}coordinator`] =
      `${name}-${String(target)}-${String(jobIndex)}-${String(podIndex)}.${name}`;
  }
  const template = cloneJson(replicatedJob.template);
  // On the JobSet it counts for each of its Jobs; on one replicatedJob's template, for the Jobs of that one.
  const exclusive =
    template.metadata?.annotations?.[exclusiveTopologyAnnotation] ??
    jobSet.metadata.annotations?.[exclusiveTopologyAnnotation];
  const strategy =
    template.metadata?.annotations?.[nodeSelectorAnnotation] ??
    jobSet.metadata.annotations?.[nodeSelectorAnnotation];
  const annotations = {
    ...labels,
    ...(exclusive && { [exclusiveTopologyAnnotation]: exclusive }),
    ...(strategy && { [nodeSelectorAnnotation]: strategy }),
  };
  const podTemplate = template.spec.template;
  if (exclusive && strategy) pinToLabelledNodes(podTemplate.spec, namespace, jobName);
  podTemplate.metadata = {
    labels: { ...podTemplate.metadata?.labels, ...labels },
    annotations: { ...podTemplate.metadata?.annotations, ...annotations },
  };
  podTemplate.spec['subdomain'] ??= name;
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: {
      name: jobName,
      namespace,
      uid: '',
      resourceVersion: '',
      creationTimestamp: '',
      labels: { ...template.metadata?.labels, ...labels },
      annotations: { ...template.metadata?.annotations, ...annotations },
      ownerReferences: [
        {
          apiVersion: 'jobset.x-k8s.io/v1alpha2',
          kind: 'JobSet',
          name,
          uid,
          controller: true,
          blockOwnerDeletion: true,
        },
      ],
    },
    spec: { ...template.spec, suspend: Boolean(jobSet.spec.suspend) },
    status: {},
  };
}

/** The nodeSelector strategy: a person has labelled, and tainted, the nodes of one pool for each Job. */
function pinToLabelledNodes(spec: PodSpec, namespace: string, jobName: string): void {
  const domain = 'alpha.jobset.sigs.k8s.io/';
  spec.nodeSelector = { ...spec.nodeSelector, [`${domain}namespaced-job`]: `${namespace}_${jobName}` };
  const toleration = { key: `${domain}no-schedule`, operator: 'Exists' as const, effect: 'NoSchedule' };
  spec.tolerations = [...(spec.tolerations ?? []), toleration];
}

/** A restart is over when every Job of the attempt is ready. */
function settleRestart(state: ClusterState, jobSet: JobSet): void {
  if (!isConditionTrue(jobSet.status.conditions, 'RestartingJobSet')) return;
  const statuses = jobSet.status.replicatedJobsStatus ?? [];
  const isReady = jobSet.spec.replicatedJobs.every(({ name, replicas = 1 }) => {
    const status = statuses.find((each) => each['name'] === name);
    return Number(status?.['ready'] ?? 0) + Number(status?.['succeeded'] ?? 0) >= replicas;
  });
  if (!isReady) return;
  state.update('jobsets', jobSet, (draft) => {
    const condition = { type: 'RestartingJobSet', status: 'False' as const, reason: 'JobsReady' };
    setCondition(
      (draft.status.conditions ??= []),
      { ...condition, message: 'all jobs are ready' },
      state.time(),
    );
  });
}
