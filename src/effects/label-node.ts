import { metadataOnly, withHeaders } from '../gke/direct-patch.ts';
import { isDefiniteRefusal, isUpstreamStatus } from '../errors.ts';
import { instanceIdAnnotation, readNodeHealth } from '../gke/nodes.ts';
import { findRepairUnderWay, toRepairLabel } from '../gke/repair-labels.ts';
import { repairAnnotation, repairManager } from '../names.ts';
import type { RepairPlan } from '../plan.ts';
import type { RepairStep } from '../step.ts';
import { quote } from '../request/printable-text.ts';
import { NotDeleted } from './delete-machine.ts';
import type { DeleteMachineTools } from './delete-machine.ts';
import { watchGate } from './watch-gate.ts';

/** The part of the step that tells what was asked for. */
export type Labelled = Pick<RepairStep, 'outcome'>;

/**
 * Asks GKE by a label of the node for the planned repair. The label and an annotation with the action's id are one
 * server-side apply with the node's uid: GKE takes its label away once it is done, and the annotation then still tells that
 * this action has asked. So nothing is asked for twice. A field manager of its own leaves the cordon as it is.
 *
 * @param fate.isOpen is set while the label may have been set
 * @throws {NotDeleted} if nothing was asked for, and it is certain
 */
export async function labelNode(
  plan: RepairPlan & { way: NonNullable<RepairPlan['way']> },
  { kubernetes, lock, deadline, actionId, wasAccepted }: DeleteMachineTools & { wasAccepted: boolean },
  fate: { isOpen: boolean },
): Promise<Labelled> {
  const { name, uid } = plan.node;
  if (wasAccepted) return { outcome: 'already_requested' };
  const node = await readNodeHealth(kubernetes, name);
  const isSame =
    node?.uid === uid &&
    node.systemUuid === plan.node.systemUuid &&
    node.annotations[instanceIdAnnotation] === plan.instanceId;
  if (!isSame) throw changed(`the machine of node ${name} was replaced in the meantime`);
  const askedBy = node.annotations[repairAnnotation];
  if (askedBy === actionId) return { outcome: 'already_requested' };
  if (askedBy !== undefined && askedBy !== plan.before?.askedBy) {
    // The annotation has room for one id, so nobody knows whether this action has asked before.
    throw changed(
      `action ${quote(askedBy)} has asked for a repair of node ${name} since this action was planned`,
    );
  }
  const underWay = findRepairUnderWay(node);
  if (underWay !== undefined) {
    throw new NotDeleted(
      'repair_refused',
      `node ${name} is under repair already (${underWay}), because somebody asked for it in the meantime; nothing was asked for`,
    );
  }
  const { key, value } = toRepairLabel(plan.way, plan.fault);
  const metadata = { name, uid, labels: { [key]: value }, annotations: { [repairAnnotation]: actionId } };
  const sending = watchGate(lock.gate, deadline);
  try {
    await kubernetes.throughGate(sending.gate).core.patchNode(
      {
        name,
        body: { apiVersion: 'v1', kind: 'Node', metadata },
        fieldManager: repairManager,
      },
      asApply,
    );
  } catch (error) {
    const isRefused = isDefiniteRefusal(error, 404, 409, 422);
    fate.isOpen ||= sending.isPassed() && !isRefused;
    if (isRefused && isUpstreamStatus(error, 404, 409, 422)) {
      throw changed(
        `node ${name} is gone, another one has its name, or somebody else asks for another repair of it`,
        error,
      );
    }
    throw error;
  }
  return { outcome: requested[plan.way] };
}

const requested = {
  reboot: 'reboot_requested',
  maintenance: 'maintenance_requested',
  report_faulty_host: 'report_requested',
} as const;

const asApply = withHeaders({ 'Content-Type': 'application/apply-patch+yaml', Accept: metadataOnly });

function changed(why: string, cause?: unknown): NotDeleted {
  return new NotDeleted('target_changed', `${why}; nothing was asked for`, { cause });
}
