import type { ClusterConnection } from '../gke/cluster.ts';
import type { Deadline } from '../clock.ts';
import type { Snapshot } from '../decide/snapshot.ts';
import type { Log } from '../log.ts';
import type { Action } from '../request/action.ts';
import type { Services } from '../services.ts';
import type { ActionRecord } from '../state/record-format.ts';
import type { Claim } from './claim.ts';

/** A claimed action that is being carried out: what it works with, and how far it has come. */
export interface Execution {
  readonly claim: Claim;
  readonly cluster: ClusterConnection;
  readonly deadline: Deadline;
  readonly services: Services;
  readonly log: Log;
  /** As it was asked. Under the claim, the node and the JobSet that an alert only describes are resolved. */
  action: Action;
  /** The record as it was last written. Without a plan in it, nothing has been done. */
  record: ActionRecord;
  /** Undefined until it has been read. */
  snapshot: Snapshot | undefined;
}
