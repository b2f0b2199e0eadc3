import { Ignored } from '../ignored.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { listLeases, parseAnnotation } from './lease.ts';
import type { PoolLock } from './lock.ts';
import { actionAnnotation, prefix } from '../names.ts';
import { listPoolHealth } from '../gke/nodes.ts';
import type { NodeRef, PoolNodes } from '../gke/nodes.ts';
import { isMultiHost, toExpectedNodes } from '../gke/slice.ts';

/**
 * Whether an incident that is to uncordon the pool when it closes is still open; `stays` is for a later action that
 * wants the pool cordoned until a person uncordons it.
 */
type Hold = 'open' | 'closed' | 'stays';

const holdsKey = `${prefix}cordoned-for`;

type Annotations = Readonly<Record<string, string>>;

/** Writes on the pool's Lease that an open incident wants the pool cordoned until it closes. */
export async function addHold(lock: PoolLock, incidentId: string): Promise<void> {
  if (holdOf(lock.annotations, incidentId) !== undefined) return;
  await changeHolds(lock, (holds) => ({ ...holds, [incidentId]: 'open' }));
}

/** Takes an incident's wish back. */
export async function removeHold(lock: PoolLock, incidentId: string): Promise<void> {
  if (holdOf(lock.annotations, incidentId) === undefined) return;
  await changeHolds(lock, (holds) => without(holds, incidentId));
}

/** Writes down that an action wants the pool to stay cordoned, if anything could uncordon it but a person. */
export async function addPermanentHold(lock: PoolLock, actionId: string): Promise<void> {
  const isWaitedFor = Object.keys(readHolds(lock.annotations)).length > 0;
  if (!isWaitedFor || holdOf(lock.annotations, actionId) !== undefined) return;
  await changeHolds(lock, (others) => ({ ...others, [actionId]: 'stays' }));
}

/** Forgets who wanted the pool cordoned: it is uncordoned now. */
export async function clearHolds(lock: PoolLock): Promise<void> {
  if (lock.annotations[holdsKey] === undefined) return;
  await lock.update((annotations) => without(annotations, holdsKey));
}

/** Finds the pool that is cordoned for an incident; undefined when none is. */
export async function findPoolHeldFor(
  kubernetes: Kubernetes,
  incidentId: string,
): Promise<string | undefined> {
  const leases = await listLeases(kubernetes, `${prefix}kind=pool`);
  const found = leases.find(({ annotations }) => holdOf(annotations, incidentId) !== undefined);
  return found?.name.replace(/^pool-/, '');
}

/** The nodes that a close may uncordon. */
export interface NodesToUncordon {
  nodes: PoolNodes;
  /** No node that was cordoned for an incident is left out. */
  isAll: boolean;
}

/**
 * Chooses which nodes of a pool may be uncordoned now that an incident has closed: those that were cordoned for such an
 * incident and are Ready, of a multi-host slice all or none. A dead node's metric falls silent, and silence closes
 * incidents, so a close says nothing about a node's health.
 *
 * @throws {Ignored} while somebody still wants the pool cordoned, or where no node may be
 */
export async function chooseNodesToUncordon(
  kubernetes: Kubernetes,
  lock: PoolLock,
  incidentId: string,
  { nodePool, nodes }: { nodePool: string; nodes: PoolNodes },
): Promise<NodesToUncordon> {
  const hold = holdOf(lock.annotations, incidentId);
  if (hold === undefined) throw new Ignored(`closed; node pool ${nodePool} is not cordoned for it`);
  if (hold === 'open') await changeHolds(lock, (holds) => ({ ...holds, [incidentId]: 'closed' }));
  assertNoOtherHold(readHolds(lock.annotations), nodePool);

  const isWanted = ({ annotations }: NodeRef) =>
    holdOf(lock.annotations, annotations[actionAnnotation] ?? '') !== undefined;
  const ready = await listReady(kubernetes, nodePool);
  const isReleasable = (node: NodeRef) => isWanted(node) && ready.has(node.name);
  const cordoned = nodes.cordoned.filter((node) => isReleasable(node));
  if (cordoned.length === 0) {
    throw new Ignored(`closed; node pool ${nodePool} has no node that was cordoned for it and is Ready`);
  }
  return {
    nodes: { cordoned, schedulable: nodes.schedulable.filter((node) => isReleasable(node)) },
    isAll: cordoned.length === nodes.cordoned.filter((node) => isWanted(node)).length,
  };
}

function assertNoOtherHold(holds: Record<string, Hold>, nodePool: string): void {
  const idsOf = (hold: Hold) => Object.keys(holds).filter((id) => holds[id] === hold);
  const [keeper] = idsOf('stays');
  if (keeper !== undefined) {
    throw new Ignored(
      `closed; node pool ${nodePool} stays cordoned, for action ${keeper} has cordoned it too; uncordon_nodepool lifts it`,
    );
  }
  const [open, ...others] = idsOf('open');
  if (open !== undefined) {
    const more = others.length > 0 ? ` and ${others.length} more are` : ' is';
    throw new Ignored(`closed; node pool ${nodePool} stays cordoned, for incident ${open}${more} still open`);
  }
}

/** @throws {Ignored} where the pool is a multi-host slice that is not whole */
async function listReady(kubernetes: Kubernetes, nodePool: string): Promise<Set<string>> {
  const health = await listPoolHealth(kubernetes, nodePool);
  const ready = health.filter((node) => node.isReady);
  const [first] = health;
  if (first && health.every((node) => isMultiHost(node))) {
    const expected = toExpectedNodes(first);
    if (ready.length !== expected) {
      throw new Ignored(
        `closed; node pool ${nodePool} stays cordoned, for only ${ready.length} of the slice's ${expected} nodes are Ready; ` +
          'uncordon_nodepool lifts it once it is whole',
      );
    }
  }
  return new Set(ready.map(({ name }) => name));
}

/** Ids come from outside: one called `constructor` is no wish. */
function holdOf(annotations: Annotations, id: string): Hold | undefined {
  const holds = readHolds(annotations);
  return Object.hasOwn(holds, id) ? holds[id] : undefined;
}

function readHolds(annotations: Annotations): Record<string, Hold> {
  return (parseAnnotation(annotations, holdsKey) as Record<string, Hold> | undefined) ?? {};
}

function changeHolds(
  lock: PoolLock,
  change: (holds: Record<string, Hold>) => Record<string, Hold>,
): Promise<void> {
  return lock.update((annotations) => ({
    ...annotations,
    [holdsKey]: JSON.stringify(change(readHolds(annotations))),
  }));
}

function without<T>(entries: Record<string, T>, key: string): Record<string, T> {
  const { [key]: _, ...others } = entries;
  return others;
}
