import type { ClusterView, MachinesView } from './world-view.ts';
import type { SentCall } from './function-instance.ts';
import { isMachineDeletion } from './sent-calls.ts';

/** What GKE does to all machines of a pool. */
const onAll = ['UPGRADE_NODES', 'SET_NODE_POOL_SIZE', 'DELETE_NODE_POOL'];

/**
 * Finds machines that were deleted although the same invocation had been told that GKE was at work on them. It holds where
 * answers arrive; a reconcile carries several actions on and is left out.
 */
export function findTwoHands(
  calls: SentCall[],
  { work }: ClusterView,
  { deletions }: MachinesView['fleet'],
): string[] {
  return deletions.flatMap(({ instance, operation: { requestId = '?' } }) => {
    const { pool, isAtomic } = instance.group;
    const call = calls.find((each) => isMachineDeletion(each) && each.path.endsWith(requestId));
    // What was read before the lock was taken does not count, and is read again.
    const told = calls.findLast(
      ({ api, path, invocation }) =>
        invocation === call?.invocation && api === 'container' && path.endsWith('/operations'),
    );
    if (!call || told?.status !== 200 || told.isUnheard || call.actionId === 'reconcile') return [];
    const hand = work.operations.find(
      (each) =>
        each.pool === pool &&
        (onAll.includes(each.operationType) || (isAtomic && each.operationType === 'AUTO_REPAIR_NODES')) &&
        each.startedAt <= told.at &&
        (each.endedAt ?? Infinity) > call.at,
    );
    return hand ? [`${call.actionId} deleted ${instance.name} of ${pool} under ${hand.operationType}`] : [];
  });
}
