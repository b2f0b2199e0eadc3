import type { ClusterState } from './cluster-state.ts';
import type { Fleet, OperationError } from './fleet.ts';
import type { GkeWork } from './gke-work.ts';
import type { NodePools } from './node-pools.ts';
import { announceMaintenance, maintenanceAnnotation } from './node-repairs.ts';
import type { Node, Pod, Taint } from './objects.ts';

/** Ends what a switch began. */
export type TurnOff = () => void;

/**
 * What can be broken in a cluster and its machines. Each method turns one thing on until the function that it returns is
 * called. `npm start` prints lines that do the same by HTTP (switches-api.ts).
 */
export class Switches {
  readonly #state: ClusterState;

  readonly #pools: NodePools;
  readonly #fleet: Fleet;
  readonly #work: GkeWork;

  constructor(state: ClusterState, pools: NodePools, { fleet, work }: { fleet: Fleet; work: GkeWork }) {
    this.#state = state;
    this.#pools = pools;
    this.#fleet = fleet;
    this.#work = work;
  }

  /** Others take all accelerators of the nodes that a pool has now, so that no further pod fits on them. */
  fillPool(pool: string): TurnOff {
    const { store, random } = this.#state;
    const others = this.#nodesOf(pool).map(({ metadata: { name }, status }) => {
      const { cpu: _cpu, memory: _memory, pods: _pods, ...accelerators } = status.allocatable;
      return this.#state.create('pods', {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: {
          name: `others-${random.suffix()}`,
          namespace: 'others',
          uid: '',
          resourceVersion: '',
          creationTimestamp: '',
        },
        spec: {
          nodeName: name,
          tolerations: [{ operator: 'Exists' }],
          containers: [{ name: 'main', image: 'others:latest', resources: { requests: accelerators } }],
        },
        status: { phase: 'Pending' },
      });
    });
    return () => {
      for (const { metadata } of others) {
        const pod = store.get('pods', metadata.namespace, metadata.name);
        if (pod?.metadata.uid === metadata.uid) store.remove('pods', pod);
      }
    };
  }

  /** Taints the nodes that a pool has now, so that no further pod is scheduled on them. */
  taintPool(pool: string, taint: Taint = { key: 'team', value: 'others', effect: 'NoSchedule' }): TurnOff {
    const isSame = (each: Taint) => each.key === taint.key && each.effect === taint.effect;
    const change = (toTaints: (others: Taint[]) => Taint[]) => {
      for (const node of this.#nodesOf(pool)) {
        this.#state.update('nodes', node, ({ spec }) => {
          const taints = toTaints((spec.taints ?? []).filter((each) => !isSame(each)));
          if (taints.length > 0) spec.taints = taints;
          else delete spec.taints;
        });
      }
    };
    change((others) => [...others, { ...taint }]);
    return () => change((others) => others);
  }

  /** The images of these pods cannot be pulled: a pod that is bound waits, and is not started. */
  failImagePulls(isStruck: (pod: Pod) => boolean): TurnOff {
    // Wrapped, so that the same function can be given twice.
    const failure = (pod: Pod) => isStruck(pod);
    this.#state.imagePullFailures.add(failure);
    return () => {
      this.#state.imagePullFailures.delete(failure);
      this.#state.wakeAt(this.#state.now());
    };
  }

  /** After a repair of a pool, so many of its machines do not come back, and have no Node. They do when it is turned off. */
  withholdMachines(pool: string, count = 1): TurnOff {
    const group = this.#pools.groupOf(pool);
    group.troubles.withheldMachines = count;
    return () => {
      group.troubles.withheldMachines = 0;
      this.#fleet.release(group);
    };
  }

  /**
   * A machine of a pool that is replaced gets the same physical host again; else it gets another one.
   *
   * @param repairs for how many repairs, all of them unless said otherwise
   */
  keepHosts(pool: string, repairs = Infinity): TurnOff {
    const { troubles } = this.#pools.groupOf(pool);
    troubles.keepsHosts = repairs;
    return () => {
      troubles.keepsHosts = 0;
    };
  }

  /** The replacements in a pool are Ready, but none of their accelerators is allocatable, until it is turned off. */
  withholdAccelerators(pool: string): TurnOff {
    const { troubles } = this.#pools.groupOf(pool);
    troubles.lacksAccelerators = true;
    return () => {
      troubles.lacksAccelerators = false;
      this.#pools.restoreAccelerators(pool);
    };
  }

  /** Compute accepts the deletion of a machine of a pool, and its operation then fails: the machine stays as it is. */
  failDeletions(pool: string, error: OperationError = internalError): TurnOff {
    const { troubles } = this.#pools.groupOf(pool);
    troubles.deletionError = error;
    return () => {
      troubles.deletionError = undefined;
    };
  }

  /** GKE ends each report of a faulty host of a pool with this status, as after a refusal of Compute. */
  failReports(pool: string, status = 'Error'): TurnOff {
    const { troubles } = this.#pools.groupOf(pool);
    troubles.reportError = status;
    return () => {
      troubles.reportError = undefined;
    };
  }

  /** GKE does nothing for the labels that ask for a reboot, a maintenance or a report of a pool's nodes. */
  ignoreLabels(pool: string): TurnOff {
    const { troubles } = this.#pools.groupOf(pool);
    troubles.ignoresLabels = true;
    return () => {
      troubles.ignoresLabels = false;
      this.#state.wakeAt(this.#state.now());
    };
  }

  /** GKE reboots a pool's machines for their label and does not take it away. */
  keepRebootLabels(pool: string): TurnOff {
    const { troubles } = this.#pools.groupOf(pool);
    troubles.keepsRebootLabels = true;
    return () => {
      troubles.keepsRebootLabels = false;
    };
  }

  /** A maintenance of their hosts is pending for the nodes that a pool has now. Turning it off takes that back. */
  announceMaintenance(pool: string, reason = 'FAILURE_GPU_XID'): TurnOff {
    announceMaintenance(this.#state, this.#pools.groupOf(pool), reason);
    return () => {
      for (const node of this.#state.store.lookup('nodes', 'pool', pool)) {
        this.#state.update('nodes', node, ({ metadata }) => {
          delete metadata.annotations?.[maintenanceAnnotation];
        });
      }
    };
  }

  /** GKE upgrades a pool: an operation that does not end, and its first node is about to be drained. */
  upgradePool(pool: string, operationType = 'UPGRADE_NODES'): TurnOff {
    const undo = this.#labelNodes(this.#firstOf(pool), { 'operation.gke.io/type': 'drain' });
    return this.#both(undo, this.operateOn(pool, operationType));
  }

  /** GKE works on a pool, or on the whole cluster: an operation that does not end. */
  operateOn(pool: string | undefined, operationType: string, node?: string): TurnOff {
    const operation = this.#work.begin(operationType, {
      ...(pool === undefined ? {} : { pool }),
      ...(node === undefined ? {} : { node }),
    });
    return () => this.#work.end(operation);
  }

  /** GKE repairs by itself: ten minutes after a node of the pool has stopped being Ready, its machine is made anew. */
  autoRepair(pool: string): TurnOff {
    const { troubles } = this.#pools.groupOf(pool);
    troubles.repairsItself = true;
    this.#state.wakeAt(this.#state.now());
    return () => {
      troubles.repairsItself = false;
    };
  }

  /** GKE has begun to repair the first node of a pool, or one that is named, and has not come to an end. */
  hangAutoRepair(pool: string, node = this.#firstOf(pool)[0]?.metadata.name): TurnOff {
    return this.operateOn(pool, 'AUTO_REPAIR_NODES', node);
  }

  /** The autoscaler removes the first node of a pool, as its taint says; a slice goes as a whole. */
  scaleDown(pool: string): TurnOff {
    const nodes = this.#pools.groupOf(pool).isAtomic ? this.#nodesOf(pool) : this.#firstOf(pool);
    const time = String(Math.floor(this.#state.now() / 1000));
    const taint: Taint = { key: 'ToBeDeletedByClusterAutoscaler', value: time, effect: 'NoSchedule' };
    return this.#taintNodes(nodes, taint);
  }

  /** A person deletes a pool: GKE is at it, and its nodes are still there. */
  deletePool(pool: string): TurnOff {
    return this.operateOn(pool, 'DELETE_NODE_POOL');
  }

  /** GKE maintains the host of the first node of a pool, and ends what runs there. */
  maintainHost(pool: string): TurnOff {
    const nodes = this.#firstOf(pool);
    const label = { 'cloud.google.com/active-node-maintenance': 'ONGOING' };
    const taint: Taint = { key: 'cloud.google.com/impending-node-termination', effect: 'NoSchedule' };
    return this.#both(this.#labelNodes(nodes, label), this.#taintNodes(nodes, taint));
  }

  /** Compute has no machine of the pool's type left, as a condition of the pool says. */
  stockOut(pool: string): TurnOff {
    const { troubles } = this.#pools.groupOf(pool);
    troubles.isStockedOut = true;
    return () => {
      troubles.isStockedOut = false;
    };
  }

  #both(...all: TurnOff[]): TurnOff {
    return () => {
      for (const turnOff of all) turnOff();
    };
  }

  #firstOf(pool: string): Node[] {
    return this.#nodesOf(pool)
      .sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1))
      .slice(0, 1);
  }

  /** @returns what takes the labels away again from those of the nodes that are still there */
  #labelNodes(nodes: Node[], labels: Record<string, string>): TurnOff {
    this.#changeNodes(nodes, ({ metadata }) => {
      metadata.labels = { ...metadata.labels, ...labels };
    });
    return () =>
      this.#changeNodes(nodes, ({ metadata }) => {
        for (const label of Object.keys(labels)) delete metadata.labels?.[label];
      });
  }

  #taintNodes(nodes: Node[], taint: Taint): TurnOff {
    const without = ({ spec }: Node) => (spec.taints ?? []).filter(({ key }) => key !== taint.key);
    this.#changeNodes(nodes, (node) => {
      node.spec.taints = [...without(node), { ...taint }];
    });
    return () =>
      this.#changeNodes(nodes, (node) => {
        node.spec.taints = without(node);
        if (node.spec.taints.length === 0) delete node.spec.taints;
      });
  }

  #changeNodes(nodes: Node[], change: (draft: Node) => void): void {
    for (const { metadata } of nodes) {
      const node = this.#state.store.get('nodes', undefined, metadata.name);
      if (node?.metadata.uid === metadata.uid) this.#state.update('nodes', node, change);
    }
  }

  #nodesOf(pool: string): Node[] {
    const nodes = this.#state.store.lookup('nodes', 'pool', pool);
    if (nodes.length === 0) throw new Error(`no nodes in pool ${pool}`);
    return nodes;
  }
}

const internalError: OperationError = {
  code: 'INTERNAL_ERROR',
  message: 'Internal error. Please try again or contact Google Support.',
};
