/** The namespace of the Leases, which hold all state: `kubectl get leases -n autometric-failover-system`. */
export const failoverNamespace = 'autometric-failover-system';

/** The prefix of this function's annotations and labels. */
export const prefix = 'autometric-failover/';

/**
 * The API server records under this name which fields of an object this function set, apart from the fields that a
 * person's kubectl set.
 */
export const fieldManager = 'autometric-failover';

/** The annotation on each node that this function cordoned. Its value is the action's id. */
export const actionAnnotation = `${prefix}action`;

/** A DNS label (RFC 1123), which Kubernetes demands of namespaces and JobSets, and GKE of node pools. */
export const dnsLabel = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

/** Finished records are deleted this long after the action was done (src/state/sweep.ts), not sooner. */
export const recordRetentionMs = 24 * 3_600_000;
