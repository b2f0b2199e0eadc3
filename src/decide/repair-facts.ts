import { mayRepair } from '../request/action.ts';
import type { Action } from '../request/action.ts';
import type { Config } from '../config.ts';
import { FailoverError } from '../errors.ts';
import { listPlacedPods } from '../gke/placed-pods.ts';
import type { PlacedPod } from '../gke/placed-pods.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { listNodesMetadata } from '../gke/list-reduced.ts';
import { isHealthy } from '../gke/node-health.ts';
import { instanceIdAnnotation } from '../gke/nodes.ts';
import { describeNames } from '../names.ts';
import type { NodeHealth } from '../gke/nodes.ts';
import type { GkeWork } from '../gke/gke-work.ts';
import type { RepairPlan } from '../plan.ts';
import { readHostMemory } from '../state/host-memory.ts';
import type { HostRepair } from '../state/host-memory.ts';
import { repairRefused } from './repair-plan.ts';

/** What a repair must know beside the nodes of its pool. */
export interface RepairFacts {
  /** By the id of a machine, the names of the nodes that say that they run on it. */
  nodesOfMachine: ReadonlyMap<string, string[]>;
  /** The live pods of the JobSets in the allowed namespaces. */
  pods: PlacedPod[];
  /** Namespaces whose pods could not be read, with the reason. */
  unread: string[];
  /** What GKE itself is doing. */
  work: GkeWork;
  /** The repairs of the last 30 days by physical host. */
  hosts?: ReadonlyMap<string, HostRepair[]> | 'unread';
}

/** Which JobSets run is told if it can be. It must not hold the repair up. */
const podsPatienceMs = 5_000;

/**
 * Reads what a repair must know. It is read at the same time as the snapshot, so that it costs no round trip of its own.
 *
 * @param readWork asks what GKE itself is doing
 * @returns undefined if the action repairs nothing
 * @throws {UpstreamError} if the nodes cannot be read
 */
export async function readRepairFacts(
  kubernetes: Kubernetes,
  action: Pick<Action, 'effects' | 'whenNoSpare'>,
  { allowedNamespaces }: Pick<Config, 'allowedNamespaces'>,
  readWork: () => Promise<GkeWork>,
): Promise<RepairFacts | undefined> {
  if (!mayRepair(action)) return undefined;
  const [nodesOfMachine, work, hosts, ...namespaces] = await Promise.all([
    listMachines(kubernetes),
    readWork(),
    readHostMemory(kubernetes),
    ...allowedNamespaces.map((namespace) => listJobSetPods(kubernetes.within(podsPatienceMs), namespace)),
  ]);
  return {
    nodesOfMachine,
    work,
    hosts,
    pods: namespaces.flatMap((found) => ('pods' in found ? found.pods : [])),
    unread: namespaces.flatMap((found) => ('unread' in found ? [found.unread] : [])),
  };
}

/** Lists the machines of all nodes of the cluster. */
async function listMachines(kubernetes: Pick<Kubernetes, 'core'>): Promise<Map<string, string[]>> {
  const nodes = await listNodesMetadata(kubernetes, {}, ({ metadata }) => ({
    name: metadata?.name ?? '',
    id: metadata?.annotations?.[instanceIdAnnotation],
  }));
  const names = new Map<string, string[]>();
  for (const { name, id } of nodes) {
    if (id !== undefined) names.set(id, [...(names.get(id) ?? []), name]);
  }
  return names;
}

async function listJobSetPods(
  kubernetes: Kubernetes,
  namespace: string,
): Promise<{ pods: RepairFacts['pods'] } | { unread: string }> {
  try {
    return { pods: await listPlacedPods(kubernetes, namespace) };
  } catch (error) {
    if (!(error instanceof FailoverError)) throw error;
    return { unread: `${namespace} (${error.message})` };
  }
}

/**
 * Refuses a machine that another node claims, too: a node's annotation is data, which its kubelet may write.
 *
 * @throws {FailoverError} `repair_refused`
 */
export function assertClaimedOnce(
  { node, instanceId }: RepairPlan,
  { nodesOfMachine }: Pick<RepairFacts, 'nodesOfMachine'>,
): void {
  if (instanceId === undefined) return;
  const others = (nodesOfMachine.get(instanceId) ?? []).filter((name) => name !== node.name);
  if (others.length === 0) return;
  throw repairRefused(
    `node ${node.name} says that its machine is ${instanceId}, and so does ${describeNames(others)}; one of them has a wrong ` +
      `annotation ${instanceIdAnnotation}: look at who can write it`,
  );
}

/**
 * Says what runs on the machines that a repair replaces, and warns if they look healthy. It refuses nothing, because a
 * caller may know more: a slow slice has only nodes that are Ready.
 *
 * @param health of the nodes that the machine was chosen from
 * @param poolNodes the names of all nodes of the pool
 * @param doubts are more warnings
 */
export function describeImpact(
  plan: RepairPlan,
  health: NodeHealth[],
  { pods, unread, poolNodes }: Pick<RepairFacts, 'pods' | 'unread'> & { poolNodes: string[] },
  doubts: string[] = [],
): Required<Pick<RepairPlan, 'runsHere'>> & Pick<RepairPlan, 'warning'> {
  const replaced = new Set(plan.isMultiHost ? poolNodes : [plan.node.name]);
  const runsHere: Record<string, number> = {};
  for (const { jobSet, nodeName } of pods) {
    if (replaced.has(nodeName)) runsHere[jobSet] = (runsHere[jobSet] ?? 0) + 1;
  }
  const warnings = [
    ...(!plan.leftTo && health.every((node) => isHealthy(node)) ? [describeHealthy(health, runsHere)] : []),
    ...(unread.length > 0 ? [`what runs here is not known for namespace ${unread.join(', ')}`] : []),
    ...doubts,
  ];
  return { runsHere, ...(warnings.length > 0 ? { warning: warnings.join('; ') } : {}) };
}

function describeHealthy(health: NodeHealth[], runsHere: Record<string, number>): string {
  const [only] = health;
  const healthy =
    only && health.length === 1
      ? `node ${only.name} looks healthy`
      : `all ${health.length} nodes look healthy`;
  const runs = Object.entries(runsHere)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([jobSet, count]) => `JobSet ${jobSet} (${count} live ${count === 1 ? 'pod' : 'pods'})`);
  return runs.length === 0 ? healthy : `${healthy}, and the repair ends what runs here: ${runs.join(', ')}`;
}
