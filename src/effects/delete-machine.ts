import { createHash } from 'node:crypto';
import type { Deadline } from '../clock.ts';
import { FailoverError, isDefiniteRefusal, isUpstreamStatus, UpstreamError } from '../errors.ts';
import type { DeleteInstance, DeletionOutcome, Instance, Operation, ReadInstance } from '../gke/compute.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { instanceIdAnnotation, readNodeHealth } from '../gke/nodes.ts';
import type { NodeHealth } from '../gke/nodes.ts';
import type { Log } from '../log.ts';
import type { RepairPlan } from '../plan.ts';
import type { PoolLock } from '../state/lock.ts';
import type { RepairStep } from '../step.ts';
import { watchGate } from './watch-gate.ts';

/** What the deletion of a machine works with. */
export interface DeleteMachineTools {
  kubernetes: Kubernetes;
  lock: PoolLock;
  deadline: Deadline;
  deleteInstance: DeleteInstance;
  readInstance: ReadInstance;
  log: Log;
  actionId: string;
  /** An earlier claim of this action decided the plan, and may have sent its deletion. */
  isResume: boolean;
}

/** Nothing was deleted, and what was sent was refused for certain. */
export class NotDeleted extends FailoverError {}

/** The part of the step that tells what was sent, and what came of it. */
export type Deletion = Pick<RepairStep, 'outcome' | 'operation' | 'instance_id' | 'deleted_by' | 'warning'>;

/**
 * Has Compute delete the planned machine: by its numeric id, which its replacement does not have. Compute is asked for the
 * id if the node does not say it. The name is all that is left if an IAM condition on names refuses the id. It is sent only
 * while Compute says that the name still is this machine.
 *
 * @throws {NotDeleted} `target_changed`, or `repair_refused` if it cannot be proved that the name is the machine
 */
export async function deleteMachine(plan: RepairPlan, tools: DeleteMachineTools): Promise<Deletion> {
  const { projectId, zone, instanceName } = plan;
  const found = plan.instanceId === undefined ? await findMachine(plan, tools) : plan.instanceId;
  if (typeof found !== 'string') return found;
  const instanceId = found;
  const send = async (deletedBy: 'id' | 'name', check?: () => Promise<DeletionOutcome | undefined>) => {
    const { deadline, lock, actionId } = tools;
    const instance = deletedBy === 'id' ? instanceId : instanceName;
    const deletion = { projectId, zone, instance, requestId: toRequestId(actionId, instance) };
    const limits = {
      deadline,
      gate: lock.gate,
      isRepeatable: deletedBy === 'id',
      ...(check ? { check } : {}),
    };
    return describe(await tools.deleteInstance(deletion, limits), deletedBy, { plan, instanceId, tools });
  };
  try {
    return await send('id');
  } catch (error) {
    // An IAM condition on names may refuse an id. That refusal is final and deleted nothing, so the name may be tried.
    const isDenied = isUpstreamStatus(error, 403) && isDefiniteRefusal(error) && !error.isRetryable;
    if (!isDenied || tools.isResume) throw error;
    await assertSameMachine(plan, tools);
    return send('name', () => proveName(plan, { instanceId, refusal: error, tools }));
  }
}

function describe(
  deletion: DeletionOutcome,
  deletedBy: 'id' | 'name',
  { plan, instanceId, tools }: { plan: RepairPlan; instanceId: string; tools: DeleteMachineTools },
): Deletion {
  if (deletion.outcome !== 'deletion_accepted') return { ...deletion, instance_id: instanceId };
  const { outcome, operation } = deletion;
  const warning = findOtherTarget(plan, instanceId, operation);
  if (warning !== undefined) tools.log.error('warning', warning, { operation: operation.name });
  return {
    outcome,
    operation: operation.name,
    instance_id: instanceId,
    deleted_by: deletedBy,
    ...(warning === undefined ? {} : { warning }),
  };
}

/** A node's annotations are data that a kubelet may write, so what Compute says it deletes is compared with the plan. */
function findOtherTarget(
  { node, zone, instanceName }: RepairPlan,
  instanceId: string,
  { name, targetLink, targetId }: Operation,
): string | undefined {
  const isPlanned =
    targetLink === undefined ||
    [instanceName, instanceId].some((instance) =>
      targetLink.endsWith(`/zones/${zone}/instances/${instance}`),
    );
  const isPlannedId = targetId === undefined || targetId === '0' || targetId === instanceId;
  if (isPlanned && isPlannedId) return undefined;
  const [resource = 'another resource'] =
    /\bprojects\/[\w.:-]+\/zones\/[\w-]+\/instances\/[\w-]+$/.exec(targetLink ?? '') ?? [];
  const id = /^\d{1,20}$/.test(targetId ?? '') ? ` (id ${targetId})` : '';
  return (
    `Compute says that operation ${name} deletes ${resource}${id}, which is not the planned machine ${instanceName} ` +
    `(id ${instanceId}): look at that machine, and at who can write the annotations of node ${node.name}`
  );
}

/**
 * Finds the id of a machine of which only the name is known. The name must have been this machine when the node registered:
 * a machine that is younger than the Node object may be the replacement, which boots while the Node object is still there.
 *
 * @returns the id, or the outcome if there is nothing to delete
 */
async function findMachine(plan: RepairPlan, tools: DeleteMachineTools): Promise<string | Deletion> {
  const node = await assertSameMachine(plan, tools);
  const instance = await readNamed(plan, tools, `node ${node.name} does not say the id of its machine`);
  if (!instance) return { outcome: 'already_gone' };
  if (isEnding(instance)) return { outcome: 'already_repairing' };
  const { createdAt = Infinity, id } = instance;
  // A Node object's creation is told in whole seconds.
  if (Math.floor(createdAt / 1000) * 1000 <= node.createdAt) return id;
  throw new NotDeleted(
    'repair_refused',
    `node ${node.name} does not say the id of its machine, and machine ${plan.instanceName} (id ${id}) is younger than the Node ` +
      `object, so it may be the replacement; nothing was deleted. Look at it: ${toCommand('describe', plan)}`,
  );
}

/** Asked directly before each deletion by name. @returns the outcome if there is nothing to delete */
async function proveName(
  plan: RepairPlan,
  { instanceId, refusal, tools }: { instanceId: string; refusal: UpstreamError; tools: DeleteMachineTools },
): Promise<DeletionOutcome | undefined> {
  const why = `Compute refuses to delete the machine of node ${plan.node.name} by its id ${instanceId} (403)`;
  const instance = await readNamed(plan, tools, why).catch((error: unknown) => {
    const isDenied = error instanceof NotDeleted && isUpstreamStatus(error.cause, 401, 403);
    // Without either permission, it is not the condition on names that refused the id.
    throw isDenied ? new NotDeleted('upstream_failed', `${refusal.message}; ${error.message}`) : error;
  });
  if (!instance) return { outcome: 'already_gone' };
  if (instance.id !== instanceId) {
    throw new NotDeleted(
      'repair_refused',
      `${why}, and the name ${plan.instanceName} is another machine now (id ${instance.id}), probably its replacement; ` +
        `nothing was deleted. Look at it: ${toCommand('describe', plan)}`,
    );
  }
  return isEnding(instance) ? { outcome: 'already_repairing' } : undefined;
}

/** @throws {NotDeleted} `repair_refused` if Compute does not tell */
async function readNamed(
  plan: RepairPlan,
  { readInstance, deadline }: DeleteMachineTools,
  why: string,
): Promise<Instance | undefined> {
  const { projectId, zone, instanceName } = plan;
  try {
    return await readInstance({ projectId, zone, instance: instanceName }, { deadline });
  } catch (error) {
    if (!(error instanceof UpstreamError)) throw error;
    throw new NotDeleted(
      'repair_refused',
      `${why}, and which machine has the name ${instanceName} cannot be checked: ${error.message}; nothing was deleted. ` +
        `Look at it, and if it is the bad one, delete it: ${toCommand('describe', plan)}; ${toCommand('delete', plan)}`,
      { cause: error },
    );
  }
}

/** The machine is being stopped or deleted, and its name may be the replacement's in a moment. */
function isEnding({ status }: Instance): boolean {
  return ['PENDING_STOP', 'STOPPING', 'DEPROVISIONING'].includes(status);
}

function toCommand(verb: 'describe' | 'delete', { instanceName, zone, projectId }: RepairPlan): string {
  return `gcloud compute instances ${verb} ${instanceName} --zone ${zone} --project ${projectId}`;
}

/** @throws {NotDeleted} `target_changed` when the node, or the machine that it shows, is not the planned one */
async function assertSameMachine(plan: RepairPlan, { kubernetes }: DeleteMachineTools): Promise<NodeHealth> {
  const node = await readNodeHealth(kubernetes, plan.node.name);
  if (
    node?.uid === plan.node.uid &&
    node.systemUuid === plan.node.systemUuid &&
    node.annotations[instanceIdAnnotation] === plan.instanceId
  ) {
    return node;
  }
  throw new NotDeleted(
    'target_changed',
    `the machine of node ${plan.node.name} was replaced in the meantime; nothing was deleted`,
  );
}

/** Watches deletions: their fate is open once one was sent and not definitely refused. */
export function watchFate(deleteInstance: DeleteInstance): {
  deleteInstance: DeleteInstance;
  fate: { isOpen: boolean };
} {
  const fate = { isOpen: false };
  return {
    fate,
    async deleteInstance(deletion, limits) {
      const sending = watchGate(limits.gate, limits.deadline);
      try {
        return await deleteInstance(deletion, { ...limits, gate: sending.gate });
      } catch (error) {
        const isRefused = error instanceof NotDeleted || isDefiniteRefusal(error);
        fate.isOpen ||= sending.isPassed() && !isRefused;
        throw error;
      }
    },
  };
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
