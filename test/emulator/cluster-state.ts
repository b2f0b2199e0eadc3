import { ObjectStore } from './object-store.ts';
import type { Plural, StoredObjects } from './object-store.ts';
import { toTime } from './objects.ts';
import type { KubernetesObject, Pod } from './objects.ts';
import type { Random } from './random.ts';
import { resourceOf } from './resources.ts';

/** What the API and the controllers of one cluster share: its objects, its clock, and which machines are dead. */
export class ClusterState {
  readonly store = new ObjectStore();
  readonly random: Random;
  /** Nodes whose kubelet is silent. */
  readonly silentNodes = new Set<string>();
  /** Tell whose images cannot be pulled. */
  readonly imagePullFailures = new Set<(pod: Pod) => boolean>();
  /** When a controller must run although nothing changes, in milliseconds of the clock. */
  #wakeAt = Infinity;
  readonly #now: () => number;

  constructor(now: () => number, random: Random) {
    this.#now = now;
    this.random = random;
  }

  now(): number {
    return this.#now();
  }

  time(): string {
    return toTime(this.#now());
  }

  isKubeletAlive(nodeName: string): boolean {
    return !this.silentNodes.has(nodeName) && this.store.get('nodes', undefined, nodeName) !== undefined;
  }

  wakeAt(milliseconds: number): void {
    this.#wakeAt = Math.min(this.#wakeAt, milliseconds);
  }

  /** The earliest time that a controller has requested since the last call. */
  takeWakeTime(): number {
    const time = this.#wakeAt;
    this.#wakeAt = Infinity;
    return time;
  }

  /** Stores a new object with what the API server fills in. */
  create<P extends Plural>(plural: P, object: StoredObjects[P]): StoredObjects[P] {
    object.metadata.uid ||= this.random.uuid();
    object.metadata.creationTimestamp ||= this.time();
    return this.store.put(plural, object);
  }

  /**
   * Changes an object as a controller does, and ends its deletion where that waited only for a finalizer. Nothing is
   * stored where nothing changes.
   */
  update<P extends Plural>(
    plural: P,
    object: StoredObjects[P],
    change: (draft: StoredObjects[P]) => void,
  ): StoredObjects[P] {
    const updated = this.store.update(plural, object, change);
    if (isDeletionDue(updated)) this.store.remove(plural, updated);
    return updated;
  }

  /** Records an Event as a controller does. */
  recordEvent(
    about: KubernetesObject,
    component: string,
    type: 'Normal' | 'Warning',
    reason: string,
    message: string,
  ): void {
    const { name, namespace, uid, resourceVersion } = about.metadata;
    const time = this.time();
    const events = resourceOf('events');
    this.create('events', {
      apiVersion: events.version,
      kind: events.kind,
      metadata: {
        name: `${name}.${this.random.pick('0123456789abcdef', 16)}`,
        namespace: namespace ?? 'default',
        uid: '',
        resourceVersion: '',
        creationTimestamp: '',
      },
      involvedObject: {
        kind: about.kind,
        ...(namespace && { namespace }),
        name,
        // The node-lifecycle controller and the kubelet write a node's name as its uid; kubectl looks for both.
        uid: about.kind === 'Node' ? name : uid,
        apiVersion: about.apiVersion,
        resourceVersion,
      },
      reason,
      message,
      type,
      count: 1,
      firstTimestamp: time,
      lastTimestamp: time,
      eventTime: null,
      source: { component },
      reportingComponent: component,
      reportingInstance: '',
    });
  }
}

export function isDeletionDue(object: KubernetesObject): boolean {
  // A namespace goes when it is empty.
  if (object.kind === 'Namespace') return false;
  const { deletionTimestamp, deletionGracePeriodSeconds = 0, finalizers = [] } = object.metadata;
  return deletionTimestamp !== undefined && deletionGracePeriodSeconds === 0 && finalizers.length === 0;
}
