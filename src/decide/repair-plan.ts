import { regionOf } from '../cluster-name.ts';
import type { ClusterName } from '../cluster-name.ts';
import { FailoverError } from '../errors.ts';
import { describeHealth, rankByHealth } from '../gke/node-health.ts';
import { instanceIdAnnotation } from '../gke/nodes.ts';
import { describeNames } from '../names.ts';
import type { NodeHealth } from '../gke/nodes.ts';
import type { RepairPlan } from '../plan.ts';
import { blockLabel, hostLabel, isMultiHost, subblockLabel } from '../gke/slice.ts';
import { toRepairLabel } from '../gke/repair-labels.ts';
import type { RepairStep } from '../step.ts';

/**
 * Chooses the machine to repair.
 *
 * @param nodes are the pool's nodes, or only the one that the caller named
 * @throws {FailoverError} `target_ambiguous` where none can be singled out, `repair_refused` where this function must not delete it
 */
export function planRepair(
  nodes: NodeHealth[],
  target: { nodePool: string; nodeName: string | undefined; cluster: ClusterName; isAutopilot: boolean },
): RepairPlan {
  if (target.isAutopilot) {
    throw repairRefused(
      `cluster ${target.cluster.name} is an Autopilot cluster, whose machines only GKE may delete`,
    );
  }
  const { node, why } =
    target.nodeName === undefined
      ? chooseNode(nodes, target.nodePool)
      : { node: nodes[0], why: 'the node that was named' };
  if (!node) throw new FailoverError('target_not_found', `node pool ${target.nodePool} has no nodes`);
  const instance = parseProviderId(node, target.cluster);
  const instanceId = node.annotations[instanceIdAnnotation];
  if (instanceId !== undefined && !/^[1-9]\d{0,19}$/.test(instanceId)) {
    throw repairRefused(`annotation ${instanceIdAnnotation} of node ${node.name} is not an instance id`);
  }
  const { [hostLabel]: host, [blockLabel]: block, [subblockLabel]: subblock } = node.labels;
  return {
    ...instance,
    ...(instanceId === undefined ? {} : { instanceId }),
    node: { name: node.name, uid: node.uid, systemUuid: node.systemUuid },
    isMultiHost: isMultiHost(node),
    ...(host === undefined ? {} : { host }),
    ...(block === undefined ? {} : { block }),
    ...(subblock === undefined ? {} : { subblock }),
    why,
  };
}

/**
 * Refuses a cordon on Autopilot, because GKE repairs a node there that stays cordoned.
 *
 * @throws {FailoverError} `repair_refused`
 */
export function assertMayCordon(cluster: { name: ClusterName; isAutopilot: boolean }): void {
  if (!cluster.isAutopilot) return;
  throw repairRefused(
    `cluster ${cluster.name.name} is an Autopilot cluster, where GKE takes a node that stays cordoned for about 10 minutes ` +
      'for a broken one: it drains the node and creates it anew; only uncordon_nodepool works there',
  );
}

/** In a multi-host slice, the deletion of any machine repairs all, so it chooses the least healthy. Elsewhere only the bad machine may go. */
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
    `node pool ${nodePool} is not a multi-host slice, so only the bad machine may be deleted, and ${which}; name the node_name`,
  );
}

/** Refuses a repair. */
export function repairRefused(why: string): FailoverError {
  return new FailoverError('repair_refused', why);
}

/** A providerID is data: whoever may edit nodes can write it. It must be of the cluster's own project and region. */
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
  if (projectId !== cluster.projectId) {
    throw repairRefused(
      `node ${node.name} says that its machine is in project ${projectId}, not in ${cluster.projectId}`,
    );
  }
  if (zone !== cluster.location && regionOf(zone) !== regionOf(cluster.location)) {
    throw repairRefused(
      `node ${node.name} says that its machine is in zone ${zone}, outside the cluster's location ${cluster.location}`,
    );
  }
  return { projectId, zone, instanceName };
}

function describeReplaced({ leftTo, isMultiHost, way, allCapacity }: RepairPlan): string {
  if (leftTo && leftTo.outcome !== 'gke_is_repairing') return 'nothing';
  if (way === 'reboot') return 'nothing: GKE reboots this machine, and what runs there ends';
  if (way === 'maintenance') {
    const which = isMultiHost ? 'all machines of the slice stop' : 'this machine stops';
    return `nothing: GKE drains the node, and ${which} until the maintenance is over, which takes about 35 minutes`;
  }
  if (way === 'report_faulty_host') {
    const back = allCapacity
      ? 'the machine comes back on the same host after its repair, 3 to 14 days later'
      : 'the machine comes back on another host of the reservation if one is free, after 10 to 12 minutes';
    return `nothing: GKE drains the node and reports its host, and ${back}; the data of local SSDs is lost`;
  }
  return isMultiHost ? 'all machines of the slice' : 'this machine';
}

/** The step of the answer. Before the deletion, and in a dry run, its outcome is `would_delete`. */
export function describeRepair(plan: RepairPlan): RepairStep {
  const { projectId, zone, instanceName, instanceId, node } = plan;
  return {
    step: 'repair',
    target: node.name,
    outcome: plan.leftTo?.outcome ?? (plan.way ? `would_${plan.way}` : 'would_delete'),
    instance: `projects/${projectId}/zones/${zone}/instances/${instanceName}`,
    ...(instanceId === undefined ? {} : { instance_id: instanceId }),
    ...describeWay(plan),
    why: plan.why,
    replaces: describeReplaced(plan),
    ...(plan.leftTo ? { gke: plan.leftTo.why } : {}),
    ...(plan.mayNotComeBack === undefined ? {} : { may_not_come_back: plan.mayNotComeBack }),
    ...(plan.runsHere === undefined ? {} : { runs_here: plan.runsHere }),
    ...(plan.warning === undefined ? {} : { warning: plan.warning }),
    cordon: plan.way
      ? 'the Node object stays, and with it its cordon; once it is well, send uncordon_nodepool'
      : 're-registered nodes lose the cordon, surviving Node objects keep it; check, then send uncordon_nodepool',
  };
}

function describeWay({ way, fault }: RepairPlan): Pick<RepairStep, 'repair' | 'fault' | 'label'> {
  if (way === undefined) return {};
  const { key, value } = toRepairLabel(way, fault);
  return { repair: way, ...(fault === undefined ? {} : { fault }), label: `${key}=${value}` };
}
