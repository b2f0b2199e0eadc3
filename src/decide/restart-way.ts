import { FailoverError } from '../errors.ts';
import { attemptOf } from '../gke/jobset.ts';
import type { ChildJob, JobPod, JobSet } from '../gke/jobset.ts';
import type { RestartPlan, RestartWay } from '../plan.ts';
import { assertOthersRestart, assertPolicyRestarts } from './restart-policy.ts';

/** How an attempt is ended. */
export type ChosenWay = Pick<RestartPlan, 'restartsLeft' | 'jobs' | 'why'> & { way: RestartWay };

/** The plan is stored, so its size has a bound. */
const mostJobs = 1000;

/**
 * Chooses how to end the attempt: the Job on the pool is made to fail, because that is what JobSet's own restart begins with.
 * Where that failure, or that of another Job, would end the JobSet by its own policy, every Job of the attempt is deleted
 * instead: JobSet makes them anew, counts nothing, and asks no policy.
 *
 * @throws {FailoverError} `restart_refused` where a failure would end the JobSet, and it has too many Jobs for the other way
 */
export function chooseRestartWay(
  jobSet: JobSet,
  jobs: ChildJob[],
  job: ChildJob,
  leader: JobPod | undefined,
): ChosenWay {
  const way = leader && failsByALostPod(job) ? 'leader_pod' : 'job_deadline';
  try {
    const restartsLeft = assertPolicyRestarts(jobSet, job.replicatedJob, way);
    assertOthersRestart(jobSet, jobs, job);
    return { way, ...(restartsLeft === undefined ? {} : { restartsLeft }) };
  } catch (error) {
    if (!(error instanceof FailoverError)) throw error;
    const current = jobs.filter(({ attempt }) => attempt === attemptOf(jobSet));
    if (current.length > mostJobs) throw error;
    return {
      way: 'jobs_recreated',
      jobs: current.map(({ name, uid }) => ({ name, uid })),
      why: error.message,
    };
  }
}

/** Only such a Job fails as soon as a pod of it is deleted. Any other Job replaces the pod and goes on. */
export function failsByALostPod(job: ChildJob): boolean {
  return (
    job.isIndexed &&
    job.backoffLimit === 0 &&
    !job.hasPodFailurePolicy &&
    job.podReplacementPolicy !== 'Failed'
  );
}
