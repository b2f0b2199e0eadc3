import type { Config } from '../config.ts';
import { warnOfGkeWork } from '../decide/gke-at-work.ts';
import { warnOfRefusedPools } from '../decide/refused-pools.ts';
import { assertDecided } from '../decide/no-spare.ts';
import { describeRepair } from '../decide/repair-plan.ts';
import { planNewerAttempt, toRestartRequest } from '../decide/restart-plan.ts';
import { findRecoveredRun } from '../decide/still-wanted.ts';
import { cordonPool, uncordonPool } from '../effects/cordon.ts';
import { repairInstance } from '../effects/repair.ts';
import { restartJobSet } from '../effects/restart.ts';
import { toAllNodes } from '../gke/nodes.ts';
import { toShownMachine } from '../gke/shown-machine.ts';
import { timed } from '../log.ts';
import type { Log } from '../log.ts';
import type { RepairPlan, RestartPlan } from '../plan.ts';
import { isFromAlert } from '../request/action.ts';
import type { Action } from '../request/action.ts';
import { readMark } from '../state/cooldown.ts';
import { clearHolds, holdCordon } from '../state/cordon-holds.ts';
import { noteUncordon } from '../state/last-uncordon.ts';
import { readLease } from '../state/lease.ts';
import type { LeaseState } from '../state/lease.ts';
import { toLockName } from '../state/lock.ts';
import { writePlan } from '../state/record.ts';
import { readSwitches, refusePaused } from '../state/switches.ts';
import { refuseVetoed } from '../state/veto.ts';
import { withWarning } from '../step.ts';
import type { CordonStep, NoticeStep, RepairStep, RestartStep, Step, UncordonStep } from '../step.ts';
import type { Claim } from './claim.ts';
import type { Execution } from './execution.ts';
import type { Prepared } from './prepare.ts';

/**
 * Carries the plan out: uncordon or cordon, then restart, then repair. Each step is safe to repeat.
 *
 * @throws {FailoverError} when a step fails; the steps after it are not begun
 */
export async function carryOut(execution: Execution, prepared: Prepared): Promise<Step[]> {
  const { action, claim, log } = execution;
  const { restart, repair } = prepared.plan;
  const steps: Step[] = noteUnfinished(claim, log);
  if (action.effects.uncordon) steps.push(await uncordonStep(execution, prepared));
  if (action.effects.cordon) steps.push(await cordonStep(execution, prepared));
  if (restart) steps.push(await restartStep(execution, prepared, restart));
  if (repair) steps.push(await repairStep(execution, prepared, repair));
  return steps;
}

/** Warns that an action which nobody has resumed may have left the pool half cordoned, or its machine half repaired. */
function noteUnfinished({ unfinishedId, nodePool }: Claim, log: Log): NoticeStep[] {
  if (unfinishedId === undefined) return [];
  const notice = `action ${unfinishedId} was left unfinished on this pool; send it again to finish it`;
  log.warn('warning', notice, { unfinished_action_id: unfinishedId });
  return [{ step: 'notice', target: nodePool, unfinished_action: unfinishedId, notice }];
}

/** Releases this function's cordons: all of the pool's, or those that the close of an incident may release. */
async function uncordonStep(
  { action, claim, services, log }: Execution,
  { snapshot, nodesToUncordon }: Prepared,
): Promise<UncordonStep> {
  const { kubernetes, lock, nodePool, claimId } = claim;
  const { cordonConcurrency: concurrency } = services.config;
  const nodes = nodesToUncordon?.nodes ?? snapshot.nodes;
  await noteUncordon(lock, { id: action.id, claimId });
  const step = await timed(log, 'uncordon', () =>
    uncordonPool(kubernetes, { nodePool, nodes }, { concurrency }),
  );
  if (!nodesToUncordon || nodesToUncordon.isAll) await clearHolds(lock);
  if (!nodesToUncordon) return step;
  const all = snapshot.nodes.schedulable.length + snapshot.nodes.cordoned.length;
  const why =
    step.kept > 0
      ? { why: 'they are not Ready, GKE is draining them, or somebody else has cordoned them' }
      : {};
  return { ...step, nodes: all, ...why };
}

/** Cordons the whole pool before anything is deleted: a pod must not come back to the pool that it is moved away from. */
async function cordonStep(
  { action, claim, services, log }: Execution,
  { snapshot: { nodes, nodePool } }: Prepared,
): Promise<CordonStep> {
  const { cordonConcurrency: concurrency } = services.config;
  const { schedulable } = nodes;
  const createdBefore = findDeletionTime(action, claim);
  const serverNow = claim.kubernetes.serverNow();
  await holdCordon(claim.lock, action.id, { cordoned: nodes.cordoned, serverNow });
  return timed(log, 'cordon', async () => {
    const cordoned = await cordonPool(
      claim.kubernetes,
      { nodePool, schedulable },
      { actionId: action.id, concurrency, createdBefore },
    );
    const already = nodes.cordoned.length;
    const warning = warnOfGkeWork(toAllNodes(nodes));
    const replacements = schedulable.filter((node) => node.createdAt > (createdBefore ?? Infinity)).length;
    return {
      step: 'cordon',
      target: nodePool,
      nodes: cordoned + already,
      cordoned,
      already_cordoned: already,
      ...(replacements > 0 ? { replacements_left_alone: replacements } : {}),
      ...(warning === undefined ? {} : { warning }),
    };
  });
}

/**
 * Restarts the JobSet. Where a newer attempt has started on this very pool since the decision, it plans again and records
 * the new plan. A resume never chooses again.
 */
async function restartStep(
  execution: Execution,
  { plan, isResume, clusterLease }: Prepared,
  restart: RestartPlan,
): Promise<RestartStep> {
  const { action, claim, services, log } = execution;
  const { kubernetes, nodePool } = claim;
  const { config } = services;
  let seen = clusterLease;
  const beforeDeletion = async () => {
    seen = await checkBeforeDeletion(action, claim, config);
  };
  const carryOutRestart = (planned: RestartPlan) =>
    timed(log, 'restart', async () => {
      const step = await restartJobSet(planned, { ...toTools(execution), beforeDeletion });
      // Slices that fail together are refused while this one is being cordoned.
      return warnOfRefusedPools(step, planned, { lease: seen, serverNow: kubernetes.serverNow() });
    });
  const step = await carryOutRestart(restart);
  // Nobody has approved another plan.
  if (step.outcome === 'restarted' || isResume || execution.record.approval) return step;
  const newer = await planNewerAttempt(kubernetes, restart, toRestartRequest(action, nodePool), config);
  if (!newer) return step;
  assertDecided(newer, plan, step.target);
  const recovered = await findRecoveredRun(action, nodePool, kubernetes);
  if (recovered !== undefined) return withWarning(step, leftAlone(recovered, nodePool));
  execution.record = await writePlan(kubernetes, execution.record, { ...plan, restart: newer });
  return carryOutRestart(newer);
}

/** A healthy run is left alone, although the pool was cordoned under it meanwhile. */
function leftAlone(recovered: string, nodePool: string): string {
  return `${recovered}; it is left alone, and node pool ${nodePool} stays cordoned under it`;
}

function repairStep(
  execution: Execution,
  { isResume, snapshot }: Prepared,
  repair: RepairPlan,
): Promise<RepairStep> {
  const { services, log } = execution;
  if (repair.leftTo) return timed(log, 'repair', async () => describeRepair(repair));
  const { deleteInstance, readInstance } = services;
  const shown = toAllNodes(snapshot.nodes).map((node) => toShownMachine(node));
  const tools = { ...toTools(execution), deleteInstance, readInstance, log, isResume, shown };
  return timed(log, 'repair', () => repairInstance(repair, tools));
}

/** The tools of both deletions. */
function toTools({ action, claim, deadline, services: { clock, config } }: Execution) {
  const { kubernetes, lock } = claim;
  const beforeDeletion = async () => void (await checkBeforeDeletion(action, claim, config));
  const asking = { actionId: action.id, isAlert: isFromAlert(action) };
  return { kubernetes, lock, clock, deadline, config, ...asking, beforeDeletion };
}

/**
 * The last check before each deletion: nobody has paused the cluster or keeps this function away from the pool, nodes that joined are cordoned too, and nobody has
 * uncordoned a node that this action cordoned.
 *
 * @returns the Lease `cluster`, which was read for that
 * @throws {FailoverError} `paused`, `target_changed`
 */
async function checkBeforeDeletion(
  action: Action,
  claim: Claim,
  config: Config,
): Promise<LeaseState | undefined> {
  const { kubernetes, nodePool } = claim;
  const [switches, pool] = await Promise.all([
    readSwitches(kubernetes),
    readLease(kubernetes, toLockName(nodePool)),
  ]);
  refusePaused(switches);
  refuseVetoed(pool?.annotations ?? {}, nodePool, switches.serverNow);
  if (!action.effects.cordon) return switches.lease;
  const createdBefore = findDeletionTime(action, claim);
  const { cordonConcurrency: concurrency } = config;
  await cordonPool(kubernetes, { nodePool }, { actionId: action.id, concurrency, createdBefore });
  return switches.lease;
}

/**
 * Finds when an earlier claim of this action was about to delete the machine. All nodes were cordoned by then. Nodes that
 * are younger replace them, and nobody asked to cordon those.
 */
function findDeletionTime({ id }: Action, { lock }: Claim): number | undefined {
  const mark = readMark(lock.annotations, 'repair');
  return mark?.action === id ? Date.parse(mark.firstAt ?? mark.at) : undefined;
}
