import { isUpstreamStatus } from '../errors.ts';
import { findJobSet, readPods } from '../gke/jobset.ts';
import type { JobPod } from '../gke/jobset.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { isDead } from '../gke/node-health.ts';
import { listNodeHealth, readNodeHealth } from '../gke/nodes.ts';
import { Semaphore, mapWithSemaphore } from '../gke/semaphore.ts';
import { toEndedJobs } from '../plan.ts';
import type { RestartPlan } from '../plan.ts';

/** Restart attempts of a JobSet that are ending. */
export interface EndingAttempts {
  namespace: string;
  name: string;
  uid: string;
  /** This attempt and all before it are ending. */
  lastAttempt: number;
  /** Of the last attempt, only these Jobs are ending: JobSet makes them anew in the same attempt. */
  jobUids?: ReadonlySet<string>;
}

/** Says what a restart ends. */
export function toEnding(plan: RestartPlan): EndingAttempts {
  // Where no Job was chosen, only older attempts are ending: the current attempt is healthy elsewhere.
  const lastAttempt = plan.job ? plan.attempt : plan.attempt - 1;
  return { ...plan.jobSet, lastAttempt, ...(plan.jobs ? { jobUids: toEndedJobs(plan) } : {}) };
}

function isOfEnding({ attempt, jobUid = '' }: JobPod, { lastAttempt, jobUids }: EndingAttempts): boolean {
  return attempt < lastAttempt || (attempt === lastAttempt && (jobUids?.has(jobUid) ?? true));
}

/** Of more nodes, one list costs less: a page has 500. */
const mostReads = 32;

/** A pod that was deleted with grace 0 waits for no kubelet, only for the Job controller's finalizer. */
function isReleased({ isTerminating, graceSeconds }: JobPod): boolean {
  return isTerminating && graceSeconds === 0;
}

/** The pods that held the restart up, for the restart's step. */
export interface PodsOnDeadNodes {
  deleted_on_dead_nodes?: string[];
  /** Their nodes are not Ready, but not yet for 60 s. */
  may_hold_up_the_restart?: string[];
}

/** Pods that may hold a restart up. */
interface Suspects {
  /** Their nodes are gone, or have not been Ready for 60 s. */
  dead: JobPod[];
  /** Their nodes are not Ready, but not yet for 60 s. */
  waiting: JobPod[];
}

/**
 * Looks for the pods of ending attempts that are live or terminating, and whose nodes are gone or not Ready. It only reads, so it may
 * begin before the deletion that ends the attempt is answered: what that deletion changes is on nodes that are alive.
 */
export async function findOnDeadNodes(
  ending: EndingAttempts,
  { kubernetes, concurrency }: { kubernetes: Kubernetes; concurrency: number },
): Promise<Suspects> {
  const pods = await readPods(kubernetes, ending.namespace, ending.name);
  // The node controller sets a dead node's pods to not Ready, so the node of a Ready pod that is not terminating is alive.
  const suspects = pods.filter(
    (pod) => isOfEnding(pod, ending) && (pod.isTerminating || (pod.isLive && !pod.isReady)),
  );
  const nodes = new Map<string, 'dead' | 'sick' | 'alive'>();
  const nodeNames = new Set(suspects.flatMap((pod) => pod.nodeName ?? []));
  const all = nodeNames.size > mostReads ? await listNodeHealth(kubernetes) : undefined;
  await concurrently([...nodeNames], concurrency, async (nodeName) => {
    const node = all ? all.get(nodeName) : await readNodeHealth(kubernetes, nodeName);
    const isNodeDead = !node || isDead(node, kubernetes.serverNow());
    nodes.set(nodeName, isNodeDead ? 'dead' : node.isReady ? 'alive' : 'sick');
  });
  const stateOf = (pod: JobPod) => (pod.nodeName === undefined ? 'alive' : nodes.get(pod.nodeName));
  return {
    dead: suspects.filter((pod) => stateOf(pod) === 'dead'),
    waiting: suspects.filter((pod) => stateOf(pod) === 'sick' && !isReleased(pod)),
  };
}

/**
 * Deletes the pods of ending attempts that are live or terminating, and whose nodes are gone or have not been Ready for 60 s.
 * A dead kubelet never reports that its pods have ended, nor removes one that has, and the restart waits for every one of
 * them. Safe to repeat.
 *
 * @param tools.beforeDeletion is called directly before the first deletion, if there is any
 * @param found is what {@link findOnDeadNodes} has found, if that was begun before
 */
export async function deletePodsOnDeadNodes(
  ending: EndingAttempts,
  {
    kubernetes,
    concurrency,
    beforeDeletion,
  }: { kubernetes: Kubernetes; concurrency: number; beforeDeletion: () => Promise<unknown> },
  found?: Promise<Suspects>,
): Promise<PodsOnDeadNodes> {
  const { namespace, name, uid } = ending;
  const { dead, waiting } = await (found ?? findOnDeadNodes(ending, { kubernetes, concurrency }));
  if (dead.length > 0) {
    // The pods were found by the JobSet's name, and a new JobSet may have that name by now.
    if ((await findJobSet(kubernetes, namespace, name))?.metadata.uid !== uid) return {};
    await beforeDeletion();
  }
  await concurrently(dead, concurrency, (pod) => deletePod(kubernetes, namespace, pod, 0));
  return {
    ...(dead.length > 0 ? { deleted_on_dead_nodes: listNames(dead) } : {}),
    ...(waiting.length > 0 ? { may_hold_up_the_restart: listNames(waiting) } : {}),
  };
}

/** One after the other, the thousand machines of a large slice would outlast the lock. */
export async function concurrently<Item>(
  items: Item[],
  concurrency: number,
  work: (item: Item) => Promise<void>,
): Promise<void> {
  const settled = await mapWithSemaphore(new Semaphore(concurrency), items, work);
  for (const each of settled) if ('error' in each) throw each.error;
}

/** Deletes a pod by its uid. One that is gone, or was made anew, is left alone. */
export async function deletePod(
  { core }: Pick<Kubernetes, 'core'>,
  namespace: string,
  { name, uid }: JobPod,
  gracePeriodSeconds: number,
): Promise<void> {
  try {
    await core.deleteNamespacedPod({ namespace, name, body: { gracePeriodSeconds, preconditions: { uid } } });
  } catch (error) {
    if (!isUpstreamStatus(error, 404, 409)) throw error;
  }
}

const mostNames = 20;

/** Lists the first names, and how many more there are. */
function listNames(pods: JobPod[]): string[] {
  const names = pods.map((pod) => pod.name).sort();
  const more = names.length - mostNames;
  return more > 0 ? [...names.slice(0, mostNames), `and ${more} more`] : names;
}
