import * as v from 'valibot';
import { Ignored } from '../ignored.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { listLeases } from './lease.ts';
import type { PoolLock } from './lock.ts';
import { mapOf, parseStored, timeSchema } from './stored.ts';
import { actionAnnotation, prefix } from '../names.ts';
import { isBeingDrained } from '../gke/node-health.ts';
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

/** When each hold was added. Version 0.1.0 wrote no times, so they are kept apart. */
const timesSchema = mapOf(timeSchema);
const timesKey = `${prefix}cordoned-since`;

/** Cloud Monitoring closes a silent incident after 7 days at the latest, so the close of an older one was lost. */
const lostAfterMs = 7 * 24 * 3_600_000;

/** Bounds what the Lease stores. A slice of a thousand nodes may raise an incident for each. */
const maxHolds = 1000;

type Annotations = Readonly<Record<string, string>>;

/**
 * Records on the pool's Lease that an open incident holds the pool's cordon until it closes. Beyond the bound nothing is
 * added, because the oldest hold is the one whose id the cordoned nodes carry.
 *
 * @param serverNow by the API server's clock, in ms since the epoch
 */
export async function addHold(lock: PoolLock, incidentId: string, serverNow: number): Promise<void> {
  if (holdOf(lock.annotations, incidentId) !== undefined || isFull(lock.annotations)) return;
  await lock.update((annotations) => withHold(annotations, incidentId, 'open', serverNow));
}

/** Removes an incident's hold. */
export async function removeHold(lock: PoolLock, incidentId: string): Promise<void> {
  if (holdOf(lock.annotations, incidentId) === undefined) return;
  await changeHolds(lock, (holds) => without(holds, incidentId));
}

/**
 * Records that an action begins to cordon the pool. Where no node is cordoned, all holds but the action's own are dropped:
 * the cordons that they held are gone, released by a person or with the nodes. Then an action that no incident uncordons adds
 * a hold of its own, which stays until a person uncordons the pool; it is needed only where an incident may uncordon it.
 *
 * @param cordoned are the pool's cordoned nodes
 */
export async function holdCordon(
  lock: PoolLock,
  actionId: string,
  { cordoned, serverNow }: { cordoned: NodeRef[]; serverNow: number },
): Promise<void> {
  const before = readHolds(lock.annotations);
  const ids = Object.keys(before).filter((id) => cordoned.length > 0 || id === actionId);
  const isOwn = ids.includes(actionId);
  const addsOwn = ids.length > 0 && !isOwn && !isFull(lock.annotations);
  if (ids.length === Object.keys(before).length && !addsOwn) return;
  await lock.update((annotations) => {
    const kept = keepHolds(annotations, ids);
    return addsOwn ? withHold(kept, actionId, 'stays', serverNow) : kept;
  });
}

/** Drops all holds, because the pool is uncordoned now. */
export async function clearHolds(lock: PoolLock): Promise<void> {
  if (lock.annotations[holdsKey] === undefined) return;
  await lock.update((annotations) => without(without(annotations, holdsKey), timesKey));
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
  assertNoOtherHold(lock.annotations, nodePool, kubernetes.serverNow());

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

function assertNoOtherHold(annotations: Annotations, nodePool: string, serverNow: number): void {
  const other = findOtherHold(annotations, { serverNow });
  if (other !== undefined) throw new Ignored(`closed; node pool ${nodePool} stays cordoned because ${other}`);
}

/**
 * Finds what else wants a pool cordoned: an action, or an incident that is still open.
 *
 * @param own are the ids whose holds do not count
 * @returns the rest of a sentence that begins with `the pool stays cordoned because`
 */
export function findOtherHold(
  annotations: Annotations,
  { serverNow, own = [] }: { serverNow: number; own?: (string | undefined)[] },
): string | undefined {
  const holds = readHolds(annotations);
  const times = readTimes(annotations);
  const idsOf = (hold: Hold) => Object.keys(holds).filter((id) => holds[id] === hold && !own.includes(id));
  const [keeper] = idsOf('stays');
  if (keeper !== undefined) {
    return `action ${keeper} cordoned it too; send uncordon_nodepool to release it`;
  }
  // The time of a hold that version 0.1.0 wrote is unknown, so that hold counts.
  const isLost = (id: string) => serverNow - Date.parse(times[id] ?? '') > lostAfterMs;
  const [open, ...others] = idsOf('open').filter((id) => !isLost(id));
  if (open === undefined) return undefined;
  const more = others.length > 0 ? ` and ${others.length} more are` : ' is';
  return `incident ${open}${more} still open`;
}

/**
 * Lists the nodes that may be used again. GKE's own cordon of a node that is cordoned already writes nothing, so only other
 * signs tell that GKE drains it.
 *
 * @throws {Ignored} where the pool is a multi-host slice that is not whole
 */
async function listReady(kubernetes: Kubernetes, nodePool: string): Promise<Set<string>> {
  const health = await listPoolHealth(kubernetes, nodePool);
  const ready = health.filter((node) => node.isReady && !isBeingDrained(node));
  const none = health.some((node) => isBeingDrained(node)) ? ' and GKE drains none of these' : '';
  const [first] = health;
  if (first && health.every((node) => isMultiHost(node))) {
    const expected = toExpectedNodes(first);
    if (ready.length !== expected) {
      throw new Ignored(
        `closed; node pool ${nodePool} stays cordoned because only ${ready.length} of the slice's ${expected} nodes are Ready${none}; ` +
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

function readTimes(annotations: Annotations): Record<string, string> {
  const stored = parseStored(timesSchema, annotations, timesKey);
  return stored === undefined || stored === 'broken' ? {} : stored.value;
}

function isFull(annotations: Annotations): boolean {
  return Object.keys(readHolds(annotations)).length >= maxHolds;
}

function withHold(
  annotations: Annotations,
  id: string,
  hold: Hold,
  serverNow: number,
): Record<string, string> {
  const times = { ...readTimes(annotations), [id]: new Date(serverNow).toISOString() };
  return {
    ...annotations,
    [holdsKey]: JSON.stringify({ ...readHolds(annotations), [id]: hold }),
    [timesKey]: JSON.stringify(times),
  };
}

function keepHolds(annotations: Annotations, ids: string[]): Record<string, string> {
  const pick = (entries: Record<string, string>) =>
    JSON.stringify(Object.fromEntries(Object.entries(entries).filter(([id]) => ids.includes(id))));
  return {
    ...annotations,
    [holdsKey]: pick(readHolds(annotations)),
    [timesKey]: pick(readTimes(annotations)),
  };
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
