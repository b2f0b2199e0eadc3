import type { Config } from '../config.ts';
import { describeRestart } from '../decide/restart-plan.ts';
import { assertPolicyRestarts, assertRestartable } from '../decide/restart-policy.ts';
import { isDefiniteRefusal, isUpstreamStatus } from '../errors.ts';
import { withHeaders } from '../gke/direct-patch.ts';
import { attemptOf, findJobSet, readJobs } from '../gke/jobset.ts';
import type { JobSet } from '../gke/jobset.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import type { RestartPlan } from '../plan.ts';
import { readMark, withMark, withoutMark } from '../state/cooldown.ts';
import type { Effect } from '../state/cooldown.ts';
import { limitConflicts, readLease } from '../state/lease.ts';
import type { LeaseState } from '../state/lease.ts';
import type { PoolLock } from '../state/lock.ts';
import {
  isStillUnderWay,
  readRestartMark,
  restoreRestartMark,
  toMarkName,
  writeRestartMark,
} from '../state/restart-mark.ts';
import type { RestartStep } from '../step.ts';
import { deletePodsOnDeadNodes } from './dead-nodes.ts';

/** What a restart works with. */
export interface RestartTools {
  kubernetes: Kubernetes;
  lock: PoolLock;
  config: Config;
  actionId: string;
  /** Called directly before each deletion. Checks the pause, and that the pool is still cordoned. */
  beforeDeletion: () => Promise<void>;
}

/**
 * Restarts the JobSet as planned: deletes the leader pod of the planned Job, or ends the Job by its deadline. Then deletes
 * the attempt's pods on dead nodes, because the restart waits for them for ever. Safe to repeat.
 *
 * @throws {FailoverError} `restart_refused` when the JobSet has changed so that a failed Job would end the run
 */
export async function restartJobSet(plan: RestartPlan, tools: RestartTools): Promise<RestartStep> {
  const outcome = plan.outcome === 'restart' ? await failJob(plan, tools) : plan.outcome;
  if (outcome === 'not_on_pool' || outcome === 'jobset_gone') return { ...describeRestart(plan), outcome };
  const { kubernetes, config, beforeDeletion } = tools;
  // Where no Job was chosen, only older attempts are ending: the current attempt is healthy elsewhere.
  const lastAttempt = plan.job ? plan.attempt : plan.attempt - 1;
  const pods = await deletePodsOnDeadNodes(
    { ...plan.jobSet, lastAttempt },
    { kubernetes, concurrency: config.cordonConcurrency, beforeDeletion },
  );
  return { ...describeRestart(plan), outcome, ...pods };
}

type FailOutcome = 'restarted' | 'already_restarting' | 'already_restarted' | 'jobset_gone';

/** Makes the planned Job fail, at most once for each attempt of the JobSet, whichever action asks. */
async function failJob(plan: RestartPlan, tools: RestartTools): Promise<FailOutcome> {
  const { namespace, name } = plan.jobSet;
  const countConflict = limitConflicts(toMarkName(namespace, name));
  for (;;) {
    const found = await lookAgain(plan, tools);
    if (typeof found === 'string') return found;
    await tools.beforeDeletion();
    const marks = await writeMarks(plan, found.lease, tools);
    if (!marks) {
      // An action for another pool was first. What it did decides.
      countConflict();
      continue;
    }
    try {
      await endJob(tools.kubernetes, plan, found.jobSet);
      return 'restarted';
    } catch (error) {
      // Nothing was deleted, so the next try must not be held back.
      if (isDefiniteRefusal(error, 409, 422)) await marks.takeBack().catch(() => undefined);
      throw error;
    }
  }
}

/**
 * Reads the JobSet and its restart mark again.
 *
 * @returns an outcome where there is nothing to do; else the JobSet, and the mark's Lease, which was read before it
 */
async function lookAgain(
  plan: RestartPlan,
  { kubernetes, config, actionId }: RestartTools,
): Promise<FailOutcome | { jobSet: JobSet; lease: LeaseState | undefined }> {
  const { namespace, name, uid } = plan.jobSet;
  const lease = await readLease(kubernetes, toMarkName(namespace, name));
  const mark = readRestartMark(lease);
  const jobSet = await findJobSet(kubernetes, namespace, name);
  // A JobSet that was re-created under the same name is a different run.
  if (jobSet?.metadata.uid !== uid) return 'jobset_gone';
  if (attemptOf(jobSet) !== plan.attempt) return 'already_restarting';
  const jobs = await readJobs(kubernetes, jobSet);
  const job = jobs.find((candidate) => candidate.uid === plan.job?.uid);
  if (!job || job.isFailing) return 'already_restarting';
  const isOwn = mark?.action === actionId && mark.attempt === plan.attempt && mark.jobSetUid === uid;
  const now = { jobSet, attempt: plan.attempt, jobs, config, serverNow: kubernetes.serverNow() };
  if (mark && !isOwn && isStillUnderWay(mark, now)) return 'already_restarted';
  assertRestartable(jobSet);
  assertPolicyRestarts(jobSet, job.replicatedJob, plan.way ?? 'job_deadline');
  return { jobSet, lease };
}

/**
 * Writes the pool's cooldown mark and the JobSet's restart mark, before anything is deleted.
 *
 * @param lease is the restart mark's Lease as it was read before the JobSet
 * @returns undefined where another action has written the restart mark since; then no mark is left
 */
async function writeMarks(
  plan: RestartPlan,
  lease: LeaseState | undefined,
  { kubernetes, lock, actionId }: RestartTools,
): Promise<{ takeBack: () => Promise<void> } | undefined> {
  const { namespace, name, uid } = plan.jobSet;
  const effect: Effect = `restart ${namespace}/${name}`;
  const at = new Date(kubernetes.serverNow()).toISOString();
  const before = readMark(lock.annotations, effect);
  await lock.update((annotations) => withMark(annotations, effect, { action: actionId, at }));
  const uids = { jobSetUid: uid, jobUid: plan.job?.uid ?? '', leaderUid: plan.leader?.uid };
  const mark = { action: actionId, attempt: plan.attempt, at, ...uids };
  const written = await writeRestartMark(kubernetes, plan.jobSet, mark, lease);
  const takeBack = async () => {
    await lock.update((annotations) => withoutMark(annotations, effect, before));
    if (written) await restoreRestartMark(kubernetes, written, lease);
  };
  if (written) return { takeBack };
  await takeBack();
  return undefined;
}

/** Deletes the leader, or sets the Job's deadline. A pod or Job that is gone or replaced means that the attempt has ended. */
async function endJob(kubernetes: Kubernetes, plan: RestartPlan, jobSet: JobSet): Promise<void> {
  const { core, batch } = kubernetes;
  const { namespace } = plan.jobSet;
  try {
    if (plan.way === 'leader_pod' && plan.leader) {
      const { name, uid } = plan.leader;
      await core.deleteNamespacedPod({
        namespace,
        name,
        body: { gracePeriodSeconds: 0, preconditions: { uid } },
      });
    } else {
      const { name = '', uid = '' } = plan.job ?? {};
      await batch.patchNamespacedJob(
        { namespace, name, body: { metadata: { uid }, spec: { activeDeadlineSeconds: 1 } } },
        withHeaders({ 'Content-Type': 'application/merge-patch+json' }),
      );
    }
  } catch (error) {
    if (!isUpstreamStatus(error, 404, 409, 422)) throw error;
    // The API server may refuse the patch of a Job for another reason than a changed uid.
    const jobs = plan.way === 'job_deadline' ? await readJobs(kubernetes, jobSet) : [];
    if (jobs.some(({ uid, isFailing }) => uid === plan.job?.uid && !isFailing)) throw error;
  }
}
