import { isFromAlert } from '../request/action.ts';
import type { Action } from '../request/action.ts';
import type { ClusterConnection } from '../gke/cluster.ts';
import type { Config } from '../config.ts';
import { assertNotBegun, assertNotCoolingDown, listOwnEffects, toRepairs } from '../state/cooldown.ts';
import { assertAttemptsLeft } from '../state/attempts.ts';
import { FailoverError } from '../errors.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { toRestarts } from '../state/restart-mark.ts';
import { readLastUncordon } from '../state/last-uncordon.ts';
import { assertBudgetLeft } from '../state/budget.ts';
import type { MaxPools } from '../state/budget.ts';
import type { AskMachine } from '../gke/compute.ts';
import { toAllNodes } from '../gke/nodes.ts';
import { toShownMachine } from '../gke/shown-machine.ts';
import type { Plan } from '../plan.ts';
import { assertSameAsBegun } from './begun-marks.ts';
import { cooledEffects } from './cooled-effects.ts';
import { chooseRepair } from './choose-repair.ts';
import { toReads } from './decide-reads.ts';
import type { DecideReads, Reads } from './decide-reads.ts';
import { assertMayHelp } from './correlation.ts';
import type { Correlation } from './correlation.ts';
import { assertPoolNotBusy } from './gke-at-work.ts';
import { assertComesBack, isInPlace, isUnderWay } from './no-spare.ts';
import { assertExpectedNodeCounts } from './preflight.ts';
import type { RepairFacts } from './repair-facts.ts';
import { assertMayCordon } from './repair-plan.ts';
import { planRestart, toRestartRequest } from './restart-plan.ts';
import type { LimitsStep } from '../step.ts';
import { assertRepairStillWanted, assertResumeStillWanted, assertStillWanted } from './still-wanted.ts';
import { refusePaused } from '../state/switches.ts';
import type { ClusterSwitches } from '../state/switches.ts';
import { refuseVetoed } from '../state/veto.ts';
import type { Snapshot } from './snapshot.ts';

/** What a decision needs beside the action and the snapshot. */
export interface DecideTools {
  kubernetes: Kubernetes;
  config: Config;
  cluster: Pick<ClusterConnection, 'name' | 'isAutopilot'>;
  claimId: string;
  /** The annotations of the pool's Lease. */
  poolAnnotations: Readonly<Record<string, string>>;
  /** How many pools may be acted on within the hour. */
  maxPools: MaxPools;
  /** The switches that a person has set for the cluster. */
  switches: ClusterSwitches;
  /** Undefined if the action repairs nothing, or has its plan already. */
  repairFacts: RepairFacts | undefined;
  askMachine: AskMachine;
  /** Undefined if the action neither restarts nor repairs. */
  correlation?: Correlation | undefined;
  /** What is being read already. */
  reads?: DecideReads;
}

/**
 * Decides what to do, from what was read under the claim, or refuses before anything is touched. An alert that has been
 * dealt with is ignored before limits are asked. Limits come before anything that depends on the snapshot.
 *
 * @throws {FailoverError} any refusal
 * @throws {Ignored} for an alert that has been dealt with
 */
export async function decide(action: Action, snapshot: Snapshot, tools: DecideTools): Promise<Plan> {
  const reads = toReads(action, snapshot, tools);
  await assertStillWanted(action, snapshot, { ...tools, ...reads });
  await assertWithinLimits(action, snapshot, tools);
  const plan = await choose(action, snapshot, { ...tools, ...reads });
  await assertMayDo(action, snapshot, plan, { ...tools, ...reads });
  return plan;
}

/**
 * Lets an action be resumed, or refuses. A resume skips choosing, and nothing else: an alert may have been dealt with since,
 * and the limits hold for what this action has not begun to delete.
 *
 * @throws {FailoverError} `paused`, `action_in_progress`, `rate_limited`, `budget_exceeded`, `attempts_exhausted`
 * @throws {Ignored} for an alert that has been dealt with
 */
export async function assertMayResume(
  action: Action,
  snapshot: Snapshot,
  plan: Plan,
  tools: DecideTools,
): Promise<void> {
  const reads = toReads(action, snapshot, tools);
  if (!isUnderWay(plan, tools.poolAnnotations, action.id)) {
    await assertResumeStillWanted(action, snapshot, plan, { ...tools, ...reads });
  }
  await assertWithinLimits(action, snapshot, tools);
  await assertMayDo(action, snapshot, plan, { ...tools, ...reads });
}

/**
 * Decides for a dry run, which reports limits and does not enforce them.
 *
 * @throws {FailoverError} any refusal that does not end by waiting
 * @throws {Ignored} for an alert that has been dealt with
 */
export async function decideDryRun(
  action: Action,
  snapshot: Snapshot,
  tools: DecideTools,
): Promise<{ plan: Plan; limits: LimitsStep[] }> {
  const reads = toReads(action, snapshot, tools);
  await assertStillWanted(action, snapshot, { ...tools, ...reads });
  const early = await findLimit(() => assertWithinLimits(action, snapshot, tools));
  const plan = await choose(action, snapshot, { ...tools, ...reads });
  const limit = early ?? (await findLimit(() => assertMayDo(action, snapshot, plan, { ...tools, ...reads })));
  const target = snapshot.nodePool;
  return {
    plan,
    limits: limit
      ? [{ step: 'limits', target, outcome: 'would_refuse', code: limit.code, why: limit.message }]
      : [],
  };
}

type LimitTools = Omit<DecideTools, 'cluster' | 'claimId' | 'repairFacts' | 'askMachine'>;

async function findLimit(assertLimit: () => Promise<void>): Promise<FailoverError | undefined> {
  try {
    await assertLimit();
    return undefined;
  } catch (error) {
    if (error instanceof FailoverError) return error;
    throw error;
  }
}

/**
 * @throws {FailoverError} `paused`, `action_in_progress`, `rate_limited`, `budget_exceeded`, `attempts_exhausted`,
 *   `correlated_failure`
 */
export async function assertWithinLimits(
  action: Action,
  snapshot: Snapshot,
  { kubernetes, config, poolAnnotations, switches, maxPools, correlation }: LimitTools,
  effects = cooledEffects(action),
): Promise<void> {
  if (action.effects.uncordon) return;
  const { nodePool } = snapshot;
  refusePaused(switches);
  refuseVetoed(poolAnnotations, nodePool, switches.serverNow);
  for (const effect of effects) {
    const { id } = action;
    assertNotBegun(poolAnnotations, effect, { config, id, nodePool, serverNow: switches.serverNow });
  }
  // A person's override is not meant for alerts.
  const isAlert = isFromAlert(action);
  if (switches.overrideUntil !== undefined && !isAlert) return;
  for (const effect of effects) {
    assertNotCoolingDown(poolAnnotations, effect, {
      config,
      id: action.id,
      nodePool,
      switches,
      isAlert,
    });
  }
  assertBudgetLeft(switches, nodePool, { isAlert, maxPools });
  const asking = { config, id: action.id, isAlert, switches };
  if (effects.includes('repair')) {
    const shown = toAllNodes(snapshot.nodes).map((node) => toShownMachine(node));
    await assertAttemptsLeft(kubernetes, toRepairs(nodePool, poolAnnotations, shown), asking);
  }
  // What this action has begun is carried on.
  const hasBegun = listOwnEffects(poolAnnotations, action.id)?.length !== 0;
  if (correlation && !hasBegun) assertMayHelp(action, snapshot, correlation, switches);
}

/**
 * Asks what depends on the plan: what another action has begun, whether GKE is at work on the pool, and how often the JobSet was
 * restarted. A repair in place has the limits of every repair.
 *
 * @throws {FailoverError} `action_in_progress`, `rate_limited`, `pool_busy`, `attempts_exhausted`
 */
async function assertMayDo(
  action: Action,
  snapshot: Snapshot,
  plan: Plan,
  tools: DecideTools & Reads,
): Promise<void> {
  if (isInPlace(plan)) await assertWithinLimits(action, snapshot, tools, ['repair']);
  assertSameAsBegun(action, snapshot, plan, tools);
  assertPoolNotBusy(plan.repair);
  if (plan.restart?.outcome !== 'restart') return;
  const { kubernetes, config, switches, readMarkLease } = tools;
  const asking = { config, id: action.id, isAlert: isFromAlert(action), switches };
  const { jobSet, attempt } = plan.restart;
  await assertAttemptsLeft(kubernetes, toRestarts(jobSet, await readMarkLease(), attempt), asking);
}

async function choose(action: Action, snapshot: Snapshot, tools: DecideTools & Reads): Promise<Plan> {
  const { kubernetes, config, cluster, claimId, poolAnnotations } = tools;
  const { nodePool, nodes } = snapshot;
  const plan: Plan = { claimId };
  const lastUncordon = readLastUncordon(poolAnnotations);
  if (lastUncordon !== undefined) plan.lastUncordon = lastUncordon;
  if (action.incident && action.nodeName !== undefined) plan.nodeName = action.nodeName;
  if (action.effects.cordon && !action.effects.repair) assertMayCordon(cluster);
  if (action.expectedNodeCounts) {
    assertExpectedNodeCounts(nodePool, toAllNodes(nodes));
  }
  if (action.effects.restart) {
    const request = toRestartRequest(action, nodePool);
    plan.restart = await planRestart(kubernetes, request, config, await tools.readFacts());
  }
  const isInPlaceNow = plan.restart?.inPlace === true;
  if (isInPlaceNow && action.incident) await assertRepairStillWanted(action.incident, snapshot, tools);
  if (action.effects.repair || isInPlaceNow) {
    const target = {
      nodePool,
      nodeName: action.nodeName,
      cluster: cluster.name,
      isAutopilot: cluster.isAutopilot,
    };
    plan.repair = await chooseRepair(action, snapshot, { ...tools, target });
    if (plan.restart) assertComesBack(plan.repair, `${action.namespace}/${action.jobSetName}`);
  }
  return plan;
}
