import type { DecisionKind, Schedule } from './schedule.ts';
import { toLine } from './schedule.ts';
import { runSchedule } from './run-schedule.ts';
import type { Point, Situation } from './run-schedule.ts';

/** How many decisions a schedule may have. */
export interface Bounds {
  /** Of `switch` and `freeze`. */
  switches: number;
  /** Of `freeze`. */
  freezes: number;
  /** Of `die` and `lose`. */
  faults: number;
}

export interface Exploration {
  /** How many schedules were run to their end. */
  complete: number;
  /** How many were left, because they had come to what another one has come to. */
  left: number;
  /** Schedules that break a promise, the shortest first. */
  broken: { line: string; violations: string[] }[];
  /** What came of all, to compare. */
  outcomes: Set<string>;
}

const mostBroken = 5;

/**
 * Runs every schedule of a situation within bounds, those with fewer decisions first. Where a schedule comes to a past that is
 * known (but for the order of turns that do not touch), and may decide no more than the one that was there before, it is left:
 * what follows is the same.
 *
 * @param options.isReduced false runs them all to their end
 */
export async function explore(
  situation: Situation,
  bounds: Bounds,
  { isReduced = true }: { isReduced?: boolean } = {},
): Promise<Exploration> {
  const exploration: Exploration = { complete: 0, left: 0, broken: [], outcomes: new Set() };
  const known = new Map<string, Bounds[]>();
  let schedules: Schedule[] = [
    { first: 0, decisions: [] },
    { first: 1, decisions: [] },
  ];
  while (schedules.length > 0) {
    const next: Schedule[] = [];
    for (const schedule of schedules) {
      const left = leftOf(schedule, bounds);
      const { isLeft, violations, outcome } = await runSchedule(situation, schedule, (point) => {
        if (isReduced && isKnown(known, point, left)) return false;
        for (const kind of point.options) {
          if (!isAllowed(kind, left)) continue;
          next.push({ ...schedule, decisions: [...schedule.decisions, { step: point.step, kind }] });
        }
        return true;
      });
      if (isLeft) exploration.left++;
      else {
        exploration.complete++;
        exploration.outcomes.add(outcome);
      }
      if (violations.length > 0) exploration.broken.push({ line: toLine(schedule), violations });
      if (exploration.broken.length >= mostBroken) return exploration;
    }
    schedules = next;
  }
  return exploration;
}

function leftOf({ decisions }: Schedule, { switches, freezes, faults }: Bounds): Bounds {
  const count = (...kinds: DecisionKind[]) => decisions.filter(({ kind }) => kinds.includes(kind)).length;
  const switchesLeft = switches - count('switch', 'freeze');
  return {
    switches: switchesLeft,
    freezes: Math.min(switchesLeft, freezes - count('freeze')),
    faults: faults - count('die', 'lose'),
  };
}

function isAllowed(kind: DecisionKind, { switches, freezes, faults }: Bounds): boolean {
  if (kind === 'switch') return switches > 0;
  return kind === 'freeze' ? switches > 0 && freezes > 0 : faults > 0;
}

/** Says whether somebody has been there who may decide at least as much; if not, remembers it. */
function isKnown(known: Map<string, Bounds[]>, { key }: Point, left: Bounds): boolean {
  const there = known.get(key) ?? [];
  const hasMore = (other: Bounds) =>
    other.switches >= left.switches && other.freezes >= left.freezes && other.faults >= left.faults;
  if (there.some((other) => hasMore(other))) return true;
  known.set(key, [...there, left]);
  return false;
}
