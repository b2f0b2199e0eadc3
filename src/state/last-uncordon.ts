import { FailoverError } from '../errors.ts';
import type { PoolLock } from './lock.ts';
import { prefix } from '../names.ts';

const uncordonedKey = `${prefix}uncordoned-by`;

/** Tells which claimId at which action uncordoned a pool last; undefined when none ever did. */
export function readLastUncordon(annotations: Readonly<Record<string, string>>): string | undefined {
  return annotations[uncordonedKey];
}

/** Writes down, before the first node is released, that an action uncordons the pool. */
export async function noteUncordon(
  lock: PoolLock,
  { id, claimId }: { id: string; claimId: string },
): Promise<void> {
  await lock.update((annotations) => ({ ...annotations, [uncordonedKey]: `${id}/${claimId}` }));
}

/**
 * Stops an action that is resumed after the pool was uncordoned: a late retry must not cordon again what was cleaned up,
 * and then delete.
 *
 * @param before is what {@link readLastUncordon} told when the action was decided
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
    `node pool ${nodePool} was uncordoned by action ${last?.split('/')[0]} after this action had begun; ` +
      'nothing was deleted and nothing is cordoned again: send a new id if it is still wanted',
  );
}
