import type { EmulatedCluster } from '../emulator/cluster.ts';
import type { Emulator } from '../emulator/emulator.ts';
import type { Instance } from '../emulator/fleet.ts';
import type { Disturbance, PoolTrouble } from './interleaving.ts';
import type { Invariants } from './invariants.ts';
import type { VirtualTime } from './virtual-time.ts';

/** What happens to the world, and not to an instance of the function. */
export type WorldDisturbance = Exclude<
  Disturbance,
  { kind: 'freeze' | 'crash' | 'clock_jumps' | 'leases_conflict' }
>;

type PersonOrMachine = Extract<WorldDisturbance, { node: number }>['kind'];

/** The service account of the function. */
export const functionsAccount = 'failover@demo-project.iam.gserviceaccount.com';

const failoverNamespace = 'autometric-failover-system';
const pausedKey = 'autometric-failover/paused';

/** Lets people, GKE and machines change the world. */
export class Disturbances {
  readonly #emulator: Emulator;
  readonly #cluster: EmulatedCluster;
  readonly #time: VirtualTime;
  readonly #invariants: Invariants;
  readonly #lifts = new Set<() => void>();

  constructor(world: {
    emulator: Emulator;
    cluster: EmulatedCluster;
    time: VirtualTime;
    invariants: Invariants;
  }) {
    this.#emulator = world.emulator;
    this.#cluster = world.cluster;
    this.#time = world.time;
    this.#invariants = world.invariants;
  }

  happen(disturbance: WorldDisturbance): void {
    switch (disturbance.kind) {
      case 'person_pauses':
        return this.#forAWhile(disturbance.ms, this.#pause());
      case 'cordons_denied':
        return this.#forAWhile(disturbance.ms, this.#denyCordons());
      case 'gke_works':
        return this.#forAWhile(
          disturbance.ms,
          this.#cluster.switches.operateOn(disturbance.pool, disturbance.operation),
        );
      case 'deletions_come_to_nothing':
      case 'gke_repairs_by_itself':
      case 'machines_are_withheld':
      case 'chips_are_dead':
      case 'hosts_stay':
      case 'machines_are_drained': {
        const end = this.#beginTrouble(disturbance.kind, disturbance.pool);
        if (end) this.#forAWhile(disturbance.ms, end);
        return undefined;
      }
      case 'person_uncordons_pool':
        return this.uncordon(disturbance.pool);
      case 'nodes_return':
        return this.bringBack(disturbance.pool);
      case 'slice_recreated':
        return this.#recreate(disturbance.pool);
      case 'run_fails':
        return this.#failRun(disturbance.pool);
      case 'person_cordons':
      case 'person_uncordons':
      case 'person_takes_over':
      case 'node_dies':
      case 'machine_replaced': {
        const name = this.#nameNode(disturbance.pool, disturbance.node);
        if (name !== undefined) this.#happenToNode(disturbance.kind, disturbance.pool, name);
      }
    }
  }

  /** Ends what holds for a while only. */
  liftAll(): void {
    for (const lift of this.#lifts) lift();
  }

  /** A person releases every node of a pool. */
  uncordon(pool: string): void {
    for (const name of this.#listNames(pool)) this.#happenToNode('person_uncordons', pool, name);
  }

  /** A person cordons every node of a pool. */
  cordon(pool: string): void {
    for (const name of this.#listNames(pool)) this.#happenToNode('person_cordons', pool, name);
  }

  /** The nodes of a pool whose machines run answer again. */
  bringBack(pool: string): void {
    for (const { name } of this.#listRunning(pool)) this.#cluster.reviveNode(name);
  }

  /** @returns what ends it; undefined where the pool has no nodes now */
  #beginTrouble(kind: PoolTrouble, pool: string): (() => void) | undefined {
    const { switches } = this.#cluster;
    const begin: Record<PoolTrouble, () => () => void> = {
      deletions_come_to_nothing: () => switches.failDeletions(pool),
      gke_repairs_by_itself: () => switches.autoRepair(pool),
      machines_are_withheld: () => switches.withholdMachines(pool),
      chips_are_dead: () => switches.withholdAccelerators(pool),
      hosts_stay: () => switches.keepHosts(pool),
      machines_are_drained: () => switches.maintainHost(pool),
    };
    return this.#listNames(pool).length === 0 ? undefined : begin[kind]();
  }

  #forAWhile(ms: number, lift: () => void): void {
    const once = () => {
      if (this.#lifts.delete(once)) lift();
    };
    this.#lifts.add(once);
    this.#time.after(ms, once);
  }

  /** @returns what ends the pause */
  #pause(): () => void {
    this.#setPaused('maintenance');
    return () => this.#setPaused(undefined);
  }

  /** @returns what allows them again */
  #denyCordons(): () => void {
    return this.#cluster.deny({ user: functionsAccount, verb: 'patch', resource: 'nodes' });
  }

  #setPaused(why: string | undefined): void {
    this.#cluster.change('leases', failoverNamespace, 'cluster', ({ metadata }) => {
      const { [pausedKey]: _, ...others } = metadata.annotations ?? {};
      metadata.annotations = why === undefined ? others : { ...others, [pausedKey]: why };
    });
    this.#invariants.limits.onPause(why === undefined ? undefined : this.#time.now);
  }

  /** GKE makes the machines of a pool anew, unless it is at it already. */
  #recreate(pool: string): void {
    const running = this.#listRunning(pool);
    const names = this.#listNames(pool);
    if (running.length !== names.length) return;
    for (const name of names) this.#cluster.replaceInstance(name, 'reregistered');
  }

  /** A pod of the run on this pool crashes. */
  #failRun(pool: string): void {
    const names = new Set(this.#listNames(pool));
    const pod = this.#cluster
      .pods('default')
      .find(({ spec, status }) => status.phase === 'Running' && names.has(spec.nodeName ?? ''));
    if (pod) this.#cluster.finishPod('default', pod.metadata.name, 'Failed');
  }

  #happenToNode(kind: PersonOrMachine, pool: string, name: string): void {
    if (kind === 'person_takes_over') {
      this.#happenToNode('person_uncordons', pool, name);
      this.#happenToNode('person_cordons', pool, name);
      return;
    }
    const isCordoned = this.#cluster.get('nodes', undefined, name)?.spec.unschedulable === true;
    // kubectl writes nothing where there is nothing to change, so such a cordon is nobody's.
    if (kind.startsWith('person_') && isCordoned === (kind === 'person_cordons')) return;
    const hasMachine = this.#emulator.fleet.list().some((machine) => machine.name === name);
    if (kind === 'machine_replaced' && !hasMachine) return;
    this.#invariants.onDisturbance(kind, pool, name);
    if (kind === 'node_dies') this.#cluster.killNode(name);
    else if (kind === 'machine_replaced') this.#cluster.replaceInstance(name);
    else this.#cluster.cordonAs('kubectl', name, kind === 'person_cordons');
  }

  #listRunning(pool: string): Instance[] {
    return this.#emulator.fleet
      .list()
      .filter(({ group, status }) => group.pool === pool && status === 'RUNNING');
  }

  #listNames(pool: string): string[] {
    return this.#cluster
      .nodes(pool)
      .map(({ metadata }) => metadata.name)
      .sort();
  }

  /** Names stay through repairs; a slice that is being re-created has none for a while. */
  #nameNode(pool: string, index: number): string | undefined {
    return this.#listNames(pool)[index];
  }
}
