import type { Kubernetes } from '../gke/kubernetes.ts';
import { listAll } from '../gke/list.ts';
import { isHealthy, nodePoolLabel, toNodeHealth } from '../gke/nodes.ts';
import { actionAnnotation } from '../names.ts';

/** `failing`: Ready, but a condition or a taint says that it is not well, or its accelerators are not allocatable. */
export type NodeState = 'ready' | 'cordoned' | 'failing' | 'not_ready';

/** One node of the page. */
export interface NodeView {
  name: string;
  nodePool: string;
  state: NodeState;
  isCordoned: boolean;
  /** The id of the action that cordoned it, or `a person`. */
  cordonedBy: string | undefined;
}

/** Lists the nodes of all pools with their states. It reduces each page before it reads the next, because nodes are large. */
export function listNodeStates({ core }: Pick<Kubernetes, 'core'>): Promise<NodeView[]> {
  return listAll(
    (page) => core.listNode({ labelSelector: nodePoolLabel, ...page }),
    (node) => {
      const health = toNodeHealth(node);
      const isCordoned = node.spec?.unschedulable === true;
      const isWell = isHealthy(health) && !health.lacksAccelerators;
      const state = health.isReady ? (isWell ? (isCordoned ? 'cordoned' : 'ready') : 'failing') : 'not_ready';
      return {
        name: health.name,
        nodePool: health.nodePool ?? '',
        state,
        isCordoned,
        cordonedBy: isCordoned ? (health.annotations[actionAnnotation] ?? 'a person') : undefined,
      };
    },
  );
}
