import { attemptOf, countPods, findJobSet } from '../gke/jobset.ts';
import type { JobSet } from '../gke/jobset.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { latest, listRunPods } from '../gke/run-pods.ts';
import type { RunPod } from '../gke/run-pods.ts';
import { toMs } from '../clock.ts';
import type { RestartPlan } from '../plan.ts';
import { countReasons } from './judgement.ts';
import type { Judgement } from './judgement.ts';

/** What the cluster says about a run. */
export interface Run {
  jobSet: JobSet | undefined;
  pods: RunPod[];
}

/** Reads a JobSet and its pods: two calls. */
export async function readRun(
  kubernetes: Kubernetes,
  { namespace, name }: { namespace: string; name: string },
): Promise<Run> {
  // The JobSet first: pods of an attempt that it does not tell of yet are left out, and not the other way round.
  const jobSet = await findJobSet(kubernetes, namespace, name);
  const pods = jobSet ? await listRunPods(kubernetes, namespace, name) : [];
  return { jobSet, pods };
}

/**
 * Judges a restart: is the run back?
 *
 * @param listCordoned lists the names of the cordoned nodes of the pool; asked only once every pod is well
 */
export async function judgeRun(
  { jobSet: planned, attempt: ended, jobs: recreated = [] }: Pick<RestartPlan, 'jobSet' | 'attempt' | 'jobs'>,
  { jobSet, pods }: Run,
  listCordoned: () => Promise<Set<string>>,
): Promise<Judgement> {
  const what = `JobSet ${planned.namespace}/${planned.name}`;
  if (!jobSet) return { verdict: 'run_ended', why: `${what} is gone` };
  if (jobSet.metadata.uid !== planned.uid) {
    return { verdict: 'run_ended', why: `${what} was deleted, and another one has its name` };
  }
  const attempt = attemptOf(jobSet);
  const end = findEnd(jobSet);
  if (end?.type === 'Completed') {
    return { verdict: 'recovered', at: end.at, attempt, why: `${what} completed` };
  }
  if (end?.type === 'Failed') {
    return { verdict: 'run_ended', attempt, why: `${what} has failed for good${end.why}` };
  }
  // Jobs that were deleted come back in the same attempt.
  const deleted = new Set(recreated.map(({ uid }) => uid));
  const isEnded = ({ attempt: its, jobUid = '' }: RunPod) =>
    its < attempt || (its === ended && (deleted.size === 0 || deleted.has(jobUid)));
  const left = pods.filter((pod) => isEnded(pod));
  const still = left.filter((pod) => pod.attempt === attempt && !pod.isTerminating);
  // Until the old pods end, they are on cordoned nodes. Without a cordon, nothing tells them from new ones.
  const isResumedElsewhere = async (): Promise<boolean> => {
    const wanted = countWantedPods(jobSet);
    const isBack = still.length >= wanted && still.every((pod) => pod.isWell) && jobSet.spec.suspend !== true;
    if (!isBack) return false;
    const cordoned = await listCordoned();
    return (
      cordoned.size > 0 && still.every(({ nodeName = '' }) => nodeName !== '' && !cordoned.has(nodeName))
    );
  };
  const heldUpOn = [...new Set(left.flatMap(({ nodeName }) => nodeName ?? []))];
  if (
    attempt < ended ||
    (attempt === ended && (deleted.size === 0 || (left.length > 0 && left.length === pods.length)))
  ) {
    const wasResumed = attempt === ended && deleted.size === 0 && (await isResumedElsewhere());
    if (wasResumed) {
      const why = `${what} runs elsewhere in the same attempt: it was suspended and resumed before it had restarted, or its Job made the pods anew`;
      return { verdict: 'recovered', attempt, at: latest(still.map((pod) => pod.since)), why };
    }
    const reasons = left.map((pod) => (pod.isTerminating ? 'still terminating' : `still ${describe(pod)}`));
    const suspended = jobSet.spec.suspend === true ? `; it ${suspendedText}` : '';
    const rest = reasons.length === 0 ? '' : `: ${countReasons(reasons, `${reasons.length} pods are`)}`;
    const why = `${what} has not restarted, it is still in attempt ${attempt}${rest}${suspended}`;
    return { verdict: undefined, attempt, heldUpOn, why };
  }
  const current = pods.filter((pod) => pod.attempt === attempt && !isEnded(pod) && !pod.isTerminating);
  const well = current.filter((pod) => pod.isWell);
  const wanted = countWantedPods(jobSet);
  // Where a Job has more completions than parallelism, pods that have succeeded do not stand for those that are to run.
  const isWaiting = current.some((pod) => !pod.isWell && !pod.isFailed) || jobSet.spec.suspend === true;
  if (well.length >= wanted && !isWaiting) {
    const cordoned = await listCordoned();
    const stranded = well.filter(({ nodeName }) => nodeName !== undefined && cordoned.has(nodeName));
    if (stranded.length === 0) {
      return { verdict: 'recovered', attempt, at: latest(well.map((pod) => pod.since)) };
    }
    const why = `${stranded.length} of ${wanted} pods run on nodes of the pool that are cordoned`;
    return { verdict: undefined, attempt, why };
  }
  const reasons = current.filter((pod) => !pod.isWell).map((pod) => `are ${pod.trouble}`);
  const leaving = pods.filter((pod) => pod.attempt === attempt && !isEnded(pod) && pod.isTerminating);
  reasons.push(...leaving.map(() => 'are terminating'));
  const missing = Math.max(0, wanted - current.length - leaving.length);
  const total = Math.max(wanted, current.length);
  const why = [
    ...(jobSet.spec.suspend === true ? [`${what} ${suspendedText}`] : []),
    ...(reasons.length > 0 ? [countReasons(reasons, `${total} pods`)] : []),
    ...(missing > 0 ? [`${missing} of ${wanted} pods do not exist`] : []),
    ...(left.length > 0 ? [`${left.length} pods of earlier attempts are still there`] : []),
  ].join('; ');
  return { verdict: undefined, attempt, why, heldUpOn };
}

const suspendedText = 'is suspended, for example by a queue';

function describe({ isWell, trouble }: RunPod): string {
  return isWell ? 'Ready' : trouble;
}

/** The pods that the Jobs of an attempt ask for. */
export function countWantedPods({ spec }: JobSet): number {
  return (spec.replicatedJobs ?? []).reduce(
    (sum, { replicas = 1, template }) => sum + replicas * countPods(template?.spec),
    0,
  );
}

function findEnd({
  status,
}: JobSet): { type: 'Completed' | 'Failed'; at: number | undefined; why: string } | undefined {
  for (const type of ['Completed', 'Failed'] as const) {
    const condition = status?.conditions?.find((each) => each.type === type && each.status === 'True');
    if (!condition && status?.terminalState !== type) continue;
    const why = condition?.message ? ` (${condition.message.replaceAll(/\s+/g, ' ').slice(0, 200)})` : '';
    return { type, at: toMs(condition?.lastTransitionTime), why };
  }
  return undefined;
}
