import { createHash } from 'node:crypto';
import type { Action } from '../request/action.ts';
import { isUpstreamStatus } from '../errors.ts';
import type { FailoverError } from '../errors.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { describeError } from '../log.ts';
import type { Log } from '../log.ts';
import { prefix } from '../names.ts';
import type { EventTarget } from '../decide/snapshot.ts';

type EventPhase = 'triggered' | 'succeeded' | 'failed' | 'refused';

/** Publishes that an action is about to be carried out, or rehearsed. */
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
    message: `Failover action triggered: ${action.type}: ${action.reason}`,
  });
}

/** Publishes what came of an action. */
export function emitFinished(
  kubernetes: Kubernetes,
  target: EventTarget,
  action: Action,
  log: Log,
  outcome: { message: string } | { error: FailoverError },
): Promise<void> {
  const whose = `(action ${action.id} of ${action.requestor})`;
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

/** Large clusters keep Events in a store of their own, which may throttle or hang while all else is well. */
const patienceMs = 5_000;

/**
 * Writes an Event, whose name is derived from object, action and phase so that a retry does not multiply it. One that
 * cannot be written is logged and stops nothing.
 */
async function publish(
  kubernetes: Kubernetes,
  target: EventTarget,
  action: Action,
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
          // No part of a name may end with a hyphen, nor be empty.
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

/** The API server counts bytes; a character that would be cut in two is left out. */
function clip(text: string, maxBytes: number): string {
  return new TextDecoder().decode(Buffer.from(text).subarray(0, maxBytes), { stream: true });
}
