import { isFromAlert } from '../request/action.ts';
import type { Action } from '../request/action.ts';
import type { ClusterConnection } from '../gke/cluster.ts';
import type { Config } from '../config.ts';
import { assertNotBegun, assertNotCoolingDown } from '../state/cooldown.ts';
import type { Effect } from '../state/cooldown.ts';
import { FailoverError } from '../errors.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { readLastUncordon } from '../state/last-uncordon.ts';
import { assertBudgetLeft } from '../state/budget.ts';
import type { MaxPools } from '../state/budget.ts';
import { listPoolHealth } from '../gke/nodes.ts';
import type { NodeHealth } from '../gke/nodes.ts';
import type { Plan, RepairPlan } from '../plan.ts';
import { assertSameAsBegun, findBegunNode } from './begun-marks.ts';
import { assertExpectedNodeCounts } from './preflight.ts';
import { assertClaimedOnce, describeImpact } from './repair-facts.ts';
import type { RepairFacts } from './repair-facts.ts';
import { assertMayCordon, planRepair } from './repair-plan.ts';
import { planRestart, toRestartRequest } from './restart-plan.ts';
import type { LimitsStep } from '../step.ts';
import { assertResumeStillWanted, assertStillWanted } from './still-wanted.ts';
import { refusePaused } from '../state/switches.ts';
import type { ClusterSwitches } from '../state/switches.ts';
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
}

/**
 * Decides what to do, from what was read under the claim, or refuses before anything is touched. An alert that has been
 * dealt with is ignored before limits are asked. Limits come before anything that depends on the snapshot.
 *
 * @throws {FailoverError} any refusal
 * @throws {Ignored} for an alert that has been dealt with
 */
export async function decide(action: Action, snapshot: Snapshot, tools: DecideTools): Promise<Plan> {
  const readHealth = toHealthReader(snapshot, tools);
  await assertStillWanted(action, snapshot, { ...tools, readHealth });
  assertWithinLimits(action, snapshot.nodePool, tools);
  const plan = await choose(action, snapshot, { ...tools, readHealth });
  assertSameAsBegun(action, snapshot, plan, tools);
  return plan;
}

/**
 * Lets an action be resumed, or refuses. A resume skips choosing, and nothing else: an alert may have been dealt with since,
 * and the limits hold for what this action has not begun to delete.
 *
 * @throws {FailoverError} `paused`, `action_in_progress`, `rate_limited`, `budget_exceeded`
 * @throws {Ignored} for an alert that has been dealt with
 */
export async function assertMayResume(
  action: Action,
  snapshot: Snapshot,
  plan: Plan,
  tools: DecideTools,
): Promise<void> {
  const readHealth = toHealthReader(snapshot, tools);
  await assertResumeStillWanted(action, snapshot, plan, { ...tools, readHealth });
  assertWithinLimits(action, snapshot.nodePool, tools);
  assertSameAsBegun(action, snapshot, plan, tools);
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
  const readHealth = toHealthReader(snapshot, tools);
  await assertStillWanted(action, snapshot, { ...tools, readHealth });
  const early = findLimit(() => assertWithinLimits(action, snapshot.nodePool, tools));
  const plan = await choose(action, snapshot, { ...tools, readHealth });
  const limit = early ?? findLimit(() => assertSameAsBegun(action, snapshot, plan, tools));
  const target = snapshot.nodePool;
  return {
    plan,
    limits: limit
      ? [{ step: 'limits', target, outcome: 'would_refuse', code: limit.code, why: limit.message }]
      : [],
  };
}

/** The named node has been read already. A whole pool's health is read once, and only when somebody asks for it. */
function toHealthReader(
  { namedNode, nodePool }: Snapshot,
  { kubernetes }: DecideTools,
): () => Promise<NodeHealth[]> {
  let health: Promise<NodeHealth[]> | undefined;
  return () => (health ??= namedNode ? Promise.resolve([namedNode]) : listPoolHealth(kubernetes, nodePool));
}

function findLimit(assertLimit: () => void): FailoverError | undefined {
  try {
    assertLimit();
    return undefined;
  } catch (error) {
    if (error instanceof FailoverError) return error;
    throw error;
  }
}

/** @throws {FailoverError} `paused`, `action_in_progress`, `rate_limited`, `budget_exceeded` */
function assertWithinLimits(
  action: Action,
  nodePool: string,
  { config, poolAnnotations, switches, maxPools }: DecideTools,
): void {
  if (action.effects.uncordon) return;
  refusePaused(switches);
  for (const effect of cooledEffects(action)) {
    const { id } = action;
    assertNotBegun(poolAnnotations, effect, { config, id, nodePool, serverNow: switches.serverNow });
  }
  // A person's override is not meant for alerts.
  const isAlert = isFromAlert(action);
  if (switches.overrideUntil !== undefined && !isAlert) return;
  for (const effect of cooledEffects(action)) {
    assertNotCoolingDown(poolAnnotations, effect, {
      config,
      id: action.id,
      nodePool,
      switches,
      isAlert,
    });
  }
  assertBudgetLeft(switches, nodePool, { isAlert, maxPools });
}

function cooledEffects(action: Action): Effect[] {
  const { restart, repair } = action.effects;
  return [
    ...(restart ? [`restart ${action.namespace}/${action.jobSetName}` as const] : []),
    ...(repair ? (['repair'] as const) : []),
  ];
}

async function choose(
  action: Action,
  snapshot: Snapshot,
  tools: DecideTools & { readHealth: () => Promise<NodeHealth[]> },
): Promise<Plan> {
  const { kubernetes, config, cluster, claimId, poolAnnotations } = tools;
  const { nodePool, nodes } = snapshot;
  const plan: Plan = { claimId };
  const lastUncordon = readLastUncordon(poolAnnotations);
  if (lastUncordon !== undefined) plan.lastUncordon = lastUncordon;
  if (action.incident && action.nodeName !== undefined) plan.nodeName = action.nodeName;
  if (action.effects.cordon && !action.effects.repair) assertMayCordon(cluster);
  if (action.expectedNodeCounts) {
    assertExpectedNodeCounts(nodePool, [...nodes.schedulable, ...nodes.cordoned]);
  }
  if (action.effects.restart) {
    plan.restart = await planRestart(kubernetes, toRestartRequest(action, nodePool), config);
  }
  if (action.effects.repair) {
    const target = {
      nodePool,
      nodeName: action.nodeName,
      cluster: cluster.name,
      isAutopilot: cluster.isAutopilot,
    };
    plan.repair = await chooseRepair(action, snapshot, { ...tools, target });
  }
  return plan;
}

async function chooseRepair(
  action: Action,
  snapshot: Snapshot,
  tools: DecideTools & { readHealth: () => Promise<NodeHealth[]>; target: Parameters<typeof planRepair>[1] },
): Promise<RepairPlan> {
  const { repairFacts, target } = tools;
  if (!repairFacts) throw new Error('a repair cannot be decided without its facts');
  const begun = await findBegunNode(action, snapshot, tools);
  const health = begun ? [begun.node] : await tools.readHealth();
  const plan = begun
    ? { ...planRepair(health, { ...target, nodeName: begun.node.name }), why: begun.why }
    : planRepair(health, target);
  assertClaimedOnce(plan, repairFacts);
  const { schedulable, cordoned } = snapshot.nodes;
  const poolNodes = [...schedulable, ...cordoned].map(({ name }) => name);
  const poolSize = poolNodes.length;
  return { ...plan, poolSize, ...describeImpact(plan, health, { ...repairFacts, poolNodes }) };
}
