import type { ClusterName } from '../cluster-name.ts';
import type { Config } from '../config.ts';
import { FailoverError } from '../errors.ts';
import type { GkeWork } from '../gke/gke-work.ts';
import { listPlacedPods } from '../gke/placed-pods.ts';
import type { PlacedPod } from '../gke/placed-pods.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { isBudgetBroken, readRecentPools, toMaxPools } from '../state/budget.ts';
import { countLeases, listLeases } from '../state/lease.ts';
import { readSwitchesWithWriter } from '../state/paused-by.ts';
import type { PauseWriter } from '../state/paused-by.ts';
import { keys, kindLabel, openLabel } from '../state/record-format.ts';
import type { ClusterSwitches } from '../state/switches.ts';
import { toTime, withoutAbsent } from './action-view.ts';
import { addGkeWork } from './gke-view.ts';
import { listNodeStates } from './node-state.ts';
import type { NodeView } from './node-state.ts';
import { showPools } from './pool-status.ts';
import type { PoolStatus } from './pool-status.ts';
import { showRestarted } from './restarted-jobsets.ts';
import type { RestartedJobSet } from './restarted-jobsets.ts';

/** How one cluster stands, as the API shows it (docs/api.md, docs/openapi.yaml). */
export interface ClusterStatus {
  cluster: string;
  at: string;
  /** Present while a person has paused it, or has misspelt a switch. */
  paused?: PausedView;
  /** Until when a person has lifted cooldown, budget and attempts. */
  override_until?: string;
  /** A value that lifts nothing, because it is not a time within the next hour. */
  override_ignored?: string;
  budget: { max: number; used: number; pools: Record<string, string>; broken?: true };
  /** How many actions are not settled. */
  open: number;
  pools: PoolStatus[];
  /** The JobSets that were restarted within 24 h, with the attempts that are left. */
  jobsets: RestartedJobSet[];
  /** What could not be read, so that it is missing above, and why. */
  errors?: string[];
  /** What GKE could not be asked, and why; absent if it could. */
  warnings?: string[];
}

export interface PausedView {
  why: string;
  /** Who says so, in the annotation `paused-by`. */
  by?: string;
  /** What has written the annotation, and when it wrote the Lease last, as the API server recorded it. */
  tool?: string;
  at?: string;
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
  const errors: string[] = [];
  const onUnread = (what: string, error: FailoverError) => void errors.push(`${what}: ${error.message}`);
  const [switches, leases, open, nodes, work, pods] = await Promise.all([
    readSwitchesWithWriter(kubernetes),
    listLeases(kubernetes, `${kindLabel} in (pool,jobset)`),
    countLeases(kubernetes, `${kindLabel}=action,${openLabel}=true`, keys.id),
    listNodeStates(kubernetes),
    readWork(),
    Promise.all(config.allowedNamespaces.map((each) => listPodsIfAllowed(kubernetes, each, onUnread))),
  ]);
  const now = kubernetes.serverNow();
  const { pool: poolLeases = [], jobset: jobSetLeases = [] } = Object.groupBy(
    leases,
    ({ labels }) => labels[kindLabel] ?? '',
  );
  const byPool = Map.groupBy(nodes, ({ nodePool }) => nodePool);
  const annotations = switches.lease?.annotations ?? {};
  const used = readRecentPools(annotations, now);
  const pools = showPools(byPool, poolLeases, { config, now });
  addRuns(pools, nodes, pods.flat());
  const status: ClusterStatus = withoutAbsent({
    cluster: name.fullName,
    at: toTime(now),
    paused: toPaused(switches),
    override_until: switches.overrideUntil === undefined ? undefined : toTime(switches.overrideUntil),
    override_ignored: switches.ignoredOverride,
    budget: withoutAbsent({
      max: toMaxPools(config.maxPoolsPerHour, countAcceleratorPools(nodes)).count,
      used: Object.keys(used).length,
      pools: used,
      broken: isBudgetBroken(annotations) || undefined,
    }),
    open,
    pools,
    jobsets: await showRestarted(kubernetes, jobSetLeases, { config, now }, onUnread),
    errors: errors.length > 0 ? errors : undefined,
  });
  addGkeWork(status, work);
  return { status, nodes: byPool };
}

function countAcceleratorPools(nodes: NodeView[]): number {
  return new Set(nodes.filter(({ hasAccelerators }) => hasAccelerators).map(({ nodePool }) => nodePool)).size;
}

function addRuns(pools: PoolStatus[], nodes: NodeView[], pods: PlacedPod[]): void {
  const poolOf = new Map(nodes.map((node) => [node.name, node.nodePool]));
  const byName = new Map(pools.map((pool) => [pool.name, pool]));
  for (const { jobSet, nodeName } of pods) {
    const runs = byName.get(poolOf.get(nodeName) ?? '')?.runs;
    if (runs) runs[jobSet] = (runs[jobSet] ?? 0) + 1;
  }
}

function toPaused({
  pausedFor,
  pausedBy,
  unknownKey,
  pauseWriter,
}: ClusterSwitches & { pauseWriter: PauseWriter | undefined }): PausedView | undefined {
  if (unknownKey !== undefined) return { why: `unknown annotation ${unknownKey} on Lease cluster` };
  if (pausedFor === undefined) return undefined;
  const at = pauseWriter?.at;
  return withoutAbsent({
    why: pausedFor || 'no reason given',
    by: pausedBy || undefined,
    tool: pauseWriter?.tool,
    at: at === undefined ? undefined : toTime(at),
  });
}

/** A namespace that cannot be read leaves its runs out: the rest of the page must not depend on it. */
async function listPodsIfAllowed(
  kubernetes: Kubernetes,
  namespace: string,
  onUnread: (what: string, error: FailoverError) => void,
): Promise<PlacedPod[]> {
  try {
    return await listPlacedPods(kubernetes, namespace);
  } catch (error) {
    if (!(error instanceof FailoverError)) throw error;
    onUnread(`pods of namespace ${namespace}`, error);
    return [];
  }
}
