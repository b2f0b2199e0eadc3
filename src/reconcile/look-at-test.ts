import { randomUUID } from 'node:crypto';
import { findTestJob, startTestJob, toTestJobName } from '../effects/acceptance-job.ts';
import type { JobState } from '../effects/acceptance-job.ts';
import { cordonOnce } from '../effects/cordon.ts';
import { FailoverError, isUpstreamStatus, toFailoverError } from '../errors.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { listCordoned, listLabel, listSchedulable } from '../gke/nodes.ts';
import type { NodeHealth } from '../gke/nodes.ts';
import { describeNames, failoverNamespace } from '../names.ts';
import { isLabelTest } from '../request/release.ts';
import { holdCordon } from '../state/cordon-holds.ts';
import { readLastUncordon } from '../state/last-uncordon.ts';
import { acquirePoolLock, PoolLock } from '../state/lock.ts';
import type { Acceptance, ActionRecord } from '../state/record-format.ts';
import { assertNotPaused } from '../state/switches.ts';
import { refuseVetoed } from '../state/veto.ts';
import { endedAt } from '../verify/verify.ts';
import type { Reader } from '../verify/verify.ts';
import type { ReconcileTools } from './report.ts';

export type Tools = ReconcileTools & { reader: Reader };

/** What a look at a test has shown. */
export type Seen =
  | { outcome: 'passed' }
  | { outcome: 'waits'; why: string; job?: JobState }
  | { outcome: 'failed'; why: string };

/** What is tested, and where. */
export interface Test {
  name: string;
  record: ActionRecord;
  /** The nodes that the test is for. */
  nodes: NodeHealth[];
}

/** Looks at the test. Once its time is over, what cannot be seen counts as not passed. */
export async function lookAtTest(
  test: Test,
  acceptance: Acceptance,
  leftMs: number,
  tools: Tools,
): Promise<Seen> {
  try {
    const released = await keepCordoned(test, tools);
    if (released !== undefined) return { outcome: 'failed', why: released };
    return isLabelTest(test.name)
      ? await lookAtLabel(test, tools.cluster.kubernetes)
      : await lookAtJob(test, acceptance, leftMs, tools);
  } catch (error) {
    if (leftMs > 0 || !(error instanceof FailoverError)) throw error;
    return { outcome: 'waits', why: error.message };
  }
}

/**
 * Holds the pool for the test, and cordons what is tested and schedulable, under the lock of the pool.
 *
 * @returns why not, where somebody has released it
 */
export async function keepCordoned({ record, nodes }: Test, tools: Tools): Promise<string | undefined> {
  const { nodePool, id } = record;
  const cordoned = await tools.reader.cordoned(nodePool);
  if (record.acceptance?.held === true && nodes.every(({ name }) => cordoned.has(name))) return undefined;
  return underLock(record, tools, async (gated, lock) => {
    const uncordonedBy = readLastUncordon(lock.annotations);
    if (uncordonedBy !== record.plan?.lastUncordon) {
      return `action ${uncordonedBy?.split('/')[0]} has uncordoned it before`;
    }
    const held = { cordoned: await listCordoned(gated, nodePool), serverNow: gated.serverNow() };
    await holdCordon(lock, id, held);
    const uids = new Set(nodes.map(({ uid }) => uid));
    const schedulable = (await listSchedulable(gated, nodePool)).filter(({ uid }) => uids.has(uid));
    const concurrency = tools.services.config.cordonConcurrency;
    try {
      const count = await cordonOnce(gated, { nodePool, schedulable }, { actionId: id, concurrency });
      if (count > 0) {
        const message = `cordoned ${count} nodes of ${nodePool} again, because they are not tested yet`;
        tools.log.info('step', message, { action_id: id, nodes: schedulable.map(({ name }) => name) });
      }
      return undefined;
    } catch (error) {
      if (!(error instanceof FailoverError) || error.code !== 'target_changed') throw error;
      return 'somebody has uncordoned nodes of it before';
    }
  });
}

async function underLock<T>(
  { id, nodePool }: ActionRecord,
  { cluster: { kubernetes }, services: { clock } }: Tools,
  work: (gated: Kubernetes, lock: PoolLock) => Promise<T>,
): Promise<T> {
  const lock = await acquirePoolLock(kubernetes, clock, nodePool, { id, claimId: randomUUID() });
  if (!(lock instanceof PoolLock)) {
    throw new FailoverError('action_in_progress', `action ${lock.heldBy.id} holds node pool ${nodePool}`);
  }
  try {
    await assertNotPaused(kubernetes);
    refuseVetoed(lock.annotations, nodePool, kubernetes.serverNow());
    return await work(kubernetes.throughGate(lock.gate), lock);
  } finally {
    // A lock that cannot be given back expires by itself.
    await lock.release({ forget: true }).catch(() => undefined);
  }
}

/**
 * A Node that survives the repair keeps its labels, so `passed` counts only if it was set since the action, and since the node
 * became Ready: until a reboot, the old machine may go on testing itself.
 */
async function lookAtLabel({ name, record, nodes }: Test, kubernetes: Kubernetes): Promise<Seen> {
  const labels = new Map(
    (await listLabel(kubernetes, record.nodePool, name)).map((each) => [each.uid, each]),
  );
  // The API server's times are whole seconds.
  const repairedAt = Math.ceil(endedAt(record) / 1000) * 1000;
  const troubles = nodes.flatMap(({ name: node, uid, createdAt, readyChangedAt = 0 }) => {
    const { value, setAt = 0 } = labels.get(uid) ?? {};
    if (value !== 'passed') return [`${node} (${value ?? 'none'})`];
    const isNew = createdAt >= repairedAt || setAt >= Math.max(repairedAt, readyChangedAt);
    return isNew ? [] : [`${node} (passed, but not since the repair)`];
  });
  if (troubles.length === 0 && nodes.length > 0) return { outcome: 'passed' };
  return { outcome: 'waits', why: `the label is not passed on ${describeNames(troubles)}` };
}

/** The API server tells when it made a Job in whole seconds, and its time here is known as well as its latest answer tells it. */
const clockErrorMs = 5_000;

async function lookAtJob(
  { name, record, nodes }: Test,
  acceptance: Acceptance,
  leftMs: number,
  tools: Tools,
): Promise<Seen> {
  const { kubernetes } = tools.cluster;
  const shown = `Job ${failoverNamespace}/${toTestJobName(record.id)}`;
  let job: JobState | undefined;
  try {
    job = await findTestJob(kubernetes, record.id);
    if (!job && acceptance.job) {
      return { outcome: 'failed', why: `${shown} was deleted before it was seen to end` };
    }
    if (!job && leftMs <= 0) return { outcome: 'waits', why: `${shown} was never made` };
    job ??= await underLock(record, tools, (gated) =>
      startTestJob(gated, {
        actionId: record.id,
        cronJob: name,
        nodePool: record.nodePool,
        nodes,
        isWholePool: record.plan?.repair?.isMultiHost === true,
        endsWithinSeconds: Math.max(1, Math.floor(leftMs / 1000)),
      }),
    );
  } catch (error) {
    // No later try would be answered otherwise, unless somebody changes something.
    if (!isUpstreamStatus(error, 400, 403, 422)) throw error;
    return { outcome: 'failed', why: `${shown} could not be made: ${toFailoverError(error).message}` };
  }
  if (!job) {
    return { outcome: 'failed', why: `there is no CronJob ${name} in namespace ${failoverNamespace}` };
  }
  const isOther =
    acceptance.job === undefined
      ? job.createdAt < Date.parse(acceptance.since) - clockErrorMs
      : acceptance.job.uid !== job.uid;
  if (job.madeFor !== record.id || isOther) {
    return { outcome: 'failed', why: `${shown} is not the one that this action has made` };
  }
  if (job.end === 'Complete') return { outcome: 'passed' };
  if (job.end === 'Failed') return { outcome: 'failed', why: `${shown} failed: ${job.why}` };
  return { outcome: 'waits', why: `${shown} has not ended: ${job.why}`, job };
}
