import type { Action } from '../request/action.ts';
import type { Claim } from './claim.ts';
import { hasClosed } from '../state/closed-incidents.ts';
import type { Config } from '../config.ts';
import { isUnderWay } from '../decide/no-spare.ts';
import { Ignored } from '../ignored.ts';
import type { Plan } from '../plan.ts';
import { assertStillBroken } from '../decide/still-wanted.ts';
import { resolveJobSet, resolveNode } from '../decide/alert-subject.ts';
import { addHold } from '../state/cordon-holds.ts';

/**
 * Checks under the claim that an alert's incident is still open, and resolves the node and the JobSet that it only
 * describes. Any other action is returned as it is.
 *
 * Order matters: an open adds its hold and *then* looks for a close; a close is recorded and *then* looks for holds. So one
 * always sees the other.
 *
 * @throws {Ignored} once the incident has closed, or its cause is over
 */
export async function checkAlert(action: Action, claim: Claim, config: Config): Promise<Action> {
  const { incident, effects } = action;
  if (!incident || incident.isClosed) return action;
  const { kubernetes, lock, record, nodePool } = claim;
  if (incident.uncordonsOnClose && effects.cordon) {
    await addHold(lock, incident.id, kubernetes.serverNow());
  }
  const { plan } = record;
  if (plan && isUnderWay(plan, lock.annotations, action.id)) return { ...action, ...toNames(plan, action) };
  if (await hasClosed(kubernetes, incident.id)) {
    throw new Ignored('its incident has closed already', { isOver: true });
  }
  if (plan?.repair) await assertStillBroken(kubernetes, incident, plan.repair);
  // A resume carries out the plan, whatever the names resolve to now.
  if (plan) return { ...action, ...toNames(plan, action) };
  return resolveJobSet(kubernetes, await resolveNode(kubernetes, action), nodePool, config);
}

/** What the alert's names were resolved to when the plan was made. */
function toNames({ nodeName, restart }: Plan, action: Action): Partial<Action> {
  const node = { nodeName: action.nodeName ?? nodeName };
  return restart ? { ...node, namespace: restart.jobSet.namespace, jobSetName: restart.jobSet.name } : node;
}
