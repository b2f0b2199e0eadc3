/** The incident that an alert's action came from, as far as deciding depends on it. */
export interface Incident {
  /** Cloud Monitoring's id; the id of the action too, but for what is done when it closes. */
  id: string;
  /** When it began, in ms since the epoch by Cloud Monitoring's clock. */
  startedAt: number;
  /** A reminder of an incident that is still open. */
  isRenotification: boolean;
  isClosed: boolean;
  /** The pool that is cordoned for it is to be uncordoned when it closes. */
  uncordonsOnClose: boolean;
  /** What its labels describe without naming a node or a pool; undefined where the action names one. */
  subject: AlertSubject | undefined;
  /** What is shown as the resource's name: where to look first, and no more. */
  displayName: string;
  /** The namespace that policy or resource name; undefined means every allowed one where a JobSet is looked for. */
  namespace: string | undefined;
}

/** What must be looked up in the cluster to know the node or the pool. */
export type AlertSubject =
  | { kind: 'pod'; namespace: string; podName: string }
  /** A machine, by Compute's numeric id. */
  | { kind: 'instance'; instanceId: string; zone: string }
  /** The JobSet that the action names: the pool is the one that it runs on. */
  | { kind: 'jobset' };
