import { effectsOf } from '../action-type.ts';
import type { Action } from '../request/action.ts';
import type { Claim } from './claim.ts';
import type { Config } from '../config.ts';
import { readMark } from '../state/cooldown.ts';
import { cordonPool, uncordonPool } from '../effects/cordon.ts';
import { noteUncordon } from '../state/last-uncordon.ts';
import { timed } from '../log.ts';
import type { Log } from '../log.ts';
import type { RepairPlan, RestartPlan } from '../plan.ts';
import type { Prepared } from './prepare.ts';
import { writePlan } from '../state/record.ts';
import { repairInstance } from '../effects/repair.ts';
import { planNewerAttempt, toRestartRequest } from '../decide/restart-plan.ts';
import { restartJobSet } from '../effects/restart.ts';
import type { Step } from '../step.ts';
import { assertNotPaused } from '../state/switches.ts';
import type { Execution } from './execution.ts';
import { clearHolds, addPermanentHold } from '../state/cordon-holds.ts';

/**
 * Carries the plan out: uncordon or cordon, then restart, then repair. Each step is safe to repeat.
 *
 * @throws {FailoverError} when a step fails; what comes after it is not begun
 */
export async function carryOut(execution: Execution, prepared: Prepared): Promise<Step[]> {
  const { action, claim, log } = execution;
  const { uncordon, cordon } = effectsOf(action.type);
  const { restart, repair } = prepared.plan;
  const steps = noteUnfinished(claim, log);
  if (uncordon) steps.push(await uncordonStep(execution, prepared));
  if (cordon) steps.push(await cordonStep(execution, prepared));
  if (restart) steps.push(await restartStep(execution, prepared, restart));
  if (repair) steps.push(await repairStep(execution, prepared, repair));
  return steps;
}

/** The pool may be half cordoned, or its machine half repaired, by an action that nobody has resumed. */
function noteUnfinished({ unfinishedId, nodePool }: Claim, log: Log): Step[] {
  if (unfinishedId === undefined) return [];
  const notice = `action ${unfinishedId} was left unfinished on this pool; send it again to finish it`;
  log.warn('warning', notice, { unfinished_action_id: unfinishedId });
  return [{ step: 'notice', target: nodePool, unfinished_action: unfinishedId, notice }];
}

/** Releases our cordons: all of the pool's, or what the close of an incident may release. */
async function uncordonStep(
  { action, claim, services, log }: Execution,
  { snapshot, nodesToUncordon }: Prepared,
): Promise<Step> {
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
  const why = step['why'] ? { why: 'they are not Ready, or somebody else has cordoned them' } : {};
  return { ...step, nodes: all, ...why };
}

/** All cordons land before anything is deleted: a pod must not come back on the pool that it is being moved from. */
async function cordonStep(
  { action, claim, services, log }: Execution,
  { snapshot: { nodes, nodePool } }: Prepared,
): Promise<Step> {
  const { cordonConcurrency: concurrency } = services.config;
  const { schedulable } = nodes;
  const createdBefore = findDeletionTime(action, claim);
  await addPermanentHold(claim.lock, action.id);
  return timed(log, 'cordon', async () => {
    const cordoned = await cordonPool(
      claim.kubernetes,
      { nodePool, schedulable },
      { actionId: action.id, concurrency, createdBefore },
    );
    const already = nodes.cordoned.length;
    const replacements = schedulable.filter((node) => node.createdAt > (createdBefore ?? Infinity)).length;
    return {
      step: 'cordon',
      target: nodePool,
      nodes: cordoned + already,
      cordoned,
      already_cordoned: already,
      ...(replacements > 0 ? { replacements_left_alone: replacements } : {}),
    };
  });
}

/**
 * Restarts the JobSet. Where a newer attempt has started on this very pool since it was decided, the attempt that decided
 * looks again and writes a new plan; a resume never chooses again.
 */
async function restartStep(execution: Execution, { plan }: Prepared, restart: RestartPlan): Promise<Step> {
  const { action, claim, services, log } = execution;
  const { kubernetes, nodePool, claimId } = claim;
  const { config } = services;
  const carryOutRestart = (planned: RestartPlan) =>
    timed(log, 'restart', () => restartJobSet(planned, toTools(execution)));
  const step = await carryOutRestart(restart);
  if (step['outcome'] === 'restarted' || plan.claimId !== claimId) return step;
  const newer = await planNewerAttempt(kubernetes, restart, toRestartRequest(action, nodePool), config);
  if (!newer) return step;
  execution.record = await writePlan(kubernetes, execution.record, { ...plan, restart: newer });
  return carryOutRestart(newer);
}

function repairStep(execution: Execution, { plan }: Prepared, repair: RepairPlan): Promise<Step> {
  const { claim, deadline, services, log } = execution;
  const { deleteInstance } = services;
  const isDecider = plan.claimId === claim.claimId;
  const tools = { ...toTools(execution), deadline, deleteInstance, isDecider };
  return timed(log, 'repair', () => repairInstance(repair, tools));
}

/** What both deletions work with. */
function toTools({ action, claim, services: { config } }: Execution) {
  const { kubernetes, lock } = claim;
  const beforeDeletion = () => checkBeforeDeletion(action, claim, config);
  return { kubernetes, lock, config, actionId: action.id, beforeDeletion };
}

/**
 * The last look before each deletion: nobody has paused the cluster, a node that joined is cordoned too, and nobody has
 * released one of ours.
 *
 * @throws {FailoverError} `paused`, `target_changed`
 */
async function checkBeforeDeletion(action: Action, claim: Claim, config: Config): Promise<void> {
  const { kubernetes, nodePool } = claim;
  await assertNotPaused(kubernetes);
  if (!effectsOf(action.type).cordon) return;
  const createdBefore = findDeletionTime(action, claim);
  const { cordonConcurrency: concurrency } = config;
  await cordonPool(kubernetes, { nodePool }, { actionId: action.id, concurrency, createdBefore });
}

/**
 * When this action, which is resumed, was about to have its machine deleted. All nodes were cordoned by then; what came
 * later replaces them, and nobody asked to cordon that.
 */
function findDeletionTime({ id }: Action, { lock }: Claim): number | undefined {
  const mark = readMark(lock.annotations, 'repair');
  return mark?.action === id ? Date.parse(mark.firstAt ?? mark.at) : undefined;
}
