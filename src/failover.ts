import { effectsOf } from './action.ts';
import type { Action } from './action.ts';
import { admitAlert } from './admit-alert.ts';
import { authoriseAction } from './auth.ts';
import { claimAction } from './claim.ts';
import type { Claim } from './claim.ts';
import type { Deadline } from './clock.ts';
import type { ClusterConnection } from './cluster.ts';
import type { Config } from './config.ts';
import { cordonPool, uncordonPool } from './cordon.ts';
import { readMark } from './cooldown.ts';
import { decide } from './decide.ts';
import type { FailoverError } from './errors.ts';
import { toFailoverError } from './errors.ts';
import { announceOutcome, announceTrigger } from './events.ts';
import { Ignored } from './ignored.ts';
import { assertNotUncordonedSince, noteUncordon } from './last-uncordon.ts';
import { assertNotPaused, chargeBudget, readSwitches } from './limits.ts';
import { describeError } from './log.ts';
import type { Log } from './log.ts';
import { forgetRecord, sweepRecords, writeAnswer, writePlan } from './record.ts';
import type { ActionRecord } from './record.ts';
import { rehearse } from './rehearse.ts';
import { repairInstance } from './repair.ts';
import { planNewerAttempt, restartJobSet, toRestartRequest } from './restart.ts';
import type { Services } from './services.ts';
import type { Step } from './step.ts';
import { nameNode } from './subject.ts';
import { resolvePool } from './targets.ts';
import { chooseReleasable, forgetWishes, keepCordoned, unwantCordon } from './wanted-cordons.ts';
import type { Releasable } from './wanted-cordons.ts';
import { readWorld } from './world.ts';
import type { World } from './world.ts';

/** What came of an action. */
export interface Outcome {
  steps: Step[];
  /** It had been done before, and was answered from its record. */
  isReplay: boolean;
}

/**
 * Carries an action out. Nothing before the cordon changes a node, a pod, a JobSet or an instance; the plan is written
 * down before anything is deleted; each step is safe to repeat, so that the same action sent again resumes, or gets the
 * recorded answer.
 *
 * @param deadline by when it must have answered
 * @throws {FailoverError} every refusal and failure
 * @throws {Ignored} an alert for which nothing is to be done
 */
export async function failover(
  action: Action,
  deadline: Deadline,
  services: Services,
  log: Log,
): Promise<Outcome> {
  authoriseAction(action, services.config);
  if (effectsOf(action.type).repair && !action.dryRun) await services.prepareRepair();
  const cluster = await timed(log, 'connect', () => services.connect(action.cluster, deadline));
  try {
    if (action.dryRun)
      return { steps: await rehearse(action, cluster, services.config, log), isReplay: false };

    const { kubernetes } = cluster;
    const resolve = async () => resolvePool(kubernetes, await nameNode(kubernetes, action));
    const claimed = await timed(log, 'claim', () =>
      claimAction(action, { kubernetes, clock: services.clock, resolvePool: resolve }),
    );
    if ('answer' in claimed) return { steps: claimed.answer, isReplay: true };

    const { claim } = claimed;
    const poolLog = log.with({ node_pool: claim.nodePool });
    return {
      steps: await carryOut(action, claim, { cluster, deadline, services, log: poolLog }),
      isReplay: false,
    };
  } finally {
    await cluster.close();
  }
}

interface Context {
  cluster: ClusterConnection;
  deadline: Deadline;
  services: Services;
  log: Log;
}

/** The caller waits meanwhile, and the next action sweeps again. */
const sweepPatienceMs = 10_000;

/** The work on a claimed action; whatever comes of it, the claim is given back. */
async function carryOut(asked: Action, claim: Claim, context: Context): Promise<Step[]> {
  const { cluster, deadline, services, log } = context;
  const { kubernetes, lock, nodePool, attempt } = claim;
  const { config } = services;
  let { record } = claim;
  let action = asked;
  let world: World | undefined;
  try {
    action = await admitAlert(asked, claim, config);
    const isClose = action.incident?.isClosed === true;
    world = await timed(log, 'read', () =>
      readWorld(kubernetes, action, nodePool, record.plan !== undefined || isClose),
    );

    const switches = await readSwitches(kubernetes);
    const marks = lock.annotations;
    if (record.plan && effectsOf(action.type).cordon)
      assertNotUncordonedSince(record.plan.lastUncordon, claim);
    const plan =
      record.plan ?? (await decide(action, world, { kubernetes, config, cluster, attempt, marks, switches }));
    const releasable =
      action.incident && isClose
        ? await chooseReleasable(kubernetes, lock, action.incident.id, world)
        : undefined;
    if (world.eventTarget) await announceTrigger(kubernetes, world.eventTarget, action, log);
    const canOverride = action.incident === undefined;
    const clusterLease = effectsOf(action.type).uncordon
      ? switches.lease
      : await chargeBudget(kubernetes, config, nodePool, { canOverride, known: switches });
    if (!record.plan) record = await writePlan(kubernetes, record, plan);

    const steps = [
      ...noteUnfinished(claim, log),
      ...(await uncordon(action, claim, world, context, releasable)),
    ];
    steps.push(...(await cordon(action, claim, world, context)));

    const beforeDeletion = () => checkBeforeDeletion(action, claim, config);
    const tools = { kubernetes, lock, config, deadline, actionId: action.id, beforeDeletion };
    const { restart, repair } = plan;
    const isDecider = plan.attempt === attempt;
    if (restart) {
      let step = await timed(log, 'restart', () => restartJobSet(restart, tools));
      const newer =
        isDecider && step['outcome'] !== 'restarted'
          ? await planNewerAttempt(kubernetes, restart, toRestartRequest(action, nodePool), config)
          : undefined;
      if (newer) {
        record = await writePlan(kubernetes, record, { ...plan, restart: newer });
        step = await timed(log, 'restart', () => restartJobSet(newer, tools));
      }
      steps.push(step);
    }
    if (repair) {
      const { deleteInstance } = services;
      steps.push(
        await timed(log, 'repair', () => repairInstance(repair, { ...tools, deleteInstance, isDecider })),
      );
    }

    record = await timed(log, 'record', () => writeAnswer(kubernetes, record, steps));
    await quietly(log, () => lock.release({ forget: false }));
    await announce(action, world, context, { message: summarise(steps) });
    await quietly(log, () => sweepRecords(cluster.kubernetes.within(sweepPatienceMs), clusterLease));
    return steps;
  } catch (error) {
    deadline.allowCleanUp();
    await giveUp(action, record, claim, context, error);
    if (!(error instanceof Ignored))
      await announce(action, world, context, { error: toFailoverError(error) });
    throw error;
  }
}

/**
 * Gives a claim back that came to nothing. Without a plan nothing was done: id and pool are as if the action had never
 * been sent.
 */
async function giveUp(
  { incident }: Action,
  record: ActionRecord,
  { lock, nodePool }: Claim,
  { cluster: { kubernetes }, log }: Context,
  error: unknown,
): Promise<void> {
  const isUntouched = record.plan === undefined;
  if (isUntouched) {
    if (incident && error instanceof Ignored && error.isOver)
      await quietly(log, () => unwantCordon(lock, incident.id));
    await quietly(log, () => forgetRecord(kubernetes, record));
  } else if (error instanceof Ignored) {
    // What is left of it is not to be done any more, so it must not count as unfinished for ever.
    const notice = { step: 'notice', target: nodePool, notice: error.message };
    await quietly(log, () => writeAnswer(kubernetes, record, [notice]));
  }
  await quietly(log, () => lock.release({ forget: isUntouched }));
}

/** Releases our cordons: all of the pool's, or what the close of an incident may release. */
async function uncordon(
  action: Action,
  claim: Claim,
  world: World,
  { services, log }: Context,
  releasable: Releasable | undefined,
): Promise<Step[]> {
  if (!effectsOf(action.type).uncordon) return [];
  const { kubernetes, lock, nodePool, attempt } = claim;
  const { cordonConcurrency: concurrency } = services.config;
  const nodes = releasable?.nodes ?? world.nodes;
  await noteUncordon(lock, { id: action.id, attempt });
  const step = await timed(log, 'uncordon', () =>
    uncordonPool(kubernetes, { nodePool, nodes }, { concurrency }),
  );
  if (!releasable || releasable.isAll) await forgetWishes(lock);
  if (!releasable) return [step];
  const all = world.nodes.schedulable.length + world.nodes.cordoned.length;
  const why = step['why'] ? { why: 'they are not Ready, or somebody else has cordoned them' } : {};
  return [{ ...step, nodes: all, ...why }];
}

/** All cordons land before anything is deleted: a pod must not come back on the pool that it is being moved from. */
async function cordon(
  action: Action,
  claim: Claim,
  { nodes, nodePool }: World,
  { services, log }: Context,
): Promise<Step[]> {
  if (!effectsOf(action.type).cordon) return [];
  const { cordonConcurrency: concurrency } = services.config;
  const { schedulable } = nodes;
  const createdBefore = findDeletionTime(action, claim);
  await keepCordoned(claim.lock, action.id);
  const step = await timed(log, 'cordon', async () => {
    const cordoned = await cordonPool(
      claim.kubernetes,
      { nodePool, schedulable },
      { actionId: action.id, concurrency, createdBefore },
    );
    const already = nodes.cordoned.length;
    const replacements = schedulable.filter((node) => node.createdAt > (createdBefore ?? Infinity)).length;
    return {
      step: 'cordon',
      target: nodePool,
      nodes: cordoned + already,
      cordoned,
      already_cordoned: already,
      ...(replacements > 0 ? { replacements_left_alone: replacements } : {}),
    };
  });
  return [step];
}

/**
 * When this action, which is resumed, was about to have its machine deleted. All nodes were cordoned by then; what came
 * later replaces them, and nobody asked to cordon that.
 */
function findDeletionTime({ id }: Action, { lock }: Claim): number | undefined {
  const mark = readMark(lock.annotations, 'repair');
  return mark?.action === id ? Date.parse(mark.firstAt ?? mark.at) : undefined;
}

/**
 * The last look before each deletion: nobody has paused the cluster, a node that joined is cordoned too, and nobody has
 * released one of ours.
 *
 * @throws {FailoverError} `paused`, `target_changed`
 */
async function checkBeforeDeletion(action: Action, claim: Claim, config: Config): Promise<void> {
  const { kubernetes, nodePool } = claim;
  await assertNotPaused(kubernetes);
  if (!effectsOf(action.type).cordon) return;
  const createdBefore = findDeletionTime(action, claim);
  const { cordonConcurrency: concurrency } = config;
  await cordonPool(kubernetes, { nodePool }, { actionId: action.id, concurrency, createdBefore });
}

/** The pool may be half cordoned, or its machine half repaired, by an action that nobody has resumed. */
function noteUnfinished({ unfinishedId, nodePool }: Claim, log: Log): Step[] {
  if (unfinishedId === undefined) return [];
  const notice = `action ${unfinishedId} was left unfinished on this pool; send it again to finish it`;
  log.warn('warning', notice, { unfinished_action_id: unfinishedId });
  return [{ step: 'notice', target: nodePool, unfinished_action: unfinishedId, notice }];
}

async function announce(
  action: Action,
  world: World | undefined,
  { cluster, log }: Context,
  outcome: { message: string } | { error: FailoverError },
): Promise<void> {
  if (world?.eventTarget) await announceOutcome(cluster.kubernetes, world.eventTarget, action, log, outcome);
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

/** Logs how long a step took, and what came of it. */
async function timed<T>(log: Log, step: string, work: () => Promise<T>): Promise<T> {
  const startedAt = performance.now();
  const duration = () => ({ step, duration_ms: Math.round(performance.now() - startedAt) });
  try {
    const result = await work();
    log.info('step', `${step} done`, { ...duration(), ...(isStep(result) ? { result } : {}) });
    return result;
  } catch (error) {
    const fields = { ...duration(), ...describeError(error) };
    if (error instanceof Ignored) log.info('step', `${step} stopped`, fields);
    else log.warn('step', `${step} stopped`, fields);
    throw error;
  }
}

function isStep(value: unknown): value is Step {
  return typeof value === 'object' && value !== null && 'step' in value;
}
