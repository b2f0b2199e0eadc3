import type { NodeHealth } from '../gke/nodes.ts';
import { findTest, isUntested } from '../state/acceptance.ts';
import type { ActionRecord } from '../state/record-format.ts';
import type { Judgement } from './judgement.ts';
import { endedAt } from './verify.ts';

/** True if the pool is whole by its machines, and is not on the host that was bad, so that it would be released. */
export function isWholeAgain(judgement: Judgement): boolean {
  if (judgement.repaired) return !judgement.repaired.isSameHost;
  if (judgement.verdict === undefined || judgement.isSameHost === true) return false;
  return judgement.verdict === 'repaired' || (judgement.verdict === 'reported' && judgement.at !== undefined);
}

/** Finds the nodes that are tested: all of a slice, or the one whose machine was repaired. */
export function findTested(record: ActionRecord, nodes: NodeHealth[]): NodeHealth[] {
  const { plan } = record;
  if (!plan?.repair || plan.repair.isMultiHost) return nodes;
  const { name } = plan.repair.node;
  const repaired = nodes.filter((node) => node.name === name);
  if (repaired.length > 0) return repaired;
  // The replacement has another name.
  const joined = nodes.filter(({ createdAt }) => createdAt >= endedAt(record));
  return joined.length > 0 ? joined : nodes;
}

/** The same judgement, or that there is none yet because the test of the pool goes on. */
export function withTest(record: ActionRecord, judgement: Judgement): Judgement {
  const name = findTest(record);
  if (name === undefined || !isUntested(record) || !isWholeAgain(judgement)) return judgement;
  return { verdict: undefined, why: `the pool is whole, and has not passed ${describeTest(name)} yet` };
}

/** Names a test in words. */
export function describeTest(name: string): string {
  return `its test (${name})`;
}
