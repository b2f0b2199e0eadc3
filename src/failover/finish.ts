import { toFailoverError } from '../errors.ts';
import type { FailoverError } from '../errors.ts';
import { emitFinished } from './events.ts';
import { Ignored } from '../ignored.ts';
import { describeError, timed } from '../log.ts';
import type { Log } from '../log.ts';
import type { Prepared } from './prepare.ts';
import { forgetRecord, writeAnswer } from '../state/record.ts';
import type { Step } from '../step.ts';
import { sweepRecords } from '../state/sweep.ts';
import type { Execution } from './execution.ts';
import { removeHold } from '../state/cordon-holds.ts';

/** The caller waits meanwhile, and the next action sweeps again. */
const sweepPatienceMs = 10_000;

/** Writes the answer down and gives the claim back. */
export async function finish(execution: Execution, { clusterLease }: Prepared, steps: Step[]): Promise<void> {
  const { claim, cluster, log } = execution;
  const { kubernetes, lock } = claim;
  execution.record = await timed(log, 'record', () => writeAnswer(kubernetes, execution.record, steps));
  await Promise.all([
    quietly(log, () => lock.release({ forget: false })),
    announce(execution, { message: summarise(steps) }),
    quietly(log, () => sweepRecords(cluster.kubernetes.within(sweepPatienceMs), clusterLease)),
  ]);
}

/**
 * Gives a claim back that came to nothing. Without a plan nothing was done: id and pool are as if the action had never
 * been sent.
 */
export async function abort(execution: Execution, error: unknown): Promise<void> {
  const { action, record, claim, cluster, deadline, log } = execution;
  const { kubernetes } = cluster;
  const { lock, nodePool } = claim;
  deadline.allowCleanUp();
  const isUntouched = record.plan === undefined;
  if (isUntouched) {
    const { incident } = action;
    if (incident && error instanceof Ignored && error.isOver) {
      await quietly(log, () => removeHold(lock, incident.id));
    }
    await quietly(log, () => forgetRecord(kubernetes, record));
  } else if (error instanceof Ignored) {
    // What is left of it is not to be done any more, so it must not count as unfinished for ever.
    const notice = { step: 'notice', target: nodePool, notice: error.message };
    await quietly(log, () => writeAnswer(kubernetes, record, [notice]));
  }
  await quietly(log, () => lock.release({ forget: isUntouched }));
  if (!(error instanceof Ignored)) await announce(execution, { error: toFailoverError(error) });
}

async function announce(
  { action, snapshot, cluster, log }: Execution,
  outcome: { message: string } | { error: FailoverError },
): Promise<void> {
  if (snapshot?.eventTarget) {
    await emitFinished(cluster.kubernetes, snapshot.eventTarget, action, log, outcome);
  }
}

/** The steps in a sentence, for the Event. */
function summarise(steps: Step[]): string {
  return steps.map((step) => `${step.step} ${step.target}: ${describeResult(step)}`).join('; ');
}

function describeResult({ outcome, notice, cordoned, uncordoned }: Step): string {
  const text = outcome ?? notice;
  if (typeof text === 'string') return text;
  return typeof cordoned === 'number'
    ? `${cordoned} nodes cordoned`
    : `${Number(uncordoned)} nodes uncordoned`;
}

/** Does what must not change the answer any more: a lock expires by itself, a sweep comes again. */
async function quietly(log: Log, work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    log.warn(
      'warning',
      'cleaning up failed; the lock expires by itself, and the next action sweeps again',
      describeError(error),
    );
  }
}
