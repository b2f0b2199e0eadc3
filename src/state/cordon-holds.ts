import * as v from 'valibot';
import { Ignored } from '../ignored.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { listLeases } from './lease.ts';
import type { PoolLock } from './lock.ts';
import { mapOf, parseStored } from './stored.ts';
import { actionAnnotation, prefix } from '../names.ts';
import { listPoolHealth } from '../gke/nodes.ts';
import type { NodeRef, PoolNodes } from '../gke/nodes.ts';
import { isMultiHost, toExpectedNodes } from '../gke/slice.ts';

/**
 * Why a pool is to stay cordoned. `open`: an incident that uncordons the pool when it closes has not closed yet. `closed`:
 * it has closed. `stays`: an action wants the pool cordoned until a person uncordons it.
 */
type Hold = 'open' | 'closed' | 'stays';

/** By the id of the incident or of the action. */
const holdsSchema = mapOf(v.picklist(['open', 'closed', 'stays']));

const holdsKey = `${prefix}cordoned-for`;

type Annotations = Readonly<Record<string, string>>;

/** Records on the pool's Lease that an open incident holds the pool's cordon until it closes. */
export async function addHold(lock: PoolLock, incidentId: string): Promise<void> {
  if (holdOf(lock.annotations, incidentId) !== undefined) return;
  await changeHolds(lock, (holds) => ({ ...holds, [incidentId]: 'open' }));
}

/** Removes an incident's hold. */
export async function removeHold(lock: PoolLock, incidentId: string): Promise<void> {
  if (holdOf(lock.annotations, incidentId) === undefined) return;
  await changeHolds(lock, (holds) => without(holds, incidentId));
}

/** Records that an action holds the cordon until a person uncordons the pool. Needed only where an incident may uncordon it. */
export async function addPermanentHold(lock: PoolLock, actionId: string): Promise<void> {
  const isHeld = Object.keys(readHolds(lock.annotations)).length > 0;
  if (!isHeld || holdOf(lock.annotations, actionId) !== undefined) return;
  await changeHolds(lock, (others) => ({ ...others, [actionId]: 'stays' }));
}

/** Drops all holds, because the pool is uncordoned now. */
export async function clearHolds(lock: PoolLock): Promise<void> {
  if (lock.annotations[holdsKey] === undefined) return;
  await lock.update((annotations) => without(annotations, holdsKey));
}

/** Finds the pool whose cordon an incident holds; undefined when there is none. */
export async function findPoolHeldFor(
  kubernetes: Kubernetes,
  incidentId: string,
): Promise<string | undefined> {
  const leases = await listLeases(kubernetes, `${prefix}kind=pool`);
  const found = leases.find(({ annotations }) => holdOf(annotations, incidentId) !== undefined);
  return found?.name.replace(/^pool-/, '');
}

/** The nodes that the close of an incident may uncordon. */
export interface NodesToUncordon {
  nodes: PoolNodes;
  /** Every node that was cordoned for such an incident is among them. */
  isAll: boolean;
}

/**
 * Chooses which nodes of a pool the close of an incident may uncordon: those that were cordoned for such an incident and
 * are Ready. Of a multi-host slice it chooses all or none. A close alone does not prove health: a dead node reports
 * nothing, and that closes its incident.
 *
 * @throws {Ignored} while another hold is left, or where no node may be uncordoned
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
      `closed; node pool ${nodePool} stays cordoned because action ${keeper} cordoned it too; send uncordon_nodepool to release it`,
    );
  }
  const [open, ...others] = idsOf('open');
  if (open !== undefined) {
    const more = others.length > 0 ? ` and ${others.length} more are` : ' is';
    throw new Ignored(
      `closed; node pool ${nodePool} stays cordoned because incident ${open}${more} still open`,
    );
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
        `closed; node pool ${nodePool} stays cordoned because only ${ready.length} of the slice's ${expected} nodes are Ready; ` +
          'send uncordon_nodepool once it is whole',
      );
    }
  }
  return new Set(ready.map(({ name }) => name));
}

/** Ids come from outside: an id `constructor` must not find a property of every object. */
function holdOf(annotations: Annotations, id: string): Hold | undefined {
  const holds = readHolds(annotations);
  return Object.hasOwn(holds, id) ? holds[id] : undefined;
}

function readHolds(annotations: Annotations): Record<string, Hold> {
  const stored = parseStored(holdsSchema, annotations, holdsKey);
  return stored === undefined || stored === 'broken' ? {} : stored.value;
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
