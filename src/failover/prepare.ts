import { effectsOf } from '../action-type.ts';
import { checkAlert } from './check-alert.ts';
import { decide } from '../decide/decide.ts';
import { emitStarted } from './events.ts';
import { assertNotUncordonedSince } from '../state/last-uncordon.ts';
import type { LeaseState } from '../state/lease.ts';
import { chargeBudget } from '../state/budget.ts';
import { timed } from '../log.ts';
import type { Plan } from '../plan.ts';
import { writePlan } from '../state/record.ts';
import { readSwitches } from '../state/switches.ts';
import type { ClusterSwitches } from '../state/switches.ts';
import type { Execution } from './execution.ts';
import { chooseNodesToUncordon } from '../state/cordon-holds.ts';
import type { NodesToUncordon } from '../state/cordon-holds.ts';
import { readSnapshot } from '../decide/snapshot.ts';
import type { Snapshot } from '../decide/snapshot.ts';

/** What was read and decided before anything is touched. */
export interface Prepared {
  snapshot: Snapshot;
  plan: Plan;
  /** What the close of an incident may release; undefined for any other action. */
  nodesToUncordon: NodesToUncordon | undefined;
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
export async function prepare(execution: Execution): Promise<Prepared> {
  const { claim, cluster, services, log } = execution;
  const { kubernetes, lock, nodePool, claimId } = claim;
  const { config } = services;
  const action = (execution.action = await checkAlert(execution.action, claim, config));
  const isClose = action.incident?.isClosed === true;
  const planned = execution.record.plan;
  const [snapshot, switches] = await timed(log, 'read', () =>
    Promise.all([
      readSnapshot(kubernetes, action, nodePool, planned !== undefined || isClose),
      readSwitches(kubernetes),
    ]),
  );
  execution.snapshot = snapshot;

  if (planned && effectsOf(action.type).cordon) assertNotUncordonedSince(planned.lastUncordon, claim);
  const tools = { kubernetes, config, cluster, claimId, poolAnnotations: lock.annotations, switches };
  const plan = planned ?? (await decide(action, snapshot, tools));
  const nodesToUncordon =
    action.incident && isClose
      ? await chooseNodesToUncordon(kubernetes, lock, action.incident.id, snapshot)
      : undefined;
  const clusterLease = await announceAndCharge(execution, snapshot, switches);
  if (!planned) execution.record = await writePlan(kubernetes, execution.record, plan);
  return { snapshot, plan, nodesToUncordon, clusterLease };
}

/** Both at once, for neither needs the other; it ends when both have, for no write may be under way once the lock is given back. */
async function announceAndCharge(
  { action, claim, services, log }: Execution,
  { eventTarget }: Snapshot,
  switches: ClusterSwitches,
): Promise<LeaseState | undefined> {
  const { kubernetes, nodePool } = claim;
  const announcing = eventTarget && emitStarted(kubernetes, eventTarget, action, log);
  try {
    if (effectsOf(action.type).uncordon) return switches.lease;
    const canOverride = action.incident === undefined;
    return await chargeBudget(kubernetes, services.config, nodePool, { canOverride, known: switches });
  } finally {
    await announcing;
  }
}
