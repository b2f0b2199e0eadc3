/** The namespace of the Leases, which hold all state: `kubectl get leases -n autometric-failover-system`. */
export const failoverNamespace = 'autometric-failover-system';

/** The prefix of this function's annotations and labels. */
export const prefix = 'autometric-failover/';

/** What this function keeps on the Lease `cluster`: the pools of the budget, those that it refused, and when it has swept. */
export const poolsKey = `${prefix}pools`;
export const sweptKey = `${prefix}swept`;
export const refusedPoolsKey = `${prefix}refused-pools`;
export const clusterKeys = [poolsKey, sweptKey, refusedPoolsKey];

/**
 * The API server records under this name which fields of an object this function set, apart from the fields that a
 * person's kubectl set.
 */
export const fieldManager = 'autometric-failover';

/** The annotation on each node that this function cordoned. Its value is the action's id. */
export const actionAnnotation = `${prefix}action`;

/** The same for the labels that ask GKE for a repair. As one manager, the release of a cordon would take them away. */
export const repairManager = 'autometric-failover-repair';

/** The annotation on a node whose repair a label asked for. Its value is the action's id. */
export const repairAnnotation = `${prefix}repair`;

/** A DNS label (RFC 1123), which Kubernetes demands of namespaces and JobSets, and GKE of node pools. */
export const dnsLabel = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

const dayMs = 24 * 3_600_000;

/** A record is kept for this long after its action was done (src/state/sweep.ts), unless there are too many. */
export const recordRetentionMs = 7 * dayMs;

/** A repair of a machine on a physical host is remembered for this long, of at most this many hosts. */
export const hostMemoryMs = 30 * dayMs;
export const maxHosts = 200;

/** Beyond this number, the oldest records of done actions are deleted sooner … */
export const maxRecords = 1000;

/** … but none that was done within this time: an incident that is renotified within it must find its record. */
export const minRecordRetentionMs = dayMs;

/** Lists the first `most` names in order, and how many there are besides. */
export function describeNames(names: string[], most = 5): string {
  const shown = [...names].sort().slice(0, most).join(', ');
  return names.length > most ? `${shown} and ${names.length - most} more` : shown;
}
