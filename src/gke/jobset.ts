import type { V1Job, V1JobSpec, V1JobTemplateSpec, V1Pod } from '@kubernetes/client-node';
import { toMs } from '../clock.ts';
import { FailoverError, isUpstreamStatus, UpstreamError } from '../errors.ts';
import type { Kubernetes } from './kubernetes.ts';
import { listPods } from './list-reduced.ts';
import { listAll } from './list.ts';
import { toPodNeeds } from './pod-needs.ts';
import type { PodNeeds } from './pod-needs.ts';

const group = 'jobset.x-k8s.io';
const version = 'v1alpha2';
const label = 'jobset.sigs.k8s.io/';

/** The label with the JobSet's name, of its Jobs and their pods. */
export const jobSetNameLabel = `${label}jobset-name`;

/** The parts of a JobSet, as the API server sends it, that a restart depends on. */
export interface JobSet {
  kind?: string;
  metadata: {
    namespace: string;
    name: string;
    uid: string;
    deletionTimestamp?: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
  };
  spec: {
    suspend?: boolean;
    managedBy?: string;
    replicatedJobs?: { name: string; replicas?: number; template?: V1JobTemplateSpec }[];
    failurePolicy?: {
      maxRestarts?: number;
      restartStrategy?: string;
      rules?: FailurePolicyRule[];
    };
  };
  status?: {
    restarts?: number;
    restartsCountTowardsMax?: number;
    terminalState?: string;
    conditions?: { type: string; status: string; message?: string; lastTransitionTime?: string }[];
  };
}

/** A rule of a failure policy. The first rule that matches a failed Job decides what happens to its JobSet. */
export interface FailurePolicyRule {
  name?: string;
  action?: string;
  onJobFailureReasons?: string[];
  targetReplicatedJobs?: string[];
}

/** A child Job of a JobSet. */
export interface ChildJob {
  name: string;
  uid: string;
  owners: string[];
  replicatedJob: string;
  /** The Job's number, which is unique in the JobSet. */
  globalIndex: number;
  /** The restart attempt that the Job belongs to: 0 before the first restart. */
  attempt: number;
  /** In ms since the epoch, by the API server's clock. */
  createdAt: number | undefined;
  /** True if the Job has the condition FailureTarget or Failed, or is being deleted, so it is certain to end. */
  isEnding: boolean;
  /** True if the Job has the condition Complete, so it never fails. */
  isComplete: boolean;
  /** The reasons for which it could fail. */
  failureReasons: string[];
  backoffLimit: number;
  hasPodFailurePolicy: boolean;
  podReplacementPolicy: string | undefined;
  isIndexed: boolean;
  /** How many pods it runs at once. */
  podCount: number;
  /** What the template of its pods asks for. The next attempt's pods are made from it too. */
  needs: PodNeeds;
}

/** A pod of a JobSet. */
export interface JobPod {
  name: string;
  uid: string;
  jobSetName: string;
  jobUid: string | undefined;
  /** As in {@link ChildJob}. */
  attempt: number;
  completionIndex: number | undefined;
  nodeName: string | undefined;
  /** True if its phase is neither Succeeded nor Failed. It may be terminating. */
  isLive: boolean;
  isTerminating: boolean;
  isReady: boolean;
  /** How many seconds it gets to end: once it terminates, those that its deletion gave it. */
  graceSeconds: number;
  needs: PodNeeds;
}

/**
 * Reads a JobSet.
 *
 * @throws {FailoverError} `target_not_found` if there is none
 */
export async function readJobSet(
  { custom }: Pick<Kubernetes, 'custom'>,
  namespace: string,
  name: string,
): Promise<JobSet> {
  const found = await findJobSet({ custom }, namespace, name);
  if (found) return found;
  throw new FailoverError('target_not_found', `there is no JobSet ${name} in namespace ${namespace}`);
}

/**
 * Reads a JobSet; undefined if there is none.
 *
 * @throws {UpstreamError} also if the answer is not a JobSet
 */
export async function findJobSet(
  { custom }: Pick<Kubernetes, 'custom'>,
  namespace: string,
  name: string,
): Promise<JobSet | undefined> {
  try {
    const request = { group, version, namespace, plural: 'jobsets', name };
    const found = (await custom.getNamespacedCustomObject(request)) as JobSet;
    if (found.kind === 'JobSet' && found.metadata?.uid && found.spec) return found;
  } catch (error) {
    if (isUpstreamStatus(error, 404)) return undefined;
    throw error;
  }
  const call = `GET jobsets/${namespace}/${name}`;
  throw new UpstreamError({ api: 'Kubernetes API', call, status: 200, reason: 'without a JobSet' });
}

/** Returns the current restart attempt of a JobSet, which is the number of its restarts so far. */
export function attemptOf(jobSet: JobSet): number {
  return jobSet.status?.restarts ?? 0;
}

/** Lists the child Jobs of a JobSet, of all attempts, by their number. Jobs of another JobSet of this name are left out. */
export async function readJobs(
  kubernetes: Pick<Kubernetes, 'batch'>,
  { metadata }: { metadata: Pick<JobSet['metadata'], 'namespace' | 'name' | 'uid'> },
): Promise<ChildJob[]> {
  return keepOwn({ metadata }, await listJobs(kubernetes, metadata));
}

/** Lists the Jobs of a name's JobSets, which need not be known yet; {@link keepOwn} chooses among them. */
export function listJobs(
  { batch }: Pick<Kubernetes, 'batch'>,
  { namespace, name }: Pick<JobSet['metadata'], 'namespace' | 'name'>,
): Promise<ChildJob[]> {
  const ofName = { namespace, labelSelector: `${jobSetNameLabel}=${name}` };
  return listAll((page) => batch.listNamespacedJob({ ...ofName, ...page }), toChildJob);
}

/** Keeps the Jobs of this very JobSet, by their number. */
export function keepOwn({ metadata: { uid } }: { metadata: { uid: string } }, jobs: ChildJob[]): ChildJob[] {
  const own = jobs.filter(({ owners }) => owners.includes(uid));
  return own.sort((a, b) => a.globalIndex - b.globalIndex || (a.name < b.name ? -1 : 1));
}

/** Lists the pods of a JobSet, of all attempts. Without a name, it lists the pods of all JobSets in the namespace. */
export function readPods(
  kubernetes: Pick<Kubernetes, 'core'>,
  namespace: string,
  name?: string,
): Promise<JobPod[]> {
  const labelSelector = `${jobSetNameLabel}${name === undefined ? '' : `=${name}`}`;
  return listPods(kubernetes, { namespace, labelSelector }, toJobPod);
}

/** Reads one pod, through a list, which needs no further right; undefined when there is none of that name. */
export async function findPod(
  kubernetes: Pick<Kubernetes, 'core'>,
  namespace: string,
  name: string,
): Promise<JobPod | undefined> {
  const [found] = await listPods(kubernetes, { namespace, fieldSelector: `metadata.name=${name}` }, toJobPod);
  return found;
}

function toChildJob({ metadata, spec, status }: V1Job): ChildJob {
  const labels = metadata?.labels ?? {};
  return {
    name: metadata?.name ?? '',
    uid: metadata?.uid ?? '',
    owners: metadata?.ownerReferences?.map(({ uid }) => uid) ?? [],
    replicatedJob: labels[`${label}replicatedjob-name`] ?? '',
    globalIndex: Number(labels[`${label}job-global-index`] ?? labels[`${label}job-index`] ?? 0),
    attempt: Number(labels[`${label}restart-attempt`] ?? 0),
    createdAt: toMs(metadata?.creationTimestamp),
    isEnding:
      metadata?.deletionTimestamp !== undefined ||
      (status?.conditions ?? []).some(
        (condition) => ['FailureTarget', 'Failed'].includes(condition.type) && condition.status === 'True',
      ),
    isComplete: (status?.conditions ?? []).some(
      ({ type, status: is }) => type === 'Complete' && is === 'True',
    ),
    failureReasons: toFailureReasons(spec),
    backoffLimit: spec?.backoffLimit ?? 6,
    hasPodFailurePolicy: spec?.podFailurePolicy !== undefined,
    podReplacementPolicy: spec?.podReplacementPolicy,
    isIndexed: spec?.completionMode === 'Indexed',
    podCount: countPods(spec),
    needs: toPodNeeds(spec?.template ?? {}),
  };
}

/** How many pods a Job runs at once. */
export function countPods(spec: V1JobSpec | undefined): number {
  const parallelism = spec?.parallelism ?? 1;
  return Math.min(parallelism, spec?.completions ?? parallelism);
}

function toFailureReasons(spec: V1JobSpec | undefined): string[] {
  return [
    'BackoffLimitExceeded',
    ...(spec?.podFailurePolicy ? ['PodFailurePolicy'] : []),
    ...(spec?.activeDeadlineSeconds === undefined ? [] : ['DeadlineExceeded']),
    ...(spec?.backoffLimitPerIndex === undefined ? [] : ['FailedIndexes', 'MaxFailedIndexesExceeded']),
  ];
}

function toJobPod({ metadata, spec, status }: V1Pod): JobPod {
  const labels = metadata?.labels ?? {};
  const index =
    labels['batch.kubernetes.io/job-completion-index'] ??
    metadata?.annotations?.['batch.kubernetes.io/job-completion-index'];
  return {
    name: metadata?.name ?? '',
    uid: metadata?.uid ?? '',
    jobSetName: labels[jobSetNameLabel] ?? '',
    jobUid: metadata?.ownerReferences?.find(({ kind }) => kind === 'Job')?.uid,
    attempt: Number(labels[`${label}restart-attempt`] ?? 0),
    completionIndex: index === undefined ? undefined : Number(index),
    nodeName: spec?.nodeName,
    isLive: !['Succeeded', 'Failed'].includes(status?.phase ?? ''),
    isTerminating: metadata?.deletionTimestamp !== undefined,
    isReady: (status?.conditions ?? []).some(({ type, status: is }) => type === 'Ready' && is === 'True'),
    graceSeconds: metadata?.deletionGracePeriodSeconds ?? spec?.terminationGracePeriodSeconds ?? 30,
    needs: toPodNeeds({ ...(metadata ? { metadata } : {}), ...(spec ? { spec } : {}) }),
  };
}
