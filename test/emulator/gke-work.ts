import type { ClusterState } from './cluster-state.ts';
import { toHex } from './fleet.ts';
import type { Fleet, InstanceGroup } from './fleet.ts';
import { findCondition } from './objects.ts';
import type { Node } from './objects.ts';

/** An operation of GKE on a cluster or on one of its pools, as the Container API lists it. */
export interface GkeOperation {
  name: string;
  operationType: string;
  /** Undefined for one on the whole cluster. */
  pool: string | undefined;
  /** For some repairs; GKE names one node, although it may repair several. */
  node: string | undefined;
  startedAt: number;
  endedAt: number | undefined;
}

/** GKE's own thresholds: a node that is not Ready for so long is repaired. */
const unreadySeconds = 600;

/** What GKE does to one cluster by itself. */
export class GkeWork {
  readonly operations: GkeOperation[] = [];
  readonly #cluster: { name: string; location: string };
  readonly #state: ClusterState;

  constructor(cluster: { name: string; location: string }, state: ClusterState) {
    this.#cluster = cluster;
    this.#state = state;
  }

  begin(operationType: string, { pool, node }: { pool?: string; node?: string } = {}): GkeOperation {
    const startedAt = this.#state.now();
    const name = `operation-${startedAt}-${toHex(`${this.#cluster.name} ${this.operations.length}`).slice(0, 8)}`;
    const operation = { name, operationType, pool, node, startedAt, endedAt: undefined };
    this.operations.push(operation);
    return operation;
  }

  end(operation: GkeOperation): void {
    operation.endedAt ??= this.#state.now();
  }

  /** The operations on a pool that have not ended. */
  underWay(pool: string): GkeOperation[] {
    return this.operations.filter((each) => each.pool === pool && each.endedAt === undefined);
  }

  /** As `operations.list` shows them. Links have the number of the project instead of its id. */
  describe(): Record<string, unknown>[] {
    const { name: cluster, location } = this.#cluster;
    const [, , , , , shortName = ''] = cluster.split('/');
    const root = `https://container.googleapis.com/v1/projects/${projectNumber}`;
    const place = /-[a-z]$/.test(location) ? `zones/${location}` : `locations/${location}`;
    return this.operations.map(({ name, operationType, pool, node, startedAt, endedAt }) => ({
      name,
      zone: location,
      location,
      operationType,
      status: endedAt === undefined ? 'RUNNING' : 'DONE',
      startTime: new Date(startedAt).toISOString(),
      ...(endedAt !== undefined && { endTime: new Date(endedAt).toISOString() }),
      selfLink: `${root}/${place}/operations/${name}`,
      targetLink:
        `${root}/${place}/clusters/${shortName}` +
        (pool === undefined ? '' : `/nodePools/${pool}`) +
        (node === undefined ? '' : `/node/${node}`),
    }));
  }

  /** GKE repairs the machines of nodes that have not been Ready for ten minutes, where a group has that switched on. */
  repairByItself(groups: InstanceGroup[], fleet: Fleet): void {
    for (const group of groups) {
      const own = this.underWay(group.pool).find(
        ({ operationType }) => operationType === 'AUTO_REPAIR_NODES',
      );
      if (own && group.troubles.repairsItself && !fleet.isRepairing(group)) this.end(own);
      else if (!own && group.troubles.repairsItself) this.#repairUnready(group, fleet);
    }
  }

  #repairUnready(group: InstanceGroup, fleet: Fleet): void {
    const unready = this.#state.store
      .lookup('nodes', 'pool', group.pool)
      .map((node) => ({ node, dueAt: dueAt(node) }))
      .sort((a, b) => a.dueAt - b.dueAt);
    const [first] = unready;
    if (!first || first.dueAt === Infinity) return;
    if (first.dueAt > this.#state.now()) return this.#state.wakeAt(first.dueAt);
    const { name } = first.node.metadata;
    if (fleet.recreate(group, name)) this.begin('AUTO_REPAIR_NODES', { pool: group.pool, node: name });
  }
}

const projectNumber = '104711811223';

function dueAt(node: Node): number {
  const ready = findCondition(node.status.conditions, 'Ready');
  if (!ready || ready.status === 'True') return Infinity;
  return Date.parse(ready.lastTransitionTime ?? '') + unreadySeconds * 1000;
}
