import type { RepairPlan } from '../plan.ts';
import type { Action } from '../request/action.ts';
import { findBegunNode } from './begun-marks.ts';
import type { BegunTools } from './begun-marks.ts';
import { judgeGkeWork } from './gke-at-work.ts';
import { describeHistory } from './host-history.ts';
import { chooseRepairWay } from './label-repair.ts';
import { assertNotLookedAfter } from './looked-after.ts';
import { assertClaimedOnce, describeImpact } from './repair-facts.ts';
import type { RepairFacts } from './repair-facts.ts';
import { planRepair } from './repair-plan.ts';
import { assertNotReplacement } from './replacement.ts';
import type { Snapshot } from './snapshot.ts';
import type { AskMachine } from '../gke/compute.ts';
import { toAllNodes } from '../gke/nodes.ts';
import type { NodeHealth } from '../gke/nodes.ts';

/** What the choice of a machine works with. */
export interface ChooseRepairTools extends BegunTools {
  repairFacts: RepairFacts | undefined;
  askMachine: AskMachine;
  readHealth: () => Promise<NodeHealth[]>;
}

/**
 * Chooses the machine to repair, and says what the repair means.
 *
 * @throws {FailoverError} any refusal of a repair
 * @throws {Ignored} for an alert about a machine that was replaced, or whose repair by GKE another action looks after
 */
export async function chooseRepair(
  action: Action,
  snapshot: Snapshot,
  { target, ...tools }: ChooseRepairTools & { target: Parameters<typeof planRepair>[1] },
): Promise<RepairPlan> {
  const { repairFacts } = tools;
  if (!repairFacts) throw new Error('a repair cannot be decided without its facts');
  const begun = await findBegunNode(action, snapshot, tools);
  const health = begun ? [begun.node] : await tools.readHealth();
  const plan = begun
    ? { ...planRepair(health, { ...target, nodeName: begun.node.name }), why: begun.why }
    : planRepair(health, target);
  assertClaimedOnce(plan, repairFacts);
  const { serverNow } = tools.switches;
  const poolNodes = toAllNodes(snapshot.nodes);
  const node = health.find(({ uid }) => uid === plan.node.uid);
  if (!node) throw new Error('a repair was planned for another node than those that it was chosen from');
  let asked: ReturnType<AskMachine> | undefined;
  const askMachine: AskMachine = (machine) => (asked ??= tools.askMachine(machine));
  const asking = { ...tools, askMachine, serverNow };
  const doubt = await assertNotReplacement(action, plan, node, asking);
  const gke = judgeGkeWork(plan, { nodePool: snapshot.nodePool, poolNodes, node, work: repairFacts.work });
  await assertNotLookedAfter(action, snapshot.nodePool, { ...plan, ...gke.found }, tools.kubernetes);
  const names = poolNodes.map(({ name }) => name);
  const isLeft = gke.found.leftTo !== undefined || gke.found.busy !== undefined;
  const way = isLeft
    ? { plan: {}, warnings: [] }
    : await chooseRepairWay(action, plan, { node, poolNodes }, asking);
  const history = isLeft ? undefined : describeHistory({ ...plan, ...way.plan }, node, repairFacts.hosts);
  const told = [doubt, history].filter((text) => text !== undefined);
  const doubts = [...told, ...gke.warnings, ...way.warnings];
  const decided = { ...plan, poolSize: poolNodes.length, ...gke.found, ...way.plan };
  // Only a deletion needs another machine.
  if (decided.way !== undefined) delete decided.mayNotComeBack;
  return { ...decided, ...describeImpact(decided, health, { ...repairFacts, poolNodes: names }, doubts) };
}
