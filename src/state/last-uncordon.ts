import { FailoverError } from '../errors.ts';
import type { PoolLock } from './lock.ts';
import { prefix } from '../names.ts';

const uncordonedKey = `${prefix}uncordoned-by`;

/** Reads which action uncordoned a pool last, as `<action id>/<claim id>`. Undefined when none ever did. */
export function readLastUncordon(annotations: Readonly<Record<string, string>>): string | undefined {
  return annotations[uncordonedKey];
}

/** Records that an action uncordons the pool. Must be called before the first node is released. */
export async function noteUncordon(
  lock: PoolLock,
  { id, claimId }: { id: string; claimId: string },
): Promise<void> {
  await lock.update((annotations) => ({ ...annotations, [uncordonedKey]: `${id}/${claimId}` }));
}

/**
 * Stops a resumed action whose pool has been uncordoned since: a late retry must not cordon again what somebody cleaned
 * up, and then delete.
 *
 * @param before is what {@link readLastUncordon} returned when the action was decided
 * @throws {FailoverError} `target_changed`
 */
export function assertNotUncordonedSince(
  before: string | undefined,
  { lock, nodePool }: { lock: PoolLock; nodePool: string },
): void {
  const last = readLastUncordon(lock.annotations);
  if (last === before) return;
  throw new FailoverError(
    'target_changed',
    `node pool ${nodePool} was uncordoned by action ${last?.split('/')[0]} after this action began; ` +
      'nothing was deleted and nothing is cordoned again: send it with a new id if it is still wanted',
  );
}
