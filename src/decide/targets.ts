import type { Action } from '../request/action.ts';
import { readNamedJobSet, suggestNode } from './existing-names.ts';
import { listLive, preferLive } from './hanging-pods.ts';
import { FailoverError } from '../errors.ts';
import { Ignored } from '../ignored.ts';
import { readPods } from '../gke/jobset.ts';
import type { JobPod } from '../gke/jobset.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { hasAcceleratorLabel, listPool, nodePoolLabel, readNode } from '../gke/nodes.ts';
import type { NodeRef } from '../gke/nodes.ts';

type Core = Pick<Kubernetes, 'core'>;

/**
 * Resolves which node pool an action means. It resolves names only; facts are read under the claim.
 *
 * @throws {FailoverError} `target_not_found`, `target_mismatch`, or `target_ambiguous`
 */
export async function resolvePool(
  kubernetes: Pick<Kubernetes, 'core' | 'custom' | 'within'>,
  action: Action,
): Promise<string> {
  const { nodePool, nodeName } = action;
  if (nodeName !== undefined) {
    const node = await readNode(kubernetes, nodeName);
    if (!node) throw await nodeNotFound(kubernetes, action);
    return requirePoolOf(node, nodePool);
  }
  return nodePool ?? (await resolvePoolOfJobSet(kubernetes, action));
}

/**
 * Says which pool a node is in.
 *
 * @param wanted is the pool that the caller named beside the node
 * @throws {FailoverError} `target_not_found` for a node outside every pool, `target_mismatch` for another pool
 */
export function requirePoolOf(node: NodeRef, wanted: string | undefined): string {
  if (node.nodePool === undefined) {
    throw new FailoverError(
      'target_not_found',
      `node ${node.name} is in no node pool (it has no label ${nodePoolLabel})`,
    );
  }
  if (wanted !== undefined && wanted !== node.nodePool) {
    throw new FailoverError(
      'target_mismatch',
      `node ${node.name} is not in node pool ${wanted} but in ${node.nodePool}; name one of them`,
    );
  }
  return node.nodePool;
}

/** Resolves the one pool that all live pods of the JobSet run on, or where none is live, that the last ones hang on. */
async function resolvePoolOfJobSet(
  kubernetes: Pick<Kubernetes, 'core' | 'custom' | 'within'>,
  { namespace, jobSetName: name = '', incident }: Action,
): Promise<string> {
  await readNamedJobSet(kubernetes, namespace, name);
  const pods = await readPods(kubernetes, namespace, name);
  const pools = incident
    ? await findPoolsForAlert(kubernetes, pods)
    : await findPools(kubernetes, toNodeNames(preferLive(pods)));
  const [pool, ...others] = pools;
  if (pool === undefined) {
    const advice = incident ? adviceForAlert : 'name the node_pool to cordon';
    throw new FailoverError(
      'target_ambiguous',
      `no pod of JobSet ${namespace}/${name} runs on a node; ${advice}`,
    );
  }
  if (others.length > 0) {
    const advice = incident ? adviceForAlert : 'name the node_pool';
    throw new FailoverError(
      'target_ambiguous',
      `JobSet ${namespace}/${name} runs on several node pools (${pools.join(', ')}); ${advice}`,
    );
  }
  return pool;
}

/** A policy has no label for a pool. */
const adviceForAlert =
  'the alert names only the JobSet: use a condition on k8s_node, k8s_node_pool, k8s_pod or k8s_container, which tells the pool';

const accelerators = ['google.com/tpu', 'nvidia.com/gpu'];

/**
 * Finds the pools that an alert about a JobSet may mean. A pool without accelerators is left out, unless nothing of the JobSet
 * needs any: there runs only what serves the others, such as the head of a Pathways run.
 */
async function findPoolsForAlert(kubernetes: Core, pods: JobPod[]): Promise<string[]> {
  const live = listLive(pods);
  const hanging = pods.filter((pod) => !pod.isLive && pod.isTerminating);
  for (const some of [live, hanging]) {
    const pools = await findPools(kubernetes, toNodeNames(some), ({ labels }) => hasAcceleratorLabel(labels));
    if (pools.length > 0) return pools;
  }
  const needsSome = pods.some(({ needs }) =>
    accelerators.some((device) => (needs.requests[device] ?? 0) > 0),
  );
  return needsSome ? [] : findPools(kubernetes, toNodeNames(preferLive(pods)));
}

function toNodeNames(pods: JobPod[]): Set<string> {
  return new Set(pods.flatMap((pod) => pod.nodeName ?? []));
}

/** Finds the pools of these nodes, with one or two calls for each pool rather than one for each node. */
export async function findPools(
  kubernetes: Core,
  nodeNames: Set<string>,
  isMeant: (node: NodeRef) => boolean = () => true,
): Promise<string[]> {
  const left = new Set(nodeNames);
  const pools = new Set<string>();
  for (const name of nodeNames) {
    if (!left.has(name)) continue;
    left.delete(name);
    const node = await readNode(kubernetes, name);
    if (node?.nodePool === undefined) continue;
    if (isMeant(node)) pools.add(node.nodePool);
    if (left.size > 0) for (const other of await listPool(kubernetes, node.nodePool)) left.delete(other.name);
  }
  return [...pools].sort();
}

/** The named node does not exist. An alert that asks for its repair has nothing left to do, because the machine is gone. */
export async function nodeNotFound(
  kubernetes: Pick<Kubernetes, 'within'>,
  { nodeName = '', effects, incident }: Action,
): Promise<FailoverError | Ignored> {
  if (incident && effects.repair) {
    return new Ignored(`recovered: node ${nodeName} and its machine are gone`, { isOver: true });
  }
  const names = incident ? '' : await suggestNode(kubernetes, nodeName);
  return new FailoverError('target_not_found', `there is no node ${nodeName}${names}`);
}
