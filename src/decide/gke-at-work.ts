import { describeTime } from '../clock.ts';
import { FailoverError } from '../errors.ts';
import type { GkeWork } from '../gke/gke-work.ts';
import type { GkeOperation, GkePool } from '../gke/gke-work-answer.ts';
import {
  activeMaintenanceLabel,
  drainLabel,
  isDraining,
  isMaintained,
  scaleDownTaint,
} from '../gke/node-labels.ts';
import { describeNames } from '../names.ts';
import type { NodeHealth, NodeRef } from '../gke/nodes.ts';
import type { RepairPlan } from '../plan.ts';
import { findLastingDoubt } from './may-not-come-back.ts';

/** What GKE's own work means for a repair. */
export interface GkeVerdict {
  /** For the plan. */
  found: Pick<RepairPlan, 'leftTo' | 'busy' | 'mayNotComeBack'>;
  warnings: string[];
}

/** What is known of the pool and of the machine that is to be repaired. */
export interface GkeFacts {
  nodePool: string;
  /** All nodes of the pool. */
  poolNodes: NodeRef[];
  /** The node whose machine is to be repaired. */
  node: NodeHealth;
  work: GkeWork;
}

/**
 * Says whether GKE's own work leaves something to repair. What needs no permission, the node's labels and taints, counts
 * also where GKE could not be asked. What could not be asked stops nothing: a deletion by numeric id can hit only the machine
 * that is bad.
 */
export function judgeGkeWork(plan: Pick<RepairPlan, 'node' | 'isMultiHost'>, facts: GkeFacts): GkeVerdict {
  const { nodePool, node, work } = facts;
  const pool = work.pools?.get(nodePool);
  const operations = (work.operations ?? []).filter(
    (each) => each.pool === nodePool || each.pool === undefined,
  );
  const leftTo = findLeaving(facts, pool, operations) ?? findRepair(plan, facts, operations);
  const busy = leftTo ? undefined : findBusy(plan, facts, pool, operations);
  const maintained = leftTo || busy !== undefined ? undefined : findMaintenance(plan, facts);
  const left = leftTo ?? maintained;
  const mayNotComeBack = findLastingDoubt(node, pool);
  return {
    found: {
      ...(left ? { leftTo: left } : {}),
      ...(busy === undefined ? {} : { busy }),
      ...(mayNotComeBack === undefined ? {} : { mayNotComeBack }),
    },
    warnings: left || busy !== undefined ? work.unread : describeDoubts(plan, facts, pool, operations),
  };
}

/**
 * Refuses a repair while GKE changes the pool's machines.
 *
 * @throws {FailoverError} `pool_busy`
 */
export function assertPoolNotBusy(repair: RepairPlan | undefined): void {
  if (repair?.busy === undefined) return;
  throw new FailoverError(
    'pool_busy',
    `${repair.busy}; nothing was touched. To cordon the pool all the same, send cordon_nodepool; to repair it, send this again ` +
      'when GKE is done',
    { headers: { 'Retry-After': '600' } },
  );
}

type Left = NonNullable<RepairPlan['leftTo']>;

/** The machine goes away, so there is nothing to repair. */
function findLeaving(
  { nodePool, node }: GkeFacts,
  pool: GkePool | undefined,
  operations: GkeOperation[],
): Left | undefined {
  const deletion = operations.find(({ type }) => type === 'DELETE_NODE_POOL' || type === 'DELETE_CLUSTER');
  if (deletion) return { outcome: 'node_leaving', ...describe(deletion, 'deletes') };
  if (pool?.status === 'STOPPING') {
    return { outcome: 'node_leaving', why: `GKE deletes node pool ${nodePool} (its status is STOPPING)` };
  }
  if (node.taintKeys.includes(scaleDownTaint)) {
    const why = `the autoscaler removes node ${node.name} (taint ${scaleDownTaint})`;
    return { outcome: 'node_leaving', why };
  }
  // An upgrade that is known to be one is told as such.
  if (!isDraining(node) || operations.some((each) => isChange(each))) return undefined;
  const why = `GKE drains node ${node.name} for an upgrade or a resize (label ${drainLabel}=drain)`;
  return { outcome: 'node_leaving', why };
}

/** A slice is repaired as a whole; elsewhere GKE names one node, although it may repair several. */
function findRepair(
  { node: { name }, isMultiHost }: Pick<RepairPlan, 'node' | 'isMultiHost'>,
  { node }: GkeFacts,
  operations: GkeOperation[],
): Left | undefined {
  const repair = operations.find(
    (each) =>
      each.type === 'AUTO_REPAIR_NODES' &&
      each.pool !== undefined &&
      (isMultiHost || each.node === name || (each.node === undefined && !node.isReady)),
  );
  return repair && { outcome: 'gke_is_repairing', ...describe(repair, 'repairs') };
}

/** GKE makes the machines of the pool anew, or changes how many there are, and which ones is not told. */
function findBusy(
  { isMultiHost }: Pick<RepairPlan, 'isMultiHost'>,
  { nodePool, poolNodes }: GkeFacts,
  pool: GkePool | undefined,
  operations: GkeOperation[],
): string | undefined {
  const change = operations.find((each) => isChange(each));
  if (change) return describe(change, 'works on').why;
  if (pool?.upgradePhase !== undefined) {
    return `GKE upgrades node pool ${nodePool} (blue-green, phase ${pool.upgradePhase})`;
  }
  if (pool?.status === 'PROVISIONING') {
    return `GKE creates node pool ${nodePool} (its status is PROVISIONING)`;
  }
  const draining = poolNodes.filter((each) => isDraining(each)).map(({ name }) => name);
  if (!isMultiHost || draining.length === 0) return undefined;
  return `GKE drains ${describeNames(draining)} of the slice for an upgrade or a resize (label ${drainLabel}=drain)`;
}

/** In a slice, the deletion of one machine would take away those that are being maintained. */
function findMaintenance(
  { node: { name }, isMultiHost }: Pick<RepairPlan, 'node' | 'isMultiHost'>,
  { poolNodes, node }: GkeFacts,
): Left | undefined {
  if (node.lifecycle?.includes('MaintenanceInProgress')) {
    const why = `somebody maintains node ${name} (condition MaintenanceInProgress)`;
    return { outcome: 'under_maintenance', why };
  }
  const maintained = poolNodes
    .filter((each) => (isMultiHost || each.name === name) && isMaintained(each))
    .map((each) => each.name);
  if (maintained.length === 0) return undefined;
  const why = `GKE maintains the host of ${describeNames(maintained)} (label ${activeMaintenanceLabel}=ONGOING)`;
  return { outcome: 'under_maintenance', why };
}

function describeDoubts(
  { node: { name } }: Pick<RepairPlan, 'node'>,
  { nodePool, node, work }: GkeFacts,
  pool: GkePool | undefined,
  operations: GkeOperation[],
): string[] {
  const known = operations.filter(({ pool: of }) => of !== undefined);
  const others = known.map(
    (each) => `${describe(each, 'works on').why}, and not on node ${name} as far as GKE says`,
  );
  const isUnexplained = pool !== undefined && known.length === 0 && pool.status !== 'RUNNING';
  const taints: Record<string, string> = {
    DeletionCandidateOfClusterAutoscaler: 'the autoscaler may remove it',
    'cloud.google.com/impending-node-termination': 'GKE is about to end its machine',
  };
  const marked = Object.entries(taints).filter(([key]) => node.taintKeys.includes(key));
  return [
    ...others,
    ...(isUnexplained ? [`GKE says that node pool ${nodePool} is ${pool.status}`] : []),
    ...marked.map(([key, meaning]) => `node ${name} has the taint ${key}: ${meaning}`),
    ...work.unread,
  ];
}

/** Operations that make machines anew, or change how many there are. */
const changes = new Set([
  'UPGRADE_NODES',
  'AUTO_UPGRADE_NODES',
  'SET_NODE_POOL_SIZE',
  'RESIZE_CLUSTER',
  'CREATE_NODE_POOL',
]);

function isChange({ type, pool }: GkeOperation): boolean {
  return changes.has(type) && (pool !== undefined || type === 'RESIZE_CLUSTER');
}

/**
 * Says for a cordon that GKE is at work on the pool, from the labels that were read anyway. Undefined if there are none.
 */
export function warnOfGkeWork(nodes: NodeRef[]): string | undefined {
  const namesOf = (is: (node: NodeRef) => boolean) =>
    nodes.filter((each) => is(each)).map(({ name }) => name);
  const [draining, maintained] = [namesOf(isDraining), namesOf(isMaintained)];
  const warnings = [
    ...(draining.length > 0
      ? [
          `GKE drains ${describeNames(draining)} for an upgrade or a resize (label ${drainLabel}=drain), and nodes that it makes anew are not cordoned`,
        ]
      : []),
    ...(maintained.length > 0
      ? [`GKE maintains the host of ${describeNames(maintained)} (label ${activeMaintenanceLabel}=ONGOING)`]
      : []),
  ];
  return warnings.length === 0 ? undefined : warnings.join('; ');
}

function describe(
  { type, name, since, pool, node }: GkeOperation,
  verb: string,
): { why: string; since?: string } {
  const target = pool === undefined ? 'the cluster' : `node pool ${pool}`;
  const which = node === undefined ? '' : `, node ${node}`;
  const time = since === undefined ? undefined : describeTime(since);
  const when = time === undefined ? '' : ` since ${time}`;
  const why = `GKE ${verb} ${target}${which}${when} (${type}${name === '' ? '' : `, ${name}`})`;
  return { why, ...(time === undefined ? {} : { since: time }) };
}
