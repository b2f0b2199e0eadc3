import { createHash } from 'node:crypto';
import type { Action } from '../request/action.ts';
import { isUpstreamStatus } from '../errors.ts';
import type { FailoverError } from '../errors.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { describeError } from '../log.ts';
import type { Log } from '../log.ts';
import { prefix } from '../names.ts';
import { toJobSetTarget, toNodeTarget } from '../decide/snapshot.ts';
import type { EventTarget } from '../decide/snapshot.ts';
import type { Plan } from '../plan.ts';
import { describeAwaiting } from '../state/approval.ts';
import type { Step } from '../step.ts';
import type { ActionRecord } from '../state/record-format.ts';
import { describeVerdict, needsNobody } from '../verdict.ts';
import type { Verdict, VerdictName } from '../verdict.ts';

type EventPhase =
  'triggered' | 'succeeded' | 'failed' | 'refused' | 'elsewhere' | `awaiting ${string}` | VerdictName;

/** Publishes that an action, or its dry run, begins. */
export function emitStarted(
  kubernetes: Kubernetes,
  target: EventTarget,
  action: Action,
  log: Log,
): Promise<void> {
  return publish(kubernetes, target, action, log, {
    phase: 'triggered',
    type: 'Normal',
    reason: action.dryRun ? 'DryRunFailoverActionTriggered' : 'FailoverActionTriggered',
    message: `Failover action triggered: ${action.type}: ${action.reason} (${action.dryRun ? 'dry run, ' : ''}${describeAsker(action)})`,
  });
}

/** Publishes the outcome of an action. */
export function emitFinished(
  kubernetes: Kubernetes,
  target: EventTarget,
  action: Action,
  log: Log,
  outcome: { message: string } | { error: FailoverError },
): Promise<void> {
  const whose = `(${describeAsker(action)})`;
  if ('message' in outcome) {
    return publish(kubernetes, target, action, log, {
      phase: 'succeeded',
      type: 'Normal',
      reason: 'FailoverActionSucceeded',
      message: `${action.type} succeeded ${whose}: ${outcome.message}`,
    });
  }
  const { error } = outcome;
  const isRefusal = error.status < 500;
  return publish(kubernetes, target, action, log, {
    phase: isRefusal ? 'refused' : 'failed',
    type: 'Warning',
    reason: isRefusal ? 'FailoverActionRefused' : 'FailoverActionFailed',
    message: `${action.type} ${isRefusal ? 'refused' : 'failed'} with ${error.code} ${whose}: ${error.message}`,
  });
}

/** Publishes, beside the success, that the JobSet was not on the pool: the answer to an alert is read by nobody. */
export async function emitElsewhere(
  kubernetes: Kubernetes,
  target: EventTarget,
  action: Action,
  log: Log,
  steps: Step[],
): Promise<void> {
  const step = steps.find((each) => each.step === 'restart' && each.outcome === 'not_on_pool');
  if (step?.step !== 'restart' || step.warning === undefined) return;
  await publish(kubernetes, target, action, log, {
    phase: 'elsewhere',
    type: 'Warning',
    reason: 'FailoverJobSetNotOnPool',
    message: `${action.type}: ${step.warning} (${describeAsker(action)})`,
  });
}

/** Publishes that a plan waits for its approval, on the JobSet or the node that it is about. */
export async function emitAwaiting(
  kubernetes: Kubernetes,
  { id, type, requestor, reason, plan, approval }: ActionRecord,
  log: Log,
  otherTarget?: EventTarget,
): Promise<void> {
  const target = toPlanTarget(plan) ?? otherTarget;
  if (!target || !approval) return;
  const asker = { id, requestor, dryRun: false };
  await publish(kubernetes, target, asker, log, {
    phase: `awaiting ${approval.plan}`,
    type: 'Warning',
    reason: 'FailoverActionAwaitingApproval',
    message: `${type}: ${describeAwaiting(id, approval)} (${describeAsker(asker)}: ${reason})`,
  });
}

function toPlanTarget({ restart, repair }: Partial<Plan> = {}): EventTarget | undefined {
  return restart ? toJobSetTarget(restart.jobSet) : repair && toNodeTarget(repair.node);
}

/** Publishes what became of an action, on the JobSet that was restarted or on the node that was repaired. */
export async function emitVerdict(
  kubernetes: Kubernetes,
  { id, type, requestor, plan }: ActionRecord,
  verdict: Verdict,
  log: Log,
): Promise<void> {
  const target = toPlanTarget(plan);
  if (!target) return;
  const asker = { id, requestor, dryRun: false };
  await publish(kubernetes, target, asker, log, {
    // An action that was abandoned and is sent again gets another verdict.
    phase: verdict.verdict,
    type: needsNobody(verdict) ? 'Normal' : 'Warning',
    reason: reasonOfVerdict[verdict.verdict],
    message: `${type}: ${describeVerdict(verdict)} (${describeAsker(asker)})`,
  });
}

const reasonOfVerdict: Record<VerdictName, string> = {
  recovered: 'FailoverRecovered',
  repaired: 'FailoverRepaired',
  reported: 'FailoverReported',
  run_ended: 'FailoverRunEnded',
  not_recovered: 'FailoverNotRecovered',
  not_repaired: 'FailoverNotRepaired',
  report_failed: 'FailoverReportFailed',
  not_reported: 'FailoverNotReported',
  not_accepted: 'FailoverNotAccepted',
  abandoned: 'FailoverAbandoned',
  expired: 'FailoverApprovalExpired',
  rejected: 'FailoverRejected',
};

/** Who asked for an action, for its Events. */
type Asker = Pick<Action, 'id' | 'requestor' | 'dryRun'>;

function describeAsker({ id, requestor }: Pick<Asker, 'id' | 'requestor'>): string {
  return `action ${id} of ${requestor}`;
}

/** Large clusters store Events apart. That store may throttle or hang while everything else works. */
const patienceMs = 5_000;

/**
 * Writes an Event. Its name is derived from object, action and phase, so that a retry does not multiply it. A failure is
 * logged and stops nothing.
 */
async function publish(
  kubernetes: Kubernetes,
  target: EventTarget,
  action: Asker,
  log: Log,
  event: { phase: EventPhase; type: 'Normal' | 'Warning'; reason: string; message: string },
): Promise<void> {
  const namespace = target.namespace ?? 'default';
  const now = new Date(kubernetes.serverNow());
  const suffix = createHash('sha256')
    .update(`${target.uid}/${action.id}/${action.dryRun}/${event.phase}`)
    .digest('hex')
    .slice(0, 16);
  try {
    await kubernetes.within(patienceMs).core.createNamespacedEvent({
      namespace,
      body: {
        metadata: {
          // No part of a name may be empty or end with a hyphen.
          name: `${target.name.slice(0, 200).replace(/[-.]+$/, '')}.${suffix}`,
          namespace,
          annotations: {
            [`${prefix}id`]: action.id,
            [`${prefix}requestor`]: action.requestor,
          },
        },
        involvedObject: { ...target },
        type: event.type,
        reason: event.reason,
        message: clip(event.message, 1024),
        firstTimestamp: now,
        lastTimestamp: now,
        count: 1,
        source: { component: 'autometric-failover' },
      },
    });
  } catch (error) {
    if (isUpstreamStatus(error, 409)) return;
    log.warn('warning', `the Event ${event.reason} could not be written`, describeError(error));
  }
}

/** The API server counts bytes. A character that would be cut in two is left out. */
function clip(text: string, maxBytes: number): string {
  return new TextDecoder().decode(Buffer.from(text).subarray(0, maxBytes), { stream: true });
}
