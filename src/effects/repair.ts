import { createHash } from 'node:crypto';
import type { Deadline } from '../clock.ts';
import type { DeleteInstance, DeletionOutcome } from '../gke/compute.ts';
import { readMark, withMark, withoutMark } from '../state/cooldown.ts';
import { FailoverError, isDefiniteRefusal, isUpstreamStatus } from '../errors.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import type { PoolLock } from '../state/lock.ts';
import { instanceIdAnnotation, readNodeHealth } from '../gke/nodes.ts';
import type { RepairPlan } from '../plan.ts';
import { describeRepair, repairRefused } from '../decide/repair-plan.ts';
import type { RepairStep } from '../step.ts';

/** What a repair works with. */
export interface RepairTools {
  kubernetes: Kubernetes;
  lock: PoolLock;
  deadline: Deadline;
  deleteInstance: DeleteInstance;
  actionId: string;
  /** An earlier claim of this action decided the plan, and may have sent its deletion. */
  isResume: boolean;
  /** Called directly before the deletion. Checks the pause, and that the pool is still cordoned. */
  beforeDeletion: () => Promise<void>;
}

/**
 * Deletes the planned machine, so that its instance group creates a new one. Safe to repeat: a deletion by numeric id can
 * hit only that one machine. A deletion by name is sent only by the claim that decided it, and only while the node shows
 * the same machine.
 *
 * @throws {FailoverError} `repair_refused` for a resumed deletion by name
 */
export async function repairInstance(plan: RepairPlan, tools: RepairTools): Promise<RepairStep> {
  const { kubernetes, lock, actionId } = tools;
  if (plan.instanceId === undefined) assertMayDeleteByName(plan, tools);
  await tools.beforeDeletion();
  if (plan.instanceId === undefined) await assertSameMachine(plan, tools);
  const at = new Date(kubernetes.serverNow()).toISOString();
  const before = readMark(lock.annotations, 'repair');
  const firstAt = before?.action === actionId ? (before.firstAt ?? before.at) : undefined;
  // Written before the deletion, because the next alert comes at once, even if this instance dies after the deletion.
  await lock.update((annotations) =>
    withMark(annotations, 'repair', { action: actionId, at, firstAt, instanceId: plan.instanceId }),
  );
  try {
    const deletion = await deletePlanned(plan, tools);
    return { ...describeRepair(plan), ...deletion };
  } catch (error) {
    const isChanged = error instanceof FailoverError && error.code === 'target_changed';
    // Nothing was deleted, so the next try must not be held back.
    if (isChanged || isDefiniteRefusal(error)) {
      await lock.update((annotations) => withoutMark(annotations, 'repair', before)).catch(() => undefined);
    }
    throw error;
  }
}

async function deletePlanned(plan: RepairPlan, tools: RepairTools): Promise<DeletionOutcome> {
  const { deadline, lock, deleteInstance } = tools;
  const { projectId, zone, instanceName, instanceId } = plan;
  const limits = { deadline, gate: lock.gate };
  const deleteByName = () =>
    deleteInstance(
      { projectId, zone, instance: instanceName, requestId: toRequestId(tools.actionId, instanceName) },
      { ...limits, isRepeatable: false },
    );
  if (instanceId === undefined) return deleteByName();
  try {
    return await deleteInstance(
      { projectId, zone, instance: instanceId, requestId: toRequestId(tools.actionId, instanceId) },
      { ...limits, isRepeatable: true },
    );
  } catch (error) {
    // An IAM condition on names may refuse an id. That refusal is final and deleted nothing, so the name may be tried.
    const isDenied = isUpstreamStatus(error, 403) && isDefiniteRefusal(error) && !error.isRetryable;
    if (!isDenied || tools.isResume) throw error;
    await assertSameMachine(plan, tools);
    return deleteByName();
  }
}

/** @throws {FailoverError} `repair_refused` */
function assertMayDeleteByName(plan: RepairPlan, { isResume }: RepairTools): void {
  if (!isResume) return;
  throw repairRefused(
    `the machine of node ${plan.node.name} is known by its name only, and an earlier request may have deleted it already, so a second ` +
      `deletion could hit its replacement; check the machine, then: gcloud compute instances delete ${plan.instanceName} --zone ${plan.zone} --project ${plan.projectId}`,
  );
}

/** @throws {FailoverError} `target_changed` when the node, or the machine that it shows, is not the planned one */
async function assertSameMachine(plan: RepairPlan, { kubernetes }: RepairTools): Promise<void> {
  const node = await readNodeHealth(kubernetes, plan.node.name);
  if (
    node?.uid === plan.node.uid &&
    node.systemUuid === plan.node.systemUuid &&
    node.annotations[instanceIdAnnotation] === plan.instanceId
  ) {
    return;
  }
  throw new FailoverError(
    'target_changed',
    `the machine of node ${plan.node.name} was replaced in the meantime; nothing was deleted`,
  );
}

/** A namespace of UUIDs of our own, so that the same deletion has the same request id in every claim. */
const requestNamespace = Buffer.from('5d3c1e0a9b4f4c1e8a77c0ffee15dead', 'hex');

/** UUIDv5 of the action and the instance. */
export function toRequestId(actionId: string, instance: string): string {
  const hash = createHash('sha1')
    .update(requestNamespace)
    .update(`${actionId}/${instance}`)
    .digest()
    .subarray(0, 16);
  hash.writeUInt8((hash.readUInt8(6) & 0x0f) | 0x50, 6);
  hash.writeUInt8((hash.readUInt8(8) & 0x3f) | 0x80, 8);
  const hex = hash.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}
