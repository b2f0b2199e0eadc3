import { ahead } from '../ahead.ts';
import type { Clock, Deadline } from '../clock.ts';
import type { Config } from '../config.ts';
import { describeRestart } from '../decide/restart-plan.ts';
import { assertOthersRestart, assertPolicyRestarts, assertRestartable } from '../decide/restart-policy.ts';
import { attemptOf, findJobSet, findPod, keepOwn, listJobs } from '../gke/jobset.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { toEndedJobs } from '../plan.ts';
import type { RestartPlan, RestartWay } from '../plan.ts';
import { assertAttemptsLeft } from '../state/attempts.ts';
import { refuseBegun } from '../state/deed.ts';
import { limitConflicts } from '../state/lease.ts';
import type { LeaseState } from '../state/lease-format.ts';
import type { PoolLock } from '../state/lock.ts';
import {
  judgeRestartMark,
  readRestartMark,
  restartMarkEndsAt,
  toMarkName,
  toRestarts,
  readMarkLease,
} from '../state/restart-mark.ts';
import type { RestartMark } from '../state/restart-mark.ts';
import { RestartMarks } from '../state/restart-marks.ts';
import { withWarning } from '../step.ts';
import type { RestartStep } from '../step.ts';
import { deletePodsOnDeadNodes, findOnDeadNodes, toEnding } from './dead-nodes.ts';
import { endAttempt } from './end-attempt.ts';
import { endPodsSooner } from './end-pods-sooner.ts';
import type { EndableAttempt } from './end-attempt.ts';

/** What a restart works with. */
export interface RestartTools {
  kubernetes: Kubernetes;
  lock: PoolLock;
  config: Config;
  actionId: string;
  isAlert: boolean;
  clock: Clock;
  deadline: Deadline;
  /** Called directly before each deletion. Checks the pause, and that the pool is still cordoned; resolves to `cordoned` if it was not. */
  beforeDeletion: () => Promise<unknown>;
  /** The Lease of the JobSet's restart mark, if it is being read already. */
  lastMark?: Promise<LeaseState | undefined> | undefined;
}

/**
 * Restarts the JobSet as planned: deletes the leader pod of the planned Job, or ends the Job by its deadline, or deletes every
 * Job. Then gives the attempt's pods the grace that the caller asked for, and deletes those on dead nodes, because the restart
 * waits for them for ever. Safe to repeat.
 *
 * @throws {FailoverError} `restart_refused` when the JobSet has changed so that a failed Job would end the run;
 *   `attempts_exhausted` when other actions have restarted it too often since the decision
 */
export async function restartJobSet(plan: RestartPlan, tools: RestartTools): Promise<RestartStep> {
  const ended: Ended = plan.outcome === 'restart' ? await endOnce(plan, tools) : { outcome: plan.outcome };
  const { outcome, way = plan.way, suspects } = ended;
  const step = describeRestart({ ...plan, ...(way ? { way } : {}) });
  if (outcome === 'not_on_pool' || outcome === 'jobset_gone') return { ...step, outcome };
  const { kubernetes, config, beforeDeletion } = tools;
  const isLeaderDeleted = outcome === 'restarted' && way === 'leader_pod';
  const { warning, ...sooner } = await endPodsSooner(plan, isLeaderDeleted, tools);
  const freeing = { kubernetes, concurrency: config.cordonConcurrency, beforeDeletion };
  const pods = await deletePodsOnDeadNodes(toEnding(plan), freeing, suspects);
  const done = { ...step, outcome, ...sooner, ...pods };
  return warning === undefined ? done : withWarning(done, warning);
}

/** What came of ending an attempt, and the way that was taken. */
interface Ended {
  outcome: 'restarted' | 'already_restarting' | 'already_restarted' | 'jobset_gone' | 'not_on_pool';
  way?: RestartWay;
  /** The attempt's pods that may hang on dead nodes. */
  suspects?: ReturnType<typeof findOnDeadNodes>;
}

const waitForOthersMs = 10_000;
const pollMs = 500;

/** Ends the planned attempt, at most once, whichever action asks. */
async function endOnce(plan: RestartPlan, tools: RestartTools): Promise<Ended> {
  const marks = new RestartMarks(plan, tools);
  const fate = { isOpen: false };
  try {
    return await endMarked(plan, tools, marks, fate);
  } catch (error) {
    // Nothing was deleted, so the next try must not be held back, also where the time of this one is over.
    if (!fate.isOpen && marks.isBegun) tools.deadline.allowCleanUp();
    if (!fate.isOpen) await marks.takeBack();
    throw error;
  }
}

/**
 * Looks again until there is nothing to do, or the attempt's end was sent and accepted.
 *
 * @param fate.isOpen is set while a deletion may have been carried out
 * @throws {FailoverError} `action_in_progress` while nobody knows what came of the restart that another action has begun
 */
async function endMarked(
  plan: RestartPlan,
  tools: RestartTools,
  marks: RestartMarks,
  fate: { isOpen: boolean },
): Promise<Ended> {
  const { namespace, name } = plan.jobSet;
  const { clock, kubernetes } = tools;
  const { cordonConcurrency } = tools.config;
  const countConflict = limitConflicts(toMarkName(namespace, name));
  const stopWaitingAt = clock.now() + waitForOthersMs;
  let { way } = plan;
  for (let isFirst = true; ; isFirst = false) {
    // At first both are sure to be needed. Both are waited for, because the check may cordon nodes that have joined.
    const [looked, checked] = await Promise.allSettled([
      lookAgain(plan, way, tools, isFirst ? tools.lastMark : undefined),
      isFirst ? tools.beforeDeletion() : undefined,
    ]);
    if (looked.status === 'rejected') throw looked.reason;
    const found = looked.value;
    if ('outcome' in found) {
      // Marks of this claim stand for a deletion that found nothing; those of an earlier claim, for what has ended now.
      if (marks.isBegun) await marks.takeBack();
      else if (found.outcome === 'already_restarting') await marks.accept();
      return found;
    }
    if ('begun' in found) {
      // Another action is between its mark and the answer to its deletion, which is soon known, unless it has died.
      const leftMs = restartMarkEndsAt(found.begun, tools.config) - kubernetes.serverNow();
      if (clock.now() + pollMs >= stopWaitingAt) {
        throw refuseBegun(`the restart of JobSet ${namespace}/${name}`, found.begun, leftMs);
      }
      await clock.sleep(pollMs);
      continue;
    }
    if (checked.status === 'rejected') throw checked.reason;
    // Time has passed since the JobSet was looked at.
    if (isFirst && checked.value === 'cordoned') continue;
    if (!isFirst) await tools.beforeDeletion();
    // What hangs on dead nodes hangs there whatever comes of the deletion. A grace that the caller asked for takes time.
    const isPrompt = plan.graceSeconds === undefined;
    const freeing = { kubernetes, concurrency: cordonConcurrency };
    const suspects = isPrompt ? ahead(findOnDeadNodes(toEnding(plan), freeing)) : undefined;
    if (!(await marks.begin(found.lease))) {
      // An action for another pool was first. What it did decides.
      countConflict();
      continue;
    }
    const isEnded = await endAttempt(plan, found, tools, fate);
    if (isEnded) {
      await marks.accept();
      return { outcome: 'restarted', way: found.way, ...(suspects ? { suspects } : {}) };
    }
    way = 'job_deadline';
  }
}

/** What a restart ends, as it is directly before. */
interface Endable extends EndableAttempt {
  /** The restart mark's Lease, which was read before the JobSet. */
  lease: LeaseState | undefined;
}

/**
 * Reads the JobSet, its restart mark and the planned leader again. Of a leader that has finished, the deletion would
 * change nothing, so its Job is ended by its deadline instead.
 *
 * @returns an outcome where there is nothing to do; the mark of another action while it is only begun
 */
async function lookAgain(
  plan: RestartPlan,
  wantedWay: RestartWay | undefined,
  { kubernetes, config, actionId, isAlert }: RestartTools,
  lastMark?: Promise<LeaseState | undefined>,
): Promise<Ended | { begun: RestartMark } | Endable> {
  const { namespace, name, uid } = plan.jobSet;
  const lease = await (lastMark ?? readMarkLease(kubernetes, plan.jobSet));
  const mark = readRestartMark(lease);
  const planned = wantedWay === 'leader_pod' ? plan.leader : undefined;
  const [jobSet, listed, leader] = await Promise.all([
    findJobSet(kubernetes, namespace, name),
    listJobs(kubernetes, { namespace, name }),
    planned && findPod(kubernetes, namespace, planned.name),
  ]);
  // A JobSet that was re-created under the same name is a different run.
  if (jobSet?.metadata.uid !== uid) return { outcome: 'jobset_gone' };
  if (attemptOf(jobSet) !== plan.attempt) return { outcome: 'already_restarting' };
  const jobs = keepOwn(jobSet, listed);
  const ended = toEndedJobs(plan);
  const left = jobs.filter((candidate) => ended.has(candidate.uid) && !candidate.isEnding);
  const [job] = left;
  if (!job) return { outcome: 'already_restarting' };
  const isOwn = mark?.action === actionId && mark.attempt === plan.attempt && mark.jobSetUid === uid;
  const now = { jobSet, attempt: plan.attempt, jobs, config, serverNow: kubernetes.serverNow() };
  const judged = mark && !isOwn ? judgeRestartMark(mark, now) : undefined;
  if (mark && judged === 'begun') return { begun: mark };
  if (judged === 'already_restarted' || judged === 'already_restarting') return { outcome: judged };
  const restarts = toRestarts(plan.jobSet, lease, plan.attempt);
  await assertAttemptsLeft(kubernetes, restarts, { config, id: actionId, isAlert });
  assertRestartable(jobSet);
  if (plan.jobs) return { jobSet, lease, way: 'jobs_recreated', jobs: left };
  const isLeaderLive = leader !== undefined && leader.uid === planned?.uid && leader.isLive;
  const way = isLeaderLive ? 'leader_pod' : 'job_deadline';
  assertPolicyRestarts(jobSet, job.replicatedJob, way);
  assertOthersRestart(jobSet, jobs, job);
  return { jobSet, lease, way, jobs: left };
}
