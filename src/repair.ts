import { createHash } from 'node:crypto';
import type { Deadline } from './clock.ts';
import { regionOf } from './cluster-name.ts';
import type { ClusterName } from './cluster-name.ts';
import type { DeleteInstance, DeletionOutcome } from './compute.ts';
import { readMark, withMark, withoutMark } from './cooldown.ts';
import { describeNames } from './cordon.ts';
import { FailoverError, isDefiniteRefusal, isUpstreamStatus } from './errors.ts';
import type { Kubernetes } from './kubernetes.ts';
import type { PoolLock } from './lock.ts';
import { readNodeHealth } from './nodes.ts';
import type { NodeHealth } from './nodes.ts';
import type { RepairPlan } from './plan.ts';
import { isMultiHost } from './preflight.ts';
import type { Step } from './step.ts';
/** GKE writes the numeric id of the machine there. */
export const instanceIdAnnotation = 'container.googleapis.com/instance_id';

/**
 * Chooses the machine to repair.
 *
 * @param nodes are the pool's, or only the one that the caller named
 * @throws {FailoverError} `target_ambiguous` where none can be singled out, `repair_refused` where it must not be deleted
 */
export function planRepair(
  nodes: NodeHealth[],
  target: { nodePool: string; nodeName: string | undefined; cluster: ClusterName; isAutopilot: boolean },
): RepairPlan {
  if (target.isAutopilot)
    throw repairRefused(
      `cluster ${target.cluster.name} is an Autopilot cluster, whose machines only GKE may delete`,
    );
  const { node, why } =
    target.nodeName === undefined
      ? chooseNode(nodes, target.nodePool)
      : { node: nodes[0], why: 'the node that was named' };
  if (!node) throw new FailoverError('target_not_found', `node pool ${target.nodePool} has no nodes`);
  const instance = parseProviderId(node, target.cluster);
  const instanceId = node.annotations[instanceIdAnnotation];
  if (instanceId !== undefined && !/^[1-9]\d{0,19}$/.test(instanceId)) {
    throw repairRefused(`annotation ${instanceIdAnnotation} of node ${node.name} is no instance id`);
  }
  return {
    ...instance,
    ...(instanceId === undefined ? {} : { instanceId }),
    node: { name: node.name, uid: node.uid, systemUuid: node.systemUuid },
    isMultiHost: isMultiHost(node),
    why,
  };
}

/** In a multi-host slice any machine's deletion repairs all, so the least healthy goes; elsewhere it must be the bad one. */
function chooseNode(nodes: NodeHealth[], nodePool: string): { node: NodeHealth | undefined; why: string } {
  const ranked = rankByHealth(nodes);
  const [worst] = ranked;
  if (!worst) return { node: undefined, why: '' };
  if (ranked.every((node) => isMultiHost(node))) {
    return { node: worst, why: `the least healthy node of a multi-host slice: ${describeHealth(worst)}` };
  }
  const notReady = ranked.filter((node) => !node.isReady);
  if (notReady.length === 1) return { node: notReady[0], why: 'the only node of the pool that is not Ready' };
  const which =
    notReady.length === 0
      ? 'all of them are Ready'
      : `several are not Ready: ${describeNames(
          notReady.map(({ name }) => name),
          20,
        )}`;
  throw new FailoverError(
    'target_ambiguous',
    `node pool ${nodePool} is no multi-host slice, so only the bad machine may be deleted, and ${which}; name the node_name`,
  );
}

/** The least healthy first. */
export function rankByHealth(nodes: NodeHealth[]): NodeHealth[] {
  return [...nodes].sort(byHealth);
}

/** Says whether nothing is wrong with a node, as far as Kubernetes knows. */
export function isHealthy(node: NodeHealth): boolean {
  return node.isReady && !isLeaving(node) && node.problems.length === 0;
}

function byHealth(a: NodeHealth, b: NodeHealth): number {
  return (
    Number(a.isReady) - Number(b.isReady) ||
    Number(isLeaving(b)) - Number(isLeaving(a)) ||
    b.problems.length - a.problems.length ||
    (a.name < b.name ? -1 : 1)
  );
}

/** GKE has announced the machine's end or its maintenance. */
function isLeaving({ taintKeys, labels }: NodeHealth): boolean {
  return (
    taintKeys.some((key) => /termination|maintenance/i.test(key)) ||
    labels['cloud.google.com/active-node-maintenance'] === 'ONGOING'
  );
}

function describeHealth(node: NodeHealth): string {
  if (!node.isReady) return 'not Ready';
  if (isLeaving(node)) return 'about to be terminated or maintained';
  return node.problems.length > 0 ? node.problems.join(', ') : 'all are healthy, first by name';
}

function repairRefused(why: string): FailoverError {
  return new FailoverError('repair_refused', why);
}

/** A providerID is data that anyone who may edit nodes has written: it must be of the cluster's own project and region. */
function parseProviderId(
  node: NodeHealth,
  cluster: ClusterName,
): { projectId: string; zone: string; instanceName: string } {
  const found =
    /^gce:\/\/([a-z][a-z0-9.:-]*)\/([a-z]+-[a-z]+\d+-[a-z0-9]+)\/([a-z]([-a-z0-9]{0,61}[a-z0-9])?)$/.exec(
      node.providerId ?? '',
    );
  const [, projectId, zone, instanceName] = found ?? [];
  if (projectId === undefined || zone === undefined || instanceName === undefined) {
    throw repairRefused(`node ${node.name} has no providerID of the form gce://PROJECT/ZONE/INSTANCE`);
  }
  if (projectId !== cluster.projectId)
    throw repairRefused(
      `node ${node.name} says that its machine is in project ${projectId}, not in ${cluster.projectId}`,
    );
  if (zone !== cluster.location && regionOf(zone) !== regionOf(cluster.location)) {
    throw repairRefused(
      `node ${node.name} says that its machine is in zone ${zone}, outside the cluster's location ${cluster.location}`,
    );
  }
  return { projectId, zone, instanceName };
}

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

/** The step of an answer: what is, or in a dry run would be, done. */
export function describeRepair(plan: RepairPlan): Step {
  const { projectId, zone, instanceName, instanceId, node } = plan;
  return {
    step: 'repair',
    target: node.name,
    outcome: 'would_delete',
    instance: `projects/${projectId}/zones/${zone}/instances/${instanceName}`,
    ...(instanceId === undefined ? {} : { instance_id: instanceId }),
    why: plan.why,
    replaces: plan.isMultiHost ? 'all machines of the slice' : 'this machine',
    cordon:
      'a node that registers anew loses its cordon, a Node object that survives keeps it: look, then uncordon_nodepool',
  };
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
