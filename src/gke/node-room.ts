import type { V1Node, V1Taint } from '@kubernetes/client-node';
import type { Kubernetes } from './kubernetes.ts';
import { listNodes } from './list-reduced.ts';
import { toNodeHealth } from './nodes.ts';
import type { NodeHealth } from './nodes.ts';

/** A node with what decides whether a pod may run on it. */
export interface NodeRoom extends NodeHealth {
  isCordoned: boolean;
  taints: V1Taint[];
  /** By resource, as the kubelet reports it. */
  allocatable: Record<string, string>;
}

/** Lists the nodes that a label selector matches, each reduced at once, because whole nodes are large. */
export function listNodeRooms<Kept>(
  kubernetes: Pick<Kubernetes, 'core'>,
  labelSelector: string,
  reduce: (node: NodeRoom) => Kept,
): Promise<Kept[]> {
  return listNodes(kubernetes, { labelSelector }, (node) => reduce(toNodeRoom(node)));
}

function toNodeRoom(node: V1Node): NodeRoom {
  return {
    ...toNodeHealth(node),
    isCordoned: node.spec?.unschedulable === true,
    taints: node.spec?.taints ?? [],
    allocatable: node.status?.allocatable ?? {},
  };
}
