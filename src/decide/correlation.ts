import { toWholeSeconds } from '../clock.ts';
import { FailoverError } from '../errors.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { listNodeRooms } from '../gke/node-room.ts';
import { acceleratorLabels, toAllNodes, zoneLabel } from '../gke/nodes.ts';
import { isFromAlert, mayRepair } from '../request/action.ts';
import type { Action } from '../request/action.ts';
import { listRecentVerdicts } from '../state/recent-verdicts.ts';
import type { RecentVerdict } from '../state/recent-verdicts.ts';
import { describeOverride, hourMs } from '../state/switches.ts';
import type { ClusterSwitches } from '../state/switches.ts';
import type { Snapshot } from './snapshot.ts';

// Where a zone, its network or its storage fails, no restart and no repair of a single pool helps, and each one costs a run.

/** What tells whether one more restart or repair would help. */
export interface Correlation {
  /** Of the last hour. */
  verdicts: RecentVerdict[];
  /** All nodes of the cluster that have accelerators. */
  nodes: AcceleratorNode[];
}

interface AcceleratorNode {
  name: string;
  nodePool: string;
  zone: string | undefined;
  /** It is not Ready, or its accelerators are not allocatable. */
  isBad: boolean;
}

/** Reads it beside the snapshot, so that it costs no round trip in a row. Undefined if the action neither restarts nor repairs. */
export async function readCorrelation(
  kubernetes: Kubernetes,
  action: Pick<Action, 'effects' | 'whenNoSpare'>,
): Promise<Correlation | undefined> {
  if (!action.effects.restart && !mayRepair(action)) return undefined;
  const [verdicts, ...nodes] = await Promise.all([
    listRecentVerdicts(kubernetes),
    ...acceleratorLabels.map((label) => listAccelerated(kubernetes, label)),
  ]);
  return { verdicts, nodes: [...new Map(nodes.flat().map((node) => [node.name, node])).values()] };
}

function listAccelerated(kubernetes: Kubernetes, label: string): Promise<AcceleratorNode[]> {
  return listNodeRooms(kubernetes, label, ({ name, nodePool = '', labels, isReady, lacksAccelerators }) => ({
    name,
    nodePool,
    zone: labels[zoneLabel],
    isBad: !isReady || lacksAccelerators,
  }));
}

/** Two that failed are no accident any more, and a restart may still be followed by the repair that it asked for. */
const leastFailures = 2;

/**
 * Refuses one more restart or repair where several have just failed to help in the same zone or for the same JobSet, or where
 * more than a third of a zone's accelerator nodes are bad at once, in two or more pools.
 *
 * @throws {FailoverError} `correlated_failure`, with what was seen
 */
export function assertMayHelp(
  action: Action,
  { nodes, namedNode }: Snapshot,
  { verdicts, nodes: accelerated }: Correlation,
  switches: ClusterSwitches,
): void {
  const own = namedNode ? [namedNode] : toAllNodes(nodes);
  const zones = new Set(own.flatMap(({ labels }) => labels[zoneLabel] ?? []));
  const nodesOfPool = Map.groupBy(accelerated, (node) => node.nodePool);
  const isIn = (zone: string) => (verdict: RecentVerdict) =>
    verdict.zone === zone ||
    (verdict.zone === undefined &&
      nodesOfPool.get(verdict.nodePool)?.some((node) => node.zone === zone) === true);
  const { namespace, jobSetName, effects } = action;
  const jobSet = effects.restart ? `${namespace}/${jobSetName}` : undefined;
  const found =
    [...zones]
      .map((zone) => findFailing(`in zone ${zone}`, verdicts.filter(isIn(zone)), byPool))
      .find(Boolean) ??
    findFailing(
      `of JobSet ${jobSet}`,
      verdicts.filter((each) => jobSet !== undefined && each.jobSet === jobSet),
      byAction,
    ) ??
    [...zones].map((zone) => findBad(zone, accelerated)).find(Boolean);
  if (!found) return;
  const retryAfterSeconds = Math.max(
    1,
    Math.ceil((found.until(switches.serverNow) - switches.serverNow) / 1000),
  );
  throw new FailoverError(
    'correlated_failure',
    `${found.what}, so one more is not likely to help, and nothing was touched: a person must look at what they have in common, such as ` +
      `the zone, its network, or what the run reads.${describeOverride(switches, { isAlert: isFromAlert(action) })}`,
    { headers: { 'Retry-After': String(retryAfterSeconds) } },
  );
}

interface Found {
  what: string;
  until: (now: number) => number;
}

/** One pool that is not mended by a restart and the repair that followed is no failure of its zone. */
const byPool = ({ nodePool }: RecentVerdict) => nodePool;
const byAction = ({ id }: RecentVerdict) => id;
const mostShown = 5;

function findFailing(
  where: string,
  verdicts: RecentVerdict[],
  apart: (verdict: RecentVerdict) => string,
): Found | undefined {
  const failed = verdicts.filter(({ hasHelped }) => !hasHelped).toSorted((a, b) => b.at - a.at);
  const count = new Set(failed.map(apart)).size;
  const helped = new Set(verdicts.filter(({ hasHelped }) => hasHelped).map(apart)).size;
  if (count < leastFailures || count <= helped) return undefined;
  const shown = failed.slice(0, mostShown).map(({ id, verdict, nodePool, at }) => {
    return `${id} on ${nodePool} ${verdict} at ${toWholeSeconds(at)}`;
  });
  const more = failed.length > mostShown ? [`${failed.length - mostShown} more`] : [];
  return {
    what: `${failed.length} restarts or repairs ${where} have failed to help within the hour (${[...shown, ...more].join('; ')})`,
    until: () => Math.min(...failed.map(({ at }) => at)) + hourMs,
  };
}

/** Looked at again then. */
const badForMs = 600_000;

function findBad(zone: string, accelerated: AcceleratorNode[]): Found | undefined {
  const all = accelerated.filter((node) => node.zone === zone);
  const bad = all.filter(({ isBad }) => isBad);
  // A slice fails as a whole, and where it is a third of its zone, its failure says nothing about the zone.
  const byPools = Map.groupBy(bad, (node) => node.nodePool);
  if (bad.length * 3 <= all.length || byPools.size < 2) return undefined;
  const pools = [...byPools]
    .toSorted(([, a], [, b]) => b.length - a.length)
    .map(([pool, { length }]) => `${pool} ${length}`);
  const more = pools.length > mostShown ? [`${pools.length - mostShown} more pools`] : [];
  return {
    what:
      `${bad.length} of ${all.length} accelerator nodes in zone ${zone} are not Ready or lack their accelerators ` +
      `(${[...pools.slice(0, mostShown), ...more].join(', ')})`,
    until: (now) => now + badForMs,
  };
}
