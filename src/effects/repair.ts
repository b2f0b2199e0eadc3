import { waitForAll } from '../ahead.ts';
import { readMark, withMark, withoutMark } from '../state/cooldown.ts';
import { isAccepted } from '../state/deed.ts';
import { instanceIdAnnotation, listPool, readNode } from '../gke/nodes.ts';
import type { ShownMachine } from '../gke/shown-machine.ts';
import type { RepairPlan } from '../plan.ts';
import { assertNoReport } from '../decide/label-repair.ts';
import { describeRepair, repairRefused } from '../decide/repair-plan.ts';
import { deleteMachine, watchFate } from './delete-machine.ts';
import type { Deletion } from './delete-machine.ts';
import { labelNode } from './label-node.ts';
import type { LabelNodeTools } from './label-node.ts';
import type { RepairStep } from '../step.ts';

/** What a repair works with. */
export interface RepairTools extends Omit<LabelNodeTools, 'wasAccepted'> {
  /** Called directly before the deletion. Checks the pause, and that the pool is still cordoned. */
  beforeDeletion: () => Promise<unknown>;
  /** The machines of the pool when the action was claimed. */
  shown: ShownMachine[];
}

/**
 * Deletes the planned machine, so that its instance group creates a new one, or asks GKE by a label for another repair. Safe to
 * repeat: a deletion by numeric id can hit only that one machine. A deletion by name is sent only by the claim that decided it,
 * and only while both the node and Compute show the same machine.
 *
 * @throws {FailoverError} `repair_refused` for a resumed deletion by name, or while the host is being reported
 */
export async function repairInstance(plan: RepairPlan, tools: RepairTools): Promise<RepairStep> {
  const { kubernetes, lock, actionId, shown } = tools;
  const { way } = plan;
  if (plan.instanceId === undefined && way === undefined) assertMayDeleteByName(plan, tools);
  const at = new Date(kubernetes.serverNow()).toISOString();
  const before = readMark(lock.annotations, 'repair');
  const firstAt = before?.action === actionId ? (before.firstAt ?? before.at) : undefined;
  // A repetition is no reason to doubt what was accepted before.
  const wasAccepted = before?.action === actionId && isAccepted(before);
  const mark = { action: actionId, at, firstAt, instanceId: plan.instanceId, way };
  const writeMark = (state: 'begun' | 'accepted') =>
    lock.update((annotations) => withMark(annotations, 'repair', { ...mark, state }, shown));
  const { deleteInstance, fate } = watchFate(tools.deleteInstance);
  let deletion: Deletion;
  try {
    // The mark is written before the deletion, because the next alert comes at once, even if this instance dies after the
    // deletion. The checks are made at the same time, so that as little as possible passes between them and the deletion.
    await waitForAll([
      tools.beforeDeletion(),
      way === undefined ? assertNoReportSince(plan, tools) : undefined,
      writeMark(wasAccepted ? 'accepted' : 'begun'),
    ]);
    deletion =
      way === undefined
        ? await deleteMachine(plan, { ...tools, deleteInstance })
        : await labelNode({ ...plan, way }, { ...tools, wasAccepted }, fate);
  } catch (error) {
    // Nothing was deleted, so the next try must not be held back.
    if (!fate.isOpen) lock.updateLater((annotations) => withoutMark(annotations, 'repair', before));
    throw error;
  }
  if (!wasAccepted) await writeMark('accepted');
  const step = { ...describeRepair(plan), ...deletion };
  const warnings = [deletion.warning, plan.warning].filter((text) => text !== undefined);
  return warnings.length === 0 ? step : { ...step, warning: warnings.join('; ') };
}

/**
 * A report may have begun since the plan was made, also while this action cordoned the pool. Once the machine is another one,
 * the deletion has happened. The machine's id says so: the same machine may have registered as another Node.
 *
 * @throws {FailoverError} `repair_refused`
 */
async function assertNoReportSince(
  { node: { name, uid }, instanceId, isMultiHost }: RepairPlan,
  { kubernetes, lock: { nodePool } }: RepairTools,
): Promise<void> {
  const read = async () => {
    const node = await readNode(kubernetes, name);
    return node ? [node] : [];
  };
  const nodes = isMultiHost ? await listPool(kubernetes, nodePool) : await read();
  const isThere = nodes.some(({ uid: other, annotations: { [instanceIdAnnotation]: id } }) =>
    instanceId === undefined ? other === uid && id === undefined : id === instanceId,
  );
  if (isThere) assertNoReport(nodes, { isPlanned: true });
}

/** @throws {FailoverError} `repair_refused` */
function assertMayDeleteByName(plan: RepairPlan, { isResume }: RepairTools): void {
  if (!isResume) return;
  throw repairRefused(
    `the machine of node ${plan.node.name} is known by its name only, and an earlier request may have deleted it already, so a second ` +
      `deletion could hit its replacement; check the machine, then: gcloud compute instances delete ${plan.instanceName} --zone ${plan.zone} --project ${plan.projectId}`,
  );
}
