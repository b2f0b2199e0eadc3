import { addDefaultTolerations } from './admission.ts';
import type { ClusterState } from './cluster-state.ts';
import { placeExclusively } from './exclusive-placement.ts';
import { cloneJson, isPodLive } from './objects.ts';
import type { Job, Pod } from './objects.ts';

/** The finalizer that keeps an ended pod until its Job has counted it. */
export const tracking = 'batch.kubernetes.io/job-tracking';
const indexAnnotation = 'batch.kubernetes.io/job-completion-index';

/** Creates the pods that a Job lacks, once the back-off after a failure is over. */
export function createMissingPods(state: ClusterState, job: Job): void {
  const pods = podsOf(state, job);
  // What may still count against parallelism: with policy Failed a terminating pod is not replaced before it has ended.
  const occupied = pods.filter((pod) => isActive(pod) || (countsOnlyFailedPhase(job) && isTerminating(pod)));
  const { parallelism = 1, completions = 1, completionMode } = job.spec;
  const wanted = Math.min(parallelism, completions - (job.status.succeeded ?? 0)) - occupied.length;
  if (wanted <= 0) return;
  const due = toBackoffEnd(state, job);
  if (due > state.now()) return state.wakeAt(due);
  if (completionMode !== 'Indexed') {
    for (let count = 0; count < wanted; count++) createPod(state, job, undefined);
    return;
  }
  const taken = new Set([...parseIndexes(job.status.completedIndexes), ...occupied.map(indexOf)]);
  let left = wanted;
  for (let index = 0; index < completions && left > 0; index++) {
    if (!taken.has(index)) {
      createPod(state, job, index);
      left -= 1;
    }
  }
}

function createPod(state: ClusterState, job: Job, index: number | undefined): void {
  const { name, namespace, uid } = job.metadata;
  const template = cloneJson(job.spec.template);
  const indexText = index === undefined ? {} : { [indexAnnotation]: String(index) };
  const pod: Pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: `${name}${index === undefined ? '' : `-${index}`}-${state.random.suffix()}`,
      generateName: `${name}${index === undefined ? '' : `-${index}`}-`,
      ...(namespace && { namespace }),
      uid: state.random.uuid(),
      resourceVersion: '',
      creationTimestamp: state.time(),
      labels: { ...template.metadata?.labels, ...indexText },
      annotations: { ...template.metadata?.annotations, ...indexText },
      ownerReferences: [
        { apiVersion: 'batch/v1', kind: 'Job', name, uid, controller: true, blockOwnerDeletion: true },
      ],
      finalizers: [tracking],
    },
    spec: { ...template.spec, ...(index !== undefined && { hostname: `${name}-${index}` }) },
    status: { phase: 'Pending', qosClass: 'BestEffort' },
  };
  addDefaultTolerations(pod.spec);
  // JobSet's webhook refuses a follower whose leader has no node yet; the Job controller tries again.
  if (placeExclusively(state, pod)) state.create('pods', pod);
}

const firstBackoffMs = 10_000;
const lastBackoffMs = 600_000;
const failures = new WeakMap<ClusterState, Map<string, { count: number; at: number }>>();

/** Records that pods failed now, so that the next one is created only after a back-off. */
export function recordFailures(state: ClusterState, job: Job, count: number): void {
  const byJob = failures.get(state) ?? new Map<string, { count: number; at: number }>();
  failures.set(state, byJob);
  const before = byJob.get(job.metadata.uid)?.count ?? 0;
  byJob.set(job.metadata.uid, { count: before + count, at: state.now() });
}

/** A failed pod is replaced after 10 s, 20 s, 40 s, … */
function toBackoffEnd(state: ClusterState, job: Job): number {
  const failure = failures.get(state)?.get(job.metadata.uid);
  if (!failure) return 0;
  return failure.at + Math.min(firstBackoffMs * 2 ** (failure.count - 1), lastBackoffMs);
}

export function podsOf(state: ClusterState, job: Job): Pod[] {
  return state.store.lookup('pods', 'owner', job.metadata.uid);
}

export function isActive(pod: Pod): boolean {
  return isPodLive(pod) && !pod.metadata.deletionTimestamp;
}

export function isTerminating(pod: Pod): boolean {
  return isPodLive(pod) && pod.metadata.deletionTimestamp !== undefined;
}

/** Whether a Job counts a pod as failed only once its phase says so; otherwise a terminating one counts at once. */
export function countsOnlyFailedPhase(job: Job): boolean {
  return job.spec.podReplacementPolicy === 'Failed' || job.spec.podFailurePolicy !== undefined;
}

export function indexOf(pod: Pod): number {
  return Number(pod.metadata.annotations?.[indexAnnotation] ?? -1);
}

export function parseIndexes(text: string | undefined): number[] {
  return (text ?? '')
    .split(',')
    .filter(Boolean)
    .flatMap((part) => {
      const [first = 0, last = first] = part.split('-').map(Number);
      return Array.from({ length: last - first + 1 }, (_, offset) => first + offset);
    });
}
