import { randomUUID } from 'node:crypto';
import type { Clock } from '../clock.ts';
import type { Config } from '../config.ts';
import { deletePodsOnDeadNodes, toEnding } from '../effects/dead-nodes.ts';
import { FailoverError } from '../errors.ts';
import { attemptOf, findJobSet, readJobs } from '../gke/jobset.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { describeError } from '../log.ts';
import type { Log } from '../log.ts';
import { toEndedJobs } from '../plan.ts';
import type { RestartPlan } from '../plan.ts';
import { readLastUncordon } from '../state/last-uncordon.ts';
import { acquirePoolLock, PoolLock } from '../state/lock.ts';
import type { ActionRecord } from '../state/record-format.ts';
import { assertNotPaused } from '../state/switches.ts';
import { refuseVetoed } from '../state/veto.ts';
import type { RecordedStep } from '../step.ts';

/** Requests that came together with the one that was carried out are answered at once: it has just looked. */
const lookedAgoMs = 10_000;

const endedBy = ['restarted', 'already_restarting', 'already_restarted'];

interface Tools {
  kubernetes: Kubernetes;
  clock: Clock;
  config: Config;
  log: Log;
}

/**
 * Frees the pods that hold up the restart of an action that is done. A node that had just gone silent when the action ran
 * counts as dead only a minute later, and the restart waits for its pod for ever.
 *
 * @returns the recorded answer; its restart step lists the pods that were freed now, and a notice says why none could be
 */
export async function freeHeldUpPods(record: ActionRecord, tools: Tools): Promise<RecordedStep[]> {
  const { answer = [], doneAt = 0, nodePool, plan } = record;
  const step = answer.find((each) => each.step === 'restart');
  const mayHang = endedBy.includes(String(step?.['outcome']));
  if (!plan?.restart || !mayHang || tools.kubernetes.serverNow() - doneAt < lookedAgoMs) return answer;
  try {
    const freed = await free(plan.restart, plan.lastUncordon, record, tools);
    if (freed.length === 0) return answer;
    tools.log.info('step', `freed what held the restart up: ${freed.join(', ')}`, { pods: freed });
    return answer.map((each) => (each === step ? withFreed(each, freed) : each));
  } catch (error) {
    const why = error instanceof FailoverError ? error.message : 'internal error';
    const notice = `whether pods hold the restart up was not settled, and none may have been freed: ${why}`;
    tools.log.warn('warning', notice, describeError(error));
    return [...answer, { step: 'notice', target: nodePool, notice }];
  }
}

/**
 * The same for an action of which it is known that pods hold its restart up, whatever it answered.
 *
 * @returns the names of the pods that were freed
 * @throws {FailoverError} `paused`, `action_in_progress`, `target_changed`
 */
export async function freePodsOfEnded(record: ActionRecord, tools: Tools): Promise<string[]> {
  const { plan } = record;
  if (!plan?.restart) return [];
  const freed = await free(plan.restart, plan.lastUncordon, record, tools);
  if (freed.length > 0) {
    tools.log.info('step', `freed what held the restart up: ${freed.join(', ')}`, { pods: freed });
  }
  return freed;
}

/** Deletes the pods under the pool's lock, which is taken only where there is one to delete. */
async function free(
  restart: RestartPlan,
  lastUncordon: string | undefined,
  { id, nodePool }: ActionRecord,
  { kubernetes, clock, config }: Tools,
): Promise<string[]> {
  const ending = toEnding(restart);
  if (!(await hasEnded(restart, ending.lastAttempt, kubernetes))) return [];
  let lock: PoolLock | undefined;
  const gate = () => {
    if (lock) return lock.gate();
    throw new Error('a pod is deleted without the lock');
  };
  const beforeDeletion = async () => {
    const taken = await acquirePoolLock(kubernetes, clock, nodePool, { id, claimId: randomUUID() });
    if (!(taken instanceof PoolLock)) {
      throw new FailoverError(
        'action_in_progress',
        `action ${taken.heldBy.id} holds the pool; send this one again`,
      );
    }
    lock = taken;
    await assertNotPaused(kubernetes);
    refuseVetoed(taken.annotations, nodePool, kubernetes.serverNow());
    const uncordonedBy = readLastUncordon(taken.annotations);
    // A run that restarts in place is to come back to the pool.
    const isOwn = uncordonedBy?.split('/')[0] === `${id}.uncordon`;
    if (uncordonedBy === lastUncordon || isOwn) return;
    throw new FailoverError(
      'target_changed',
      `action ${uncordonedBy?.split('/')[0]} has uncordoned the pool since, so the run could come back to it; to free them all the ` +
        `same: kubectl delete pod -n ${restart.jobSet.namespace} --grace-period=0 --force POD`,
    );
  };
  try {
    const { deleted_on_dead_nodes: freed = [] } = await deletePodsOnDeadNodes(ending, {
      kubernetes: kubernetes.throughGate(gate),
      concurrency: config.cordonConcurrency,
      beforeDeletion,
    });
    return freed;
  } finally {
    // A lock that cannot be given back expires by itself.
    await lock?.release({ forget: true }).catch(() => undefined);
  }
}

/** Says whether the attempt has really ended: freeing a pod of one that runs on would end it. */
async function hasEnded(restart: RestartPlan, lastAttempt: number, kubernetes: Kubernetes): Promise<boolean> {
  const { namespace, name, uid } = restart.jobSet;
  const jobSet = await findJobSet(kubernetes, namespace, name);
  if (jobSet?.metadata.uid !== uid) return false;
  if (attemptOf(jobSet) > lastAttempt) return true;
  const jobs = await readJobs(kubernetes, jobSet);
  const ended = toEndedJobs(restart);
  return jobs.some((each) => ended.has(each.uid) && each.isEnding);
}

function withFreed(step: RecordedStep, freed: string[]): RecordedStep {
  const before = step['deleted_on_dead_nodes'];
  const earlier = Array.isArray(before) ? before.map(String) : [];
  const changed: RecordedStep = { ...step, deleted_on_dead_nodes: [...new Set([...earlier, ...freed])] };
  delete changed['may_hold_up_the_restart'];
  return changed;
}
