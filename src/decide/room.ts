import type { NodeRoom } from '../gke/node-room.ts';
import { devicesOf } from '../gke/pod-needs.ts';
import type { PodNeeds } from '../gke/pod-needs.ts';
import { toExpectedNodes } from '../gke/slice.ts';
import { amountOf, countPlaces, whyUnfit } from './fit.ts';
import type { NextJob } from './next-attempt.ts';
import { matchesNode } from './placement.ts';

/** Jobs whose pods ask for the same nodes. */
export interface JobGroup {
  needs: PodNeeds;
  jobs: NextJob[];
}

/** What a node is to each group. It is all that is kept of a node. */
export interface NodeSurvey {
  name: string;
  nodePool: string | undefined;
  /** For how many pods it has room if it is empty; or why for none; undefined where the selectors don't match it. */
  answers: (number | string | undefined)[];
  /** How many nodes its multi-host slice has; undefined for an independent node. */
  sliceSize: number | undefined;
  /** By label, the value that an exclusive placement looks at. */
  domains: (string | undefined)[];
  /** How much it has of each device that a pod requests. */
  devices: Record<string, number>;
}

/** Asks a node outside the pool for every group. */
export function surveyNode(node: NodeRoom, groups: JobGroup[], serverNow: number): NodeSurvey {
  const expected = toExpectedNodes(node);
  return {
    name: node.name,
    nodePool: node.nodePool,
    sliceSize: typeof expected === 'number' ? expected : undefined,
    answers: groups.map(({ needs }) =>
      matchesNode(needs, node) && (needs.nodeName ?? node.name) === node.name
        ? (whyUnfit(needs, node, serverNow) ?? countPlaces(needs, node))
        : undefined,
    ),
    domains: groups.map(({ needs }) => needs.exclusiveTopology && node.labels[needs.exclusiveTopology]),
    devices: Object.fromEntries(
      groups.flatMap(({ needs }) => devicesOf(needs)).map((device) => [device, amountOf(node, device)]),
    ),
  };
}

const mostShown = 3;

/** Says which Jobs would wait for capacity; undefined if there is room for all, were the nodes free. */
export function describeShortage(groups: JobGroup[], surveys: NodeSurvey[]): string | undefined {
  const shortages = groups.flatMap((group, index) => describeGroup(group, index, surveys, groups) ?? []);
  const found = shortages.length > 0 ? shortages : describeDevices(groups, surveys);
  if (found.length === 0) return undefined;
  const more = found.length > mostShown ? [`and ${found.length - mostShown} more such Jobs`] : [];
  return [...found.slice(0, mostShown), ...more].join('; ');
}

function describeGroup(
  { jobs, needs }: JobGroup,
  index: number,
  surveys: NodeSurvey[],
  groups: JobGroup[],
): string | undefined {
  const answers = surveys.flatMap(({ answers }) => answers[index] ?? []);
  const places = answers.filter((answer) => typeof answer === 'number');
  const podCount = jobs.reduce((sum, job) => sum + job.podCount, 0);
  if (answers.length === 0) {
    const whose = groups.length === 1 ? 'the pods' : `the pods of ${nameJobs(jobs)}`;
    return `no uncordoned node outside the pool matches ${whose}`;
  }
  if (places.length === 0) {
    const why = answers.filter((answer) => typeof answer === 'string');
    return `no node outside the pool can take the pods of ${nameJobs(jobs)} (${countReasons(why)})`;
  }
  if (needs.exclusiveTopology !== undefined) {
    const placed = countPlaced(jobs, index, surveys);
    if (placed === jobs.length) return undefined;
    const own = `a ${needs.exclusiveTopology} of its own with room for all its pods`;
    return `outside the pool, ${placed} of ${jobs.length} Jobs would find ${own} (${nameJobs(jobs)})`;
  }
  const total = places.reduce((sum, each) => sum + each, 0);
  if (total >= podCount) return undefined;
  return `outside the pool is room for ${total} of the ${podCount} pods of ${nameJobs(jobs)}`;
}

/** How many Jobs find a domain of their own, each with room for all its pods: the largest Job takes the largest. */
function countPlaced(jobs: NextJob[], index: number, surveys: NodeSurvey[]): number {
  const rooms = new Map<string, number>();
  for (const { answers, domains } of surveys) {
    const [places, domain] = [answers[index], domains[index]];
    if (typeof places === 'number' && domain !== undefined) {
      rooms.set(domain, (rooms.get(domain) ?? 0) + places);
    }
  }
  const free = [...rooms.values()].toSorted((a, b) => b - a);
  const sizes = jobs.map(({ podCount }) => podCount).toSorted((a, b) => b - a);
  // A Job that is too large for the largest domain leaves it to the next Job.
  return sizes.reduce((placed, size) => placed + Number((free[placed] ?? 0) >= size), 0);
}

/** Groups that ask for different nodes may have to share some, so the devices of all are added up, too. */
function describeDevices(groups: JobGroup[], surveys: NodeSurvey[]): string[] {
  const devices = new Set(groups.flatMap(({ needs }) => devicesOf(needs)));
  return [...devices].flatMap((device) => {
    const asking = groups.map(({ needs }) => needs.requests[device] ?? 0);
    const needed = groups.reduce(
      (sum, { jobs }, index) =>
        sum + (asking[index] ?? 0) * jobs.reduce((pods, { podCount }) => pods + podCount, 0),
      0,
    );
    const usable = surveys.filter(({ answers }) =>
      answers.some((answer, index) => typeof answer === 'number' && (asking[index] ?? 0) > 0),
    );
    const there = usable.reduce((sum, survey) => sum + (survey.devices[device] ?? 0), 0);
    return there < needed
      ? [
          `the Jobs ask for ${needed} ${device}, and the nodes outside the pool that could take them have ${there}`,
        ]
      : [];
  });
}

function nameJobs([first, ...others]: NextJob[]): string {
  return `Job ${first?.name ?? ''}${others.length > 0 ? ` and ${others.length} more` : ''}`;
}

function countReasons(reasons: string[]): string {
  const counts = Map.groupBy(reasons, (reason) => reason);
  return [...counts]
    .toSorted(([, a], [, b]) => b.length - a.length)
    .map(([reason, { length }]) => `${length} ${reason}`)
    .join(', ');
}
