import { FailoverError } from '../errors.ts';
import type { Plan, RepairPlan, RestartPlan } from '../plan.ts';
import { readMark } from '../state/cooldown.ts';
import type { Action } from '../request/action.ts';
import type { Prediction } from './prediction.ts';

/** What an action asks for where no spare capacity is. */
export type SpareWish = Pick<Action, 'requiresSpare' | 'whenNoSpare'>;

/**
 * Decides what becomes of a restart whose run would wait for capacity.
 *
 * @returns `inPlace` where the pool is to be repaired, and the run restarts there
 * @throws {FailoverError} `preflight_refused` where spare capacity was made a condition; `restart_refused` where the caller does
 *   not want the run to wait, also where it is not known what is free
 */
export function judgeNoSpare(
  { spare, lacksSpare }: Pick<Prediction, 'spare' | 'lacksSpare'>,
  { requiresSpare, whenNoSpare }: SpareWish,
  jobSet: string,
): { inPlace?: true } {
  if (lacksSpare === undefined) return {};
  if (requiresSpare === true) {
    throw new FailoverError(
      'preflight_refused',
      `spare_capacity: ${lacksSpare}; nothing was touched. Free what JobSet ${jobSet} needs, or send it without spare_capacity to ` +
        'have the JobSet wait for capacity',
    );
  }
  if (whenNoSpare === undefined) return {};
  if (whenNoSpare === 'repair' && spare) return { inPlace: true };
  const what = spare
    ? `JobSet ${jobSet} has no spare capacity: ${lacksSpare}`
    : `whether JobSet ${jobSet} has spare capacity is not known: ${lacksSpare}`;
  const others =
    whenNoSpare === 'refuse'
      ? 'when_no_spare restart has the JobSet wait for capacity, and repair has the pool repaired in place'
      : 'no machine is deleted on a guess, and when_no_spare restart has the JobSet wait for capacity';
  throw new FailoverError(
    'restart_refused',
    `${what}; nothing was deleted, because when_no_spare is ${whenNoSpare}. Free what it needs, or: ${others}`,
  );
}

/** True if the pool is repaired in place and the run restarts there. */
export function isInPlace({ restart, repair }: Plan): boolean {
  return restart !== undefined && repair !== undefined;
}

/**
 * True once an action that repairs in place has begun to end the run: it must go on to the repair, whatever becomes of its alert,
 * because the run has nowhere else to come back to.
 */
export function isUnderWay(
  plan: Plan,
  poolAnnotations: Readonly<Record<string, string>>,
  actionId: string,
): boolean {
  if (!plan.restart || !isInPlace(plan)) return false;
  const { namespace, name } = plan.restart.jobSet;
  return readMark(poolAnnotations, `restart ${namespace}/${name}`)?.action === actionId;
}

/**
 * Refuses to restart a newer attempt that has no spare capacity either, where no repair was decided: only what was decided under
 * the claim may delete a machine.
 *
 * @throws {FailoverError} `restart_refused`
 */
export function assertDecided(newer: RestartPlan, { repair }: Plan, jobSet: string): void {
  if (newer.inPlace !== true || repair) return;
  throw new FailoverError(
    'restart_refused',
    `JobSet ${jobSet} has restarted on the pool while it was being cordoned, and has no spare capacity by now: ${newer.lacksSpare}; ` +
      'nothing was deleted. Send this with a new id to have the pool repaired in place',
  );
}

/**
 * Refuses where the pool cannot be repaired, so that the run would have nowhere to come back to.
 *
 * @throws {FailoverError} `restart_refused`
 */
export function assertComesBack({ leftTo }: RepairPlan, jobSet: string): void {
  if (leftTo === undefined || leftTo.outcome === 'gke_is_repairing') return;
  throw new FailoverError(
    'restart_refused',
    `JobSet ${jobSet} has no spare capacity, and its pool cannot be repaired in place now: ${leftTo.why}; nothing was touched`,
  );
}
