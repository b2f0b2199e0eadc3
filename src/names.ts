/** Where all state is kept, as Leases; `kubectl get leases -n autometric-failover-system` shows it. */
export const failoverNamespace = 'autometric-failover-system';

/** Prefix of our annotations. */
export const prefix = 'autometric-failover/';

/** Under this name the API server keeps what is ours of a node, apart from what a person's kubectl has set. */
export const fieldManager = 'autometric-failover';

/** A node that we cordoned carries the action's id. */
export const actionAnnotation = `${prefix}action`;
