// The steps of an answer. The names and values are the API's (docs/api.md).
import * as v from 'valibot';
import type { Code } from './errors.ts';
import type { Fault, LabelWay } from './action-type.ts';
import type { RestartWay } from './plan.ts';

/** One step of an answer: a summary that a person can read. In a dry run, what it would be. */
export type Step = CordonStep | UncordonStep | RestartStep | RepairStep | LimitsStep | NoticeStep;

/** `target` is the node pool. */
export type CordonStep = { step: 'cordon'; target: string; nodes: number; warning?: string } & (
  | { outcome: 'would_cordon'; to_cordon: number; already_cordoned: number }
  | {
      cordoned: number;
      already_cordoned: number;
      /** Nodes that joined after this action's own repair. */
      replacements_left_alone?: number;
    }
);

/** `target` is the node pool. */
export type UncordonStep = { step: 'uncordon'; target: string; nodes: number } & (
  | { outcome: 'would_uncordon'; to_uncordon: number; kept: number }
  | {
      uncordoned: number;
      /** Nodes that stay cordoned. */
      kept: number;
      /** The first few of them by name. */
      kept_nodes?: string;
      why?: string;
    }
);

/** `target` is `<namespace>/<JobSet>`. */
export type RestartStep = {
  step: 'restart';
  target: string;
  outcome:
    | 'would_restart'
    | 'restarted'
    | 'not_on_pool'
    | 'already_restarting'
    | 'already_restarted'
    | 'jobset_gone';
  /** The JobSet's restart attempt that was current when the restart was decided. */
  attempt: number;
  job?: string;
  way?: RestartWay;
  leader_pod?: string;
  /** How many Jobs are deleted, where the way is `jobs_recreated`, and why that is the way. */
  jobs?: number;
  why?: string;
  /** The seconds that the caller gives the attempt's pods to end, how long they may take, and how many were given fewer. */
  restart_grace_seconds?: number;
  terminates_within_seconds?: number;
  ended_sooner?: number;
  /** As `maxRestarts` counts them, this restart included: at 1 it is the last. */
  restarts_left?: number;
  schedulable_elsewhere?: number;
  /** Whole free slices, or nodes, elsewhere, and how many all Jobs need. Absent where it is not known. */
  spare?: { slices: number; needed: number };
  /** Why the pool is repaired in place, and the run restarts there. */
  in_place?: string;
  /** The queue of Kueue that manages the JobSet, and what the restart does to its Workload. */
  queue?: { name: string; admitted: boolean; workload: string };
  /** For `not_on_pool`: the pools that the JobSet has live pods on. */
  runs_on?: string[];
  warning?: string;
  deleted_on_dead_nodes?: string[];
  may_hold_up_the_restart?: string[];
};

/** Adds a warning to those that a step has. */
export function withWarning(step: RestartStep, warning: string): RestartStep {
  return { ...step, warning: step.warning === undefined ? warning : `${step.warning}; ${warning}` };
}

/** `target` is the node. */
export type RepairStep = {
  step: 'repair';
  target: string;
  outcome:
    | 'would_delete'
    | `would_${LabelWay}`
    | 'reboot_requested'
    | 'maintenance_requested'
    | 'report_requested'
    | 'already_requested'
    | 'deletion_accepted'
    | 'already_gone'
    | 'already_repairing'
    | 'gke_is_repairing'
    | 'node_leaving'
    | 'under_maintenance';
  /** `projects/P/zones/Z/instances/NAME`. */
  instance: string;
  /** Compute's numeric id. */
  instance_id?: string;
  /** How Compute was told which machine; only after a deletion was accepted. */
  deleted_by?: 'id' | 'name';
  /** The way of a repair that a label of the node asks GKE for, and that label. */
  repair?: LabelWay;
  fault?: Fault;
  label?: string;
  why: string;
  replaces: string;
  /** For the last three outcomes: what GKE does. */
  gke?: string;
  /** Why no other machine may come for this one. */
  may_not_come_back?: string;
  /** By `<namespace>/<JobSet>`, the live pods on the machines that are replaced. */
  runs_here?: Record<string, number>;
  cordon: string;
  /** The name of Compute's operation. */
  operation?: string;
  warning?: string;
};

/** Dry runs only: a limit that would refuse the live action. `target` is the node pool. */
export type LimitsStep = {
  step: 'limits';
  target: string;
  outcome: 'would_refuse';
  code: Code;
  why: string;
};

/** Something that the caller should know. `target` is the node pool. */
export type NoticeStep = {
  step: 'notice';
  target: string;
  notice: string;
  unfinished_action?: string;
};

/** A step as a record stores it. Another version of this function may have written it, with other fields. */
export type RecordedStep = v.InferOutput<typeof recordedStepSchema>;

const recordedStepSchema = v.looseObject({ step: v.string(), target: v.string() });

/** An answer as a record stores it. */
export const answerSchema = v.array(recordedStepSchema);

/** The steps in one sentence, for Events and for the log. */
export function summarise(steps: RecordedStep[]): string {
  return steps.map((step) => `${step.step} ${step.target}: ${describeResult(step)}`).join('; ');
}

/** Says in a few words what a step did, or in a dry run would do. */
export function describeResult(step: RecordedStep): string {
  const { outcome, notice, nodes, cordoned, already_cordoned: already, uncordoned, kept } = step;
  const count = (number: unknown, what: string) => (number ? [`${Number(number)} ${what}`] : []);
  if (typeof notice === 'string') return notice;
  if (typeof outcome === 'string') return [outcome, ...count(nodes, 'nodes')].join(' ');
  if (typeof cordoned === 'number') {
    return [`${cordoned} nodes cordoned`, ...count(already, 'were already')].join(', ');
  }
  return [`${Number(uncordoned)} nodes uncordoned`, ...count(kept, 'stay cordoned')].join(', ');
}
