import type { ClusterName } from '../cluster-name.ts';
import type { Config } from '../config.ts';
import { FailoverError } from '../errors.ts';
import type { GkeWork } from '../gke/gke-work.ts';
import { listPlacedPods } from '../gke/placed-pods.ts';
import type { PlacedPod } from '../gke/placed-pods.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { readMaxPools, readRecentPools } from '../state/budget.ts';
import { listMarks } from '../state/cooldown.ts';
import { listLeases } from '../state/lease.ts';
import type { LeaseState } from '../state/lease.ts';
import { readLockState } from '../state/pool-lease.ts';
import { keys, kindLabel, openLabel } from '../state/record-format.ts';
import { readSwitches } from '../state/switches.ts';
import { toTime, withoutAbsent } from './action-view.ts';
import { addGkeWork } from './gke-view.ts';
import type { GkeView } from './gke-view.ts';
import { listNodeStates } from './node-state.ts';
import type { NodeState, NodeView } from './node-state.ts';

/** How one cluster stands, as the API shows it (docs/api.md, docs/openapi.yaml). */
export interface ClusterStatus {
  cluster: string;
  at: string;
  /** Present while a person has paused it, or has misspelt a switch. */
  paused?: { why: string };
  /** Until when a person has lifted cooldown, budget and attempts. */
  override_until?: string;
  budget: { max: number; used: number; pools: Record<string, string> };
  /** How many actions are not settled. */
  open: number;
  pools: PoolStatus[];
  /** What GKE could not be asked, and why; absent if it could. */
  warnings?: string[];
}

/** How one node pool stands. */
export interface PoolStatus extends GkeView {
  name: string;
  nodes: Partial<Record<NodeState, number>> & { total: number };
  /** By the id of the action, or `a person`, how many nodes it keeps cordoned. */
  cordoned_by: Record<string, number>;
  /** By `<namespace>/<JobSet>`, the live pods. */
  runs: Record<string, number>;
  /** The action that works on the pool now. */
  lock?: { action: string; until: string };
  /** What was done within COOLDOWN_SECONDS, and until when it is not done again. */
  cooldowns: { effect: string; action: string; until: string }[];
}

/** A cluster's status, with the nodes of its pools for the page. */
export interface ClusterPicture {
  status: ClusterStatus;
  /** By pool. */
  nodes: Map<string, NodeView[]>;
}

/** Reads how a cluster stands. It only reads: Leases, nodes, the pods of the allowed namespaces, and what GKE is doing. */
export async function readClusterPicture(
  name: ClusterName,
  kubernetes: Kubernetes,
  config: Config,
  readWork: () => Promise<GkeWork>,
): Promise<ClusterPicture> {
  const [switches, maxPools, poolLeases, open, nodes, work, pods] = await Promise.all([
    readSwitches(kubernetes),
    readMaxPools(kubernetes, config),
    listLeases(kubernetes, `${kindLabel}=pool`),
    listLeases(kubernetes, `${kindLabel}=action,${openLabel}=true`),
    listNodeStates(kubernetes),
    readWork(),
    Promise.all(config.allowedNamespaces.map((namespace) => listPodsIfAllowed(kubernetes, namespace))),
  ]);
  const now = kubernetes.serverNow();
  const byPool = Map.groupBy(nodes, ({ nodePool }) => nodePool);
  const poolOf = new Map(nodes.map((node) => [node.name, node.nodePool]));
  const leases = new Map(poolLeases.map((lease) => [lease.name, lease]));
  const used = readRecentPools(switches.lease?.annotations ?? {}, now);
  const status: ClusterStatus = withoutAbsent({
    cluster: name.fullName,
    at: toTime(now),
    paused: toPaused(switches),
    override_until: switches.overrideUntil === undefined ? undefined : toTime(switches.overrideUntil),
    budget: { max: maxPools.count, used: Object.keys(used).length, pools: used },
    open: open.filter(({ annotations }) => annotations[keys.id] !== undefined).length,
    pools: [...byPool]
      .map(([pool, of]) => showPool(pool, of, { lease: leases.get(`pool-${pool}`), config, now }))
      .sort((a, b) => (a.name < b.name ? -1 : 1)),
  });
  for (const { jobSet, nodeName } of pods.flat()) {
    const pool = status.pools.find((each) => each.name === poolOf.get(nodeName));
    if (pool) pool.runs[jobSet] = (pool.runs[jobSet] ?? 0) + 1;
  }
  addGkeWork(status, work);
  return { status, nodes: byPool };
}

function toPaused({
  pausedFor,
  unknownKey,
}: {
  pausedFor: string | undefined;
  unknownKey: string | undefined;
}): { why: string } | undefined {
  if (unknownKey !== undefined) return { why: `unknown annotation ${unknownKey} on Lease cluster` };
  return pausedFor === undefined ? undefined : { why: pausedFor || 'no reason given' };
}

function showPool(
  name: string,
  nodes: NodeView[],
  { lease, config, now }: { lease: LeaseState | undefined; config: Config; now: number },
): PoolStatus {
  const counts: PoolStatus['nodes'] = { total: nodes.length };
  const cordonedBy: Record<string, number> = {};
  for (const { state, cordonedBy: who } of nodes) {
    counts[state] = (counts[state] ?? 0) + 1;
    if (who !== undefined) cordonedBy[who] = (cordonedBy[who] ?? 0) + 1;
  }
  const lock = lease && readLockState(lease, now);
  return withoutAbsent({
    name,
    nodes: counts,
    cordoned_by: cordonedBy,
    runs: {},
    lock: lock && { action: lock.actionId, until: toTime(lock.freeAt) },
    cooldowns: listMarks(lease?.annotations ?? {}).flatMap(([effect, mark]) => {
      const until = Date.parse(mark.at) + config.cooldownSeconds * 1000;
      return until > now ? [{ effect, action: mark.action, until: toTime(until) }] : [];
    }),
  });
}

/** A namespace that cannot be read leaves its runs out: the rest of the page must not depend on it. */
async function listPodsIfAllowed(kubernetes: Kubernetes, namespace: string): Promise<PlacedPod[]> {
  try {
    return await listPlacedPods(kubernetes, namespace);
  } catch (error) {
    if (!(error instanceof FailoverError)) throw error;
    return [];
  }
}
