import type { ClusterName } from '../cluster-name.ts';
import { FailoverError } from '../errors.ts';
import { hasExpired, isAwaitingApproval, toApproveBody, toExpired } from '../state/approval.ts';
import { keys, toRecord } from '../state/record-format.ts';
import type { Acceptance, ActionRecord, Approval, Phase } from '../state/record-format.ts';
import type { LeaseState } from '../state/lease-format.ts';
import type { RecordedStep } from '../step.ts';
import type { Verdict } from '../verdict.ts';

/** An action as the API shows it. The names are the API's (docs/api.md, docs/openapi.yaml). Times are in RFC 3339. */
export interface ActionView {
  id: string;
  /** `broken` is a record that cannot be read; `refused` is a request that was refused before anything was decided. */
  state: Phase | 'broken' | 'refused';
  type: string;
  requestor: string;
  reason: string;
  cluster: string;
  node_pool?: string;
  /** `<namespace>/<JobSet>` */
  jobset?: string;
  caller?: string;
  /** The incident of the alert that asked for it. */
  incident_id?: string;
  /** The action whose verdict asked for this one. */
  follows?: string;
  received_at: string;
  done_at?: string;
  settled_at?: string;
  /** How often it was taken up again. */
  resumes?: number;
  plan?: PlanView;
  approval?: ApprovalView;
  /** The test that the repaired pool must pass before it is released. */
  acceptance?: { test: string; since: string; job?: string; passed_at?: string };
  steps?: RecordedStep[];
  error?: { code: string; message: string; at: string };
  verdict?: Verdict;
  follow_up?: Record<string, unknown>;
}

/** What the approval of the plan is bound to, and who gave it. */
export interface ApprovalView {
  plan: string;
  expires_at: string;
  approved_by?: string;
  requestor?: string;
  approved_at?: string;
  /** While it waits: the body that approves it, and what it would do. */
  approve?: object;
  steps?: RecordedStep[];
}

/** What was decided before anything was deleted. */
export interface PlanView {
  restart?: {
    outcome: string;
    attempt: number;
    job?: string;
    way?: string;
    leader_pod?: string;
    spare?: { slices: number; needed: number };
    in_place?: string;
  };
  repair?: {
    node: string;
    instance: string;
    instance_id?: string;
    repair?: string;
    fault?: string;
    why: string;
    runs_here?: Record<string, number>;
  };
}

/** Shows the record in a Lease. A plan that nobody approved in time is shown as settled, before a reconcile writes that. */
export function toActionView(lease: LeaseState, cluster: ClusterName, serverNow: number): ActionView {
  try {
    const record = toRecord(lease);
    const view = showRecord(record, cluster);
    if (!hasExpired(record, serverNow)) return view;
    return { ...view, state: 'settled', verdict: view.verdict ?? toExpired(record) };
  } catch (error) {
    if (!(error instanceof FailoverError)) throw error;
    const { annotations } = lease;
    const receivedAt = toTime(lease.acquiredAt ?? 0);
    return {
      id: annotations[keys.id] ?? lease.name,
      state: 'broken',
      type: annotations[keys.type] ?? '',
      requestor: annotations[keys.requestor] ?? '',
      reason: annotations[keys.reason] ?? '',
      cluster: cluster.fullName,
      node_pool: annotations[keys.nodePool] ?? '',
      received_at: receivedAt,
      error: { code: error.code, message: error.message, at: receivedAt },
    };
  }
}

function showRecord(record: ActionRecord, cluster: ClusterName): ActionView {
  const { action, plan, stopped, verdict, answer, doneAt, lease } = record;
  const jobSet = plan?.restart?.jobSet ?? toJobSet(action);
  const settledAt = lease.annotations[keys.settledAt];
  const followUp = lease.annotations[keys.followUp];
  return withoutAbsent({
    id: record.id,
    state: record.phase,
    type: record.type,
    requestor: record.requestor,
    caller: action?.caller,
    reason: record.reason,
    incident_id: action?.incident?.id,
    follows: action?.followUpOf?.id,
    cluster: cluster.fullName,
    node_pool: record.nodePool,
    jobset: jobSet && `${jobSet.namespace}/${jobSet.name}`,
    received_at: toTime(record.receivedAt),
    done_at: doneAt === undefined ? undefined : toTime(doneAt),
    settled_at: settledAt,
    resumes: record.resumes || undefined,
    plan: plan && showPlan(plan),
    approval: record.approval && showApproval(record, record.approval),
    acceptance: record.acceptance && showAcceptance(record, record.acceptance),
    steps: answer,
    error: stopped && { code: stopped.code, message: stopped.error, at: stopped.at },
    verdict,
    follow_up: parseFollowUp(followUp),
  });
}

function showAcceptance({ action }: ActionRecord, { since, job, passed_at }: Acceptance) {
  return withoutAbsent({ test: action?.accept ?? '', since, job: job?.name, passed_at });
}

function showApproval(record: ActionRecord, approval: Approval): ApprovalView {
  const { plan, expires_at, steps, by, requestor, at } = approval;
  const isOpen = isAwaitingApproval(record) && !record.verdict;
  return withoutAbsent({
    plan,
    expires_at,
    approved_by: by,
    requestor,
    approved_at: at,
    approve: isOpen ? toApproveBody(record.id, plan) : undefined,
    steps: isOpen ? steps : undefined,
  });
}

function toJobSet(action: ActionRecord['action']): { namespace: string; name: string } | undefined {
  return action?.jobSetName === undefined
    ? undefined
    : { namespace: action.namespace, name: action.jobSetName };
}

/** Shows a plan as the API does. */
export function showPlan({ restart, repair }: NonNullable<ActionRecord['plan']>): PlanView {
  return withoutAbsent({
    restart:
      restart &&
      withoutAbsent({
        outcome: restart.outcome,
        attempt: restart.attempt,
        job: restart.job?.name,
        way: restart.way,
        leader_pod: restart.leader?.name,
        spare: restart.spare,
        in_place: restart.inPlace ? restart.lacksSpare : undefined,
      }),
    repair:
      repair &&
      withoutAbsent({
        node: repair.node.name,
        instance: `projects/${repair.projectId}/zones/${repair.zone}/instances/${repair.instanceName}`,
        instance_id: repair.instanceId,
        repair: repair.way,
        fault: repair.fault,
        left_to_gke: repair.leftTo?.outcome,
        gke: repair.leftTo?.why,
        may_not_come_back: repair.mayNotComeBack,
        why: repair.why,
        runs_here: repair.runsHere,
      }),
  });
}

function parseFollowUp(text: string | undefined): Record<string, unknown> | undefined {
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}

/** The same object without its undefined fields. */
export function withoutAbsent<T extends object>(object: T): WithoutAbsent<T> {
  return Object.fromEntries(
    Object.entries(object).filter(([, value]) => value !== undefined),
  ) as WithoutAbsent<T>;
}

type WithoutAbsent<T> = {
  [Key in keyof T as undefined extends T[Key] ? never : Key]: T[Key];
} & { [Key in keyof T as undefined extends T[Key] ? Key : never]?: Exclude<T[Key], undefined> };

export function toTime(ms: number): string {
  return new Date(ms).toISOString();
}
