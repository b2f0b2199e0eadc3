import type { ChildJob, JobPod, JobSet } from '../gke/jobset.ts';
import { attemptOf, countPods } from '../gke/jobset.ts';
import { devicesOf, toPodNeeds } from '../gke/pod-needs.ts';
import type { PodNeeds } from '../gke/pod-needs.ts';
import { hostnameLabel } from './placement.ts';

/** A Job that a restart makes anew. */
export interface NextJob {
  name: string;
  podCount: number;
  needs: PodNeeds;
  /** Something has chosen a node for each of its pods, such as Kueue. */
  isAssigned: boolean;
  /** The present Job of this name; undefined where it has none, because it is not started yet or was deleted. */
  uid: string | undefined;
}

/**
 * Lists the Jobs that a restart makes anew: all of the JobSet. What a Job's pods ask for is what its present pods ask for,
 * because webhooks add to it when a pod is created, but without what was added for this one place.
 */
export function toNextJobs(jobSet: JobSet, jobs: ChildJob[], pods: JobPod[]): NextJob[] {
  const current = new Map(
    jobs.filter(({ attempt }) => attempt === attemptOf(jobSet)).map((job) => [job.name, job]),
  );
  const sample = new Map<string, JobPod>();
  const assigned = new Set<string>();
  for (const pod of pods) {
    const { jobUid = '' } = pod;
    if (!sample.has(jobUid)) sample.set(jobUid, pod);
    const { nodeSelector, exclusiveTopology } = pod.needs;
    if (hostnameLabel in nodeSelector && exclusiveTopology !== hostnameLabel) assigned.add(jobUid);
  }
  const asMade = (job: ChildJob): NextJob => {
    const isAssigned =
      job.needs.isPlacedByKueue || (assigned.has(job.uid) && !(hostnameLabel in job.needs.nodeSelector));
    const needs = ofPods(job.needs, sample.get(job.uid)?.needs, isAssigned);
    return { name: job.name, podCount: job.podCount, needs, isAssigned, uid: job.uid };
  };
  const declared = (jobSet.spec.replicatedJobs ?? []).flatMap(({ name, replicas = 1, template }) =>
    Array.from({ length: replicas }, (_, index): NextJob => {
      const jobName = `${jobSet.metadata.name}-${name}-${index}`;
      const present = current.get(jobName);
      if (present) return asMade(present);
      const needs = toPodNeeds(template?.spec?.template ?? {});
      const podCount = countPods(template?.spec);
      const isAssigned = needs.isPlacedByKueue;
      return { name: jobName, podCount, needs: ofPods(needs, undefined, false), isAssigned, uid: undefined };
    }),
  );
  return declared.filter(({ podCount }) => podCount > 0);
}

function ofPods(template: PodNeeds, pod: PodNeeds | undefined, isAssigned: boolean): PodNeeds {
  if (!pod) return { ...template, tolerations: [...template.tolerations, ...toDeviceTolerations(template)] };
  const { exclusiveTopology } = template;
  // JobSet's webhook sends the followers of a Job to where their leader is.
  const isAdded = (key: string) => key === exclusiveTopology && template.nodeSelector[key] === undefined;
  const nodeSelector = isAssigned
    ? template.nodeSelector
    : Object.fromEntries(Object.entries(pod.nodeSelector).filter(([key]) => !isAdded(key)));
  const { nodeName } = template;
  return { ...pod, nodeName, nodeSelector, exclusiveTopology };
}

/** What GKE adds to a new pod that requests a device: it tolerates the taint with the device's name. */
function toDeviceTolerations(needs: PodNeeds): PodNeeds['tolerations'] {
  return devicesOf(needs).map((key) => ({ key, operator: 'Exists', effect: 'NoSchedule' }));
}
