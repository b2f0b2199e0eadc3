/** The world as it was at one moment of a history, as far as one lane goes: the form in which the promises take it. */
import type { Plural, StoredObjects } from '../emulator/object-store.ts';
import type { GkeOperation } from '../emulator/gke-work.ts';
import type { Instance, Operation } from '../emulator/fleet.ts';
import type { Job, JobSet, Lease, Node, Pod } from '../emulator/objects.ts';
import type { ClusterView, MachinesView } from '../simulation/world-view.ts';
import type { Entry, Machine, WatchedPlural } from './chaos-history.ts';
import type { KubernetesObject } from './kubernetes-client.ts';
import type { Lane } from './chaos-lanes.ts';
import { poolLabel } from './world.ts';

const jobSetLabel = 'jobset.sigs.k8s.io/jobset-name';

/** Everything of the cluster and of Google's, as the entries so far tell it. */
export class ChaosWorld {
  readonly objects = new Map<WatchedPlural, Map<string, KubernetesObject>>();
  readonly machines = new Map<string, Machine>();
  readonly deletions: { instance: Machine; requestId: string | undefined; startedAt: number }[] = [];
  readonly operations: GkeOperation[] = [];
  readonly #gone = new Set<string>();

  /** @returns whether anything has changed */
  take(entry: Entry): boolean {
    if (entry.kind === 'object') return this.#takeObject(entry);
    if (entry.kind === 'cordoned') return this.#takeCordon(entry);
    if (entry.kind === 'machine') {
      const { machine, isGone } = entry;
      if (isGone) this.machines.delete(machine.id);
      else this.machines.set(machine.id, machine);
      return true;
    }
    if (entry.kind === 'deletion') this.deletions.push(entry);
    else if (entry.kind === 'gke') this.operations.push(entry.operation);
    else return false;
    return true;
  }

  /** Answers come out of order, and late. */
  #takeObject({ plural, object, isGone = false }: Extract<Entry, { kind: 'object' }>): boolean {
    const all = this.objects.get(plural) ?? new Map<string, KubernetesObject>();
    this.objects.set(plural, all);
    const { uid, resourceVersion } = object.metadata;
    if (this.#gone.has(uid)) return false;
    const key = `${object.metadata.namespace ?? ''}/${object.metadata.name}`;
    const known = all.get(key);
    if (isGone) {
      this.#gone.add(uid);
      return known?.metadata.uid === uid && all.delete(key);
    }
    if (known && Number(known.metadata.resourceVersion) >= Number(resourceVersion)) return false;
    all.set(key, object);
    return true;
  }

  #takeCordon({ node, resourceVersion }: Extract<Entry, { kind: 'cordoned' }>): boolean {
    const known = this.objects.get('nodes')?.get(`/${node}`);
    if (!known || Number(known.metadata.resourceVersion) >= Number(resourceVersion)) return false;
    const metadata = { ...known.metadata, resourceVersion };
    this.objects.get('nodes')?.set(`/${node}`, {
      ...known,
      metadata,
      spec: { ...(known.spec as object), unschedulable: true },
    });
    return true;
  }

  list<T>(plural: WatchedPlural): T[] {
    return [...(this.objects.get(plural)?.values() ?? [])] as T[];
  }
}

/** What of it is of one lane. */
export function viewLane(world: ChaosWorld, lane: Lane): ClusterView & MachinesView {
  const nodes = (pool?: string): Node[] =>
    world
      .list<Node>('nodes')
      .filter(({ metadata }) => {
        const own = metadata.labels?.[poolLabel] ?? '';
        return lane.pools.includes(own) && (pool === undefined || own === pool);
      })
      .map((node) => withConditions(node));
  const ofJobSet = <T extends Pod | Job>(plural: 'pods' | 'jobs'): T[] =>
    world.list<T>(plural).filter(({ metadata }) => metadata.labels?.[jobSetLabel] === lane.jobSet);
  const group = (pool: string) => ({ pool, isAtomic: true }) as Instance['group'];
  const toInstance = ({ pool, ...machine }: Machine) => ({ ...machine, group: group(pool) }) as Instance;
  return {
    nodes,
    pods: () => ofJobSet<Pod>('pods'),
    jobs: () => ofJobSet<Job>('jobs'),
    jobsets: () => world.list<JobSet>('jobsets').filter(({ metadata }) => metadata.name === lane.jobSet),
    leases: () => world.list<Lease>('leases'),
    get<P extends Plural>(plural: P, namespace: string | undefined, name: string) {
      const all = world.objects.get(plural as WatchedPlural);
      const found = all?.get(`${namespace ?? ''}/${name}`) as StoredObjects[P] | undefined;
      return found && plural === 'nodes' ? withConditions(found as Node & StoredObjects[P]) : found;
    },
    work: { operations: world.operations },
    fleet: {
      list: () => [...world.machines.values()].map((machine) => toInstance(machine)),
      get deletions() {
        return world.deletions
          .filter(({ instance }) => lane.pools.includes(instance.pool))
          .map(({ instance, requestId, startedAt }) => ({
            instance: toInstance(instance),
            operation: { requestId, startedAt } as Operation,
          }));
      },
    },
  };
}

/** A node that has just been registered has none. */
function withConditions<T extends Node>(node: T): T {
  const status: Partial<Node['status']> = node.status;
  return status.conditions ? node : { ...node, status: { ...node.status, conditions: [] } };
}
