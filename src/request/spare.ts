import { effectsOf, spareWishes } from '../action-type.ts';
import type { ActionType, WhenNoSpare } from '../action-type.ts';
import { invalidAction } from '../errors.ts';
import { suggestName } from '../nearest-name.ts';

/** What is to be done where no spare capacity is. Both are absent for the default: the run restarts all the same. */
export interface SpareFields {
  requiresSpare?: true;
  whenNoSpare?: WhenNoSpare;
}

/**
 * Parses what is to be done where a run has no spare capacity to move to.
 *
 * @throws {FailoverError} `invalid_action`, also where both fields contradict each other
 */
export function parseSpare(
  given: { spareCapacity: boolean | undefined; whenNoSpare: string | undefined },
  type: ActionType,
): SpareFields {
  const wish = spareWishes.find((each) => each === given.whenNoSpare);
  if (given.whenNoSpare !== undefined && wish === undefined) {
    const { whenNoSpare } = given;
    throw invalidAction(`unknown when_no_spare: ${whenNoSpare}${suggestName(whenNoSpare, spareWishes)}`);
  }
  const requiresSpare = given.spareCapacity === true;
  if ((requiresSpare || wish !== undefined) && !effectsOf[type].restart) {
    const field = requiresSpare ? 'preflight_checks.spare_capacity' : 'when_no_spare';
    throw invalidAction(`${field} is for an action that restarts, and ${type} does not`);
  }
  if (requiresSpare && wish !== undefined && wish !== 'refuse') {
    throw invalidAction(
      `preflight_checks.spare_capacity refuses where there is no spare capacity, so when_no_spare ${wish} would never be done: leave ` +
        'one of them out',
    );
  }
  return {
    ...(requiresSpare && { requiresSpare }),
    ...(wish !== undefined && wish !== 'restart' && { whenNoSpare: wish }),
  };
}
