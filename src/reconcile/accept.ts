import { randomUUID } from 'node:crypto';
import { findTestJob, startTestJob, toTestJobName } from '../effects/acceptance-job.ts';
import type { JobState } from '../effects/acceptance-job.ts';
import { cordonOnce } from '../effects/cordon.ts';
import { FailoverError, isUpstreamStatus, toFailoverError } from '../errors.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { listCordoned, listLabel, listSchedulable } from '../gke/nodes.ts';
import type { NodeHealth } from '../gke/nodes.ts';
import { describeError } from '../log.ts';
import { describeNames, failoverNamespace } from '../names.ts';
import { isLabelTest } from '../request/release.ts';
import { findTest, writeAcceptance } from '../state/acceptance.ts';
import { holdCordon } from '../state/cordon-holds.ts';
import { readLastUncordon } from '../state/last-uncordon.ts';
import { acquirePoolLock, PoolLock } from '../state/lock.ts';
import type { Acceptance, ActionRecord } from '../state/record-format.ts';
import { assertNotPaused } from '../state/switches.ts';
import { refuseVetoed } from '../state/veto.ts';
import { describeTest, findTested, isWholeAgain } from '../verify/acceptance.ts';
import type { Judgement } from '../verify/judgement.ts';
import { endedAt } from '../verify/verify.ts';
import type { Reader } from '../verify/verify.ts';
import type { ReconcileTools } from './report.ts';

type Tools = ReconcileTools & { reader: Reader };

/** What a look at a test has shown. */
type Seen =
  | { outcome: 'passed' }
  | { outcome: 'waits'; why: string; job?: JobState }
  | { outcome: 'failed'; why: string };

/** What is tested, and where. */
interface Test {
  name: string;
  record: ActionRecord;
  /** The nodes that the test is for. */
  nodes: NodeHealth[];
}

/** An action with what is known of it, once the test of its pool has been looked at. */
export interface Accepted {
  record: ActionRecord;
  judgement: Judgement;
  /** The test goes on, so there is no verdict yet. */
  isTesting?: true;
}

/**
 * Looks after the test that a repaired pool must pass before it is released. Until it has passed, the tested nodes stay cordoned:
 * a node that registers anew has no cordon, and gets one here. Every step is found again by whoever carries on.
 *
 * @returns undefined if somebody else has written the record since it was read
 */
export async function accept(
  record: ActionRecord,
  judgement: Judgement,
  tools: Tools,
): Promise<Accepted | undefined> {
  const name = findTest(record);
  if (name === undefined || record.acceptance?.passed_at !== undefined) return { record, judgement };
  const { cluster, reader, services } = tools;
  const { kubernetes } = cluster;
  const nodes = findTested(record, await reader.pool(record.nodePool));
  const isWhole = isWholeAgain(judgement);
  if (!isWhole && !record.acceptance) {
    const isOver = judgement.verdict !== undefined && judgement.isSameHost !== true;
    if (isOver) return { record, judgement };
    // The verdict on the machine does not depend on it.
    await keepCordoned({ name, record, nodes }, tools).catch((error: unknown) =>
      tools.log.warn('warning', `node pool ${record.nodePool} may not be cordoned before its test`, {
        action_id: record.id,
        ...describeError(error),
      }),
    );
    return { record, judgement };
  }
  const now = new Date(kubernetes.serverNow()).toISOString();
  const acceptance = record.acceptance ?? { since: now };
  const current = record.acceptance ? record : await writeAcceptance(kubernetes, record, acceptance);
  if (!current) return undefined;
  const test = { name, record: current, nodes };
  const limitSeconds = services.config.acceptTimeoutSeconds;
  const leftMs = Date.parse(acceptance.since) + limitSeconds * 1000 - kubernetes.serverNow();
  let seen: Seen;
  try {
    seen = await look(test, acceptance, leftMs, tools);
  } catch (error) {
    if (leftMs > 0 || !(error instanceof FailoverError)) throw error;
    seen = { outcome: 'waits', why: error.message };
  }
  if (seen.outcome === 'failed') return { record: current, judgement: toRefused(name, seen.why) };
  if (seen.outcome === 'passed' && isWhole) {
    const passed = await writeAcceptance(kubernetes, current, { ...acceptance, passed_at: now });
    return passed && { record: passed, judgement };
  }
  if (leftMs <= 0) {
    const lack = judgement.verdict === undefined && !isWhole ? judgement.why : undefined;
    const why = seen.outcome === 'waits' ? seen.why : `it has passed, but ${lack}`;
    return { record: current, judgement: toRefused(name, `not within ${limitSeconds} s: ${why}`) };
  }
  if (!isWhole) return { record: current, judgement };
  const job = seen.outcome === 'waits' ? seen.job : undefined;
  const isKnown = acceptance.held === true && (job === undefined || acceptance.job !== undefined);
  const begun: Acceptance = {
    ...acceptance,
    held: true,
    ...(job && { job: { name: job.name, uid: job.uid } }),
  };
  const noted = isKnown ? current : await writeAcceptance(kubernetes, current, begun);
  return noted && { record: noted, judgement, isTesting: true };
}

function toRefused(name: string, why: string): Judgement {
  return {
    verdict: 'not_accepted',
    why: `the pool has not passed ${describeTest(name)}, so it stays cordoned: ${why}`,
  };
}

async function look(test: Test, acceptance: Acceptance, leftMs: number, tools: Tools): Promise<Seen> {
  const released = await keepCordoned(test, tools);
  if (released !== undefined) return { outcome: 'failed', why: released };
  return isLabelTest(test.name)
    ? lookAtLabel(test, tools.cluster.kubernetes)
    : lookAtJob(test, acceptance, leftMs, tools);
}

/**
 * Holds the pool for the test, and cordons what is tested and schedulable, under the lock of the pool.
 *
 * @returns why not, where somebody has released it
 */
async function keepCordoned({ record, nodes }: Test, tools: Tools): Promise<string | undefined> {
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
