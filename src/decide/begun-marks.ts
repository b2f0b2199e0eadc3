import { isFromAlert } from '../request/action.ts';
import type { Action } from '../request/action.ts';
import type { Config } from '../config.ts';
import { instanceIdAnnotation, readNodeHealth, toAllNodes } from '../gke/nodes.ts';
import type { NodeHealth, NodeRef } from '../gke/nodes.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { isMultiHost } from '../gke/slice.ts';
import { repairAnnotation } from '../names.ts';
import type { Plan, RepairPlan, RestartPlan } from '../plan.ts';
import { readMark, refuseCoolingDown, toCooldownLeftMs } from '../state/cooldown.ts';
import type { CooldownMark, Effect } from '../state/cooldown.ts';
import { isAccepted, refuseBegun } from '../state/deed.ts';
import type { ClusterSwitches } from '../state/switches.ts';
import type { Snapshot } from './snapshot.ts';

// A mark that another action has begun, and that nobody has accepted within the deadline of an action: its deletion may have
// been sent and its answer lost, or it was never sent. To repeat the same deletion is safe either way, because it names the
// machine by its numeric id, and the leader or the Job by its uid. Another deletion could be a second one for one fault.

/** What is needed to judge what another action has begun. */
export interface BegunTools {
  kubernetes: Kubernetes;
  config: Config;
  /** The annotations of the pool's Lease. */
  poolAnnotations: Readonly<Record<string, string>>;
  switches: ClusterSwitches;
}

/**
 * Finds the node of the machine that another action has begun to repair, in a multi-host slice. The deletion of any of its
 * machines repairs all, so this one is deleted, whichever was asked for.
 */
export async function findBegunNode(
  action: Action,
  { nodes }: Snapshot,
  tools: BegunTools,
): Promise<{ node: NodeHealth; why: string } | undefined> {
  const mark = readBegun(action, 'repair', tools);
  const all = toAllNodes(nodes);
  if (!mark || mark.way !== action.repair || !all.every((node) => isMultiHost(node))) return undefined;
  const shown = all.find((node) => isOf(node, mark));
  const node = shown && (await readNodeHealth(tools.kubernetes, shown.name));
  if (!node || !isOf(node, mark)) return undefined;
  return { node, why: `the machine of the slice whose repair action ${mark.action} has begun` };
}

/**
 * Refuses a deletion where another action has begun another one within the cooldown.
 *
 * @throws {FailoverError} `action_in_progress` where nobody knows what came of it; `rate_limited` where the cluster shows it
 */
export function assertSameAsBegun(action: Action, snapshot: Snapshot, plan: Plan, tools: BegunTools): void {
  const { nodePool, nodes } = snapshot;
  const isAlert = isFromAlert(action);
  // A person's override is not meant for alerts.
  if (tools.switches.overrideUntil !== undefined && !isAlert) return;
  const { repair, restart } = plan;
  const limits = { switches: tools.switches, isAlert };
  if (repair) {
    const mark = readBegun(action, 'repair', tools);
    if (mark) assertSameWay(mark, nodePool, repair, toAllNodes(nodes), tools, limits);
    if (mark && (mark.instanceId === undefined || mark.instanceId !== repair.instanceId)) {
      const isShown = toAllNodes(nodes).some((node) => isOf(node, mark));
      if (mark.instanceId === undefined || isShown) {
        throw refuseBegun(`the repair of node pool ${nodePool}`, mark, leftMs(mark, tools));
      }
      const what = `repair of node pool ${nodePool} was begun at ${mark.at} by action ${mark.action}, and the machine has been replaced since`;
      throw refuseCoolingDown(what, leftMs(mark, tools), limits);
    }
  }
  if (restart?.outcome === 'restart') {
    const { namespace, name } = restart.jobSet;
    const mark = readBegun(action, `restart ${namespace}/${name}`, tools);
    if (mark && !isSameRun(mark, restart)) {
      const what = `restart ${namespace}/${name} of node pool ${nodePool} was begun at ${mark.at} by action ${mark.action}, and the JobSet has restarted since`;
      throw refuseCoolingDown(what, leftMs(mark, tools), limits);
    }
  }
}

/** A label that GKE has taken away since must not be set again: its action's annotation on the node tells that it was set. */
function assertSameWay(
  mark: CooldownMark,
  nodePool: string,
  repair: RepairPlan,
  nodes: NodeRef[],
  tools: BegunTools,
  limits: Parameters<typeof refuseCoolingDown>[2],
): void {
  const node = nodes.find((each) => isOf(each, mark));
  if (mark.way !== undefined && node?.annotations[repairAnnotation] === mark.action) {
    const what = `repair of node pool ${nodePool} (${mark.way}) was done at ${mark.at} by action ${mark.action}`;
    throw refuseCoolingDown(what, leftMs(mark, tools), limits);
  }
  if (mark.way === repair.way) return;
  throw refuseBegun(`the repair of node pool ${nodePool}`, mark, leftMs(mark, tools));
}

function isSameRun(
  mark: CooldownMark,
  { jobSet, attempt, job, jobs = job ? [job] : [] }: RestartPlan,
): boolean {
  if (mark.attempt !== attempt || mark.jobSetUid !== jobSet.uid) return false;
  return mark.jobUid === undefined || jobs.some(({ uid }) => uid === mark.jobUid);
}

/** Reads a mark that another action has begun within the cooldown. */
function readBegun(action: Action, effect: Effect, tools: BegunTools): CooldownMark | undefined {
  const mark = readMark(tools.poolAnnotations, effect);
  if (!mark || mark.action === action.id || isAccepted(mark)) return undefined;
  return leftMs(mark, tools) > 0 ? mark : undefined;
}

function leftMs(mark: CooldownMark, { config, switches }: BegunTools): number {
  return toCooldownLeftMs(mark, config, switches.serverNow);
}

function isOf(node: NodeRef, { instanceId }: CooldownMark): boolean {
  return instanceId !== undefined && node.annotations[instanceIdAnnotation] === instanceId;
}
