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
import type { Step } from '../step.ts';

/** What carrying a repair out needs. */
export interface RepairTools {
  kubernetes: Kubernetes;
  lock: PoolLock;
  deadline: Deadline;
  deleteInstance: DeleteInstance;
  actionId: string;
  /** Whether this attempt is the one that decided the plan. */
  isDecider: boolean;
  /** Called directly before the deletion: pause, and what is schedulable again. */
  beforeDeletion: () => Promise<void>;
}

/**
 * Deletes the planned machine, so that its instance group makes a new one. Safe to repeat: by the numeric id only that
 * one machine can be hit; by the name only the attempt that decided it deletes, and only while the node shows the same
 * machine.
 *
 * @throws {FailoverError} `repair_refused` for a resumed deletion by name
 */
export async function repairInstance(plan: RepairPlan, tools: RepairTools): Promise<Step> {
  const { kubernetes, lock, actionId } = tools;
  if (plan.instanceId === undefined) assertMayDeleteByName(plan, tools);
  await tools.beforeDeletion();
  if (plan.instanceId === undefined) await assertSameMachine(plan, tools);
  const at = new Date(kubernetes.serverNow()).toISOString();
  const before = readMark(lock.annotations, 'repair');
  const firstAt = before?.action === actionId ? (before.firstAt ?? before.at) : undefined;
  // Written first: the next alert comes at once, also when this instance dies with the deletion accepted.
  await lock.update((annotations) =>
    withMark(annotations, 'repair', { action: actionId, at, firstAt, instanceId: plan.instanceId }),
  );
  try {
    const deletion = await deletePlanned(plan, tools);
    return { ...describeRepair(plan), ...deletion };
  } catch (error) {
    const isChanged = error instanceof FailoverError && error.code === 'target_changed';
    // Nothing was deleted, so nothing may keep the next try out.
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
    // An IAM condition on names may refuse an id. That is final and hit nothing, so the name may be tried.
    const isDenied = isUpstreamStatus(error, 403) && isDefiniteRefusal(error) && !error.isRetryable;
    if (!isDenied || !tools.isDecider) throw error;
    await assertSameMachine(plan, tools);
    return deleteByName();
  }
}

/** @throws {FailoverError} `repair_refused` */
function assertMayDeleteByName(plan: RepairPlan, { isDecider }: RepairTools): void {
  if (isDecider) return;
  throw repairRefused(
    `the machine of node ${plan.node.name} is known by its name only, and an earlier attempt may have deleted it already, so its ` +
      `replacement could be hit; look, then: gcloud compute instances delete ${plan.instanceName} --zone ${plan.zone} --project ${plan.projectId}`,
  );
}

/** @throws {FailoverError} `target_changed` when the node is another one, or shows another machine, than was decided on */
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
    `the machine of node ${plan.node.name} was replaced meanwhile; nothing was deleted`,
  );
}

/** Our own namespace of UUIDs, so that the same deletion has the same request id in every attempt. */
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
