import type { Deadline } from '../clock.ts';
import type { Config } from '../config.ts';
import { isDefiniteRefusal, isUpstreamStatus } from '../errors.ts';
import { withHeaders } from '../gke/direct-core.ts';
import { readJobs } from '../gke/jobset.ts';
import type { ChildJob, JobSet } from '../gke/jobset.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { mapWithSemaphore, Semaphore } from '../gke/semaphore.ts';
import type { RestartPlan, RestartWay } from '../plan.ts';
import type { PoolLock } from '../state/lock.ts';
import { watchGate } from './watch-gate.ts';
import type { WatchedGate } from './watch-gate.ts';

/** An attempt, as it is directly before it is ended. */
export interface EndableAttempt {
  jobSet: JobSet;
  way: RestartWay;
  /** Those of the planned Jobs that are not ending yet. */
  jobs: ChildJob[];
}

interface Tools {
  kubernetes: Kubernetes;
  lock: PoolLock;
  deadline: Deadline;
  config: Config;
}

/** Whether a deletion may have been carried out. */
interface Fate {
  isOpen: boolean;
}

/**
 * Deletes the leader, or sets the Job's deadline, or deletes every Job. A Job that is gone or replaced means that the attempt
 * has ended.
 *
 * @param fate.isOpen is set while a deletion may have been carried out
 * @returns false where the leader was gone or replaced, and not by this call: then nothing was deleted
 */
export async function endAttempt(
  plan: RestartPlan,
  { jobSet, way, jobs }: EndableAttempt,
  { kubernetes, lock, deadline, config }: Tools,
  fate: Fate,
): Promise<boolean> {
  const sending = watchGate(lock.gate, deadline);
  const guarded = kubernetes.throughGate(sending.gate);
  if (way === 'jobs_recreated') {
    await deleteJobs(
      jobs,
      { namespace: plan.jobSet.namespace, concurrency: config.cordonConcurrency },
      guarded,
      {
        fate,
        sending,
      },
    );
    return true;
  }
  try {
    if (way === 'leader_pod' && plan.leader) await deleteLeader(plan.jobSet.namespace, plan.leader, guarded);
    else await setDeadline(plan, guarded);
  } catch (error) {
    fate.isOpen ||= sending.isPassed() && !isDefiniteRefusal(error, 404, 409, 422);
    if (!isUpstreamStatus(error, 404, 409, 422)) throw error;
    // An earlier try may have deleted the leader although its answer was lost.
    if (way === 'leader_pod') return error.mayHaveWorked;
    // The API server may refuse the patch of a Job for another reason than a changed uid.
    const current = await readJobs(kubernetes, jobSet);
    if (current.some(({ uid, isEnding }) => uid === plan.job?.uid && !isEnding)) throw error;
  }
  fate.isOpen = true;
  return true;
}

async function deleteLeader(
  namespace: string,
  { name, uid }: { name: string; uid: string },
  { core }: Pick<Kubernetes, 'core'>,
): Promise<void> {
  const body = { gracePeriodSeconds: 0, preconditions: { uid } };
  await core.deleteNamespacedPod({ namespace, name, body });
}

async function setDeadline(
  { jobSet: { namespace }, job }: RestartPlan,
  { batch }: Pick<Kubernetes, 'batch'>,
): Promise<void> {
  const { name = '', uid = '' } = job ?? {};
  await batch.patchNamespacedJob(
    { namespace, name, body: { metadata: { uid }, spec: { activeDeadlineSeconds: 1 } } },
    withHeaders({ 'Content-Type': 'application/merge-patch+json' }),
  );
}

/**
 * Deletes the Jobs in the foreground, so that JobSet makes each anew only once its last pod is gone. All are sent at once,
 * and none is held back by the failure of another, because a Job that is left without its peers may fail by itself.
 */
async function deleteJobs(
  jobs: ChildJob[],
  { namespace, concurrency }: { namespace: string; concurrency: number },
  { batch }: Pick<Kubernetes, 'batch'>,
  { fate, sending }: { fate: Fate; sending: WatchedGate },
): Promise<void> {
  const errors: unknown[] = [];
  await mapWithSemaphore(new Semaphore(concurrency), jobs, async ({ name, uid }) => {
    try {
      const body = { propagationPolicy: 'Foreground', preconditions: { uid } };
      await batch.deleteNamespacedJob({ namespace, name, body });
      fate.isOpen = true;
    } catch (error) {
      fate.isOpen ||= sending.isPassed() && !isDefiniteRefusal(error, 404, 409);
      // It is gone, or was made anew.
      if (!isUpstreamStatus(error, 404, 409)) errors.push(error);
    }
  });
  // What is left is deleted by a resume of this action, which knows the Jobs by their uids.
  if (errors.length > 0) throw errors[0];
  fate.isOpen = true;
}
