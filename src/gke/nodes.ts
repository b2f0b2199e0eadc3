import type { V1Node, V1ObjectMeta } from '@kubernetes/client-node';
import { toMs } from '../clock.ts';
import { readAskedAt, readSetAt } from './asking-labels.ts';
import { metadataOnly, withHeaders } from './direct-core.ts';
import { isUpstreamStatus } from '../errors.ts';
import type { Kubernetes } from './kubernetes.ts';
import { listNodes, listNodesMetadata } from './list-reduced.ts';
import { lifecycleConditions } from './node-labels.ts';

/** GKE's label with the name of the node pool. */
export const nodePoolLabel = 'cloud.google.com/gke-nodepool';

/** The label with a node's zone. */
export const zoneLabel = 'topology.kubernetes.io/zone';

/** The metadata of a node. */
export interface NodeRef {
  name: string;
  uid: string;
  nodePool: string | undefined;
  labels: Record<string, string>;
  annotations: Record<string, string>;
  /** In ms since the epoch, by the API server's clock. */
  createdAt: number;
  /** When the labels were set that ask for a reboot or a maintenance, where it has any. */
  askedAt?: Record<string, number> | undefined;
}

/** A node with its health. */
export interface NodeHealth extends NodeRef {
  isReady: boolean;
  /** When the condition Ready last changed, in ms since the epoch; undefined if the node has never reported it. */
  readyChangedAt: number | undefined;
  taintKeys: string[];
  /** It has accelerators by its labels, and none, or fewer than it has, are allocatable. */
  lacksAccelerators: boolean;
  /** The types of the conditions other than Ready that are true. */
  problems: string[];
  /** The conditions of its life that are true, such as MaintenanceInProgress; undefined if none is. */
  lifecycle?: string[] | undefined;
  providerId: string | undefined;
  /** It changes when another machine takes the node's name. */
  systemUuid: string | undefined;
  /** It changes with each boot. */
  bootId?: string | undefined;
  kubeletVersion?: string | undefined;
}

type Core = Pick<Kubernetes, 'core'>;

/** Reads a node's metadata; undefined if there is no such node. */
export async function readNode({ core }: Core, name: string): Promise<NodeRef | undefined> {
  try {
    return toNodeRef(await core.readNode({ name }, withHeaders({ Accept: metadataOnly })));
  } catch (error) {
    if (isUpstreamStatus(error, 404)) return undefined;
    throw error;
  }
}

/** Lists the metadata of a pool's nodes, or only of those that a field selector matches. */
export function listPool(kubernetes: Core, nodePool: string, fieldSelector?: string): Promise<NodeRef[]> {
  const selectors = {
    labelSelector: `${nodePoolLabel}=${nodePool}`,
    ...(fieldSelector && { fieldSelector }),
  };
  return listNodesMetadata(kubernetes, selectors, toNodeRef);
}

/** A label of a node. */
export interface NodeLabel {
  uid: string;
  value: string | undefined;
  /** When it was set, in ms since the epoch; undefined where it is not known. */
  setAt: number | undefined;
}

/** Lists one label of a pool's nodes, with the time when each was set. */
export function listLabel(kubernetes: Core, nodePool: string, label: string): Promise<NodeLabel[]> {
  const labelSelector = `${nodePoolLabel}=${nodePool}`;
  return listNodesMetadata(kubernetes, { labelSelector }, ({ metadata = {} }) => ({
    uid: metadata.uid ?? '',
    value: metadata.labels?.[label],
    setAt: readSetAt(metadata, label),
  }));
}

/** Lists the metadata of the nodes of all pools. */
export function listPooledNodes(kubernetes: Core): Promise<NodeRef[]> {
  return listNodesMetadata(kubernetes, { labelSelector: nodePoolLabel }, toNodeRef);
}

/** GKE's labels with the kind of accelerator that a node has. */
export const acceleratorLabels = ['cloud.google.com/gke-accelerator', 'cloud.google.com/gke-tpu-accelerator'];

/** Counts the node pools that have nodes with GPUs or TPUs. */
export async function countAcceleratorPools(kubernetes: Core): Promise<number> {
  const lists = await Promise.all(
    acceleratorLabels.map((labelSelector) =>
      listNodesMetadata(kubernetes, { labelSelector }, ({ metadata }) => metadata?.labels?.[nodePoolLabel]),
    ),
  );
  return new Set(lists.flat().filter((pool) => pool !== undefined)).size;
}

/** Lists a pool's nodes that are not cordoned yet. */
export function listSchedulable(kubernetes: Core, nodePool: string): Promise<NodeRef[]> {
  return listPool(kubernetes, nodePool, 'spec.unschedulable!=true');
}

/** Lists a pool's cordoned nodes, whoever cordoned them. */
export function listCordoned(kubernetes: Core, nodePool: string): Promise<NodeRef[]> {
  return listPool(kubernetes, nodePool, 'spec.unschedulable=true');
}

/** Reads a node with its health; undefined if there is no such node. */
export async function readNodeHealth({ core }: Core, name: string): Promise<NodeHealth | undefined> {
  try {
    return toNodeHealth(await core.readNode({ name }));
  } catch (error) {
    if (isUpstreamStatus(error, 404)) return undefined;
    throw error;
  }
}

/** Lists the health of all nodes of the cluster by name. */
export async function listNodeHealth(kubernetes: Core): Promise<Map<string, NodeHealth>> {
  const nodes = await listNodes(kubernetes, {}, toNodeHealth);
  return new Map(nodes.map((node) => [node.name, node]));
}

/** Lists a pool's nodes with their health. */
export function listPoolHealth(kubernetes: Core, nodePool: string): Promise<NodeHealth[]> {
  return listNodes(kubernetes, { labelSelector: `${nodePoolLabel}=${nodePool}` }, toNodeHealth);
}

function toNodeRef({ metadata }: { metadata?: V1ObjectMeta }): NodeRef {
  const labels = metadata?.labels ?? {};
  const askedAt = metadata && readAskedAt(metadata);
  return {
    name: metadata?.name ?? '',
    uid: metadata?.uid ?? '',
    nodePool: labels[nodePoolLabel] || undefined,
    labels,
    annotations: metadata?.annotations ?? {},
    createdAt: toMs(metadata?.creationTimestamp) ?? 0,
    ...(askedAt === undefined ? {} : { askedAt }),
  };
}

/** Reduces a node to its health. */
export function toNodeHealth(node: V1Node): NodeHealth {
  const conditions = node.status?.conditions ?? [];
  const ready = conditions.find((condition) => condition.type === 'Ready');
  const others = conditions
    .filter(({ type, status }) => type !== 'Ready' && status === 'True')
    .map(({ type }) => type);
  const lifecycle = others.filter((type) => lifecycleConditions.includes(type));
  return {
    ...toNodeRef(node),
    isReady: ready?.status === 'True',
    readyChangedAt: toMs(ready?.lastTransitionTime),
    taintKeys: (node.spec?.taints ?? []).map((taint) => taint.key),
    lacksAccelerators: hasAcceleratorLabel(node.metadata?.labels) && !hasAllocatableAccelerators(node),
    problems: others.filter((type) => !lifecycleConditions.includes(type)),
    ...(lifecycle.length === 0 ? {} : { lifecycle }),
    providerId: node.spec?.providerID,
    // Empty until the kubelet has reported.
    systemUuid: node.status?.nodeInfo?.systemUUID || undefined,
    bootId: node.status?.nodeInfo?.bootID || undefined,
    kubeletVersion: node.status?.nodeInfo?.kubeletVersion,
  };
}

/** True if a node has GPUs or TPUs by its labels. */
export function hasAcceleratorLabel(labels: Record<string, string> = {}): boolean {
  return acceleratorLabels.some((label) => labels[label] !== undefined);
}

function hasAllocatableAccelerators({ status }: V1Node): boolean {
  const counts = ['google.com/tpu', 'nvidia.com/gpu'].map((name) => ({
    allocatable: Number(status?.allocatable?.[name] ?? 0),
    capacity: Number(status?.capacity?.[name] ?? 0),
  }));
  // A device that is not healthy stays in the capacity.
  return (
    counts.some(({ allocatable }) => allocatable > 0) &&
    counts.every((each) => each.allocatable >= each.capacity)
  );
}

/** GKE's annotation with the numeric id of the machine. */
export const instanceIdAnnotation = 'container.googleapis.com/instance_id';

/** A pool's nodes. No node is in both lists. */
export interface PoolNodes {
  schedulable: NodeRef[];
  cordoned: NodeRef[];
}

/** All nodes of a pool. */
export function toAllNodes({ schedulable, cordoned }: PoolNodes): NodeRef[] {
  return [...schedulable, ...cordoned];
}

/** Reads the metadata of a pool's nodes. */
export async function readPool(kubernetes: Pick<Kubernetes, 'core'>, nodePool: string): Promise<PoolNodes> {
  const [schedulable, cordoned] = await Promise.all([
    listSchedulable(kubernetes, nodePool),
    listCordoned(kubernetes, nodePool),
  ]);
  // A node that somebody cordons between the two lists is in both.
  const names = new Set(schedulable.map((node) => node.name));
  return { schedulable, cordoned: cordoned.filter((node) => !names.has(node.name)) };
}
