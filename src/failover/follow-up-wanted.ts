import { Ignored } from '../ignored.ts';
import type { AskMachine } from '../gke/compute.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { isBeingDrained } from '../gke/node-health.ts';
import { isQuarantined } from '../gke/node-labels.ts';
import type { Action } from '../request/action.ts';
import { isUntested } from '../state/acceptance.ts';
import { findOtherHold } from '../state/cordon-holds.ts';
import { hasOwnMark } from '../state/cooldown.ts';
import { readRecord } from '../state/record.ts';
import { createReader, judge, judgeRepair } from '../verify/verify.ts';
import type { Claim } from './claim.ts';

/**
 * Asks under the claim whether the verdict that an action follows from still holds. A run may have come back since, or a
 * node of the pool may have failed again.
 *
 * @throws {Ignored} if it does not
 */
export async function assertFollowUpWanted(
  { followUpOf, id, effects }: Action,
  { kubernetes, lock }: Pick<Claim, 'lock'> & { kubernetes: Kubernetes },
  askMachine?: AskMachine,
): Promise<void> {
  // What it has begun to delete is its own doing, and is carried on.
  if (!followUpOf || hasOwnMark(lock.annotations, id)) return;
  const before = await readRecord(kubernetes, followUpOf.id);
  if (!before) throw new Ignored(`the record of action ${followUpOf.id}, which this follows, is gone`);
  const reader = createReader(kubernetes, askMachine);
  const { verdict } = await (effects.uncordon ? judgeRepair(before, reader) : judge(before, reader));
  if (effects.uncordon && verdict !== 'repaired' && verdict !== 'reported') {
    throw new Ignored(`the pool is not whole any more after action ${followUpOf.id}, so it stays cordoned`);
  }
  if (effects.uncordon && isUntested(before)) {
    throw new Ignored(`node pool ${before.nodePool} has not passed its test, so it stays cordoned`);
  }
  if (effects.uncordon) {
    const own = [before.id, before.action?.followUpOf?.id, before.action?.incident?.id];
    const serverNow = kubernetes.serverNow();
    const other = findOtherHold(lock.annotations, { serverNow, own });
    if (other !== undefined) {
      throw new Ignored(`node pool ${before.nodePool} stays cordoned because ${other}`);
    }
    const leaving = (await reader.pool(before.nodePool)).find((node) => isBeingDrained(node));
    if (leaving) {
      const who = isQuarantined(leaving) ? 'NVSentinel has quarantined' : 'GKE is draining';
      throw new Ignored(`node pool ${before.nodePool} stays cordoned because ${who} ${leaving.name}`);
    }
  }
  if (effects.repair && verdict !== undefined) {
    throw new Ignored(
      `the run of action ${followUpOf.id} is ${verdict} by now, so nothing is repaired for it`,
    );
  }
}
