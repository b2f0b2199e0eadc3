import { createHash } from 'node:crypto';
import type { ClusterState } from './cluster-state.ts';
import { silenceNode } from './node-lifecycle.ts';
import { toTime } from './objects.ts';
import type { Random } from './random.ts';

/** A VM. A repair keeps its name and changes its id. */
export interface Instance {
  id: string;
  name: string;
  project: string;
  zone: string;
  machineType: string;
  status: 'RUNNING' | 'STOPPING' | 'REPAIRING';
  createdAt: number;
  /** When Compute started it last. */
  startedAt: number;
  /** How often it has booted again under its id. */
  reboots: number;
  group: InstanceGroup;
  /** The physical machine that it runs on, within its sub-block and block. */
  host: string;
}

/** The managed instance group of a node pool. */
export interface InstanceGroup {
  pool: string;
  cluster: string;
  state: ClusterState;
  /** A multi-host slice is one unit: if one machine is lost, all are re-created. */
  isAtomic: boolean;
  repair: RepairBehaviour;
  /** Whether its machines say on which physical host they run, as those with accelerators do. */
  tellsHost: boolean;
  /** What a test has broken (switches.ts). */
  troubles: MachineTroubles;
  /** Called with each re-created machine, and with what happens to its Node object. */
  replaced: (instance: Instance, nodeObject: RepairBehaviour['nodeObject']) => void;
  /** Called with each machine that does not come back when the others do. */
  withheld: (instance: Instance) => void;
}

export interface MachineTroubles {
  /** For how many repairs more a machine's replacement runs on the same physical host. */
  keepsHosts: number;
  /** Whether the nodes of replacements have no allocatable accelerators. */
  lacksAccelerators: boolean;
  /** How many machines of a repair do not come back. */
  withheldMachines: number;
  /** How operations end that delete a machine; undefined if they succeed. */
  deletionError: OperationError | undefined;
  /** With which status GKE ends the report of a faulty host; undefined if it does not fail. */
  reportError: string | undefined;
  /** Whether GKE does nothing for the labels that ask for a repair. */
  ignoresLabels: boolean;
  /** Whether GKE leaves the label there that asked for a reboot. */
  keepsRebootLabels: boolean;
  /** GKE repairs machines whose nodes have not been Ready for ten minutes. */
  repairsItself: boolean;
  /** Compute has no machine of this kind left. */
  isStockedOut: boolean;
}

export function noTroubles(): MachineTroubles {
  return {
    keepsHosts: 0,
    lacksAccelerators: false,
    withheldMachines: 0,
    deletionError: undefined,
    reportError: undefined,
    ignoresLabels: false,
    keepsRebootLabels: false,
    repairsItself: false,
    isStockedOut: false,
  };
}

/** An entry of a Compute operation's `error.errors`. */
export interface OperationError {
  code: string;
  message: string;
}

export interface RepairBehaviour {
  /** From the accepted deletion until the machine answers 404. */
  stopSeconds: number;
  /** From the accepted deletion until its replacement runs. */
  repairDelaySeconds: number;
  /** Whether the Node object is deleted and registered again, or survives with a new annotation. */
  nodeObject: 'reregistered' | 'survives';
  /** Whether repair is off (DO_NOTHING), so that nothing is re-created. */
  isDisabled?: boolean;
}

export interface Operation {
  id: string;
  name: string;
  project: string;
  zone: string;
  targetId: string;
  targetName: string;
  requestId: string | undefined;
  startedAt: number;
  endsAt: number;
  user: string;
  /** Why it fails at its end. */
  error?: OperationError;
}

interface Repair {
  group: InstanceGroup;
  gone: { at: number; isGone: boolean };
  backAt: number;
  instances: Instance[];
}

/** All VMs of all projects, and the instance groups that re-create lost ones. */
export class Fleet {
  readonly operations: Operation[] = [];
  /** Ids of machines that were deleted through the API, in order, each with the operation that did it. */
  readonly deletions: { instance: Instance; operation: Operation }[] = [];
  readonly #instances = new Map<string, Instance>();
  readonly #byId = new Map<string, Instance>();
  #repairs: Repair[] = [];
  #withheld: Instance[] = [];
  readonly #now: () => number;
  readonly #random: Random;

  constructor(now: () => number, random: Random) {
    this.#now = now;
    this.#random = random;
  }

  list(project?: string, zone?: string): Instance[] {
    return [...this.#instances.values()].filter(
      (each) => (!project || each.project === project) && (!zone || each.zone === zone),
    );
  }

  /** Finds a machine by name, or by numeric id. The id of a replaced machine finds nothing. */
  find(project: string, zone: string, nameOrId: string): Instance | undefined {
    const found = this.#byId.get(nameOrId) ?? this.#instances.get(toKey(project, zone, nameOrId));
    return found?.project === project && found.zone === zone ? found : undefined;
  }

  /** Creates a machine, on a host of its own unless one is given. */
  add(
    details: Pick<Instance, 'name' | 'project' | 'zone' | 'machineType' | 'group'> & { host?: string },
  ): Instance {
    const id = this.#random.numericId();
    const instance: Instance = {
      host: toHex(`host ${id}`),
      ...details,
      id,
      status: 'RUNNING',
      createdAt: this.#now(),
      startedAt: this.#now(),
      reboots: 0,
    };
    this.#instances.set(toKey(instance.project, instance.zone, instance.name), instance);
    this.#byId.set(instance.id, instance);
    return instance;
  }

  /**
   * Accepts a deletion: the machine stops at once, and its group begins to bring it back. Where the operation is to fail,
   * nothing happens to the machine.
   */
  delete(instance: Instance, requestId: string | undefined, user: string): Operation {
    const now = this.#now();
    const { repair, troubles } = instance.group;
    const operation: Operation = {
      id: this.#random.numericId(),
      name: `operation-${now}-${this.#random.pick('0123456789abcdef', 13)}`,
      project: instance.project,
      zone: instance.zone,
      targetId: instance.id,
      targetName: instance.name,
      requestId,
      startedAt: now,
      endsAt: now + repair.stopSeconds * 1000,
      user,
      ...(troubles.deletionError && { error: troubles.deletionError }),
    };
    this.operations.push(operation);
    if (operation.error) return operation;
    this.deletions.push({ instance: { ...instance }, operation });
    this.#recreate(instance.group.isAtomic ? this.#membersOf(instance.group) : [instance]);
    return operation;
  }

  /** Starts a machine again under its id, on another host if it is to move and the group does not keep its hosts. */
  restart(instance: Instance, { movesHost }: { movesHost: boolean }): void {
    instance.status = 'RUNNING';
    instance.startedAt = this.#now();
    instance.reboots += 1;
    if (movesHost && instance.group.troubles.keepsHosts <= 0) {
      instance.host = toHex(`host ${instance.id} ${instance.reboots}`);
    }
  }

  /** Puts another machine behind a name at once, as GKE sometimes does by itself. */
  replace(instance: Instance, nodeObject: RepairBehaviour['nodeObject']): Instance {
    this.#remove(instance);
    return this.#replace(instance, nodeObject);
  }

  /** Carries out what is due. @returns whether anything was due */
  reconcile(): boolean {
    const now = this.#now();
    let hasChanged = false;
    for (const repair of this.#repairs) {
      if (!repair.gone.isGone && repair.gone.at <= now) {
        repair.gone.isGone = true;
        for (const instance of repair.instances) this.#remove(instance);
        hasChanged = true;
      }
      if (repair.backAt > now) continue;
      hasChanged = true;
      this.#bringBack(repair);
    }
    this.#repairs = this.#repairs.filter((repair) => repair.backAt > now);
    return hasChanged;
  }

  /**
   * The same request again is the same operation, whatever has become of the machine since: for an hour, as sibling
   * APIs document it. After that a repeated request is a new one.
   */
  findRequest(requestId: string): Operation | undefined {
    const since = this.#now() - 3_600_000;
    return this.operations.findLast((each) => each.requestId === requestId && each.startedAt > since);
  }

  /**
   * Re-creates a machine, or the whole slice, without a deletion through the API, as GKE's own repair does.
   *
   * @returns whether there was one that ran
   */
  recreate(group: InstanceGroup, name: string): boolean {
    const members = this.#membersOf(group);
    const instance = members.find((each) => each.name === name);
    if (instance) this.#recreate(group.isAtomic ? members : [instance]);
    return instance !== undefined;
  }

  /** Whether machines of a group are being re-created. */
  isRepairing(group: InstanceGroup): boolean {
    return (
      this.#repairs.some((repair) => repair.group === group && repair.backAt < Infinity) ||
      this.#withheld.some((instance) => instance.group === group)
    );
  }

  /** Lets the machines of a group come back that a repair did without. */
  release(group: InstanceGroup): void {
    const instances = this.#withheld.filter((instance) => instance.group === group);
    this.#withheld = this.#withheld.filter((instance) => instance.group !== group);
    for (const instance of instances) this.#replace(instance);
  }

  findOperation(project: string, zone: string, name: string): Operation | undefined {
    return this.operations.find(
      (each) => each.project === project && each.zone === zone && (each.name === name || each.id === name),
    );
  }

  #bringBack({ group, instances }: Repair): void {
    const missing = this.#withheld.filter((instance) => instance.group === group).length;
    const count = Math.min(Math.max(group.troubles.withheldMachines - missing, 0), instances.length);
    for (const instance of instances.slice(0, instances.length - count)) this.#replace(instance);
    group.troubles.keepsHosts = Math.max(0, group.troubles.keepsHosts - 1);
    for (const instance of instances.slice(instances.length - count)) {
      this.#withheld.push(instance);
      group.withheld(instance);
    }
  }

  #replace(instance: Instance, nodeObject = instance.group.repair.nodeObject): Instance {
    const { name, project, zone, machineType, group, host } = instance;
    const next = this.add({
      name,
      project,
      zone,
      machineType,
      group,
      ...(group.troubles.keepsHosts > 0 && { host }),
    });
    group.replaced(next, nodeObject);
    return next;
  }

  #membersOf(group: InstanceGroup): Instance[] {
    return this.list().filter((each) => each.group === group && each.status === 'RUNNING');
  }

  #recreate(instances: Instance[]): void {
    const [first] = instances;
    if (!first) return;
    const { group } = first;
    for (const instance of instances) {
      instance.status = 'STOPPING';
      silenceNode(group.state, instance.name);
    }
    const now = this.#now();
    const { stopSeconds, repairDelaySeconds, isDisabled } = group.repair;
    this.#repairs.push({
      group,
      instances,
      gone: { at: now + stopSeconds * 1000, isGone: false },
      backAt: isDisabled ? Infinity : now + Math.max(stopSeconds, repairDelaySeconds) * 1000,
    });
  }

  #remove(instance: Instance): void {
    this.#instances.delete(toKey(instance.project, instance.zone, instance.name));
    this.#byId.delete(instance.id);
  }
}

/** What a machine has by chance, always the same for the same text. The seed's own sequence stays as it is. */
export function toHex(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 32);
}

/** Where a machine is in the data centre, if it says so. A pool's machines are in one sub-block. */
export function toPhysicalHost({
  host,
  group,
}: Instance): { block: string; subblock: string; host: string } | undefined {
  if (!group.tellsHost) return undefined;
  const { cluster, pool } = group;
  return { block: toHex(`block ${cluster}`), subblock: toHex(`subblock ${cluster} ${pool}`), host };
}

function toKey(project: string, zone: string, name: string): string {
  return `${project}/${zone}/${name}`;
}

export function toInstanceTime(milliseconds: number): string {
  return toTime(milliseconds).replace('Z', '.000-00:00');
}
