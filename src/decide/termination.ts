import type { ChildJob, JobPod } from '../gke/jobset.ts';
import type { RestartPlan, RestartWay } from '../plan.ts';
import { failsByALostPod } from './restart-way.ts';

/** What a restart ends. */
export interface EndedAttempt {
  jobs: ChildJob[];
  pods: JobPod[];
  attempt: number;
  /** The Job that is made to fail. */
  planned: ChildJob;
  leader: JobPod | undefined;
}

/** A restart waits at most this long for Jobs to begin to end: the caller waits for the answer. */
export const mostWaitSeconds = 60;

/**
 * Says how long the pods of an attempt may take to end, because the next attempt begins only after that. JobSet deletes the other
 * Jobs once the planned one has failed, which it has when its last pod is gone, so the two times add up, unless all pods are
 * deleted at once.
 *
 * @param graceSeconds is what the caller gives the pods to end; it shortens their own, and never prolongs it
 */
export function toTermination(
  { jobs, pods, attempt, planned, leader }: EndedAttempt,
  way: RestartWay,
  graceSeconds: number | undefined,
): Pick<RestartPlan, 'graceSeconds' | 'terminatesWithinSeconds'> {
  const others = jobs.filter((job) => job.attempt === attempt && job.uid !== planned.uid);
  const ofOthers = new Set(others.map(({ uid }) => uid));
  // The leader itself is deleted with grace 0.
  const isTrigger = (pod: JobPod) => way === 'leader_pod' && pod.uid === leader?.uid;
  const longest = (isCounted: (pod: JobPod) => boolean, grace = Infinity) =>
    pods
      .filter((pod) => pod.isLive && isCounted(pod))
      .reduce((most, pod) => Math.max(most, Math.min(pod.graceSeconds, grace)), 0);
  const first = longest((pod) => pod.jobUid === planned.uid && !isTrigger(pod), graceSeconds);
  const given = graceSeconds === undefined ? {} : { graceSeconds };
  const isOther = ({ jobUid = '' }: JobPod) => ofOthers.has(jobUid);
  const failsWhole = graceSeconds !== undefined && [planned, ...others].every((job) => failsByALostPod(job));
  if (way === 'jobs_recreated' || (way === 'leader_pod' && failsWhole)) {
    return { ...given, terminatesWithinSeconds: Math.max(first, longest(isOther, graceSeconds)) };
  }
  const isWaitedFor = graceSeconds !== undefined && graceSeconds < mostWaitSeconds;
  const then = longest(isOther, isWaitedFor ? graceSeconds : undefined);
  return { ...given, terminatesWithinSeconds: first + then };
}
