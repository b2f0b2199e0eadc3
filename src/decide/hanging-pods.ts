import type { ChildJob, JobPod } from '../gke/jobset.ts';

// A pod that has ended is not gone yet: if its node dies before the kubelet removes it, it terminates for ever, and the
// JobSet's restart waits for it as for a pod that runs.

/**
 * The live pods, without those that their Job has replaced: on a dead node they terminate for ever, while another pod of the same index
 * runs. Kueue moves a run so: it suspends the JobSet and resumes it, in the same attempt and with the same Jobs.
 */
export function listLive<Pod extends JobPod>(pods: Pod[]): Pod[] {
  const live = pods.filter((pod) => pod.isLive);
  const toIndex = ({ jobUid, completionIndex }: Pod) => `${jobUid}/${completionIndex}`;
  const placed = new Set(
    live.filter((pod) => !pod.isTerminating && pod.nodeName !== undefined).map((pod) => toIndex(pod)),
  );
  const isReplaced = (pod: Pod) =>
    pod.isTerminating && pod.completionIndex !== undefined && placed.has(toIndex(pod));
  return live.filter((pod) => !isReplaced(pod));
}

/** The live pods, or where none is live, those that are terminating. */
export function preferLive<Pod extends JobPod>(pods: Pod[]): Pod[] {
  const live = listLive(pods);
  return live.length > 0 ? live : pods.filter((pod) => pod.isTerminating);
}

/**
 * Says what shows, where no Job of the current attempt has a live pod on a pool, that the JobSet is restarting from there
 * all the same.
 *
 * @param here are the JobSet's pods on the pool, live or not
 * @returns the Job of the current attempt that is failing, or that there are pods of an older attempt
 */
export function findEnding(
  here: JobPod[],
  jobs: ChildJob[],
  attempt: number,
): { job: ChildJob | undefined } | undefined {
  const job = jobs.find(
    (each) => each.attempt === attempt && each.isEnding && here.some((pod) => pod.jobUid === each.uid),
  );
  return job || here.some((pod) => pod.attempt < attempt) ? { job } : undefined;
}
