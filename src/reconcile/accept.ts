import { describeError } from '../log.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { findTest, writeAcceptance } from '../state/acceptance.ts';
import type { Acceptance, ActionRecord } from '../state/record-format.ts';
import { describeTest, findTested, isWholeAgain } from '../verify/acceptance.ts';
import type { Judgement } from '../verify/judgement.ts';
import { keepCordoned, lookAtTest } from './look-at-test.ts';
import type { Seen, Test, Tools } from './look-at-test.ts';

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
    if (!isOver) await tryToKeepCordoned({ name, record, nodes }, tools);
    return { record, judgement };
  }
  const now = new Date(kubernetes.serverNow()).toISOString();
  const acceptance = record.acceptance ?? { since: now };
  const current = record.acceptance ? record : await writeAcceptance(kubernetes, record, acceptance);
  if (!current) return undefined;
  const limitSeconds = services.config.acceptTimeoutSeconds;
  const leftMs = Date.parse(acceptance.since) + limitSeconds * 1000 - kubernetes.serverNow();
  const seen = await lookAtTest({ name, record: current, nodes }, acceptance, leftMs, tools);
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
  const noted = await noteTest(current, acceptance, seen, kubernetes);
  return noted && { record: noted, judgement, isTesting: true };
}

/** The verdict on the machine does not depend on it, so a failure is only logged. */
async function tryToKeepCordoned(test: Test, tools: Tools): Promise<void> {
  const { id, nodePool } = test.record;
  await keepCordoned(test, tools).catch((error: unknown) =>
    tools.log.warn('warning', `node pool ${nodePool} may not be cordoned before its test`, {
      action_id: id,
      ...describeError(error),
    }),
  );
}

/** Writes down that the pool is held for the test, and which Job tests it, so that nothing else is taken for it later. */
async function noteTest(
  record: ActionRecord,
  acceptance: Acceptance,
  seen: Seen,
  kubernetes: Kubernetes,
): Promise<ActionRecord | undefined> {
  const job = seen.outcome === 'waits' ? seen.job : undefined;
  const isKnown = acceptance.held === true && (job === undefined || acceptance.job !== undefined);
  if (isKnown) return record;
  return writeAcceptance(kubernetes, record, {
    ...acceptance,
    held: true,
    ...(job && { job: { name: job.name, uid: job.uid } }),
  });
}

function toRefused(name: string, why: string): Judgement {
  return {
    verdict: 'not_accepted',
    why: `the pool has not passed ${describeTest(name)}, so it stays cordoned: ${why}`,
  };
}
