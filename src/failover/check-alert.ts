import { effectsOf } from '../action-type.ts';
import type { Action } from '../request/action.ts';
import type { Claim } from './claim.ts';
import { hasClosed } from '../state/closed-incidents.ts';
import type { Config } from '../config.ts';
import { Ignored } from '../ignored.ts';
import { assertStillBroken } from '../decide/still-wanted.ts';
import { resolveJobSet, resolveNode } from '../decide/alert-subject.ts';
import { addHold } from '../state/cordon-holds.ts';

/**
 * Looks, under the claim, whether an alert's incident is still open, and names the node and the JobSet that it only
 * describes. Any other action is returned as it is.
 *
 * The wish to be uncordoned on close is written before the close is looked for, and a close is remembered before the
 * wishes are: whichever comes first, one of the two sees the other.
 *
 * @throws {Ignored} once the incident has closed, or what it was about is over
 */
export async function checkAlert(action: Action, claim: Claim, config: Config): Promise<Action> {
  const { incident, type } = action;
  if (!incident || incident.isClosed) return action;
  const { kubernetes, lock, record, nodePool } = claim;
  if (incident.uncordonsOnClose && effectsOf(type).cordon) await addHold(lock, incident.id);
  if (await hasClosed(kubernetes, incident.id)) {
    throw new Ignored('its incident has closed already', { isOver: true });
  }
  const { plan } = record;
  if (plan?.repair) await assertStillBroken(kubernetes, incident, plan.repair);
  // What is carried out again is what was planned.
  if (plan) return plan.restart ? { ...action, ...toNames(plan.restart.jobSet) } : action;
  return resolveJobSet(kubernetes, await resolveNode(kubernetes, action), nodePool, config);
}

function toNames({
  namespace,
  name,
}: {
  namespace: string;
  name: string;
}): Pick<Action, 'namespace' | 'jobSetName'> {
  return { namespace, jobSetName: name };
}
