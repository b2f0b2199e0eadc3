import { createHash } from 'node:crypto';
import type { Action } from './action.ts';
import type { Config } from './config.ts';
import { readMark, withMark, withoutMark } from './cooldown.ts';
import type { Effect } from './cooldown.ts';
import { freeDeadNodes } from './dead-nodes.ts';
import { FailoverError, isDefiniteRefusal, isUpstreamStatus } from './errors.ts';
import { attemptOf, findJobSet, readJobs, readJobSet, readPods } from './jobset.ts';
import type { ChildJob, FailurePolicyRule, JobPod, JobSet } from './jobset.ts';
import { withHeaders } from './kubernetes.ts';
import type { Kubernetes } from './kubernetes.ts';
import {
  createLease,
  deleteLease,
  limitConflicts,
  parseAnnotation,
  readLease,
  replaceLease,
} from './lease.ts';
import type { LeaseState } from './lease.ts';
import type { PoolLock } from './lock.ts';
import { prefix } from './names.ts';
import { listPool } from './nodes.ts';
import type { NodeRef } from './nodes.ts';
import { countSchedulableElsewhere, isPinnedTo } from './placement.ts';
import type { RestartPlan, Way } from './plan.ts';
import type { Step } from './step.ts';

/** What restarting a JobSet from a pool is about. */
export interface RestartRequest {
  namespace: string;
  jobSetName: string;
  nodePool: string;
  /** The node that the caller named; a Job with a pod there goes first. */
  nodeName: string | undefined;
}

/** What an action asks to restart on a pool. */
export function toRestartRequest(
  { namespace, jobSetName = '', nodeName }: Action,
  nodePool: string,
): RestartRequest {
  return { namespace, jobSetName, nodePool, nodeName };
}

/**
 * Decides how to restart a JobSet from a pool, from fresh reads.
 *
 * @throws {FailoverError} `restart_refused` where it would not restart the run, `target_not_found`
 */
export async function planRestart(
  kubernetes: Kubernetes,
  request: RestartRequest,
  config: Config,
): Promise<RestartPlan> {
  const { namespace, jobSetName, nodePool } = request;
  // The mark is read before the JobSet: what is newer than the mark must not be taken for older.
  const mark = readRestartMark(await readLease(kubernetes, toMarkName(namespace, jobSetName)));
  const jobSet = await readJobSet(kubernetes, namespace, jobSetName);
  assertRestartable(jobSet);
  const [jobs, pods, nodes] = await Promise.all([
    readJobs(kubernetes, jobSet),
    readPods(kubernetes, namespace, jobSetName),
    listPool(kubernetes, nodePool),
  ]);
  const attempt = attemptOf(jobSet);
  const plan = { jobSet: { namespace, name: jobSetName, uid: jobSet.metadata.uid }, attempt };
  const onPool = pods.filter((pod) => pod.isLive && nodes.some((node) => node.name === pod.nodeName));
  const job = chooseJob(jobs, onPool, attempt, request.nodeName);
  if (!job) {
    // What is left of an older attempt is on its way out.
    const isLeaving = onPool.some((pod) => pod.attempt < attempt);
    return { ...plan, outcome: isLeaving ? 'already_restarting' : 'not_on_pool' };
  }
  const chosen = { name: job.name, uid: job.uid, replicatedJob: job.replicatedJob };
  if (job.isFailing) return { ...plan, job: chosen, outcome: 'already_restarting' };
  if (mark && countsFor(mark, { jobSet, attempt, jobs, config, serverNow: kubernetes.serverNow() })) {
    return { ...plan, job: chosen, outcome: 'already_restarted' };
  }
  const leader = pods.find((pod) => pod.jobUid === job.uid && pod.completionIndex === 0 && pod.isLive);
  const way: Way = leader && failsByItsLeader(job) ? 'leader_pod' : 'job_deadline';
  assertPolicyRestarts(jobSet, job.replicatedJob, way);
  assertNotPinned(jobs, onPool, attempt, nodePool, nodes);
  return {
    ...plan,
    job: chosen,
    outcome: 'restart',
    way,
    ...(leader ? { leader: { name: leader.name, uid: leader.uid, nodeName: leader.nodeName } } : {}),
    schedulableElsewhere: await countSchedulableElsewhere(kubernetes, job.podSpec, nodePool),
  };
}

/**
 * Looks again where nothing was restarted: between the decision and the cordon, a newer attempt may have started on the
 * pool. Now that it is cordoned, none can follow.
 *
 * @returns undefined where there is no such attempt
 * @throws {FailoverError} `restart_refused` where it would end the run: it goes on, on a pool that is bad
 */
export async function planNewerAttempt(
  kubernetes: Kubernetes,
  decided: RestartPlan,
  request: RestartRequest,
  config: Config,
): Promise<RestartPlan | undefined> {
  const { namespace, jobSetName } = request;
  const jobSet = await findJobSet(kubernetes, namespace, jobSetName);
  if (jobSet?.metadata.uid !== decided.jobSet.uid || attemptOf(jobSet) === decided.attempt) return undefined;
  const plan = await planRestart(kubernetes, request, config);
  return plan.outcome === 'restart' && plan.jobSet.uid === decided.jobSet.uid ? plan : undefined;
}

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
  const freed = await freeDeadNodes(
    { ...plan.jobSet, lastAttempt },
    { kubernetes, concurrency, beforeDeletion },
  );
  return { ...describeRestart(plan), outcome, ...freed };
}

/** The step of an answer: what is, or in a dry run would be, done. */
export function describeRestart(plan: RestartPlan): Step {
  const { jobSet, outcome, attempt, job, leader, way, schedulableElsewhere } = plan;
  return {
    step: 'restart',
    target: `${jobSet.namespace}/${jobSet.name}`,
    outcome: outcome === 'restart' ? 'would_restart' : outcome,
    attempt,
    ...(job ? { job: job.name } : {}),
    ...(way ? { way } : {}),
    ...(way === 'leader_pod' && leader ? { leader_pod: leader.name } : {}),
    ...(schedulableElsewhere === undefined ? {} : { schedulable_elsewhere: schedulableElsewhere }),
    ...(schedulableElsewhere === 0
      ? {
          warning:
            'no uncordoned node outside the pool matches the pods, so the JobSet will wait for capacity',
        }
      : {}),
  };
}

/** Only this Job fails as soon as its leader is deleted; any other would replace the pod and go on. */
function failsByItsLeader(job: ChildJob): boolean {
  return (
    job.isIndexed &&
    job.backoffLimit === 0 &&
    !job.hasPodFailurePolicy &&
    job.podReplacementPolicy !== 'Failed'
  );
}

/** `node_name`'s Job first, then the lowest global index; only Jobs with a live pod on the pool, for others are healthy. */
function chooseJob(
  jobs: ChildJob[],
  onPool: JobPod[],
  attempt: number,
  nodeName: string | undefined,
): ChildJob | undefined {
  const candidates = jobs.filter(
    (job) => job.attempt === attempt && onPool.some((pod) => pod.jobUid === job.uid),
  );
  const onNode = candidates.find((job) =>
    onPool.some((pod) => pod.jobUid === job.uid && pod.nodeName === nodeName),
  );
  return onNode ?? candidates[0];
}

function refuse(jobSet: JobSet, why: string): FailoverError {
  const { namespace, name } = jobSet.metadata;
  return new FailoverError('restart_refused', `JobSet ${namespace}/${name} ${why}`);
}

const ownController = 'jobset.sigs.k8s.io/jobset-controller';

/** @throws {FailoverError} `restart_refused` where no restart can come of it, whichever Job fails */
function assertRestartable(jobSet: JobSet): void {
  const { metadata, spec, status } = jobSet;
  const finished =
    status?.terminalState ||
    status?.conditions?.find(
      ({ type, status: is }) => ['Completed', 'Failed'].includes(type) && is === 'True',
    )?.type;
  if (metadata.deletionTimestamp) throw refuse(jobSet, 'is being deleted');
  if (finished) throw refuse(jobSet, `is finished (${finished})`);
  if (spec.suspend) throw refuse(jobSet, 'is suspended; resume it first');
  if (spec.managedBy && spec.managedBy !== ownController)
    throw refuse(jobSet, `is managed by ${spec.managedBy}, not by the JobSet controller`);
  const strategy = spec.failurePolicy?.restartStrategy ?? 'Recreate';
  if (!['Recreate', 'BlockingRecreate'].includes(strategy)) {
    throw refuse(jobSet, `has restartStrategy ${strategy}, which this function does not know how to restart`);
  }
}

/**
 * Follows the JobSet controller: the first rule that matches the Job's failure decides, without one RestartJobSet does.
 *
 * @throws {FailoverError} `restart_refused` where the failure would end the run
 */
function assertPolicyRestarts(jobSet: JobSet, replicatedJob: string, way: Way): void {
  const { failurePolicy } = jobSet.spec;
  if (!failurePolicy)
    throw refuse(jobSet, 'has no failurePolicy, so a failed Job would end it; give it maxRestarts');
  const reason = way === 'leader_pod' ? 'BackoffLimitExceeded' : 'DeadlineExceeded';
  const rule = (failurePolicy.rules ?? []).find((candidate) => couldMatch(candidate, reason, replicatedJob));
  const action =
    rule === undefined
      ? 'RestartJobSet'
      : isUnderstood(rule)
        ? (rule.action ?? '')
        : 'a condition that is not known here';
  const which = rule ? ` (rule ${rule.name ?? '?'} of its failurePolicy, for ${reason})` : '';
  if (action === 'RestartJobSetAndIgnoreMaxRestarts') return;
  if (action === 'FailJobSet') throw refuse(jobSet, `would fail for good${which}`);
  if (action !== 'RestartJobSet')
    throw refuse(jobSet, `would not be restarted as a whole: ${action}${which}`);
  const maxRestarts = failurePolicy.maxRestarts ?? 0;
  const counted = jobSet.status?.restartsCountTowardsMax ?? 0;
  if (counted >= maxRestarts) {
    throw refuse(
      jobSet,
      `has used up its restarts (${counted} of maxRestarts ${maxRestarts}), so another would end it; raise maxRestarts`,
    );
  }
}

const understoodRuleFields = new Set(['name', 'action', 'onJobFailureReasons', 'targetReplicatedJobs']);

function isUnderstood(rule: FailurePolicyRule): boolean {
  return Object.keys(rule).every((field) => understoodRuleFields.has(field));
}

function couldMatch(rule: FailurePolicyRule, reason: string, replicatedJob: string): boolean {
  const includesOrAny = (list: string[] | undefined, item: string) => !list?.length || list.includes(item);
  return (
    includesOrAny(rule.onJobFailureReasons, reason) && includesOrAny(rule.targetReplicatedJobs, replicatedJob)
  );
}

/** A restart of pods that may run in this very pool only would leave them Pending, now that it is cordoned. */
function assertNotPinned(
  jobs: ChildJob[],
  onPool: JobPod[],
  attempt: number,
  nodePool: string,
  nodes: NodeRef[],
): void {
  const hostnames = new Set(nodes.flatMap((node) => node.labels['kubernetes.io/hostname'] ?? []));
  const pinned = jobs.find(
    (job) =>
      job.attempt === attempt &&
      onPool.some((pod) => pod.jobUid === job.uid) &&
      isPinnedTo(job.podSpec, nodePool, hostnames),
  );
  if (!pinned) return;
  throw new FailoverError(
    'restart_refused',
    `the pods of Job ${pinned.name} may run in node pool ${nodePool} only, which is to be cordoned; repair it instead (cordon_and_repair_nodepool)`,
  );
}

/** The last restart of a JobSet that this function brought about, whichever pool it was for. */
interface RestartMark {
  action: string;
  jobSetUid: string;
  attempt: number;
  jobUid: string;
  leaderUid: string | undefined;
  /** RFC 3339, by the API server's clock. */
  at: string;
}

const markKey = `${prefix}restart`;

function toMarkName(namespace: string, name: string): string {
  return `jobset-${createHash('sha256').update(`${namespace}/${name}`).digest('hex').slice(0, 32)}`;
}

function readRestartMark(lease: LeaseState | undefined): RestartMark | undefined {
  return lease && (parseAnnotation(lease.annotations, markKey) as RestartMark | undefined);
}

/**
 * Says whether a mark's restart is still the one under way. One whose attempt is still current after the deadline of an
 * action, with its Job alive, came to nothing and doesn't count.
 */
function countsFor(
  mark: RestartMark,
  now: { jobSet: JobSet; attempt: number; jobs: ChildJob[]; config: Config; serverNow: number },
): boolean {
  if (mark.jobSetUid !== now.jobSet.metadata.uid || mark.attempt !== now.attempt) return false;
  if (now.jobs.some((job) => job.uid === mark.jobUid && job.isFailing)) return true;
  return now.serverNow - Date.parse(mark.at) <= now.config.actionDeadlineSeconds * 1000;
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
    if (mark && !isOwn && countsFor(mark, now)) return 'already_restarted';
    assertRestartable(jobSet);
    assertPolicyRestarts(jobSet, job.replicatedJob, plan.way ?? 'job_deadline');
    await tools.beforeDeletion();
    const at = new Date(kubernetes.serverNow()).toISOString();
    const cooldownBefore = readMark(lock.annotations, effect);
    await lock.update((annotations) => withMark(annotations, effect, { action: actionId, at }));
    const marked = await writeRestartMark(kubernetes, plan, lease, { actionId, at });
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

async function writeRestartMark(
  kubernetes: Kubernetes,
  plan: RestartPlan,
  lease: LeaseState | undefined,
  { actionId, at }: { actionId: string; at: string },
): Promise<LeaseState | undefined> {
  const { namespace, name, uid } = plan.jobSet;
  const mark: RestartMark = {
    action: actionId,
    jobSetUid: uid,
    attempt: plan.attempt,
    jobUid: plan.job?.uid ?? '',
    leaderUid: plan.leader?.uid,
    at,
  };
  const annotations = {
    ...lease?.annotations,
    [markKey]: JSON.stringify(mark),
    [`${prefix}jobset`]: `${namespace}/${name}`,
  };
  const changed = { holder: actionId, renewedAt: Date.parse(at), annotations };
  return lease
    ? replaceLease(kubernetes, { ...lease, ...changed })
    : createLease(kubernetes, {
        name: toMarkName(namespace, name),
        labels: { [`${prefix}kind`]: 'jobset' },
        ...changed,
      });
}

async function restoreRestartMark(
  kubernetes: Kubernetes,
  written: LeaseState,
  before: LeaseState | undefined,
): Promise<void> {
  if (before) await replaceLease(kubernetes, { ...before, resourceVersion: written.resourceVersion });
  else await deleteLease(kubernetes, written);
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
