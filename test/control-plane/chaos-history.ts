/** Everything that happens in a run of chaos, in the order in which it was seen: what the promises are judged by. */
import type { Instance } from '../emulator/fleet.ts';
import type { GkeOperation } from '../emulator/gke-work.ts';
import type { KubernetesObject } from './kubernetes-client.ts';

export const watchedPlurals = ['nodes', 'pods', 'jobs', 'jobsets', 'leases'] as const;
export type WatchedPlural = (typeof watchedPlurals)[number];

export type Happening =
  /** An object of the cluster as it is now, or as it was when it went. */
  | { kind: 'object'; plural: WatchedPlural; object: KubernetesObject; isGone?: boolean }
  /** A node was patched, and the answer has its metadata only. */
  | { kind: 'cordoned'; node: string; resourceVersion: string }
  /** The world is built, and the load begins. */
  | { kind: 'begin' }
  | { kind: 'session'; session: number; port: number }
  /** The function says which of its connections has which port: `pool` is the same for all of one connection pool. */
  | { kind: 'connected'; process: string; port: number; pool: string; delivery: string }
  | {
      kind: 'call';
      call: number;
      api: Api;
      method: string;
      path: string;
      body: string;
      by: Sender;
      fault?: string;
    }
  /** A call was carried out; its answer may be lost after that. */
  | { kind: 'carried_out'; call: number; status: number }
  | { kind: 'delivery'; delivery: string; process: string; what: Sent }
  | { kind: 'answer'; delivery: string; status: number | undefined; text: string }
  | { kind: 'machine'; machine: Machine; isGone?: boolean }
  | { kind: 'deletion'; instance: Machine; requestId: string | undefined; startedAt: number }
  | { kind: 'gke'; operation: GkeOperation }
  | { kind: 'pause'; isOn: boolean }
  | { kind: 'approval'; action: string; plan: string }
  | { kind: 'person'; what: 'person_cordons' | 'person_uncordons'; pool: string; node: string }
  | { kind: 'log'; process: string; line: string }
  /** Something was broken on purpose. */
  | { kind: 'trouble'; what: string }
  /** No fault is made from here on. */
  | { kind: 'fair' };

export type Api = 'kubernetes' | 'compute' | 'container';

/** A session of the proxy in front of the API server, or a request that Google's APIs got. */
export type Sender = { session: number } | { delivery: string };

export type Sent = { action: object } | { alert: object } | { decision: object } | 'reconcile';

export type Machine = Pick<Instance, 'id' | 'name' | 'status' | 'createdAt'> & { pool: string };

export type Entry = Happening & { at: number };

/** Collects the entries. */
export class History {
  readonly entries: Entry[] = [];
  readonly startedAt = Date.now();
  #numbers = 0;
  readonly #versions = new Map<string, string>();

  note(happening: Happening): void {
    this.entries.push({ ...happening, at: Date.now() });
  }

  /** Notes an object, once for each of its versions. */
  noteObject(plural: WatchedPlural, object: KubernetesObject, isGone = false): void {
    const { managedFields: _, ...metadata } = object.metadata;
    const { uid, resourceVersion } = metadata;
    const version = `${resourceVersion} ${isGone}`;
    if (this.#versions.get(uid) === version) return;
    this.#versions.set(uid, version);
    this.note({ kind: 'object', plural, object: { ...object, metadata }, ...(isGone && { isGone }) });
  }

  /** A number that no other session, call or delivery has. */
  number(): number {
    this.#numbers += 1;
    return this.#numbers;
  }
}
