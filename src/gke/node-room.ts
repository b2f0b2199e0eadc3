import type { V1Node, V1Taint } from '@kubernetes/client-node';
import { reducedTo } from './direct-patch.ts';
import type { Kubernetes } from './kubernetes.ts';
import { listAll } from './list.ts';
import type { ListPage } from './list.ts';
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
  { core }: Pick<Kubernetes, 'core'>,
  labelSelector: string,
  reduce: (node: NodeRoom) => Kept,
): Promise<Kept[]> {
  return listAll(
    (page) => core.listNode({ labelSelector, ...page }),
    (node) => reduce(toNodeRoom(node)),
  );
}

/** The same for all nodes of a cluster, which may be thousands: in smaller pages, and no page is ever whole in memory. */
export function listAllNodeRooms<Kept>(
  { core }: Pick<Kubernetes, 'core'>,
  labelSelector: string,
  reduce: (node: NodeRoom) => Kept,
): Promise<Kept[]> {
  const options = reducedTo((node) => reduce(toNodeRoom(node)));
  return listAll<Kept>(async (page) => {
    const list = await core.listNode({ labelSelector, ...page, limit: 250 }, options);
    return list as unknown as ListPage<Kept>;
  });
}

function toNodeRoom(node: V1Node): NodeRoom {
  return {
    ...toNodeHealth(node),
    isCordoned: node.spec?.unschedulable === true,
    taints: node.spec?.taints ?? [],
    allocatable: node.status?.allocatable ?? {},
  };
}
