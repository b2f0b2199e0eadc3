import type { Kubernetes } from '../gke/kubernetes.ts';
import { keys } from './record-format.ts';
import type { Acceptance, ActionRecord } from './record-format.ts';
import { replaceRecord } from './record.ts';

/** Names the test that the repaired pool of an action must pass; undefined where nothing is released, or no test was asked for. */
export function findTest({ action, plan }: ActionRecord): string | undefined {
  if (!plan?.repair || action?.accept === undefined) return undefined;
  const isReleased = action.uncordonWhenRepaired === true || plan.restart?.inPlace === true;
  return isReleased ? action.accept : undefined;
}

/** True while the pool of an action must not be released, because it has not passed its test. */
export function isUntested(record: ActionRecord): boolean {
  return findTest(record) !== undefined && record.acceptance?.passed_at === undefined;
}

/**
 * Writes how far the test has come.
 *
 * @returns undefined if somebody else has written the record since it was read
 */
export function writeAcceptance(
  kubernetes: Kubernetes,
  record: ActionRecord,
  acceptance: Acceptance,
): Promise<ActionRecord | undefined> {
  const annotations = { ...record.lease.annotations, [keys.acceptance]: JSON.stringify(acceptance) };
  return replaceRecord(kubernetes, record, annotations, record.lease.labels);
}
