import type { Clock, Deadline } from '../clock.ts';
import type { Config } from '../config.ts';
import { failsByALostPod } from '../decide/restart-way.ts';
import { mostWaitSeconds } from '../decide/termination.ts';
import { readJobs, readPods } from '../gke/jobset.ts';
import type { ChildJob, JobPod } from '../gke/jobset.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { toEndedJobs } from '../plan.ts';
import type { RestartPlan } from '../plan.ts';
import type { PoolLock } from '../state/lock.ts';
import { concurrently, deletePod } from './dead-nodes.ts';

/** What came of it, for the restart's step. */
export interface EndedSooner {
  /** How many pods were deleted with fewer seconds than their own. */
  ended_sooner?: number;
  /** What keeps its own grace. */
  warning?: string;
}

interface Tools {
  kubernetes: Kubernetes;
  lock: PoolLock;
  clock: Clock;
  deadline: Deadline;
  config: Config;
  /** Called before the pods that are found at once are deleted. */
  beforeDeletion: () => Promise<unknown>;
}

/** How long JobSet may take to delete the other Jobs, beside the time that pods get. */
const slackSeconds = 10;
const pollMs = { first: 250, later: 1_000 };
const firstMs = 3_000;
/** The rest of the action needs this. */
const spareMs = 15_000;

/**
 * Gives the pods of the planned attempt the grace that the caller asked for, where it is shorter than theirs. Only pods of Jobs
 * that are certain to end are deleted: of any other Job, the pods would be replaced in the same attempt, and the new ones would
 * have to end as well. So it waits until JobSet has deleted the other Jobs. A pod of a newer attempt, or of a Job that was made
 * anew, is never touched. Safe to repeat.
 *
 * @param isLeaderDeleted says that the planned Job has just lost its leader, and so fails
 */
export async function endPodsSooner(
  plan: RestartPlan,
  isLeaderDeleted: boolean,
  { kubernetes, lock, clock, deadline, config, beforeDeletion }: Tools,
): Promise<EndedSooner> {
  const { graceSeconds, jobSet } = plan;
  // Only a plan that restarts has it.
  if (graceSeconds === undefined) return {};
  const startedAt = clock.now();
  const stopAt = startedAt + waitMs(graceSeconds, deadline);
  const looked = new Set<string>();
  let endedSooner = 0;
  for (;;) {
    const jobs = await readEndedJobs(kubernetes, plan);
    const ending = jobs.filter((job) => job.isEnding || (isLeaderDeleted && failsByALostPod(job)));
    // A Job that ends makes no further pods, so it is looked at once.
    const slow = await findSlow(kubernetes, plan, new Set(toUids(ending)).difference(looked), graceSeconds);
    if (slow.length > 0) {
      await beforeDeletion();
      await concurrently(slow, config.cordonConcurrency, (pod) =>
        deletePod(kubernetes, jobSet.namespace, pod, graceSeconds),
      );
      endedSooner += slow.length;
    }
    for (const uid of toUids(ending)) looked.add(uid);
    const left = jobs.filter((job) => !ending.includes(job) && !job.isComplete);
    const waitingMs = clock.now() - startedAt < firstMs ? pollMs.first : pollMs.later;
    if (left.length === 0 || clock.now() + waitingMs >= stopAt) {
      return {
        ...(endedSooner > 0 ? { ended_sooner: endedSooner } : {}),
        ...(left.length > 0 ? { warning: describeLeft(left) } : {}),
      };
    }
    await clock.sleep(waitingMs);
    // Without a write, the lock would expire meanwhile.
    await lock.gate();
  }
}

function waitMs(graceSeconds: number, deadline: Deadline): number {
  const wantedMs = Math.min(graceSeconds + slackSeconds, mostWaitSeconds + slackSeconds) * 1000;
  return Math.max(0, Math.min(wantedMs, deadline.leftMs() - spareMs));
}

/** The Jobs of the planned attempt. Where Jobs are made anew in the same attempt, only those that the plan names. */
async function readEndedJobs(
  kubernetes: Kubernetes,
  { jobSet, attempt, job, jobs: planned }: RestartPlan,
): Promise<ChildJob[]> {
  const named = planned && toEndedJobs({ ...(job ? { job } : {}), jobs: planned });
  const jobs = await readJobs(kubernetes, { metadata: jobSet });
  return jobs.filter((each) => each.attempt === attempt && (named?.has(each.uid) ?? true));
}

async function findSlow(
  kubernetes: Kubernetes,
  { jobSet: { namespace, name }, attempt }: RestartPlan,
  uids: ReadonlySet<string>,
  graceSeconds: number,
): Promise<JobPod[]> {
  if (uids.size === 0) return [];
  const pods = await readPods(kubernetes, namespace, name);
  return pods.filter(
    (pod) =>
      pod.isLive && pod.attempt === attempt && uids.has(pod.jobUid ?? '') && pod.graceSeconds > graceSeconds,
  );
}

function toUids(jobs: ChildJob[]): string[] {
  return jobs.map(({ uid }) => uid);
}

const mostNames = 5;

function describeLeft(jobs: ChildJob[]): string {
  const names = jobs.slice(0, mostNames).map(({ name }) => name);
  const more = jobs.length > mostNames ? ` and ${jobs.length - mostNames} more` : '';
  return `Jobs ${names.join(', ')}${more} had not begun to end when the action was answered, so their pods end with their own grace`;
}
