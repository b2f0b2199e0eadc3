import type { Clock } from '../clock.ts';
import { FailoverError } from '../errors.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { createLease, deleteLease, limitConflicts, readLease, replaceLease } from './lease.ts';
import type { LeaseState } from './lease.ts';
import { prefix } from '../names.ts';
import type { Gate } from '../gke/retry.ts';

const durationSeconds = 60;
const renewBelowMs = 40_000;
/** Both sides keep away from the moment of expiry by this much: the clocks differ, and a call takes time. */
const spareMs = 10_000;

const lastActionKey = `${prefix}last-action`;

/** Who is in the way of a lock. */
export interface LockBusy {
  heldBy: { id: string };
}

/**
 * Takes the lock of a node pool, unless another holder's has not expired yet by the API server's clock.
 *
 * The holder is `<action id>/<attempt>`: a second delivery of an action that is still running does not hold it.
 */
export async function acquirePoolLock(
  kubernetes: Kubernetes,
  clock: Clock,
  nodePool: string,
  owner: { id: string; claimId: string },
): Promise<PoolLock | LockBusy> {
  const name = toLockName(nodePool);
  const holder = `${owner.id}/${owner.claimId}`;
  let found: LeaseState | undefined;
  const countConflict = limitConflicts(name);
  for (;;) {
    const current = await readLease(kubernetes, name);
    // A create or replace whose answer was lost has worked after all: it is replaced once more.
    const isOurs = current?.holder === holder;
    if (!isOurs) found = current;
    const isFree = !current?.holder || isOurs || isExpired(current, kubernetes.serverNow());
    if (!isFree) return { heldBy: { id: current?.holder?.split('/')[0] ?? '' } };
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
        lastActionId: found?.annotations[lastActionKey],
      });
    }
    countConflict();
  }
}

/** Says whether a lock may be taken from its holder. */
function isExpired(lease: LeaseState, serverNow: number): boolean {
  const expiresAt = (lease.renewedAt ?? 0) + (lease.durationSeconds ?? 0) * 1000;
  return expiresAt + spareMs < serverNow;
}

/** Reads a pool's marks without taking its lock, for a dry run. */
export async function readPoolMarks(
  kubernetes: Kubernetes,
  nodePool: string,
): Promise<Record<string, string>> {
  return (await readLease(kubernetes, toLockName(nodePool)))?.annotations ?? {};
}

function toLockName(nodePool: string): string {
  return `pool-${nodePool}`;
}

/** A node pool's lock while this attempt holds it: the gate before each of its writes, and the pool's memory. */
export class PoolLock {
  readonly nodePool: string;
  /** The action that held the lock last; undefined on a new pool. */
  readonly lastActionId: string | undefined;
  readonly #kubernetes: Kubernetes;
  readonly #clock: Clock;
  readonly #isNew: boolean;
  #lease: LeaseState;
  /** By this instance's clock, from when the last successful renewal was *sent*. */
  #expiresAt: number;
  #renewal: Promise<void> | undefined;
  #isLost = false;

  constructor(held: {
    kubernetes: Kubernetes;
    clock: Clock;
    nodePool: string;
    lease: LeaseState;
    sentAt: number;
    isNew: boolean;
    lastActionId: string | undefined;
  }) {
    this.#kubernetes = held.kubernetes;
    this.#clock = held.clock;
    this.nodePool = held.nodePool;
    this.#lease = held.lease;
    this.#expiresAt = held.sentAt + durationSeconds * 1000;
    this.#isNew = held.isNew;
    this.lastActionId = held.lastActionId;
  }

  /** The pool's marks, as last written or read. */
  get annotations(): Readonly<Record<string, string>> {
    return this.#lease.annotations;
  }

  /**
   * Lets a write through for as long as it may take: renews the lock when less than 40 s are left, and stops the action
   * once it is too late, which an instance that was throttled finds out here.
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

  /** Changes the pool's marks, renewing the lock with the same write. */
  async update(change: (annotations: Record<string, string>) => Record<string, string>): Promise<void> {
    while (this.#renewal) await this.#renewal;
    this.#assertHeld();
    this.#renewal = this.#write(change).finally(() => (this.#renewal = undefined));
    await this.#renewal;
  }

  /**
   * Gives the lock back, if it is still held. A pool that nothing was done to is forgotten: its name may have been a typo.
   *
   * @param options.forget is for an action that was refused
   */
  async release({ forget }: { forget: boolean }): Promise<void> {
    if (this.#isLost || this.#leftMs() <= 0) return;
    // Once it has expired, there is nothing to give back.
    const kubernetes = this.#kubernetes.within(this.#leftMs());
    if (await this.#free(kubernetes, this.#lease, forget)) return;
    // Somebody annotated it, or a write of ours landed without an answer.
    const { name, uid, holder } = this.#lease;
    const current = await readLease(kubernetes, name);
    if (current?.uid === uid && current.holder === holder) await this.#free(kubernetes, current, forget);
  }

  async #free(kubernetes: Kubernetes, lease: LeaseState, forget: boolean): Promise<boolean> {
    if (forget && this.#isNew) return deleteLease(kubernetes, lease);
    const annotations = { ...lease.annotations };
    // A refused action leaves the pool as it found it, so that an unfinished one before it is still remembered.
    if (forget && this.lastActionId !== undefined) annotations[lastActionKey] = this.lastActionId;
    const times = { renewedAt: undefined, acquiredAt: undefined, durationSeconds: undefined };
    const freed = { ...lease, ...times, holder: undefined, annotations };
    return (await replaceLease(kubernetes, freed)) !== undefined;
  }

  async #write(change: (annotations: Record<string, string>) => Record<string, string>): Promise<void> {
    const countConflict = limitConflicts(this.#lease.name);
    for (;;) {
      this.#assertHeld();
      const sentAt = this.#clock.now();
      const written = await replaceLease(this.#kubernetes, {
        ...this.#lease,
        renewedAt: this.#kubernetes.serverNow(),
        annotations: change({ ...this.#lease.annotations }),
      });
      if (written) {
        this.#lease = written;
        this.#expiresAt = sentAt + durationSeconds * 1000;
        return;
      }
      // Somebody else wrote it, or our own write landed without an answer.
      const current = await readLease(this.#kubernetes, this.#lease.name);
      if (!current || current.uid !== this.#lease.uid || current.holder !== this.#lease.holder) {
        this.#isLost = true;
        this.#assertHeld();
      } else {
        this.#lease = current;
        countConflict();
      }
    }
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
