import type { Action } from '../request/action.ts';
import type { Claim } from './claim.ts';
import type { Deadline } from '../clock.ts';
import type { ClusterConnection } from '../gke/cluster.ts';
import type { Log } from '../log.ts';
import type { ActionRecord } from '../state/record.ts';
import type { Services } from '../services.ts';
import type { Snapshot } from '../decide/snapshot.ts';

/** A claimed action under way: what it works with, and how far it has come. */
export interface Execution {
  readonly claim: Claim;
  readonly cluster: ClusterConnection;
  readonly deadline: Deadline;
  readonly services: Services;
  readonly log: Log;
  /** As it was asked; under the claim, what an alert only describes is named. */
  action: Action;
  /** As it was last written. Without a plan in it, nothing has been done yet. */
  record: ActionRecord;
  /** Undefined until it was read. */
  snapshot: Snapshot | undefined;
}
