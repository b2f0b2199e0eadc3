import type { Clock } from '../clock.ts';
import { FailoverError } from '../errors.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { createLease, deleteLease, limitConflicts, readLease, replaceLease } from './lease.ts';
import type { LeaseState } from './lease-format.ts';
import { prefix } from '../names.ts';
import { freeAt, isFree, lastActionKey, readLastActionId, spareMs, toLockName } from './pool-lease.ts';
import type { SeenLease } from './pool-lease.ts';
import type { Gate } from '../gke/retry.ts';

const durationSeconds = 60;
const renewBelowMs = 40_000;

/** Another holder has the lock. */
export interface LockBusy {
  heldBy: { id: string };
  /** When the holder renewed the lock last, in ms since the epoch by the API server's clock. */
  renewedAt: number;
  /** From when on the lock can be taken, if the holder does not renew it. */
  freeAt: number;
}

/**
 * Takes the lock of a node pool, unless another holder has it and, by the API server's clock, it has not expired.
 *
 * The holder is `<action id>/<claim id>`, so that a second delivery of an action that is still running does not count as
 * the holder.
 *
 * @param seen is the Lease as it was read a moment ago; it saves a call unless the Lease has changed since
 */
export async function acquirePoolLock(
  kubernetes: Kubernetes,
  clock: Clock,
  nodePool: string,
  owner: { id: string; claimId: string },
  seen?: SeenLease,
): Promise<PoolLock | LockBusy> {
  const name = toLockName(nodePool);
  const holder = `${owner.id}/${owner.claimId}`;
  let found: LeaseState | undefined;
  const countConflict = limitConflicts(name);
  for (let known = seen; ; known = undefined) {
    const current = known ? known.lease : await readLease(kubernetes, name);
    // A create or replace whose response was lost may have succeeded. Then the Lease is ours, and is replaced once more.
    const isOurs = current?.holder === holder;
    if (!isOurs) found = current;
    if (current && !isOurs && !isFree(current, kubernetes.serverNow())) return toBusy(current);
    const sentAt = clock.now();
    const time = kubernetes.serverNow();
    const annotations = { ...current?.annotations, [lastActionKey]: owner.id };
    const draft = {
      name,
      holder,
      acquiredAt: time,
      renewedAt: time,
      durationSeconds,
      annotations,
      labels: {},
    };
    const written = current
      ? await replaceLease(kubernetes, { ...current, ...draft, labels: current.labels })
      : await createLease(kubernetes, { ...draft, labels: { [`${prefix}kind`]: 'pool' } });
    if (written) {
      return new PoolLock({
        kubernetes,
        clock,
        nodePool,
        lease: written,
        sentAt,
        isNew: !found,
        isAsSeen: known !== undefined,
        lastActionId: readLastActionId(found),
      });
    }
    countConflict();
  }
}

function toBusy(lease: LeaseState): LockBusy {
  const { holder = '', renewedAt = 0 } = lease;
  return { heldBy: { id: holder.split('/')[0] ?? '' }, renewedAt, freeAt: freeAt(lease) };
}

/** A change of annotations. It may be applied more than once. */
type Change = (annotations: Record<string, string>) => Record<string, string>;

/** A node pool's lock while this claim holds it: the gate before each write, and what is stored about the pool. */
export class PoolLock {
  readonly nodePool: string;
  /** The action that held the lock last. Undefined for a pool that never had a lock. */
  readonly lastActionId: string | undefined;
  /** The lock was taken from the very Lease that was seen before, so nobody has held it since that was read. */
  readonly isAsSeen: boolean;
  readonly #kubernetes: Kubernetes;
  readonly #clock: Clock;
  readonly #isNew: boolean;
  #lease: LeaseState;
  /** By this instance's clock. Counts from when the last successful renewal was *sent*, and is no later than others see it. */
  #expiresAt: number;
  #renewal: Promise<void> | undefined;
  /** A change that the next write of the Lease carries. */
  #pending: Change = (annotations) => annotations;
  #isLost = false;

  constructor(held: {
    kubernetes: Kubernetes;
    clock: Clock;
    nodePool: string;
    lease: LeaseState;
    sentAt: number;
    isNew: boolean;
    isAsSeen: boolean;
    lastActionId: string | undefined;
  }) {
    this.#kubernetes = held.kubernetes;
    this.#clock = held.clock;
    this.nodePool = held.nodePool;
    this.#lease = held.lease;
    this.#expiresAt = this.#expiryOf(held.sentAt);
    this.#isNew = held.isNew;
    this.isAsSeen = held.isAsSeen;
    this.lastActionId = held.lastActionId;
  }

  /** The annotations of the pool's Lease, as last written or read. */
  get annotations(): Readonly<Record<string, string>> {
    return this.#lease.annotations;
  }

  /**
   * Asked before each write. Renews the lock when less than 40 s are left, and resolves to the time that the write may
   * take, in ms. An instance that was throttled past the expiry finds out here, and stops.
   *
   * @throws {FailoverError} `upstream_timeout` when the lock has expired or was taken
   */
  readonly gate: Gate = async () => {
    this.#assertHeld();
    if (this.#leftMs() < renewBelowMs) {
      this.#renewal ??= this.#write((annotations) => annotations).finally(() => (this.#renewal = undefined));
      await this.#renewal;
      this.#assertHeld();
    }
    return this.#leftMs() - spareMs;
  };

  /** Changes the annotations of the pool's Lease. The same write renews the lock. */
  async update(change: Change): Promise<void> {
    while (this.#renewal) await this.#renewal;
    this.#renewal = this.#write(change).finally(() => (this.#renewal = undefined));
    await this.#renewal;
  }

  /** Changes the annotations with the next write of the Lease, at the latest with the release: it costs no write. */
  updateLater(change: Change): void {
    const earlier = this.#pending;
    this.#pending = (annotations) => change(earlier(annotations));
    this.#lease = { ...this.#lease, annotations: change({ ...this.#lease.annotations }) };
  }

  /**
   * Releases the lock, if it is still held.
   *
   * @param options.forget is for a refused action: the Lease of a pool to which nothing was ever done is deleted, because
   *   its name may have been a typo
   */
  async release({ forget }: { forget: boolean }): Promise<void> {
    if (this.#isLost || this.#leftMs() <= 0) return;
    // Once the lock has expired, there is nothing to release.
    const kubernetes = this.#kubernetes.within(this.#leftMs());
    if (await this.#free(kubernetes, this.#lease, forget)) return;
    // Somebody annotated the Lease, or a write of ours succeeded although its response was lost.
    const { name, uid, holder } = this.#lease;
    const current = await readLease(kubernetes, name);
    if (current?.uid === uid && current.holder === holder) await this.#free(kubernetes, current, forget);
  }

  async #free(kubernetes: Kubernetes, lease: LeaseState, forget: boolean): Promise<boolean> {
    if (forget && this.#isNew) return deleteLease(kubernetes, lease);
    const annotations = this.#pending({ ...lease.annotations });
    // A refused action leaves the pool as it found it, so that an unfinished action before it is still remembered.
    if (forget && this.lastActionId !== undefined) annotations[lastActionKey] = this.lastActionId;
    const times = { renewedAt: undefined, acquiredAt: undefined, durationSeconds: undefined };
    const freed = { ...lease, ...times, holder: undefined, annotations };
    return (await replaceLease(kubernetes, freed)) !== undefined;
  }

  async #write(change: Change): Promise<void> {
    const countConflict = limitConflicts(this.#lease.name);
    for (;;) {
      this.#assertHeld();
      const sentAt = this.#clock.now();
      const pending = this.#pending;
      const written = await replaceLease(this.#kubernetes, {
        ...this.#lease,
        renewedAt: this.#kubernetes.serverNow(),
        annotations: change(pending({ ...this.#lease.annotations })),
      });
      if (written) {
        this.#lease = written;
        if (this.#pending === pending) this.#pending = (annotations) => annotations;
        this.#expiresAt = this.#expiryOf(sentAt);
        return;
      }
      // Somebody else wrote the Lease, or our own write succeeded although its response was lost.
      const current = await readLease(this.#kubernetes, this.#lease.name);
      if (!current || current.uid !== this.#lease.uid || current.holder !== this.#lease.holder) {
        this.#isLost = true;
      } else {
        this.#lease = current;
        countConflict();
      }
    }
  }

  /** Others go by what the Lease says, which is too early where the API server's time was not known well when it was written. */
  #expiryOf(sentAt: number): number {
    const seenLeftMs = (this.#lease.renewedAt ?? 0) + durationSeconds * 1000 - this.#kubernetes.serverNow();
    return Math.min(sentAt + durationSeconds * 1000, this.#clock.now() + seenLeftMs);
  }

  #leftMs(): number {
    return this.#expiresAt - this.#clock.now();
  }

  #assertHeld(): void {
    if (!this.#isLost && this.#leftMs() > spareMs) return;
    this.#isLost = true;
    throw new FailoverError(
      'upstream_timeout',
      `the lock of node pool ${this.nodePool} has expired, so the action was stopped; send it again with the same id to resume it`,
    );
  }
}
