// What GKE and its autoscaler tell of a node by labels and taints.

type Labels = Readonly<Record<string, string>>;

interface Labelled {
  labels: Labels;
}

/** GKE's label of nodes that it is about to drain for an upgrade or a resize. */
export const drainLabel = 'operation.gke.io/type';

/** True if GKE drains the node for an upgrade or a resize. */
export function isDraining({ labels }: Labelled): boolean {
  return labels[drainLabel] === 'drain';
}

/** GKE's label of nodes whose host is being maintained. */
export const activeMaintenanceLabel = 'cloud.google.com/active-node-maintenance';

/** True if GKE maintains the host of the node. */
export function isMaintained({ labels }: Labelled): boolean {
  return labels[activeMaintenanceLabel] === 'ONGOING';
}

/** The taint of nodes that the cluster autoscaler removes. */
export const scaleDownTaint = 'ToBeDeletedByClusterAutoscaler';

/** True if a node's machine was bought so, by its labels. */
export function isBoughtAs(kind: 'spot' | 'flex-start' | 'queued', labels: Labels): boolean {
  const prefix = 'cloud.google.com/gke-';
  return labels[`${prefix}provisioning`] === kind || labels[`${prefix}${kind}`] === 'true';
}
