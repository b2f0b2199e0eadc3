import * as v from 'valibot';
import { toMs } from '../clock.ts';
import { FailoverError } from '../errors.ts';
import { toLeaseName } from './lease.ts';
import type { LeaseState } from './lease-format.ts';
import { prefix } from '../names.ts';
import { planSchema } from '../plan.ts';
import type { Plan } from '../plan.ts';
import { answerSchema } from '../step.ts';
import type { RecordedStep } from '../step.ts';
import { verdictSchema } from '../verdict.ts';
import type { Verdict } from '../verdict.ts';
import { recordedActionSchema } from './recorded-action.ts';
import type { RecordedAction } from './recorded-action.ts';
import { parseStored, timeSchema } from './stored.ts';

/** What is remembered of one action, so that the same id sent again resumes it or gets its answer. */
export interface ActionRecord {
  id: string;
  /** Of what the action is to do, so that one id cannot stand for two actions. */
  hash: string;
  type: string;
  requestor: string;
  reason: string;
  /** The action as it was asked. Version 0.1.0 recorded none. */
  action: RecordedAction | undefined;
  nodePool: string;
  phase: Phase;
  /** When the record was made, in ms since the epoch by the API server's clock, as all times here. */
  receivedAt: number;
  /** Written before anything is deleted. A resume carries it out and never chooses again. */
  plan: Plan | undefined;
  /** The approval that the plan waits for, or has. */
  approval: Approval | undefined;
  /** How the action ended after its plan was made, if it ended with an error. */
  stopped: Stopped | undefined;
  /** How often the plan was taken up again. */
  resumes: number;
  /** The answer, once the action is done. */
  answer: RecordedStep[] | undefined;
  /** When the answer was written. */
  doneAt: number | undefined;
  /** How far the test of the repaired pool has come, where the action asked for one. */
  acceptance: Acceptance | undefined;
  /** What became of it, once that is known. */
  verdict: Verdict | undefined;
  lease: LeaseState;
}

/**
 * How far an action has come. `claimed`: nothing is decided. `awaiting_approval`: there is a plan,
 * and nothing else is done before it is approved. `planned`: effects may have begun. `stopped`: it ended with an
 * error after the plan, and the same id resumes it. `done`: the answer is recorded. `settled`: it is known what came of it.
 */
export type Phase = v.InferOutput<typeof phaseSchema>;

const phaseSchema = v.picklist(['claimed', 'awaiting_approval', 'planned', 'stopped', 'done', 'settled']);

/** The error with which an action ended after its plan was made. */
export type Stopped = v.InferOutput<typeof stoppedSchema>;

const stoppedSchema = v.object({
  code: v.string(),
  /** The HTTP status of the answer. */
  status: v.number(),
  error: v.string(),
  at: timeSchema,
  /** A deletion of this action was accepted before. */
  hasDeleted: v.boolean(),
});

/** What the approval of a plan is bound to, and who gave it. Times are in RFC 3339. */
export type Approval = v.InferOutput<typeof approvalSchema>;

const approvalSchema = v.object({
  /** The hash of the plan. */
  plan: v.string(),
  expires_at: timeSchema,
  /** What the plan would do, as a dry run says it. */
  steps: answerSchema,
  /** The e-mail address of the caller that approved. */
  by: v.exactOptional(v.string()),
  requestor: v.exactOptional(v.string()),
  at: v.exactOptional(timeSchema),
});

/** How far the test of a repaired pool has come. Times are in RFC 3339. */
export type Acceptance = v.InferOutput<typeof acceptanceSchema>;

const acceptanceSchema = v.object({
  /** When the pool was first seen to be whole: its time runs from then on. */
  since: timeSchema,
  /** The Job that runs the test, once it is seen to be there. */
  job: v.exactOptional(v.object({ name: v.string(), uid: v.string() })),
  /** No close of another incident releases the pool meanwhile. */
  held: v.exactOptional(v.literal(true)),
  passed_at: v.exactOptional(timeSchema),
});

export const keys = {
  id: `${prefix}id`,
  hash: `${prefix}hash`,
  type: `${prefix}type`,
  requestor: `${prefix}requestor`,
  reason: `${prefix}reason`,
  action: `${prefix}request`,
  nodePool: `${prefix}node-pool`,
  phase: `${prefix}phase`,
  plan: `${prefix}plan`,
  approval: `${prefix}approval`,
  stopped: `${prefix}stopped`,
  resumes: `${prefix}resumes`,
  answer: `${prefix}answer`,
  doneAt: `${prefix}done-at`,
  acceptance: `${prefix}acceptance`,
  verdict: `${prefix}verdict`,
  settledAt: `${prefix}settled-at`,
  followUp: `${prefix}follow-up`,
  /** Version 0.1.0 called the claim an attempt; the key stays. */
  claimId: `${prefix}attempt`,
} as const;

/** Names the Lease of an action's record. */
export function toRecordName(id: string): string {
  return toLeaseName('action', id);
}

export const kindLabel = `${prefix}kind`;

/** The label of a record until it is settled: one list finds what is open. */
export const openLabel = `${prefix}open`;

/**
 * Reads a record out of its Lease.
 *
 * @throws {FailoverError} `action_in_progress` where it is broken: a guess at it could delete a second machine
 */
export function toRecord(lease: LeaseState): ActionRecord {
  const { annotations } = lease;
  const phase = v.safeParse(phaseSchema, annotations[keys.phase]);
  const action = parseStored(recordedActionSchema, annotations, keys.action);
  const plan = parseStored(planSchema, annotations, keys.plan);
  const approval = parseStored(approvalSchema, annotations, keys.approval);
  const answer = parseStored(answerSchema, annotations, keys.answer);
  const stopped = parseStored(stoppedSchema, annotations, keys.stopped);
  const acceptance = parseStored(acceptanceSchema, annotations, keys.acceptance);
  const verdict = parseStored(verdictSchema, annotations, keys.verdict);
  if (
    !phase.success ||
    action === 'broken' ||
    plan === 'broken' ||
    approval === 'broken' ||
    answer === 'broken' ||
    stopped === 'broken' ||
    acceptance === 'broken' ||
    verdict === 'broken' ||
    (phase.output !== 'claimed' && !plan) ||
    (phase.output === 'awaiting_approval' && !approval) ||
    (phase.output === 'done' && !answer) ||
    (phase.output === 'settled' && !answer && !verdict)
  ) {
    throw new FailoverError(
      'action_in_progress',
      `the record of action ${annotations[keys.id]} (Lease ${lease.name}) is broken; delete it, check the node pool, and send a new id`,
    );
  }
  const isDone = phase.output === 'done' || phase.output === 'settled';
  return {
    id: annotations[keys.id] ?? '',
    hash: annotations[keys.hash] ?? '',
    type: annotations[keys.type] ?? '',
    requestor: annotations[keys.requestor] ?? '',
    reason: annotations[keys.reason] ?? '',
    action: action?.value,
    nodePool: annotations[keys.nodePool] ?? '',
    phase: phase.output,
    receivedAt: lease.acquiredAt ?? 0,
    plan: plan?.value,
    approval: approval?.value,
    stopped: stopped?.value,
    resumes: Number.parseInt(annotations[keys.resumes] ?? '0', 10) || 0,
    answer: isDone ? answer?.value : undefined,
    // Version 0.1.0 wrote the record for the last time when it was done.
    doneAt: isDone ? (toMs(annotations[keys.doneAt]) ?? lease.renewedAt) : undefined,
    acceptance: acceptance?.value,
    verdict: verdict?.value,
    lease,
  };
}
