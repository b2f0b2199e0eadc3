import type { Config } from '../config.ts';
import { metadataOnly, withHeaders } from '../gke/direct-core.ts';
import { isDefiniteRefusal, isUpstreamStatus } from '../errors.ts';
import { instanceIdAnnotation, readNodeHealth } from '../gke/nodes.ts';
import { findLeftLabels, findRepairUnderWay, toRepairLabel } from '../gke/repair-labels.ts';
import { repairAnnotation, repairManager } from '../names.ts';
import type { RepairPlan } from '../plan.ts';
import type { RepairStep } from '../step.ts';
import { quote } from '../request/printable-text.ts';
import { NotDeleted } from './delete-machine.ts';
import type { DeleteMachineTools } from './delete-machine.ts';
import { watchGate } from './watch-gate.ts';

/** The part of the step that tells what was asked for. */
export type Labelled = Pick<RepairStep, 'outcome'>;

/** What the label works with. */
export interface LabelNodeTools extends DeleteMachineTools {
  config: Pick<Config, 'repairTimeoutSeconds'>;
  /** The mark says that the label was set. */
  wasAccepted: boolean;
}

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
  { kubernetes, lock, deadline, config, actionId, wasAccepted }: LabelNodeTools,
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
  const patience = {
    serverNow: kubernetes.serverNow(),
    repairTimeoutSeconds: config.repairTimeoutSeconds,
  };
  const underWay = findRepairUnderWay(node, patience);
  if (underWay !== undefined) {
    throw new NotDeleted(
      'repair_refused',
      `node ${name} is under repair already (${underWay}), because somebody asked for it in the meantime; nothing was asked for`,
    );
  }
  const left = findLeftLabels(node, patience);
  if (left.length > 0) await takeAway(left, plan, { kubernetes, lock, deadline });
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

/** Takes labels away that GKE has left, whoever set them: the same label, set again, would be no change. */
async function takeAway(
  labels: string[],
  { node: { name, uid } }: RepairPlan,
  { kubernetes, lock, deadline }: Pick<LabelNodeTools, 'kubernetes' | 'lock' | 'deadline'>,
): Promise<void> {
  const { gate } = watchGate(lock.gate, deadline);
  const none = Object.fromEntries(labels.map((label) => [label, null]));
  const body = { metadata: { uid, labels: none } };
  try {
    await kubernetes.throughGate(gate).core.patchNode({ name, body, fieldManager: repairManager }, asMerge);
  } catch (error) {
    if (isDefiniteRefusal(error, 404, 409, 422) && isUpstreamStatus(error, 404, 409, 422)) {
      throw changed(`node ${name} is gone, or another one has its name`, error);
    }
    throw error;
  }
}

const requested = {
  reboot: 'reboot_requested',
  maintenance: 'maintenance_requested',
  report_faulty_host: 'report_requested',
} as const;

const asMerge = withHeaders({ 'Content-Type': 'application/merge-patch+json', Accept: metadataOnly });

const asApply = withHeaders({ 'Content-Type': 'application/apply-patch+yaml', Accept: metadataOnly });

function changed(why: string, cause?: unknown): NotDeleted {
  return new NotDeleted('target_changed', `${why}; nothing was asked for`, { cause });
}
