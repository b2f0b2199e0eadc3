import { effectsOf, faults, repairWays } from '../action-type.ts';
import type { ActionType, Fault, LabelWay } from '../action-type.ts';
import { invalidAction } from '../errors.ts';
import { suggestName } from '../nearest-name.ts';

/** How a machine is to be repaired. Both are absent for a deletion, which is the default. */
export interface Repair {
  repair?: LabelWay;
  fault?: Fault;
}

/**
 * Parses how a machine is to be repaired, and what is wrong with the host that is reported.
 *
 * @throws {FailoverError} `invalid_action`, also for a combination that means nothing
 */
export function parseRepair(
  given: { repair: string | undefined; fault: string | undefined },
  type: ActionType,
): Repair {
  const way = pick('repair', given.repair, repairWays);
  const fault = pick('fault', given.fault, faults);
  const asked = way === undefined ? 'fault' : 'repair';
  if ((way !== undefined || fault !== undefined) && !effectsOf[type].repair) {
    throw invalidAction(
      `${asked} is for an action that repairs, and ${type} does not: send repair_nodepool or cordon_and_repair_nodepool`,
    );
  }
  if (way === 'report_faulty_host') {
    if (fault !== undefined) return { repair: way, fault };
    throw invalidAction(
      `fault is required for repair report_faulty_host, one of ${faults.join(', ')}; it tells Google what to look for`,
    );
  }
  if (fault !== undefined) {
    const rest = `or leave fault out of a ${way ?? 'delete'}`;
    throw invalidAction(
      `fault says what is wrong with a host that is reported: add repair report_faulty_host, ${rest}`,
    );
  }
  return way === undefined || way === 'delete' ? {} : { repair: way };
}

function pick<Name extends string>(
  field: string,
  given: string | undefined,
  known: readonly Name[],
): Name | undefined {
  const found = known.find((each) => each === given);
  if (given === undefined || found !== undefined) return found;
  throw invalidAction(`unknown ${field}: ${given}${suggestName(given, known)}`);
}
