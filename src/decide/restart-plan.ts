import { jobSetNotFound } from './existing-names.ts';
import { isFromAlert } from '../request/action.ts';
import type { Action } from '../request/action.ts';
import type { Config } from '../config.ts';
import { attemptOf, findJobSet, readJobs } from '../gke/jobset.ts';
import type { ChildJob, JobPod, JobSet } from '../gke/jobset.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { isAccepted } from '../state/deed.ts';
import { findEnding, listLive } from './hanging-pods.ts';
import { judgeNoSpare } from './no-spare.ts';
import type { SpareWish } from './no-spare.ts';
import { predictNextAttempt } from './prediction.ts';
import { describeQueue, findQueue } from './queue.ts';
import type { RestartPlan } from '../plan.ts';
import { judgeRestartMark, readRestartMark } from '../state/restart-mark.ts';
import { readRestartFacts } from './restart-facts.ts';
import type { RestartFacts } from './restart-facts.ts';
import { assertRestartable } from './restart-policy.ts';
import { chooseRestartWay } from './restart-way.ts';
import type { RestartStep } from '../step.ts';
import { toTermination } from './termination.ts';
import { describeAbsence } from './where-it-runs.ts';

/** A JobSet that is to be restarted from a pool. */
export interface RestartRequest {
  namespace: string;
  jobSetName: string;
  nodePool: string;
  /** The node that the caller named. A Job with a pod there is chosen first. */
  nodeName: string | undefined;
  /** No person asks for it now. */
  isFromAlert: boolean;
  /** The seconds that the attempt's pods get to end. Undefined leaves them their own. */
  graceSeconds?: number | undefined;
  /** What is to be done where no spare capacity is. */
  wish: SpareWish;
}

/** Says which JobSet an action restarts from a pool. */
export function toRestartRequest(action: Action, nodePool: string): RestartRequest {
  const { namespace, jobSetName = '', nodeName, restartGraceSeconds: graceSeconds } = action;
  return {
    namespace,
    jobSetName,
    nodePool,
    nodeName,
    isFromAlert: isFromAlert(action),
    graceSeconds,
    wish: action,
  };
}

/**
 * Decides how to restart a JobSet from a pool, from fresh reads.
 * @throws {FailoverError} `restart_refused` where no restart can come of it; `target_not_found`;
 *   `target_mismatch` where a caller has named a pool that the JobSet has never run on
 */
export async function planRestart(
  kubernetes: Kubernetes,
  request: RestartRequest,
  config: Config,
  known?: RestartFacts,
): Promise<RestartPlan> {
  const { namespace, jobSetName, nodePool, wish } = request;
  const facts = known ?? (await readRestartFacts(kubernetes, request));
  const { jobSet, jobs, pods, nodes } = facts;
  const mark = readRestartMark(facts.markLease);
  if (!jobSet) throw await jobSetNotFound(kubernetes, namespace, jobSetName);
  assertRestartable(jobSet);
  const attempt = attemptOf(jobSet);
  const plan = { jobSet: { namespace, name: jobSetName, uid: jobSet.metadata.uid }, attempt };
  const isHere = (pod: JobPod) => nodes.some((node) => node.name === pod.nodeName);
  const live = listLive(pods);
  const [here, onPool] = [pods.filter(isHere), live.filter(isHere)];
  const ending = findEnding(here, jobs, attempt);
  const job = chooseJob(jobs, onPool, attempt, request.nodeName) ?? ending?.job;
  if (!job) {
    // Pods of an older attempt are being deleted.
    if (ending) return { ...plan, outcome: 'already_restarting' };
    const wasRestarted = attempt > 0 || (mark?.jobSetUid === plan.jobSet.uid && isAccepted(mark));
    const absence = await describeAbsence(kubernetes, { ...request, attempt, pods, wasRestarted });
    return { ...plan, outcome: 'not_on_pool', ...absence };
  }
  const chosen = { name: job.name, uid: job.uid, replicatedJob: job.replicatedJob };
  const predict = () => {
    const shared = { jobSet, jobs, pods, onPool, nodePool, poolNodes: nodes, planned: job };
    const mayStay = wish.whenNoSpare === 'repair';
    return predictNextAttempt(kubernetes, { ...shared, namespaces: config.allowedNamespaces, mayStay });
  };
  if (job.isEnding) {
    // It has ended by itself, and the pool that is to be cordoned may be the only one that it can come back to.
    const waiting = wish.whenNoSpare === 'repair' ? await predict() : undefined;
    const inPlace =
      waiting?.spare && waiting.lacksSpare !== undefined ? { ...waiting, inPlace: true as const } : {};
    return { ...plan, job: chosen, outcome: 'already_restarting', ...inPlace };
  }
  const now = { jobSet, attempt, jobs, config, serverNow: kubernetes.serverNow() };
  const outcome = mark && judgeRestartMark(mark, now);
  // What is only begun is decided after the cordon, when the answer to its deletion has come.
  if (outcome && outcome !== 'begun') return { ...plan, job: chosen, outcome };
  const leader = live.find((pod) => pod.jobUid === job.uid && pod.completionIndex === 0);
  const chosenWay = chooseRestartWay(jobSet, jobs, job, leader);
  const prediction = await predict();
  const noSpare = judgeNoSpare(prediction, wish, `${namespace}/${jobSetName}`);
  const queue = findQueue(jobSet);
  return {
    ...plan,
    job: chosen,
    outcome: 'restart',
    ...chosenWay,
    ...toTermination({ jobs, pods, attempt, planned: job, leader }, chosenWay.way, request.graceSeconds),
    ...(leader ? { leader: { name: leader.name, uid: leader.uid, nodeName: leader.nodeName } } : {}),
    ...(queue === undefined ? {} : { queue }),
    ...prediction,
    ...noSpare,
  };
}

/**
 * Plans again where nothing was restarted: between the decision and the cordon, a newer attempt may have started on the
 * pool. None can follow, because the pool is cordoned now.
 *
 * @returns undefined where there is no such attempt
 * @throws {FailoverError} `restart_refused` where no restart can come of it; the run goes on, on a bad pool
 */
export async function planNewerAttempt(
  kubernetes: Kubernetes,
  decided: RestartPlan,
  request: RestartRequest,
  config: Config,
): Promise<RestartPlan | undefined> {
  const { namespace, jobSetName } = request;
  const jobSet = await findJobSet(kubernetes, namespace, jobSetName);
  if (jobSet?.metadata.uid !== decided.jobSet.uid) return undefined;
  if (attemptOf(jobSet) === decided.attempt && !(await wasMadeAnew(kubernetes, jobSet, decided))) {
    return undefined;
  }
  const plan = await planRestart(kubernetes, request, config);
  return plan.outcome === 'restart' && plan.jobSet.uid === decided.jobSet.uid ? plan : undefined;
}

/** Jobs that were deleted come back in the same attempt. */
async function wasMadeAnew(
  kubernetes: Kubernetes,
  jobSet: JobSet,
  { job, attempt }: RestartPlan,
): Promise<boolean> {
  if (!job) return false;
  const jobs = await readJobs(kubernetes, jobSet);
  return jobs.some((each) => each.attempt === attempt && each.name === job.name && each.uid !== job.uid);
}

/** The step of the answer. Before the restart, and in a dry run, its outcome is `would_restart`. */
export function describeRestart(plan: RestartPlan): RestartStep {
  const { jobSet, outcome, attempt, job, jobs, leader, way, restartsLeft, schedulableElsewhere } = plan;
  const { spare, lacksSpare, inPlace } = plan;
  const warnings = [plan.warning, inPlace ? undefined : warnOfRoom(plan)].filter(
    (text) => text !== undefined,
  );
  return {
    step: 'restart',
    target: `${jobSet.namespace}/${jobSet.name}`,
    outcome: outcome === 'restart' ? 'would_restart' : outcome,
    attempt,
    ...(job ? { job: job.name } : {}),
    ...(way ? { way } : {}),
    ...(way === 'leader_pod' && leader ? { leader_pod: leader.name } : {}),
    ...(jobs === undefined ? {} : { jobs: jobs.length }),
    ...(plan.why === undefined ? {} : { why: plan.why }),
    ...(plan.graceSeconds === undefined ? {} : { restart_grace_seconds: plan.graceSeconds }),
    ...(plan.terminatesWithinSeconds === undefined
      ? {}
      : { terminates_within_seconds: plan.terminatesWithinSeconds }),
    ...(restartsLeft === undefined ? {} : { restarts_left: restartsLeft }),
    ...(schedulableElsewhere === undefined ? {} : { schedulable_elsewhere: schedulableElsewhere }),
    ...(spare === undefined ? {} : { spare }),
    ...(inPlace && lacksSpare !== undefined ? { in_place: lacksSpare } : {}),
    ...(plan.queue === undefined ? {} : { queue: describeQueue(plan.queue) }),
    ...(plan.runsOn === undefined ? {} : { runs_on: plan.runsOn }),
    ...(warnings.length === 0 ? {} : { warning: warnings.join('; ') }),
  };
}

/** An earlier version recorded the warning alone. */
function warnOfRoom({ roomWarning, lacksSpare, spare }: RestartPlan): string | undefined {
  if (roomWarning !== undefined || lacksSpare === undefined) return roomWarning;
  return spare ? `${lacksSpare}, so the JobSet will wait for capacity` : lacksSpare;
}

/** Chooses among the Jobs with a live pod on the pool, because others are healthy: the Job on `node_name`, else the lowest global index. */
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
