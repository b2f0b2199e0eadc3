import { createHash } from 'node:crypto';
import type { Plan } from './plan.ts';

/**
 * Parts of a plan that only describe it, and may differ from one look to the next. An approval is bound to every other part,
 * also to one that is added later: at worst a plan must be approved again.
 */
const describing = [
  'claimId',
  'why',
  'warning',
  'restartsLeft',
  'schedulableElsewhere',
  'mayLandOn',
  'roomWarning',
  'runsOn',
  'queue',
  'spare',
  'lacksSpare',
  'terminatesWithinSeconds',
  'poolSize',
  'host',
  'block',
  'subblock',
  'before',
  'allCapacity',
  'mayNotComeBack',
  'since',
];

/** Hashes what an action is to do and to which objects: SHA-256 of its canonical JSON, as 64 hexadecimal digits. */
export function hashPlan(
  { id, hash, nodePool }: { id: string; hash: string; nodePool: string },
  plan: Plan,
): string {
  const canonical = toCanonical({ id, hash, nodePool, plan });
  return createHash('sha256').update(JSON.stringify(canonical)).digest('hex');
}

/** The same value with the keys of its objects in order. Of the runs on a machine only the names count, not their pods. */
function toCanonical(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(toCanonical);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value)
    .filter(([key, each]) => each !== undefined && !describing.includes(key))
    .map(([key, each]) => [key, key === 'runsHere' ? Object.keys(each as object).sort() : toCanonical(each)]);
  return Object.fromEntries(entries.sort(([a], [b]) => (String(a) < String(b) ? -1 : 1)));
}
