import type { ClusterState } from './cluster-state.ts';
import { deleteObject } from './deletion.ts';
import type { Fleet, Instance, InstanceGroup } from './fleet.ts';
import { discardPod, silenceNode, wakeNode } from './node-lifecycle.ts';
import { isPodLive } from './objects.ts';
import type { Node } from './objects.ts';
import { showMachine } from './world.ts';

// What GKE does with a node whose label asks for a repair: it reports the host as faulty, pulls a pending maintenance of the
// host forward, or reboots the machine. Stages and times are those of public documentation and field reports. The Node
// object and the numeric id of the machine stay.

export const repairLabels = {
  fault: 'cloud.google.com/fault-behavior',
  maintenance: 'cloud.google.com/perform-maintenance',
  reboot: 'cloud.google.com/perform-reboot',
} as const;

export const reportStatusLabel = 'cloud.google.com/report-and-replace-status';
export const reportOperationLabel = 'cloud.google.com/report-and-replace-operation';
export const maintenanceAnnotation = 'node.gke.io/upcoming-maintenance';
const activeMaintenanceLabel = 'cloud.google.com/active-node-maintenance';
const reservationLabel = 'cloud.google.com/reservation-name';
const terminationTaint = {
  key: 'cloud.google.com/impending-node-termination',
  effect: 'NoSchedule' as const,
};

/** What happens so many seconds after the label was seen. It returns false where the repair is over. */
interface Stage {
  after: number;
  do: (node: Node, instance: Instance) => boolean | void;
}

interface Running {
  name: string;
  startedAt: number;
  stages: Stage[];
}

/** The repairs of one cluster that labels of nodes ask for. */
export class NodeRepairs {
  readonly #state: ClusterState;
  readonly #fleet: Fleet;
  readonly #location: { name: string; project: string };
  /** By the uid of the node. */
  readonly #running = new Map<string, Running>();
  /** The reboots whose label is still there, by the uid of the node, with when it was set. */
  readonly #rebooted = new Map<string, string>();

  constructor(location: { name: string; project: string }, state: ClusterState, fleet: Fleet) {
    this.#location = location;
    this.#state = state;
    this.#fleet = fleet;
  }

  /** Begins what labels ask for, and carries out the stages that are due. */
  run(): void {
    for (const node of this.#state.store.list('nodes')) {
      const { uid, labels = {} } = node.metadata;
      if (labels[repairLabels.reboot] === undefined) this.#rebooted.delete(uid);
      if (!this.#running.has(uid)) this.#begin(node);
    }
    for (const [uid, running] of this.#running) {
      if (!this.#goOn(uid, running)) this.#running.delete(uid);
    }
  }

  #begin(node: Node): void {
    const { uid, name, labels = {} } = node.metadata;
    if (!Object.values(repairLabels).some((label) => labels[label] !== undefined)) return;
    const instance = this.#instanceOf(name);
    if (!instance || instance.group.troubles.ignoresLabels) return;
    const stages = this.#toStages(labels, node, instance) ?? [];
    if (stages.length > 0) this.#running.set(uid, { name, startedAt: this.#state.now(), stages });
  }

  #toStages(labels: Record<string, string>, node: Node, instance: Instance): Stage[] | undefined {
    const fault = labels[repairLabels.fault];
    if (fault !== undefined) return this.#report(fault, instance);
    if (labels[repairLabels.reboot] === 'true') {
      return this.#rebooted.get(node.metadata.uid) === setAt(node) ? [] : this.#reboot();
    }
    const isPending = node.metadata.annotations?.[maintenanceAnnotation] !== undefined;
    // Without a maintenance that is pending there is nothing to pull forward.
    return labels[repairLabels.maintenance] === 'true' && isPending ? this.#maintain() : undefined;
  }

  /** @returns false once the repair is over */
  #goOn(uid: string, { name, startedAt, stages }: Running): boolean {
    const scale = (this.#instanceOf(name)?.group.repair.repairDelaySeconds ?? 120) / 120;
    for (let stage = stages[0]; stage; stage = stages[0]) {
      const due = startedAt + stage.after * scale * 1000;
      if (due > this.#state.now()) {
        this.#state.wakeAt(due);
        return true;
      }
      const node = this.#state.store.get('nodes', undefined, name);
      const instance = this.#instanceOf(name);
      // Another machine took the name.
      if (node?.metadata.uid !== uid || !instance) return false;
      stages.shift();
      if (stage.do(node, instance) === false) return false;
    }
    return false;
  }

  /** Drains the node, reports its host, and has the machine come back on another one, where the reservation allows it. */
  #report(fault: string, asked: Instance): Stage[] {
    const operation = `operation-${this.#state.now()}-${this.#state.random.pick('0123456789abcdef', 13)}`;
    const fail = ({ metadata: { name } }: Node, word: string): false => {
      this.#label(name, { [reportStatusLabel]: word, [repairLabels.fault]: null });
      this.#untaint(name);
      return false;
    };
    // A deletion of the machine while the report runs makes it fail.
    const unlessDeleted = (node: Node, instance: Instance, next: () => void): boolean | void =>
      instance.id === asked.id && instance.status === 'RUNNING' ? next() : fail(node, 'Error');
    const comeBack = (node: Node, instance: Instance, movesHost: boolean): false => {
      this.#boot(node, instance, { movesHost });
      this.#label(node.metadata.name, { [repairLabels.fault]: null });
      this.#untaint(node.metadata.name);
      return false;
    };
    const stages: Stage[] = [
      { after: 0, do: (node) => this.#drain(node) },
      { after: 60, do: ({ metadata }) => this.#label(metadata.name, { [reportStatusLabel]: 'PodsEvicted' }) },
      {
        after: 90,
        do: (node, instance) => {
          const word = this.#refusalOf(fault, node, instance);
          if (word !== undefined) return fail(node, word);
          return unlessDeleted(node, instance, () =>
            this.#label(node.metadata.name, {
              [reportStatusLabel]: 'OperationRUNNING',
              [reportOperationLabel]: operation,
            }),
          );
        },
      },
      {
        after: 690,
        do: (node, instance) =>
          unlessDeleted(node, instance, () =>
            this.#label(node.metadata.name, { [reportStatusLabel]: 'OperationDone' }),
          ),
      },
      { after: 720, do: (node, instance) => this.#stop(node, instance, 'REPAIRING') },
      {
        after: 900,
        do: (node, instance) => {
          if (!isAllCapacity(instance)) return comeBack(node, instance, true);
          // The machine waits for the repair of its own host.
          stages.push({ after: hostRepairSeconds, do: (back, of) => comeBack(back, of, false) });
          return true;
        },
      },
    ];
    return stages;
  }

  #refusalOf(fault: string, { metadata }: Node, { machineType, group }: Instance): string | undefined {
    if (group.troubles.reportError !== undefined) return group.troubles.reportError;
    const isKnown = ['PERFORMANCE', 'SDC', 'XID', 'unspecified'].includes(fault);
    const isAble = /^(a4x?-|a3-(ultragpu|megagpu|highgpu)-8g$)/.test(machineType);
    return isKnown && isAble && metadata.labels?.[reservationLabel] !== undefined ? undefined : 'Error';
  }

  /** The host is maintained, and the same machine starts again. A multi-host slice is maintained as a whole. */
  #maintain(): Stage[] {
    const all = (node: Node, instance: Instance, work: (node: Node, instance: Instance) => void) => {
      for (const each of this.#unitOf(node, instance)) work(each.node, each.instance);
    };
    return [
      {
        after: 30,
        do: (node, instance) =>
          all(node, instance, (each) => {
            this.#label(each.metadata.name, { [activeMaintenanceLabel]: 'ONGOING' });
            this.#drain(each);
          }),
      },
      {
        after: 900,
        do: (node, instance) => all(node, instance, (each, of) => this.#stop(each, of, 'REPAIRING')),
      },
      {
        after: 1980,
        do: (node, instance) => {
          all(node, instance, (each, of) => {
            const { name } = each.metadata;
            this.#boot(each, of, { movesHost: false });
            this.#label(name, { [activeMaintenanceLabel]: null, [repairLabels.maintenance]: null });
            this.#annotate(name, maintenanceAnnotation, undefined);
            this.#untaint(name);
          });
          return false;
        },
      },
    ];
  }

  /** The guest reboots; Compute does not start the machine anew. */
  #reboot(): Stage[] {
    return [
      { after: 20, do: (node, instance) => this.#stop(node, instance, 'RUNNING') },
      {
        after: 140,
        do: (node, instance) => {
          const { startedAt } = instance;
          this.#boot(node, instance, { movesHost: false });
          instance.startedAt = startedAt;
          if (instance.group.troubles.keepsRebootLabels) this.#rebooted.set(node.metadata.uid, setAt(node));
          else this.#label(node.metadata.name, { [repairLabels.reboot]: null });
          return false;
        },
      },
    ];
  }

  #unitOf(node: Node, instance: Instance): { node: Node; instance: Instance }[] {
    if (!instance.group.isAtomic) return [{ node, instance }];
    return this.#state.store.lookup('nodes', 'pool', instance.group.pool).flatMap((each) => {
      const of = this.#instanceOf(each.metadata.name);
      return of ? [{ node: each, instance: of }] : [];
    });
  }

  /** Evicts gracefully, and keeps further pods away. */
  #drain({ metadata: { name } }: Node): void {
    this.#change(name, ({ spec }) => {
      spec.taints = [...(spec.taints ?? []), terminationTaint];
    });
    for (const pod of this.#state.store.lookup('pods', 'node', name)) {
      if (isPodLive(pod)) deleteObject(this.#state, 'pods', pod);
    }
  }

  #stop({ metadata: { name } }: Node, instance: Instance, status: Instance['status']): void {
    instance.status = status;
    silenceNode(this.#state, name);
  }

  #boot({ metadata: { name } }: Node, instance: Instance, { movesHost }: { movesHost: boolean }): void {
    for (const pod of this.#state.store.lookup('pods', 'node', name)) discardPod(this.#state, pod);
    this.#fleet.restart(instance, { movesHost });
    this.#change(name, (draft) => showMachine(draft, instance));
    wakeNode(this.#state, name);
  }

  #label(name: string, changes: Record<string, string | null>): void {
    this.#change(name, ({ metadata }) => {
      const labels = Object.entries({ ...metadata.labels, ...changes });
      metadata.labels = Object.fromEntries(
        labels.flatMap(([key, value]) => (value === null ? [] : [[key, value]])),
      );
    });
  }

  #annotate(name: string, key: string, value: string | undefined): void {
    this.#change(name, ({ metadata }) => {
      const { [key]: _, ...others } = metadata.annotations ?? {};
      metadata.annotations = value === undefined ? others : { ...others, [key]: value };
    });
  }

  #untaint(name: string): void {
    this.#change(name, ({ spec }) => {
      const left = (spec.taints ?? []).filter(({ key }) => key !== terminationTaint.key);
      if (left.length > 0) spec.taints = left;
      else delete spec.taints;
    });
  }

  #change(name: string, change: (draft: Node) => void): void {
    const node = this.#state.store.get('nodes', undefined, name);
    if (node) this.#state.update('nodes', node, change);
  }

  #instanceOf(name: string): Instance | undefined {
    return this.#fleet
      .list(this.#location.project)
      .find((each) => each.name === name && each.group.cluster === this.#location.name);
  }
}

/** When the label was set that asks for a reboot. */
function setAt({ metadata: { managedFields = [] } }: Node): string {
  const owners = managedFields.filter(({ fieldsV1 }) =>
    JSON.stringify(fieldsV1).includes(`"f:${repairLabels.reboot}"`),
  );
  return owners.map(({ time }) => time).join(' ');
}

/** Google says 3 to 14 days. */
const hostRepairSeconds = 7 * 86_400;

/** The hosts of A4X reservations come back as they are. */
function isAllCapacity({ machineType }: { machineType: string }): boolean {
  return machineType.startsWith('a4x-');
}

/** Google says that the hosts of a pool's machines are to be maintained. */
export function announceMaintenance(state: ClusterState, { pool }: InstanceGroup, reason: string): void {
  const upcoming = {
    maintenanceStatus: 'PENDING',
    type: 'UNSCHEDULED',
    canReschedule: true,
    maintenanceReasons: [reason],
  };
  for (const node of state.store.lookup('nodes', 'pool', pool)) {
    state.update('nodes', node, ({ metadata }) => {
      metadata.annotations = { ...metadata.annotations, [maintenanceAnnotation]: JSON.stringify(upcoming) };
    });
  }
}
