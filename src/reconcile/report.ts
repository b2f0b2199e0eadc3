import type { Deadline } from '../clock.ts';
import type { ClusterConnection } from '../gke/cluster.ts';
import type { Log } from '../log.ts';
import type { Services } from '../services.ts';
import type { VerdictName } from '../verdict.ts';

/** What one reconcile did to the open actions of one cluster. The names are the API's (docs/api.md). */
export interface ClusterReport {
  cluster: string;
  /** How many actions were open when it began. */
  open: number;
  /** The ids of the actions that it carried on. */
  resumed: string[];
  settled: { id: string; verdict: VerdictName }[];
  /** The ids of the actions that stay open. */
  waiting: string[];
  errors: string[];
  /** The cluster could not be served. */
  failed?: true;
}

/** What an open action came to in one reconcile. */
export type Result =
  | { id: string; outcome: 'waiting' | 'resumed' | 'forgotten'; error?: string }
  | { id: string; outcome: 'settled'; verdict: VerdictName | undefined; error?: string };

/** What the work on the open actions of one cluster needs. */
export interface ReconcileTools {
  cluster: ClusterConnection;
  services: Services;
  deadline: Deadline;
  log: Log;
}
