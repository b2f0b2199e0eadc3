import type { LabelWay } from '../action-type.ts';
import { unlessForbidden } from '../gke/compute.ts';
import type { Instance } from '../gke/compute.ts';
import type { NodeHealth, NodeRef } from '../gke/nodes.ts';
import {
  findRepairUnderWay,
  findReportUnderWay,
  isAllCapacity,
  namesReservation,
  readReport,
  whyNoMaintenance,
  whyNotReportable,
} from '../gke/repair-labels.ts';
import { repairAnnotation } from '../names.ts';
import type { RepairPlan } from '../plan.ts';
import type { Action } from '../request/action.ts';
import { readMark } from '../state/cooldown.ts';
import { isAccepted } from '../state/deed.ts';
import { repairRefused } from './repair-plan.ts';
import type { ReplacementTools } from './replacement.ts';

/** What a plan says more of the way in which the machine is repaired. */
export interface WayOfRepair {
  plan: Pick<RepairPlan, 'way' | 'fault' | 'before' | 'allCapacity'>;
  warnings: string[];
}

interface WayTools extends ReplacementTools {
  poolAnnotations: Readonly<Record<string, string>>;
}

/**
 * Decides whether a machine may be repaired in the way that was asked for, as far as labels and Compute tell.
 *
 * @param node is the one whose machine is repaired
 * @param poolNodes are all nodes of the pool
 * @throws {FailoverError} `repair_refused`, with the way that would work
 */
export async function chooseRepairWay(
  { repair: way, fault }: Pick<Action, 'repair' | 'fault'>,
  plan: RepairPlan,
  { node, poolNodes }: { node: NodeHealth; poolNodes: NodeRef[] },
  tools: WayTools,
): Promise<WayOfRepair> {
  if (way === undefined) return chooseDeletion(plan, node, poolNodes);
  const { repairTimeoutSeconds } = tools.config;
  const underWay = findRepairUnderWay(node, { serverNow: tools.serverNow, repairTimeoutSeconds });
  if (underWay !== undefined) {
    throw repairRefused(
      `node ${node.name} is under repair already (${underWay}), by GKE or because somebody asked for it; nothing was asked for. ` +
        `Send this again once that is over and the label is gone${describeWayOut(node, underWay)}`,
    );
  }
  assertNotDeleting(plan, tools);
  assertPossible(way, node);
  const asked = await ask(plan, tools);
  const warnings = [
    ...(typeof asked === 'string' ? [asked] : []),
    ...(way === 'report_faulty_host' && !namesReservation(node)
      ? [
          `node ${node.name} has no label of a reservation, and only hosts of a reservation can be reported, so GKE may answer Error`,
        ]
      : []),
  ];
  const startedAt = typeof asked === 'string' ? undefined : asked.startedAt;
  const { bootId } = node;
  const askedBy = node.annotations[repairAnnotation];
  return {
    plan: {
      way,
      ...(fault === undefined ? {} : { fault }),
      ...(way === 'report_faulty_host' && isAllCapacity(node) ? { allCapacity: true as const } : {}),
      before: {
        ...(bootId === undefined ? {} : { bootId }),
        ...(startedAt === undefined ? {} : { startedAt }),
        ...(askedBy === undefined ? {} : { askedBy }),
        ...(way === 'report_faulty_host' ? readReport(node) : {}),
      },
    },
    warnings,
  };
}

/**
 * Refuses a deletion while the host of any of these nodes is being reported: it would make the report fail.
 *
 * @param isPlanned the deletion was planned before, and a resume may have sent it before
 * @throws {FailoverError} `repair_refused`
 */
export function assertNoReport(nodes: NodeRef[], { isPlanned }: { isPlanned: boolean }): void {
  for (const node of nodes) {
    const report = findReportUnderWay(node);
    if (report === undefined) continue;
    const [since, now] = isPlanned ? [' since this action was planned', ' now'] : ['', ''];
    throw repairRefused(
      `the host of node ${node.name} is being reported as faulty (${report})${since}, and a deletion of the machine would make the ` +
        `report fail; nothing was deleted${now}. Wait until GKE has taken the label away${describeWayOut(node, report)}`,
    );
  }
}

/** How to take a label away that asks for a repair; nothing for one with which GKE tells what it does. */
function describeWayOut({ name }: NodeRef, underWay: string): string {
  const [, key] = /^label (.*(?:fault-behavior|perform-\w+))=/.exec(underWay) ?? [];
  return key === undefined
    ? ''
    : `; to take away a label that GKE has left: kubectl label node ${name} ${key}-`;
}

/** In a slice, all machines go. */
function chooseDeletion(plan: RepairPlan, node: NodeHealth, poolNodes: NodeRef[]): WayOfRepair {
  assertNoReport(plan.isMultiHost ? poolNodes : [node], { isPlanned: false });
  if (!isAllCapacity(node)) return { plan: {}, warnings: [] };
  const warning =
    `the hosts of the reservation of node ${node.name} come back as they are (all-capacity mode), so a deletion draws the same host ` +
    'again: to have the host repaired, send repair report_faulty_host';
  return { plan: {}, warnings: [warning] };
}

/** After the deletion of a machine there is nothing left to label. */
function assertNotDeleting({ node, instanceId }: RepairPlan, tools: WayTools): void {
  const mark = readMark(tools.poolAnnotations, 'repair');
  if (!mark || mark.way !== undefined || !isAccepted(mark) || mark.instanceId !== instanceId) return;
  if (tools.serverNow - Date.parse(mark.at) >= tools.config.repairTimeoutSeconds * 1000) return;
  throw repairRefused(
    `the machine of node ${node.name} is being deleted by action ${mark.action} since ${mark.at}, so it cannot be repaired in ` +
      'another way; nothing was asked for',
  );
}

/** What labels tell. */
function assertPossible(way: LabelWay, node: NodeHealth): void {
  const why =
    way === 'maintenance'
      ? whyNoMaintenance(node)
      : way === 'report_faulty_host'
        ? whyNotReportable(node)
        : undefined;
  if (why === undefined) return;
  const others =
    way === 'maintenance' && whyNotReportable(node) === undefined
      ? 'report the host (repair report_faulty_host), or have the machine deleted (repair delete)'
      : 'have the machine deleted (repair delete)';
  throw repairRefused(`${why}; nothing was asked for. What works: ${others}`);
}

/** @returns the running machine, or why it is not known whether it runs */
async function ask(plan: RepairPlan, { askMachine }: WayTools): Promise<Instance | string> {
  const { instanceName, instanceId } = plan;
  const asked = await unlessForbidden(askMachine(plan), ({ message }) => {
    return `whether the machine runs, and since when, is not known, because ${message}`;
  });
  if (typeof asked === 'string') return asked;
  const isSame = asked && (instanceId === undefined || asked.id === instanceId);
  if (isSame && asked.status === 'RUNNING') return asked;
  const state = !asked
    ? 'is gone'
    : asked.status === 'RUNNING'
      ? `is another one by now (id ${asked.id})`
      : `is ${asked.status}`;
  throw repairRefused(
    `machine ${instanceName} of node ${plan.node.name} ${state}, and only a machine that runs can be rebooted, maintained or have its ` +
      'host reported; nothing was asked for. What works: have it deleted (repair delete), unless GKE replaces it already',
  );
}
