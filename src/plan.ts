// What an action is going to delete, as it is decided and as it is stored. A resume reads it back and trusts it, so it is
// parsed and never cast.
import * as v from 'valibot';
import { faults, labelWays } from './action-type.ts';

/**
 * How a restart ends the attempt: a Job is made to fail, by the deletion of its leader pod or by its deadline; or, where that
 * failure would end the JobSet, every Job is deleted, and JobSet makes them anew. The answer's field `way` has these values.
 */
export type RestartWay = v.InferOutput<typeof waySchema>;

export const restartWays = ['leader_pod', 'job_deadline', 'jobs_recreated'] as const;

const waySchema = v.picklist(restartWays);

/** What a restart deletes, or why it deletes nothing. */
export type RestartPlan = v.InferOutput<typeof restartPlanSchema>;

const restartPlanSchema = v.object({
  outcome: v.picklist(['restart', 'not_on_pool', 'already_restarting', 'already_restarted']),
  jobSet: v.object({ namespace: v.string(), name: v.string(), uid: v.string() }),
  /** The JobSet's restart attempt, from 0. */
  attempt: v.number(),
  /** The Job on the pool, which is made to fail; absent where nothing is restarted. */
  job: v.exactOptional(v.object({ name: v.string(), uid: v.string(), replicatedJob: v.string() })),
  /** The Jobs that are deleted, `job` among them, where the way is `jobs_recreated`. The JobSet stays in its attempt. */
  jobs: v.exactOptional(v.array(v.object({ name: v.string(), uid: v.string() }))),
  /** Why this way, where a Job that fails would end the JobSet. */
  why: v.exactOptional(v.string()),
  /** The Job's index-0 pod. */
  leader: v.exactOptional(v.object({ name: v.string(), uid: v.string(), nodeName: v.optional(v.string()) })),
  way: v.exactOptional(waySchema),
  /** The seconds that the attempt's pods get to end, where the caller gives them fewer than their own. */
  graceSeconds: v.exactOptional(v.number()),
  /** How many seconds the pods of the attempt may take to end, when it was decided. */
  terminatesWithinSeconds: v.exactOptional(v.number()),
  /** How many restarts the JobSet has left, this one included; absent where its failurePolicy sets no limit. */
  restartsLeft: v.exactOptional(v.number()),
  /** Nodes outside the pool that could take a pod of the Job. */
  schedulableElsewhere: v.exactOptional(v.number()),
  /** The pools that the next attempt may land on, up to a bound. */
  mayLandOn: v.exactOptional(v.array(v.string())),
  /** How many whole slices, or nodes, are free elsewhere, and how many the Jobs need. Absent where it is not known. */
  spare: v.exactOptional(v.object({ slices: v.number(), needed: v.number() })),
  /** Why that is not enough, or why it is not known. */
  lacksSpare: v.exactOptional(v.string()),
  /** So the pool is repaired, and the run restarts there. The plan has the repair, too. */
  inPlace: v.exactOptional(v.literal(true)),
  /** Which Jobs of the next attempt would wait for capacity, for the answer. */
  roomWarning: v.exactOptional(v.string()),
  /** The pools that the JobSet has live pods on, where it has none on the action's. */
  runsOn: v.exactOptional(v.array(v.string())),
  /** The queue of Kueue that manages the JobSet, for the answer. */
  queue: v.exactOptional(v.object({ name: v.string(), isAdmitted: v.boolean() })),
  /** What else the caller should know, for the answer. */
  warning: v.exactOptional(v.string()),
});

/** The uids of the Jobs that a restart ends. All their pods are to go. */
export function toEndedJobs({ job, jobs }: Pick<RestartPlan, 'job' | 'jobs'>): Set<string> {
  return new Set((jobs ?? (job ? [job] : [])).map(({ uid }) => uid));
}

/** The one machine that a repair deletes, or that GKE repairs in place because a label asks for it. */
export type RepairPlan = v.InferOutput<typeof repairPlanSchema>;

const repairPlanSchema = v.object({
  projectId: v.string(),
  zone: v.string(),
  instanceName: v.string(),
  /** Compute's numeric id. A replacement under the same name has another one. Absent where the node does not say. */
  instanceId: v.exactOptional(v.string()),
  node: v.object({ name: v.string(), uid: v.string(), systemUuid: v.optional(v.string()) }),
  /** GKE re-creates all machines of the slice. */
  isMultiHost: v.boolean(),
  /** Why this machine, for the answer. */
  why: v.string(),
  /** How many nodes the pool had when it was decided. */
  poolSize: v.exactOptional(v.number()),
  /** The physical host of the machine, where its node tells it. */
  host: v.exactOptional(v.string()),
  /** The rest of where its host is. */
  block: v.exactOptional(v.string()),
  subblock: v.exactOptional(v.string()),
  /** Which label asks GKE for the repair. Absent for a deletion. */
  way: v.exactOptional(v.picklist(labelWays)),
  fault: v.exactOptional(v.picklist(faults)),
  /** What the repair will change: the verdict compares. `startedAt` is in ms since the epoch. */
  before: v.exactOptional(
    v.object({
      bootId: v.exactOptional(v.string()),
      startedAt: v.exactOptional(v.number()),
      /** The action that asked for a repair of this node last. */
      askedBy: v.exactOptional(v.string()),
      /** GKE's words for an earlier report. */
      status: v.exactOptional(v.string()),
      operation: v.exactOptional(v.string()),
    }),
  ),
  /** A host that is reported comes back as it is, after its repair. */
  allCapacity: v.exactOptional(v.literal(true)),
  /** GKE itself does it, or there is nothing to repair: nothing is deleted. `since` is in RFC 3339. */
  leftTo: v.exactOptional(
    v.object({
      outcome: v.picklist(['gke_is_repairing', 'node_leaving', 'under_maintenance']),
      why: v.string(),
      since: v.exactOptional(v.string()),
    }),
  ),
  /** Why the repair is refused as long as GKE changes the pool's machines. Such a plan is never recorded. */
  busy: v.exactOptional(v.string()),
  /** Why no other machine may come for this one, for the answer. */
  mayNotComeBack: v.exactOptional(v.string()),
  /** By `<namespace>/<JobSet>`, the live pods on the machines that are replaced, when it was decided. */
  runsHere: v.exactOptional(v.record(v.string(), v.number())),
  /** What the caller should know before, for the answer. */
  warning: v.exactOptional(v.string()),
});

/** What an action deletes, decided once and written into its record before anything is deleted. */
export type Plan = v.InferOutput<typeof planSchema>;

const currentPlanSchema = v.object({
  /** The claim that decided. */
  claimId: v.string(),
  /** Which action had uncordoned the pool last, as `<action id>/<claim id>`. */
  lastUncordon: v.exactOptional(v.string()),
  /** The node that an alert was about: on a resume, its pod or its machine may be gone. */
  nodeName: v.exactOptional(v.string()),
  restart: v.exactOptional(restartPlanSchema),
  repair: v.exactOptional(repairPlanSchema),
});

/** Version 0.1.0 called the claim an attempt. */
const planOf010Schema = v.pipe(
  v.object({ ...currentPlanSchema.entries, claimId: v.exactOptional(v.never()), attempt: v.string() }),
  v.transform(({ attempt, lastUncordon, restart, repair }): v.InferOutput<typeof currentPlanSchema> => ({
    claimId: attempt,
    ...(lastUncordon === undefined ? {} : { lastUncordon }),
    ...(restart === undefined ? {} : { restart }),
    ...(repair === undefined ? {} : { repair }),
  })),
);

/** A plan as a record stores it. */
export const planSchema = v.union([currentPlanSchema, planOf010Schema]);
