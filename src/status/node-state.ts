import type { Kubernetes } from '../gke/kubernetes.ts';
import { listNodeRooms } from '../gke/node-room.ts';
import type { NodeRoom } from '../gke/node-room.ts';
import { isHealthy } from '../gke/node-health.ts';
import { hasAcceleratorLabel, nodePoolLabel } from '../gke/nodes.ts';
import { toShownMachine } from '../gke/shown-machine.ts';
import type { ShownMachine } from '../gke/shown-machine.ts';
import { actionAnnotation } from '../names.ts';

/**
 * `failing`: Ready, but a condition or a taint says that it is not well, or not all of its accelerators are
 * allocatable.
 */
export type NodeState = 'ready' | 'cordoned' | 'failing' | 'not_ready';

/** One node of the page. */
export interface NodeView {
  name: string;
  nodePool: string;
  state: NodeState;
  /** The id of the action that cordoned it, or `a person`. */
  cordonedBy: string | undefined;
  /** By its labels. */
  hasAccelerators: boolean;
  /** What the node says of its machine. */
  machine: ShownMachine;
}

/** Lists the nodes of all pools with their states. */
export function listNodeStates(kubernetes: Pick<Kubernetes, 'core'>): Promise<NodeView[]> {
  return listNodeRooms(kubernetes, nodePoolLabel, (node) => {
    const { name, nodePool = '', isCordoned } = node;
    const cordonedBy = isCordoned ? (node.annotations[actionAnnotation] ?? 'a person') : undefined;
    const hasAccelerators = hasAcceleratorLabel(node.labels);
    return {
      name,
      nodePool,
      state: stateOf(node),
      cordonedBy,
      hasAccelerators,
      machine: toShownMachine(node),
    };
  });
}

function stateOf(node: NodeRoom): NodeState {
  if (!node.isReady) return 'not_ready';
  if (!isHealthy(node) || node.lacksAccelerators) return 'failing';
  return node.isCordoned ? 'cordoned' : 'ready';
}
