import type { Config } from '../config.ts';
import { readMark, withMark, withoutMark } from '../state/cooldown.ts';
import type { Effect } from '../state/cooldown.ts';
import { deletePodsOnDeadNodes } from './dead-nodes.ts';
import { withHeaders } from '../gke/direct-patch.ts';
import { isDefiniteRefusal, isUpstreamStatus } from '../errors.ts';
import { attemptOf, findJobSet, readJobs } from '../gke/jobset.ts';
import type { JobSet } from '../gke/jobset.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { limitConflicts, readLease } from '../state/lease.ts';
import type { LeaseState } from '../state/lease.ts';
import type { PoolLock } from '../state/lock.ts';
import type { RestartPlan } from '../plan.ts';
import {
  isStillUnderWay,
  readRestartMark,
  restoreRestartMark,
  toMarkName,
  writeRestartMark,
} from '../state/restart-mark.ts';
import { describeRestart } from '../decide/restart-plan.ts';
import { assertPolicyRestarts, assertRestartable } from '../decide/restart-policy.ts';
import type { Step } from '../step.ts';

/** What carrying a restart out needs. */
export interface RestartTools {
  kubernetes: Kubernetes;
  lock: PoolLock;
  config: Config;
  actionId: string;
  /** Called directly before each deletion: pause, and what is schedulable again. */
  beforeDeletion: () => Promise<void>;
}

/**
 * Carries a restart out: deletes the leader pod of the planned Job, or ends the Job by its deadline; then frees the
 * attempt's pods that sit on dead nodes, without which the restart would never end. Safe to repeat.
 *
 * @throws {FailoverError} `restart_refused` when the world has changed so that it would end the run
 */
export async function restartJobSet(plan: RestartPlan, tools: RestartTools): Promise<Step> {
  const outcome = plan.outcome === 'restart' ? await failJob(plan, tools) : plan.outcome;
  if (outcome === 'not_on_pool' || outcome === 'jobset_gone') return { ...describeRestart(plan), outcome };
  const { kubernetes, config, beforeDeletion } = tools;
  // Where no Job was chosen, only what is left of older attempts is ending: the current one is healthy elsewhere.
  const lastAttempt = plan.job ? plan.attempt : plan.attempt - 1;
  const { cordonConcurrency: concurrency } = config;
  const freed = await deletePodsOnDeadNodes(
    { ...plan.jobSet, lastAttempt },
    { kubernetes, concurrency, beforeDeletion },
  );
  return { ...describeRestart(plan), outcome, ...freed };
}

/** Makes the planned Job fail, once an attempt of the JobSet, whoever asks. */
async function failJob(
  plan: RestartPlan,
  tools: RestartTools,
): Promise<'restarted' | 'already_restarting' | 'already_restarted' | 'jobset_gone'> {
  const { kubernetes, lock, config, actionId } = tools;
  const { namespace, name, uid } = plan.jobSet;
  const effect: Effect = `restart ${namespace}/${name}`;
  const countConflict = limitConflicts(toMarkName(namespace, name));
  for (;;) {
    const lease = await readLease(kubernetes, toMarkName(namespace, name));
    const mark = readRestartMark(lease);
    const jobSet = await findJobSet(kubernetes, namespace, name);
    // One that was made anew under its name is another run.
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
    await tools.beforeDeletion();
    const at = new Date(kubernetes.serverNow()).toISOString();
    const cooldownBefore = readMark(lock.annotations, effect);
    await lock.update((annotations) => withMark(annotations, effect, { action: actionId, at }));
    const mine = { action: actionId, jobSetUid: uid, attempt: plan.attempt, at };
    const uids = { jobUid: plan.job?.uid ?? '', leaderUid: plan.leader?.uid };
    const marked = await writeRestartMark(kubernetes, plan.jobSet, { ...mine, ...uids }, lease);
    const takeBack = async (written: LeaseState | undefined) => {
      await lock.update((annotations) => withoutMark(annotations, effect, cooldownBefore));
      if (written) await restoreRestartMark(kubernetes, written, lease);
    };
    if (!marked) {
      // Another pool's action was first; what it did decides.
      await takeBack(undefined);
      countConflict();
      continue;
    }
    try {
      await endJob(kubernetes, plan, jobSet);
      return 'restarted';
    } catch (error) {
      // Nothing was deleted, so nothing may keep the next try out.
      if (isDefiniteRefusal(error, 409, 422)) await takeBack(marked).catch(() => undefined);
      throw error;
    }
  }
}

/** Deletes the leader, or lets the Job's deadline end it. Gone or replaced meanwhile means that it has ended already. */
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
    // A Job has other ways to refuse a patch than by another uid.
    const jobs = plan.way === 'job_deadline' ? await readJobs(kubernetes, jobSet) : [];
    if (jobs.some(({ uid, isFailing }) => uid === plan.job?.uid && !isFailing)) throw error;
  }
}
