import { cloneJson, controllerOf, isEqualJson } from './objects.ts';
import type { Event, Job, JobSet, KubernetesObject, Lease, Node, Pod } from './objects.ts';

/** The kinds kept, by the plural that names them in a path. */
export interface StoredObjects {
  namespaces: KubernetesObject;
  nodes: Node;
  pods: Pod;
  events: Event;
  jobs: Job;
  cronjobs: KubernetesObject;
  leases: Lease;
  jobsets: JobSet;
}

export type Plural = keyof StoredObjects;

export interface Change {
  revision: number;
  plural: Plural;
  type: 'ADDED' | 'MODIFIED' | 'DELETED';
  object: KubernetesObject;
  previous: KubernetesObject | undefined;
}

const completionIndex = 'batch.kubernetes.io/job-completion-index';

/** How many changes a watch can be behind before it must list again. */
const keptChanges = 20_000;

/**
 * What etcd is to a cluster: objects by kind, namespace and name, one revision counter over all of them, and the
 * latest changes for watches. Objects in it are immutable; a write replaces the whole object.
 */
export class ObjectStore {
  #revision = 1000;
  #changes: Change[] = [];
  readonly #listeners = new Set<(change: Change) => void>();
  readonly #tables: { [P in Plural]: Table<StoredObjects[P]> } = {
    namespaces: new Table<KubernetesObject>({}),
    nodes: new Table<Node>({ pool: (node) => node.metadata.labels?.['cloud.google.com/gke-nodepool'] }),
    pods: new Table<Pod>({
      node: (pod) => pod.spec.nodeName,
      owner: ownerUid,
      leader: (pod) => (pod.metadata.annotations?.[completionIndex] === '0' ? ownerUid(pod) : undefined),
      unbound: (pod) => (pod.spec.nodeName ? undefined : 'yes'),
      terminating: (pod) => (pod.metadata.deletionTimestamp ? 'yes' : undefined),
    }),
    events: new Table<Event>({}),
    jobs: new Table<Job>({ owner: ownerUid }),
    cronjobs: new Table<KubernetesObject>({}),
    leases: new Table<Lease>({}),
    jobsets: new Table<JobSet>({}),
  };

  get revision(): number {
    return this.#revision;
  }

  get<P extends Plural>(
    plural: P,
    namespace: string | undefined,
    name: string,
  ): StoredObjects[P] | undefined {
    return this.#table(plural).get(toKey(namespace, name));
  }

  /** Lists in the order of etcd's keys: namespace, then name. */
  list<P extends Plural>(plural: P, namespace?: string): StoredObjects[P][] {
    const table = this.#table(plural);
    const all = table.sorted();
    return namespace ? all.filter((object) => object.metadata.namespace === namespace) : all;
  }

  /** Lists by an index, in order: "pool" of nodes, "owner" of jobs, the five of pods. */
  lookup<P extends Plural>(plural: P, index: string, value: string): StoredObjects[P][] {
    return this.#table(plural).lookup(index, value);
  }

  /** Stores an object that no other code refers to, under the next revision. */
  put<P extends Plural>(plural: P, object: StoredObjects[P]): StoredObjects[P] {
    const key = toKey(object.metadata.namespace, object.metadata.name);
    const previous = this.#table(plural).get(key);
    object.metadata.resourceVersion = String(++this.#revision);
    this.#table(plural).set(key, object);
    this.#record({ plural, type: previous ? 'MODIFIED' : 'ADDED', object, previous });
    return object;
  }

  /** Changes a copy and stores it if it differs. The object must be the stored one. */
  update<P extends Plural>(
    plural: P,
    object: StoredObjects[P],
    change: (draft: StoredObjects[P]) => void,
  ): StoredObjects[P] {
    const { namespace, name } = object.metadata;
    // A controller that uses an object which it read before its own write would undo that write.
    if (this.get(plural, namespace, name) !== object) {
      throw new Error(`stale write to ${plural} ${toKey(namespace, name)}`);
    }
    const draft = cloneJson(object);
    change(draft);
    if (isEqualJson(draft, object)) return object;
    return this.put(plural, draft);
  }

  remove<P extends Plural>(plural: P, object: StoredObjects[P]): void {
    const key = toKey(object.metadata.namespace, object.metadata.name);
    const previous = this.#table(plural).get(key);
    if (!previous) return;
    this.#table(plural).delete(key);
    this.#revision += 1;
    const last = { ...previous, metadata: { ...previous.metadata, resourceVersion: String(this.#revision) } };
    this.#record({ plural, type: 'DELETED', object: last, previous });
  }

  /** The changes after a revision, or undefined where they are no longer kept. */
  changesSince(revision: number): Change[] | undefined {
    const first = this.#changes[0];
    if (first && revision < first.revision - 1) return undefined;
    return this.#changes.filter((change) => change.revision > revision);
  }

  onChange(listener: (change: Change) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #table<P extends Plural>(plural: P): Table<StoredObjects[P]> {
    return this.#tables[plural];
  }

  #record(change: Omit<Change, 'revision'>): void {
    const recorded = { ...change, revision: this.#revision };
    this.#changes.push(recorded);
    if (this.#changes.length > 2 * keptChanges) this.#changes = this.#changes.slice(-keptChanges);
    for (const listener of this.#listeners) listener(recorded);
  }
}

class Table<T extends KubernetesObject> {
  readonly #all = new Bucket<T>();
  readonly #indexes = new Map<
    string,
    { value: (object: T) => string | undefined; buckets: Map<string, Bucket<T>> }
  >();

  constructor(indexes: Record<string, (object: T) => string | undefined>) {
    for (const [name, value] of Object.entries(indexes)) {
      this.#indexes.set(name, { value, buckets: new Map() });
    }
  }

  get(key: string): T | undefined {
    return this.#all.get(key);
  }

  sorted(): T[] {
    return this.#all.sorted();
  }

  lookup(index: string, value: string): T[] {
    const found = this.#indexes.get(index);
    if (!found) throw new Error(`no index ${index}`);
    return found.buckets.get(value)?.sorted() ?? [];
  }

  set(key: string, object: T): void {
    const previous = this.#all.get(key);
    this.#all.set(key, object);
    for (const { value, buckets } of this.#indexes.values()) {
      const before = previous && value(previous);
      const after = value(object);
      if (before !== undefined && before !== after) removeFrom(buckets, before, key);
      if (after === undefined) continue;
      const bucket = buckets.get(after) ?? new Bucket<T>();
      bucket.set(key, object);
      buckets.set(after, bucket);
    }
  }

  delete(key: string): void {
    const previous = this.#all.get(key);
    if (!previous) return;
    this.#all.delete(key);
    for (const { value, buckets } of this.#indexes.values()) {
      const before = value(previous);
      if (before !== undefined) removeFrom(buckets, before, key);
    }
  }
}

/** Objects by key, and in the keys' order as long as nothing changes. */
class Bucket<T> {
  readonly #objects = new Map<string, T>();
  #sorted: T[] | undefined;

  get size(): number {
    return this.#objects.size;
  }

  get(key: string): T | undefined {
    return this.#objects.get(key);
  }

  set(key: string, object: T): void {
    this.#objects.set(key, object);
    this.#sorted = undefined;
  }

  delete(key: string): void {
    this.#objects.delete(key);
    this.#sorted = undefined;
  }

  sorted(): T[] {
    this.#sorted ??= [...this.#objects.keys()].sort().map((key) => this.#objects.get(key) as T);
    return this.#sorted;
  }
}

function removeFrom<T>(buckets: Map<string, Bucket<T>>, value: string, key: string): void {
  const bucket = buckets.get(value);
  bucket?.delete(key);
  if (bucket?.size === 0) buckets.delete(value);
}

function toKey(namespace: string | undefined, name: string): string {
  return `${namespace ?? ''}/${name}`;
}

function ownerUid(object: KubernetesObject): string | undefined {
  return controllerOf(object)?.uid;
}
