/** How a restart is brought about. */
export type RestartWay = 'leader_pod' | 'job_deadline';

/** What a restart will delete, or why it need not. */
export interface RestartPlan {
  outcome: 'restart' | 'not_on_pool' | 'already_restarting' | 'already_restarted';
  jobSet: { namespace: string; name: string; uid: string };
  attempt: number;
  /** The Job that is made to fail; absent where nothing is restarted. */
  job?: { name: string; uid: string; replicatedJob: string };
  /** The Job's index-0 pod. */
  leader?: { name: string; uid: string; nodeName: string | undefined };
  way?: RestartWay;
  /** Uncordoned nodes outside the pool that the Job's pods could run on. */
  schedulableElsewhere?: number;
}

/** The one machine that a repair deletes. */
export interface RepairPlan {
  projectId: string;
  zone: string;
  instanceName: string;
  /** Compute's numeric id, which a replacement under the same name does not have; absent where the node does not say. */
  instanceId?: string;
  node: { name: string; uid: string; systemUuid?: string | undefined };
  /** GKE re-creates all machines of the slice. */
  isMultiHost: boolean;
  /** Why this machine, for the answer. */
  why: string;
}

/** What an action will delete, decided once and written into its record before anything is. */
export interface Plan {
  /** The attempt that decided: only it may delete an instance by its name. */
  claimId: string;
  /** Which action had uncordoned the pool last. */
  lastUncordon?: string;
  restart?: RestartPlan;
  repair?: RepairPlan;
}
