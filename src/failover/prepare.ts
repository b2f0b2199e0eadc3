import { effectsOf } from '../action-type.ts';
import { admitAlert } from './check-alert.ts';
import { decide } from '../decide/decide.ts';
import { announceTrigger } from './events.ts';
import { assertNotUncordonedSince } from '../state/last-uncordon.ts';
import type { LeaseState } from '../state/lease.ts';
import { chargeBudget } from '../state/budget.ts';
import { timed } from '../log.ts';
import type { Plan } from '../plan.ts';
import { writePlan } from '../state/record.ts';
import { readSwitches } from '../state/switches.ts';
import type { ClusterSwitches } from '../state/switches.ts';
import type { Undertaking } from './execution.ts';
import { chooseReleasable } from '../state/cordon-holds.ts';
import type { Releasable } from '../state/cordon-holds.ts';
import { readWorld } from '../decide/snapshot.ts';
import type { World } from '../decide/snapshot.ts';

/** What was read and decided before anything is touched. */
export interface Prepared {
  world: World;
  plan: Plan;
  /** What the close of an incident may release; undefined for any other action. */
  releasable: Releasable | undefined;
  /** The Lease `cluster` as it was last written. */
  clusterLease: LeaseState | undefined;
}

/**
 * Reads the world under the claim, decides, charges the budget, and writes the plan down. Nothing here changes a node, a
 * pod, a JobSet or an instance.
 *
 * @throws {FailoverError} any refusal
 * @throws {Ignored} an alert for which nothing is to be done
 */
export async function prepare(undertaking: Undertaking): Promise<Prepared> {
  const { claim, cluster, services, log } = undertaking;
  const { kubernetes, lock, nodePool, attempt } = claim;
  const { config } = services;
  const action = (undertaking.action = await admitAlert(undertaking.action, claim, config));
  const isClose = action.incident?.isClosed === true;
  const planned = undertaking.record.plan;
  const [world, switches] = await timed(log, 'read', () =>
    Promise.all([
      readWorld(kubernetes, action, nodePool, planned !== undefined || isClose),
      readSwitches(kubernetes),
    ]),
  );
  undertaking.world = world;

  if (planned && effectsOf(action.type).cordon) assertNotUncordonedSince(planned.lastUncordon, claim);
  const tools = { kubernetes, config, cluster, attempt, marks: lock.annotations, switches };
  const plan = planned ?? (await decide(action, world, tools));
  const releasable =
    action.incident && isClose
      ? await chooseReleasable(kubernetes, lock, action.incident.id, world)
      : undefined;
  const clusterLease = await announceAndCharge(undertaking, world, switches);
  if (!planned) undertaking.record = await writePlan(kubernetes, undertaking.record, plan);
  return { world, plan, releasable, clusterLease };
}

/** Both at once, for neither needs the other; it ends when both have, for no write may be under way once the lock is given back. */
async function announceAndCharge(
  { action, claim, services, log }: Undertaking,
  { eventTarget }: World,
  switches: ClusterSwitches,
): Promise<LeaseState | undefined> {
  const { kubernetes, nodePool } = claim;
  const announcing = eventTarget && announceTrigger(kubernetes, eventTarget, action, log);
  try {
    if (effectsOf(action.type).uncordon) return switches.lease;
    const canOverride = action.incident === undefined;
    return await chargeBudget(kubernetes, services.config, nodePool, { canOverride, known: switches });
  } finally {
    await announcing;
  }
}
