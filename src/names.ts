/** Where all state is kept, as Leases; `kubectl get leases -n autometric-failover-system` shows it. */
export const failoverNamespace = 'autometric-failover-system';

/** Prefix of our annotations. */
export const prefix = 'autometric-failover/';

/** What this function keeps on the Lease `cluster`: the pools of the budget, and when it has swept. */
export const poolsKey = `${prefix}pools`;
export const sweptKey = `${prefix}swept`;
export const clusterKeys = [poolsKey, sweptKey];

/** Under this name the API server keeps what is ours of a node, apart from what a person's kubectl has set. */
export const fieldManager = 'autometric-failover';

/** A node that we cordoned carries the action's id. */
export const actionAnnotation = `${prefix}action`;
