import { describeTime } from '../clock.ts';
import { Ignored } from '../ignored.ts';
import type { Incident } from '../request/incident.ts';
import { actionAnnotation } from '../names.ts';
import { instanceIdAnnotation } from '../gke/nodes.ts';
import type { NodeHealth } from '../gke/nodes.ts';
import { toExpectedNodes } from '../gke/slice.ts';
import type { Snapshot } from './snapshot.ts';

type ReadHealth = { readHealth: () => Promise<NodeHealth[]> };

/**
 * Ignores an alert that only cordons once what it is about is back: nobody would lift the cordon of a healthy pool.
 *
 * @throws {Ignored} saying what came back
 */
export async function assertTargetNotBack(
  incident: Incident,
  snapshot: Pick<Snapshot, 'namedNode'>,
  tools: ReadHealth,
): Promise<void> {
  const back = await findTargetBack(incident, snapshot, tools);
  if (back !== undefined) throw new Ignored(`recovered: ${back}`, { isOver: true });
}

/**
 * Finds out whether the node that the incident named, or else its whole pool, came back after the incident began.
 *
 * @returns what came back; undefined where it did not
 */
export async function findTargetBack(
  incident: Incident,
  { namedNode }: Pick<Snapshot, 'namedNode'>,
  { readHealth }: ReadHealth,
): Promise<string | undefined> {
  if (namedNode === undefined) return findPoolBack(await readHealth(), incident);
  const { subject } = incident;
  if (subject?.kind === 'instance' && namedNode.annotations[instanceIdAnnotation] !== subject.instanceId) {
    return `node ${namedNode.name} has another machine than the incident was about`;
  }
  return hasRecovered(namedNode, incident) ? describeReturn(namedNode, incident) : undefined;
}

/** Every node of the pool is Ready, a slice has all of its nodes, and one of them came back after the incident began. */
function findPoolBack(health: NodeHealth[], incident: Incident): string | undefined {
  const [first] = health;
  if (!first || !health.every((node) => node.isReady)) return undefined;
  const expected = toExpectedNodes(first);
  if (typeof expected === 'number' && health.length !== expected) return undefined;
  const node = health.find((each) => hasRecovered(each, incident));
  return node && `every node of the pool is Ready, and ${describeReturn(node, incident)}`;
}

/** The node was created, or became Ready, after the incident began. */
export function hasRecovered(node: NodeHealth, { startedAt }: Incident): boolean {
  return node.createdAt > startedAt || (node.isReady && (node.readyChangedAt ?? 0) > startedAt);
}

/** Says how a node came back after an incident began. */
export function describeReturn(node: NodeHealth, { startedAt }: Incident): string {
  const how =
    node.createdAt > startedAt
      ? `was created at ${describeTime(node.createdAt)}`
      : `is Ready since ${describeTime(node.readyChangedAt)}`;
  return `node ${node.name} ${how}, after the incident began at ${describeTime(startedAt)}`;
}

/** Whoever reads that the rest of an action is not done must know that it has cordoned a part of the pool. */
export function withCordonsLeft(
  over: Ignored,
  actionId: string,
  { uncordonsOnClose }: Incident,
  { nodes }: Snapshot,
): Ignored {
  const left = nodes.cordoned.filter(({ annotations }) => annotations[actionAnnotation] === actionId).length;
  // What the close of the incident lifts needs nobody.
  if (left === 0 || uncordonsOnClose) return over;
  const what = left === 1 ? 'node' : 'nodes';
  return new Ignored(
    `${over.message}; ${left} ${what} that it had cordoned stay so until uncordon_nodepool`,
    { isOver: over.isOver },
  );
}
