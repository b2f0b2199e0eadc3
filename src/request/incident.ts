/** The part of an alert's incident that decisions depend on. */
export interface Incident {
  /** Cloud Monitoring's id. It is also the id of the open's action; a close's action has the id `<id>.closed`. */
  id: string;
  /** When the incident began, in ms since the epoch by Cloud Monitoring's clock. */
  startedAt: number;
  /** True for a reminder of an incident that is still open. */
  isRenotification: boolean;
  isClosed: boolean;
  /** True if the close of the incident uncordons the pool (policy label `failover_on_close`). */
  uncordonsOnClose: boolean;
  /** What the incident's labels describe instead of a node or a pool; undefined if the action names one. */
  subject: AlertSubject | undefined;
  /** The resource's display name. Only a hint where to look first; never trusted as an identity. */
  displayName: string;
  /** The namespace from the policy or the resource. Undefined means: search every allowed namespace for the JobSet. */
  namespace: string | undefined;
}

/** The object that must be looked up in the cluster to find the node or the pool. */
export type AlertSubject =
  | { kind: 'pod'; namespace: string; podName: string }
  /** A machine, by Compute's numeric id. */
  | { kind: 'instance'; instanceId: string; zone: string }
  /** The JobSet that the action names. The pool is the one that this JobSet runs on. */
  | { kind: 'jobset' };
