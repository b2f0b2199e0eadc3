import type { Clock } from '../clock.ts';
import { FailoverError } from '../errors.ts';
import type { ClusterConnection } from '../gke/cluster.ts';
import type { Action } from '../request/action.ts';
import { createRecall } from '../recall.ts';
import type { Recall } from '../recall.ts';
import type { Services } from '../services.ts';

/** For so long a Lease is not read again to find out that an alert is dealt with. What it says then stays true. */
const recallMs = 500;
/** For so long the nodes and pods of an alert that names none are not listed again, because the lists are long. */
const lookUpMs = 3_000;
/** 50 calls a second, and 15 at once: three instances, the module's default, make fewer than 200 in any second. */
const paceMs = 20;
const atOnce = 15;
/** Four slices of one JobSet may fail together. */
const mostClaims = 4;
const noteWindowMs = 60_000;
const mostNoteWaitMs = 300;

/**
 * What one instance knows of the alerts that it takes at once. Each of a thousand nodes of a slice alerts by itself: most of
 * these alerts need no claim, and those that do need not wait for one another here, because Pub/Sub brings them again.
 */
export class Crowd {
  readonly #clock: Clock;
  #leases: Recall;
  #lookUps: Recall;
  readonly #claims = new Map<string, string>();
  readonly #notes = new Map<string, number[]>();
  #nextCallAt = 0;
  #noting: Promise<unknown> = Promise.resolve();

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#leases = createRecall(clock, recallMs);
    this.#lookUps = createRecall(clock, lookUpMs);
  }

  /** Writes something down once what was begun before is written, a moment later: other instances may have written it by then. */
  note<T>(write: () => Promise<T>): Promise<T> {
    const written = this.#noting.then(async () => {
      await this.#clock.sleep(Math.random() * mostNoteWaitMs);
      return write();
    });
    this.#noting = written.catch(() => undefined);
    return written;
  }

  /** Waits until another call may be sent, so that a storm of alerts does not become one of calls. */
  async pace(): Promise<void> {
    const now = this.#clock.now();
    this.#nextCallAt = Math.max(now, this.#nextCallAt) + paceMs;
    const waitMs = this.#nextCallAt - atOnce * paceMs - now;
    if (waitMs > 0) await this.#clock.sleep(waitMs);
  }

  /** Reads Leases, or recalls them as they were a moment ago. Whoever asks meanwhile waits for the same answer. */
  recall<T>(what: string, read: () => Promise<T>): Promise<T> {
    return this.#leases(what, read);
  }

  /** Looks up what an alert does not name, or recalls it as it was some seconds ago. */
  lookUp<T>(what: string, read: () => Promise<T>): Promise<T> {
    return this.#lookUps(what, read);
  }

  /** Whether this instance already carries out an alert like this one, or several, and nobody loses by coming again. */
  isCrowded(action: Action, nodePool: string): boolean {
    const isFull = this.#claims.size >= mostClaims || this.#claims.has(toKey(action, nodePool));
    return action.isRedelivered === true && isFull;
  }

  refuse(action: Action, nodePool: string): FailoverError {
    const id = this.#claims.get(toKey(action, nodePool));
    const what =
      id === undefined
        ? `${this.#claims.size} other alerts are`
        : `action ${id}, on the same node pool ${nodePool}, is`;
    return new FailoverError(
      'action_in_progress',
      `${what} still being carried out by this instance: send the same id again`,
      { headers: { 'Retry-After': '10' } },
    );
  }

  /** While it works, others like it are crowded. */
  async carryOut<T>(action: Action, nodePool: string | undefined, work: () => Promise<T>): Promise<T> {
    if (action.isRedelivered !== true || nodePool === undefined) return work();
    const key = toKey(action, nodePool);
    if (this.#claims.has(key)) return work();
    this.#claims.set(key, action.id);
    try {
      return await work();
    } finally {
      this.#claims.delete(key);
      // What it has done is seen at once.
      this.#leases = createRecall(this.#clock, recallMs);
      this.#lookUps = createRecall(this.#clock, lookUpMs);
    }
  }

  /** Whether something is still to be written down, of which a storm makes many that say the same. */
  mayNote(what: string, mostInWindow: number): boolean {
    const now = this.#clock.now();
    const recent = (this.#notes.get(what) ?? []).filter((at) => now - at < noteWindowMs);
    if (recent.length >= mostInWindow) return false;
    this.#notes.set(what, [...recent, now]);
    return true;
  }
}

/** Services belong to an instance. */
const crowds = new WeakMap<Services, Crowd>();

/** What this instance knows. */
export function crowdOf(services: Services): Crowd {
  const crowd = crowds.get(services) ?? new Crowd(services.clock);
  crowds.set(services, crowd);
  return crowd;
}

/** A storm of alerts must not become one of calls. */
export function pacedBy(crowd: Crowd, cluster: ClusterConnection): ClusterConnection {
  const kubernetes = cluster.kubernetes.paced(() => crowd.pace());
  return { ...cluster, kubernetes, close: () => cluster.close() };
}

function toKey({ cluster, type }: Action, nodePool: string): string {
  return `${cluster.fullName} ${nodePool} ${type}`;
}
