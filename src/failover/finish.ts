import type { Clock } from '../clock.ts';
import { FailoverError, toFailoverError } from '../errors.ts';
import { Ignored } from '../ignored.ts';
import { timed } from '../log.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import type { Log } from '../log.ts';
import type { RepairPlan } from '../plan.ts';
import type { Action } from '../request/action.ts';
import { noteHostRepair } from '../state/host-memory.ts';
import { isAwaitingApproval } from '../state/approval.ts';
import { noteRefusedPool } from '../state/budget.ts';
import { removeHold } from '../state/cordon-holds.ts';
import { hasOwnMark } from '../state/cooldown.ts';
import { forgetRecord, writeAnswer, writeStopped } from '../state/record.ts';
import { noteRefusal } from '../state/refusals.ts';
import { sweepRecords } from '../state/sweep.ts';
import { summarise } from '../step.ts';
import type { Step } from '../step.ts';
import { tryToCleanUp } from './clean-up.ts';
import type { Crowd } from './crowd.ts';
import { emitElsewhere, emitFinished } from './events.ts';
import type { Execution } from './execution.ts';
import type { Prepared } from './prepare.ts';

/** The caller waits for it. */
const refusalPatienceMs = 3_000;

/** The caller waits for the sweep, and the next action sweeps again. */
const sweepPatienceMs = 10_000;

/** Records the answer and releases the claim. What was deleted must come back before the action is settled. */
export async function finish(
  execution: Execution,
  { clusterLease, plan }: Prepared,
  steps: Step[],
): Promise<void> {
  const { claim, cluster, log } = execution;
  const { kubernetes, lock } = claim;
  // A repair that GKE makes is looked after like one of ours.
  const isGkes = plan.repair?.leftTo?.outcome === 'gke_is_repairing';
  const isOpen = isGkes || hasOwnMark(lock.annotations, execution.action.id);
  execution.record = await timed(log, 'record', () =>
    writeAnswer(kubernetes, execution.record, steps, { isOpen }),
  );
  await Promise.all([
    tryToCleanUp(log, () => lock.release({ forget: false })),
    tryToCleanUp(log, () => noteHost(cluster.kubernetes, execution.action.id, plan.repair, steps)),
    announce(execution, { message: summarise(steps) }, steps),
    tryToCleanUp(log, () => sweepRecords(cluster.kubernetes.within(sweepPatienceMs), clusterLease)),
  ]);
}

/** Remembers the host of a machine whose repair was accepted, so that its next fault is told as such. */
async function noteHost(
  kubernetes: Kubernetes,
  action: string,
  repair: RepairPlan | undefined,
  steps: Step[],
): Promise<void> {
  const outcome = steps.find((each) => each.step === 'repair')?.outcome ?? '';
  const isAccepted = outcome === 'deletion_accepted' || outcome.endsWith('_requested');
  if (repair?.host === undefined || !isAccepted) return;
  const at = new Date(kubernetes.serverNow()).toISOString();
  const { host, way = 'delete', node } = repair;
  await noteHostRepair(kubernetes, host, { action, at, way, node: node.name });
}

/**
 * Releases the claim of an action that failed or was refused. Without a plan nothing was done, so id and pool are left as
 * if the action had never been sent.
 */
export async function abort(execution: Execution, error: unknown): Promise<void> {
  const { action, record, claim, cluster, deadline, log, services } = execution;
  const { clock } = services;
  const { kubernetes } = cluster;
  const { lock, nodePool } = claim;
  deadline.allowCleanUp();
  // Nothing was done for a plan that waits for its approval, and it goes on waiting.
  const isAwaiting = isAwaitingApproval(record);
  const isUntouched = record.plan === undefined || isAwaiting;
  // First of all, because an action for another pool of the same JobSet is about to restart it now.
  if (error instanceof FailoverError && error.code === 'budget_exceeded') {
    await tryToCleanUp(log, () => noteRefusedPool(kubernetes, nodePool));
  }
  const { incident } = action;
  const isHoldless = error instanceof Ignored ? error.isOver : isAwaiting;
  if (isUntouched && incident && !incident.isClosed && isHoldless) {
    await tryToCleanUp(log, () => removeHold(lock, incident.id));
  }
  if (record.plan === undefined) {
    await tryToCleanUp(log, () => forgetRecord(kubernetes, record));
  } else if (error instanceof Ignored) {
    // The rest of the action will never be done, so it must not count as unfinished for ever.
    const notice: Step = { step: 'notice', target: nodePool, notice: error.message };
    const isOpen = hasOwnMark(lock.annotations, action.id);
    await tryToCleanUp(log, () => writeAnswer(kubernetes, record, [notice], { isOpen }));
  } else if (!isAwaiting) {
    const hasDeleted = hasOwnMark(lock.annotations, action.id);
    await tryToCleanUp(log, () => writeStopped(kubernetes, record, toFailoverError(error), { hasDeleted }));
  }
  await tryToCleanUp(log, () => lock.release({ forget: isUntouched }));
  // Nobody waits for the lock meanwhile.
  const isForgotten = record.plan === undefined;
  if (isForgotten) await noteRefused({ ...action, nodePool }, error, { kubernetes, clock, log });
  if (!(error instanceof Ignored)) await announce(execution, { error: toFailoverError(error) });
}

/** Remembers for a day that a request was refused before anything was decided, for those who ask why nothing happened. */
export async function noteRefused(
  action: Action,
  error: unknown,
  { kubernetes, clock, log }: { kubernetes: Kubernetes; clock: Clock; log: Log },
): Promise<void> {
  if (!(error instanceof FailoverError) || error.status >= 500) return;
  await tryToCleanUp(log, () => noteRefusal(kubernetes.within(refusalPatienceMs), action, error, clock));
}

/** The same for an alert that is refused without a claim. A storm makes many that say the same: most are in the log only. */
export async function noteEarly(
  action: Action,
  error: FailoverError,
  tools: {
    kubernetes: Kubernetes;
    clock: Clock;
    log: Log;
    crowd: Crowd;
    isNoted: (() => Promise<boolean>) | undefined;
  },
): Promise<void> {
  const { kubernetes, clock, log, crowd, isNoted } = tools;
  const { nodePool } = action;
  const { code } = error;
  // It comes again.
  if (code === 'action_in_progress') return;
  const isOver = code === 'budget_exceeded' && nodePool !== undefined;
  if (isOver && crowd.mayNote(`${action.cluster.fullName} ${nodePool}`, 1)) {
    await tryToCleanUp(log, () =>
      crowd.note(async () => {
        if ((await isNoted?.()) !== true) await noteRefusedPool(kubernetes, nodePool);
      }),
    );
  }
  if (crowd.mayNote('refusal', 5)) await noteRefused(action, error, { kubernetes, clock, log });
}

async function announce(
  { action, snapshot, cluster, log }: Execution,
  outcome: { message: string } | { error: FailoverError },
  steps: Step[] = [],
): Promise<void> {
  const target = snapshot?.eventTarget;
  if (!target) return;
  const { kubernetes } = cluster;
  await Promise.all([
    emitFinished(kubernetes, target, action, log, outcome),
    emitElsewhere(kubernetes, target, action, log, steps),
  ]);
}
