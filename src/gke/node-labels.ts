// What GKE, its autoscaler, other tools and people tell of a node by labels, annotations, taints and conditions.

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

/**
 * True if NVSentinel has quarantined the node by a cordon, its own or one that it found there. It takes any uncordon of such a node for a
 * person's wish to end the quarantine.
 */
export function isQuarantined({ annotations }: { annotations: Labels }): boolean {
  return annotations['quarantineHealthEventIsCordoned'] === 'True';
}

/** The taint of nodes that the cluster autoscaler removes. */
export const scaleDownTaint = 'ToBeDeletedByClusterAutoscaler';

/** True if a node's machine was bought so, by its labels. */
export function isBoughtAs(kind: 'spot' | 'flex-start' | 'queued', labels: Labels): boolean {
  const prefix = 'cloud.google.com/gke-';
  return labels[`${prefix}provisioning`] === kind || labels[`${prefix}${kind}`] === 'true';
}

/**
 * Kubernetes' own conditions of a node's life (1.37, gate NodeLifecycleConditions). None of them is a fault of the machine. A
 * maintenance that is only planned takes nothing out of service yet.
 */
export const lifecycleConditions = [
  'DrainInProgress',
  'Drained',
  'MaintenancePlanned',
  'MaintenanceInProgress',
  'GracefulNodeShutdownInProgress',
];

/** True if somebody takes the node out of service at this moment, by its conditions that are True. */
export function isOutOfService({ lifecycle = [] }: { lifecycle?: string[] | undefined }): boolean {
  return lifecycle.some((type) => type !== 'MaintenancePlanned');
}
