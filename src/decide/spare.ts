import type { StayingPod } from '../gke/staying-pods.ts';
import { devicesOf } from '../gke/pod-needs.ts';
import type { JobGroup, NodeSurvey } from './room.ts';

/** How much of what a restart needs is free outside the pool. */
export interface Spare {
  /** Whole free slices that a Job could take, or nodes where the pods run on independent nodes. */
  slices: number;
  /** How many of them all Jobs of the next attempt need. */
  needed: number;
}

/** A slice, a domain of an exclusive placement, or an independent node, as a group of Jobs sees it. */
interface Unit {
  key: string;
  nodes: Set<string>;
  /** For how many pods it has room; 0 where it is not free. */
  places: number;
  /** The same if it were free, for what a Job needs where nothing is. */
  size: number;
}

/**
 * Counts what is free outside the pool: whole slices, uncordoned, Ready and tolerated, without pods that stay. The slices that
 * the JobSet itself runs on elsewhere count, because its own pods go. Pods that wait for a node count nowhere.
 *
 * @param usualSize how many nodes a slice of the pool has, for Jobs that no unit could take; 1 for independent nodes
 * @returns `lack` says why it is not enough; undefined where it is
 */
export function countSpare(
  groups: JobGroup[],
  surveys: NodeSurvey[],
  pods: StayingPod[],
  usualSize: number,
): { spare: Spare; lack: string | undefined } {
  const staying = Map.groupBy(pods, ({ nodeName }) => nodeName);
  const all = groups.map((group, index) => ({ group, units: toUnits(group, index, surveys, staying) }));
  const demanding = all.filter(({ group }) => needsUnits(group));
  // The groups with the fewest units to choose from choose first.
  const asking = (demanding.length > 0 ? demanding : all).toSorted(
    (a, b) => countFree(a.units) - countFree(b.units),
  );
  const taken = new Set<string>();
  let [placed, needed] = [0, 0];
  for (const { group, units } of asking) {
    const found = group.needs.exclusiveTopology === undefined ? fill : placeEach;
    const counts = found(group, units, taken, usualSize);
    placed += counts.placed;
    needed += counts.needed;
  }
  const free = new Set(asking.flatMap(({ units }) => units.filter(isFree).map(({ key }) => key)));
  if (placed >= needed) return { spare: { slices: Math.max(placed, free.size), needed }, lack: undefined };
  const isOfSlices = usualSize > 1 || asking.some(({ group }) => group.needs.exclusiveTopology !== undefined);
  const what = isOfSlices ? 'whole slices' : 'nodes';
  const blocked = describeBlocked(
    asking.flatMap(({ units }) => units),
    staying,
  );
  const lack = `outside the pool, ${placed} of ${needed} ${what} that the Jobs need are free${blocked}`;
  return { spare: { slices: placed, needed }, lack };
}

/** Jobs that use no devices, such as a launcher, fit beside others. */
function needsUnits({ needs }: JobGroup): boolean {
  return needs.exclusiveTopology !== undefined || devicesOf(needs).length > 0;
}

function isFree({ places }: Unit): boolean {
  return places > 0;
}

function countFree(units: Unit[]): number {
  return units.filter((unit) => isFree(unit)).length;
}

/** Joins the nodes that the group's pods match into units. */
function toUnits(
  { needs }: JobGroup,
  index: number,
  surveys: NodeSurvey[],
  staying: Map<string, StayingPod[]>,
): Unit[] {
  const isExclusive = needs.exclusiveTopology !== undefined;
  const matching = surveys.filter(({ answers }) => answers[index] !== undefined);
  const keyOf = ({ name, nodePool, sliceSize, domains }: NodeSurvey) =>
    isExclusive ? domains[index] : sliceSize === undefined ? name : nodePool;
  const domains = Map.groupBy(matching, keyOf);
  return [...domains].flatMap(([key, nodes]) => {
    if (key === undefined) return [];
    const placesOf = ({ answers }: NodeSurvey) => (typeof answers[index] === 'number' ? answers[index] : 0);
    const sum = (some: NodeSurvey[]) => some.reduce((total, node) => total + placesOf(node), 0);
    const fitting = nodes.filter((node) => placesOf(node) > 0);
    const free = fitting.filter(({ name }) => !staying.has(name));
    const isWhole = nodes.every(({ sliceSize = 0 }) => fitting.length >= sliceSize);
    // Exclusive placement keeps out of a domain that has a pod of another Job; a slice is free as a whole.
    const isTaken = nodes.some(({ name, sliceSize }) =>
      staying.get(name)?.some(({ isOfJobSet }) => sliceSize !== undefined || (isExclusive && isOfJobSet)),
    );
    const names = new Set(nodes.map(({ name }) => name));
    return [{ key, nodes: names, places: isWhole && !isTaken ? sum(free) : 0, size: sum(fitting) }];
  });
}

type Counts = { placed: number; needed: number };

/** Each Job has a unit of its own, the smallest that will do, so that it takes none that a larger Job needs. */
function placeEach({ jobs }: JobGroup, units: Unit[], taken: Set<string>): Counts {
  const free = units.filter((unit) => isFree(unit)).toSorted((a, b) => a.places - b.places);
  let placed = 0;
  for (const { podCount } of jobs) {
    if (free.some((unit) => unit.places >= podCount && take(unit, taken))) placed++;
  }
  return { placed, needed: jobs.length };
}

/** The pods of all Jobs fill units, the largest first. */
function fill({ jobs }: JobGroup, units: Unit[], taken: Set<string>, usualSize: number): Counts {
  let left = jobs.reduce((sum, { podCount }) => sum + podCount, 0);
  let placed = 0;
  for (const unit of units.toSorted((a, b) => b.places - a.places)) {
    if (left <= 0 || !isFree(unit)) break;
    if (!take(unit, taken)) continue;
    left -= unit.places;
    placed++;
  }
  const size = units.reduce((largest, unit) => Math.max(largest, unit.size), 0) || usualSize;
  return { placed, needed: placed + (left > 0 ? Math.max(1, Math.ceil(left / size)) : 0) };
}

/** Takes a unit, unless a Job has taken a node of it. */
function take({ nodes }: Unit, taken: Set<string>): boolean {
  if (!taken.isDisjointFrom(nodes)) return false;
  for (const name of nodes) taken.add(name);
  return true;
}

const mostShown = 3;

/** Names what is in the way, for those who could move it. */
function describeBlocked(units: Unit[], staying: Map<string, StayingPod[]>): string {
  const blocked = new Map(
    units.flatMap(({ key, nodes }) => {
      const what = [...nodes].flatMap((name) => staying.get(name) ?? []).map((pod) => pod.what);
      return what.length > 0 ? [[key, what[0]] as const] : [];
    }),
  );
  if (blocked.size === 0) return '';
  const shown = [...blocked].slice(0, mostShown).map(([key, what]) => `${key} has ${what}`);
  const more = blocked.size > mostShown ? [`and ${blocked.size - mostShown} more`] : [];
  return ` (${[...shown, ...more].join(', ')})`;
}
