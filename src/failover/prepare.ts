import { assertMayResume, decide } from '../decide/decide.ts';
import type { Snapshot } from '../decide/snapshot.ts';
import { toAskMachine } from '../gke/compute.ts';
import { timed } from '../log.ts';
import type { Plan } from '../plan.ts';
import { isFromAlert } from '../request/action.ts';
import { isAwaitingApproval } from '../state/approval.ts';
import { chargeBudget } from '../state/budget.ts';
import type { MaxPools } from '../state/budget.ts';
import { chooseNodesToUncordon } from '../state/cordon-holds.ts';
import type { NodesToUncordon } from '../state/cordon-holds.ts';
import { assertNotUncordonedSince } from '../state/last-uncordon.ts';
import type { LeaseState } from '../state/lease-format.ts';
import type { Approval } from '../state/record-format.ts';
import { writePlan } from '../state/record.ts';
import type { ClusterSwitches } from '../state/switches.ts';
import { checkAlert } from './check-alert.ts';
import type { Awaiting } from './claim.ts';
import { describePlan } from './dry-run.ts';
import { emitStarted } from './events.ts';
import { assertFollowUpWanted } from './follow-up-wanted.ts';
import type { Execution } from './execution.ts';
import { beginReads } from './reads.ts';
import { checkApproval, needsApproval, submit } from './submit.ts';

/** What was read and decided before anything is touched. */
export interface Prepared {
  snapshot: Snapshot;
  plan: Plan;
  /** An earlier claim of this action made the plan, and may have carried a part of it out. */
  isResume: boolean;
  /** The nodes that the close of an incident may uncordon. Undefined for any other action. */
  nodesToUncordon: NodesToUncordon | undefined;
  /** The Lease `cluster` as it was last written. */
  clusterLease: LeaseState | undefined;
}

/**
 * Reads the snapshot under the claim, decides, charges the budget, and records the plan. Nothing here changes a node, a
 * pod, a JobSet or an instance.
 *
 * @returns the record instead, if the plan must first be approved; then the claim is given back
 * @throws {FailoverError} any refusal
 * @throws {Ignored} for an alert for which nothing is to be done
 */
export async function prepare(execution: Execution): Promise<Prepared | Awaiting> {
  const { claim, cluster, services, log } = execution;
  const { kubernetes, lock, nodePool, claimId } = claim;
  const { config } = services;
  const { deadline } = execution;

  // 1. An alert may be over, and it may only describe its target.
  const action = await checkAlert(execution.action, claim, config);
  execution.action = action;

  const askMachine = toAskMachine(services.readInstance, deadline);
  await assertFollowUpWanted(action, claim, askMachine);

  // 2. Every decision rests on what is read from here on, under the lock.
  const isClose = action.incident?.isClosed === true;
  // A plan that waits for its approval is made anew, and everything is asked again.
  const planned = isAwaitingApproval(execution.record) ? undefined : execution.record.plan;
  const isResume = planned !== undefined;
  const reads =
    claim.reads ?? beginReads(action, nodePool, cluster, services, { deadline, isPlanned: isResume });
  const [snapshot, switches, maxPools, repairFacts, correlation] = await timed(
    log,
    'read',
    () => reads.basics,
  );
  execution.snapshot = snapshot;

  // 3. A new action chooses what to delete, or is refused. A resume keeps its plan, and is asked everything else again.
  if (isResume && action.effects.cordon) assertNotUncordonedSince(planned.lastUncordon, claim);
  const read = { poolAnnotations: lock.annotations, switches, maxPools, correlation, repairFacts };
  const tools = { kubernetes, config, cluster, claimId, ...read, askMachine, reads: reads.more };
  if (isResume) await assertMayResume(action, snapshot, planned, tools);
  const plan = planned ?? (await decide(action, snapshot, tools));
  const nodesToUncordon =
    action.incident && isClose
      ? await chooseNodesToUncordon(kubernetes, lock, action.incident.id, snapshot)
      : undefined;

  // 4. A plan that needs an approval is recorded, and nothing else is done until it has it.
  let approval: Approval | undefined;
  if (!isResume && (needsApproval(action, config) || isAwaitingApproval(execution.record))) {
    const steps = describePlan(action, snapshot, plan, switches);
    approval = await checkApproval(execution, plan, steps);
    if (!approval) return { awaiting: await submit(execution, plan, steps) };
  }

  // 5. Announce it, charge the budget, and record the plan before anything is touched.
  const decided = { switches, maxPools, plan, isResume, approval };
  const clusterLease = await announceAndRecord(execution, snapshot, decided);
  return { snapshot, plan, isResume, nodesToUncordon, clusterLease };
}

/** What is to be announced, charged and recorded. */
interface Decided {
  switches: ClusterSwitches;
  maxPools: MaxPools;
  plan: Plan;
  isResume: boolean;
  approval: Approval | undefined;
}

/**
 * Announces the action, charges the budget and records the plan, all at the same time: they know nothing of one another, and nothing
 * is touched before both writes were answered. It always waits for all, because no write may be under way when the lock is
 * released.
 *
 * @throws {FailoverError} `budget_exceeded`, `paused`; then no plan is left, so that it was as if the action had never been sent
 */
async function announceAndRecord(
  execution: Execution,
  { eventTarget }: Snapshot,
  decided: Decided,
): Promise<LeaseState | undefined> {
  const { action, claim, log } = execution;
  const { kubernetes } = claim;
  const { plan, isResume, approval } = decided;
  const charging = charge(execution, decided);
  const write = () => (isResume ? execution.record : writePlan(kubernetes, execution.record, plan, approval));
  const [charged, written] = await Promise.allSettled([
    charging,
    // A plan that is approved waits on if the budget refuses it, so it is written only then.
    approval ? charging.then(write, () => execution.record) : write(),
    eventTarget && emitStarted(kubernetes, eventTarget, action, log),
  ]);
  // Whether the plan is recorded is not known then. So the answer must not be a refusal, after which nothing is carried on.
  if (written.status === 'rejected') throw written.reason;
  const isRefused = charged.status === 'rejected' && !isResume && !approval;
  execution.record = isRefused ? { ...written.value, plan: undefined } : written.value;
  if (charged.status === 'rejected') throw charged.reason;
  return charged.value;
}

async function charge(
  { action, claim: { kubernetes, nodePool } }: Execution,
  { switches, maxPools, plan }: { switches: ClusterSwitches; maxPools: MaxPools; plan: Plan },
): Promise<LeaseState | undefined> {
  // A repair that is left to GKE touches nothing.
  const isLeft = plan.repair?.leftTo !== undefined && !action.effects.cordon;
  if (action.effects.uncordon || isLeft) return switches.lease;
  const isAlert = isFromAlert(action);
  return chargeBudget(kubernetes, nodePool, { isAlert, known: switches, maxPools });
}
