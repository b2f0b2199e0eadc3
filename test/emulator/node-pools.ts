import type { ClusterState } from './cluster-state.ts';
import type { ClusterDescription } from './container-api.ts';
import { gkeVersion } from './discovery.ts';
import { noTroubles } from './fleet.ts';
import type { Fleet, Instance, InstanceGroup, RepairBehaviour } from './fleet.ts';
import type { GkeWork } from './gke-work.ts';
import { discardPod, wakeNode } from './node-lifecycle.ts';
import type { Node } from './objects.ts';
import { countedResources } from './scheduler.ts';
import { showMachine, toNamePrefix, toNode } from './world.ts';
import type { PoolOptions } from './world.ts';

interface NodePool {
  options: PoolOptions;
  group: InstanceGroup;
  prefix: string;
  zone: string;
  machineType: string;
}

/** The node pools of one cluster: machines in instance groups, and the Nodes that they register as. */
export class NodePools {
  readonly #cluster: { name: string; shortName: string; project: string; location: string };
  readonly #state: ClusterState;
  readonly #fleet: Fleet;
  readonly #work: GkeWork;
  readonly #pools = new Map<string, NodePool>();
  #nodeCount = 0;

  constructor(
    cluster: { name: string; shortName: string; project: string; location: string },
    state: ClusterState,
    fleet: Fleet,
    work: GkeWork,
  ) {
    this.#cluster = cluster;
    this.#state = state;
    this.#fleet = fleet;
    this.#work = work;
  }

  /** @returns the names of its nodes */
  add(pool: string, options: PoolOptions, isTpu: boolean): string[] {
    const { location, name, shortName } = this.#cluster;
    const group: InstanceGroup = {
      pool,
      cluster: name,
      state: this.#state,
      isAtomic: options.isAtomic ?? false,
      repair: {
        stopSeconds: options.stopSeconds ?? 30,
        repairDelaySeconds: options.repairDelaySeconds ?? 120,
        nodeObject: options.nodeObject ?? 'reregistered',
        isDisabled: options.isRepairDisabled ?? false,
      },
      tellsHost: Object.keys(options.resources ?? {}).length > 0,
      troubles: noTroubles(),
      replaced: (instance, nodeObject) => this.#replaced(instance, pool, nodeObject),
      withheld: ({ name }) => this.#leave(name),
    };
    this.#pools.set(pool, {
      options,
      group,
      prefix: toNamePrefix(this.#state.random, shortName, pool, isTpu),
      zone: options.zone ?? (/-[a-z]$/.test(location) ? location : `${location}-a`),
      machineType: options.machineType ?? 'e2-standard-4',
    });
    return Array.from({ length: options.nodes ?? 2 }, () => this.join(pool)).sort();
  }

  /** One more machine. @returns its node's name */
  join(pool: string): string {
    const { group, prefix, zone, machineType } = this.#require(pool);
    const { project } = this.#cluster;
    let name: string;
    do name = `${prefix}-${this.#state.random.pick('0123456789bcdfghjklmnpqrstvwxz', 4)}`;
    while (this.#fleet.find(project, zone, name));
    this.#register(this.#fleet.add({ name, project, zone, machineType, group }), pool);
    return name;
  }

  groupOf(pool: string): InstanceGroup {
    return this.#require(pool).group;
  }

  /** GKE's own repairs, where a group has them switched on. */
  repairByItself(): void {
    this.#work.repairByItself(
      [...this.#pools.values()].map(({ group }) => group),
      this.#fleet,
    );
  }

  describe(): ClusterDescription[] {
    return [...this.#pools].map(([name, { options, group, zone, machineType }]) => {
      const labels = options.labels ?? {};
      const isNamed = (label: string) => labels[`cloud.google.com/${label}`] === 'true';
      return {
        name,
        location: zone,
        status: this.#statusOf(group),
        config: {
          machineType,
          diskSizeGb: 100,
          labels,
          ...(isNamed('gke-spot') && { spot: true }),
          ...(isNamed('gke-flex-start') && { flexStart: true }),
        },
        initialNodeCount: options.nodes ?? 2,
        locations: [zone],
        version: gkeVersion,
        management: { autoUpgrade: true, autoRepair: true },
        ...(isNamed('gke-queued') && { queuedProvisioning: { enabled: true } }),
        ...(group.troubles.isStockedOut && { conditions: [stockout(machineType)] }),
      };
    });
  }

  #statusOf(group: InstanceGroup): string {
    const types = this.#work.underWay(group.pool).map(({ operationType }) => operationType);
    if (types.includes('DELETE_NODE_POOL')) return 'STOPPING';
    if (types.includes('CREATE_NODE_POOL')) return 'PROVISIONING';
    if (group.troubles.isStockedOut) return 'RUNNING_WITH_ERROR';
    return types.length > 0 || this.#fleet.isRepairing(group) ? 'RECONCILING' : 'RUNNING';
  }

  #require(pool: string): NodePool {
    const found = this.#pools.get(pool);
    if (!found) throw new Error(`no pool ${pool}`);
    return found;
  }

  /** A Node of a machine that has no allocatable accelerators gets them. */
  restoreAccelerators(pool: string): void {
    for (const node of this.#state.store.lookup('nodes', 'pool', pool)) {
      this.#state.update('nodes', node, ({ status }) => {
        status.allocatable = { ...status.capacity };
      });
    }
  }

  #register(instance: Instance, pool: string): Node {
    const { options } = this.#require(pool);
    const node = toNode({ instance, options, time: this.#state.time(), number: this.#nodeCount++ });
    return this.#state.create('nodes', node);
  }

  /** A machine does not come back, so GKE removes its Node. */
  #leave(name: string): void {
    const node = this.#state.store.get('nodes', undefined, name);
    if (node) this.#state.store.remove('nodes', node);
    this.#state.silentNodes.delete(name);
  }

  /** Ends what ran on the old machine when another one runs under its name. */
  #replaced(instance: Instance, pool: string, nodeObject: RepairBehaviour['nodeObject']): void {
    const state = this.#state;
    for (const pod of state.store.lookup('pods', 'node', instance.name)) discardPod(state, pod);
    const node = state.store.get('nodes', undefined, instance.name);
    if (node && nodeObject === 'survives') {
      state.update('nodes', node, (draft) => showMachine(draft, instance));
      wakeNode(state, instance.name);
    } else {
      if (node) state.store.remove('nodes', node);
      state.silentNodes.delete(instance.name);
      this.#register(instance, pool);
    }
    if (instance.group.troubles.lacksAccelerators) this.#takeAccelerators(instance.name);
  }

  /** The Node is Ready, but the device plugin reports no healthy device. */
  #takeAccelerators(name: string): void {
    const node = this.#state.store.get('nodes', undefined, name);
    if (!node) return;
    this.#state.update('nodes', node, ({ status }) => {
      for (const resource of countedResources) {
        if (status.allocatable[resource] !== undefined) status.allocatable[resource] = '0';
      }
    });
  }
}

/** A condition of a pool whose machines Compute has none of. */
function stockout(machineType: string): Record<string, string> {
  return {
    code: 'GCE_STOCKOUT',
    canonicalCode: 'RESOURCE_EXHAUSTED',
    message: `Insufficient capacity for machine type ${machineType}.`,
  };
}
