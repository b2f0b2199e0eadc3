import type { Action } from '../request/action.ts';
import { suggestPool } from './existing-names.ts';
import { FailoverError } from '../errors.ts';
import { findJobSet } from '../gke/jobset.ts';
import type { JobSet } from '../gke/jobset.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { readNodeHealth, readPool, toAllNodes } from '../gke/nodes.ts';
import type { NodeHealth, PoolNodes } from '../gke/nodes.ts';
import { nodeNotFound, requirePoolOf } from './targets.ts';

/** The facts that every decision of an action rests on, read under its claim. */
export interface Snapshot {
  nodePool: string;
  nodes: PoolNodes;
  /** The node that the caller named. */
  namedNode: NodeHealth | undefined;
  /** The JobSet that the caller named. */
  jobSet: JobSet | undefined;
  /** The object that Events are attached to: the named JobSet, else the named node, else the pool's first node. */
  eventTarget: EventTarget | undefined;
}

/**
 * Reads the snapshot for an action.
 *
 * @param mayBeGone accepts that the named node, or all nodes of the pool, do not exist: a resumed action may have deleted
 *   them itself, and the close of an incident needs no node
 * @throws {FailoverError} `target_not_found`, `target_mismatch`
 */
export async function readSnapshot(
  kubernetes: Kubernetes,
  action: Action,
  nodePool: string,
  mayBeGone: boolean,
): Promise<Snapshot> {
  const { nodeName, jobSetName, namespace } = action;
  const [nodes, namedNode, jobSet] = await Promise.all([
    readPool(kubernetes, nodePool),
    nodeName === undefined ? undefined : readNodeHealth(kubernetes, nodeName),
    jobSetName === undefined ? undefined : findJobSet(kubernetes, namespace, jobSetName),
  ]);
  const all = toAllNodes(nodes).sort((a, b) => (a.name < b.name ? -1 : 1));
  if (!mayBeGone) {
    if (all.length === 0) {
      const names = action.incident ? '' : await suggestPool(kubernetes, nodePool);
      throw new FailoverError('target_not_found', `node pool ${nodePool} has no nodes${names}`);
    }
    if (nodeName !== undefined && !namedNode) throw await nodeNotFound(kubernetes, action);
    if (namedNode) requirePoolOf(namedNode, nodePool);
  }
  const node = namedNode ?? all[0];
  return {
    nodePool,
    nodes,
    namedNode,
    jobSet,
    eventTarget: jobSet ? toJobSetTarget({ ...jobSet.metadata, namespace }) : node && toNodeTarget(node),
  };
}

/** The object that an action's Events are attached to: `kubectl describe` shows them there. */
export interface EventTarget {
  apiVersion: string;
  kind: 'Node' | 'JobSet';
  name: string;
  uid: string;
  /** Absent for a Node, whose Events are in `default`. */
  namespace?: string;
}

/** The target of an Event on a JobSet. */
export function toJobSetTarget({
  namespace,
  name,
  uid,
}: {
  namespace: string;
  name: string;
  uid: string;
}): EventTarget {
  return { apiVersion: 'jobset.x-k8s.io/v1alpha2', kind: 'JobSet', namespace, name, uid };
}

/** The target of an Event on a node. */
export function toNodeTarget({ name, uid }: { name: string; uid: string }): EventTarget {
  return { apiVersion: 'v1', kind: 'Node', name, uid };
}
