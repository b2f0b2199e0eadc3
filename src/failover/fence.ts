import type { Config } from '../config.ts';
import { cordonOnce, cordonPool } from '../effects/cordon.ts';
import { listSchedulable } from '../gke/nodes.ts';
import type { NodeRef } from '../gke/nodes.ts';
import type { Action } from '../request/action.ts';
import { readMark } from '../state/cooldown.ts';
import { readLease } from '../state/lease.ts';
import type { LeaseState } from '../state/lease-format.ts';
import { toLockName } from '../state/pool-lease.ts';
import { readSwitches, refusePaused } from '../state/switches.ts';
import { refuseVetoed } from '../state/veto.ts';
import type { Claim } from './claim.ts';

/** What stands before each deletion of an action: nobody has paused the cluster, and its pool is cordoned, if it is to be. */
export class Fence {
  readonly #action: Action;
  readonly #claim: Claim;
  /** How nodes are cordoned. What an earlier claim has deleted is known from the marks as they are before this one writes any. */
  readonly options: Parameters<typeof cordonPool>[2];
  #isWhole = false;
  #cordoned = 0;
  #lease: LeaseState | undefined;

  constructor(action: Action, claim: Claim, { cordonConcurrency }: Config) {
    this.#action = action;
    this.#claim = claim;
    const createdBefore = findDeletionTime(action, claim);
    this.options = { actionId: action.id, concurrency: cordonConcurrency, createdBefore };
  }

  /** How many nodes this claim has cordoned. */
  get cordoned(): number {
    return this.#cordoned;
  }

  /** The Lease `cluster` as it was read by the last check. Undefined before the first. */
  get clusterLease(): LeaseState | undefined {
    return this.#lease;
  }

  /** Cordons the listed nodes; the check before a deletion, or {@link settle}, must follow. */
  async begin(schedulable: NodeRef[]): Promise<void> {
    const { kubernetes, nodePool } = this.#claim;
    this.#cordoned += await cordonOnce(kubernetes, { nodePool, schedulable }, this.options);
  }

  /** Cordons the pool until a fresh list shows nothing that is still schedulable. @returns whether there was anything to cordon */
  async cordon(schedulable?: NodeRef[]): Promise<boolean> {
    const { kubernetes, nodePool } = this.#claim;
    const before = this.#cordoned;
    const pool = { nodePool, cordoned: before, ...(schedulable ? { schedulable } : {}) };
    this.#cordoned = await cordonPool(kubernetes, pool, this.options);
    this.#isWhole = true;
    return this.#cordoned > before;
  }

  /**
   * The last check before each deletion: nobody has paused the cluster or keeps this function away from the pool, nodes that
   * joined are cordoned too, and nobody has uncordoned a node that this action cordoned. All is read at the same time. Where a
   * node had to be cordoned, all is read again, because that takes time.
   *
   * @returns `cordoned` where there was a node to cordon
   * @throws {FailoverError} `paused`, `target_changed`
   */
  async check(): Promise<'cordoned' | undefined> {
    const { kubernetes, nodePool } = this.#claim;
    for (let found: 'cordoned' | undefined; ; found = 'cordoned') {
      const [switches, pool, schedulable] = await Promise.all([
        readSwitches(kubernetes),
        readLease(kubernetes, toLockName(nodePool)),
        this.#action.effects.cordon ? listSchedulable(kubernetes, nodePool) : [],
      ]);
      this.#lease = switches.lease;
      refusePaused(switches);
      refuseVetoed(pool?.annotations ?? {}, nodePool, switches.serverNow);
      if (!(await this.cordon(schedulable))) return found;
    }
  }

  /**
   * Makes sure that the pool is cordoned where nothing was deleted after all, so that nobody has checked it.
   *
   * @throws {FailoverError} `target_changed`
   */
  async settle(): Promise<void> {
    if (this.#isWhole || !this.#action.effects.cordon) return;
    await this.cordon();
  }
}

/**
 * Finds when an earlier claim of this action was about to delete the machine. All nodes were cordoned by then. Nodes that
 * are younger replace them, and nobody asked to cordon those.
 */
function findDeletionTime({ id }: Action, { lock }: Claim): number | undefined {
  const mark = readMark(lock.annotations, 'repair');
  return mark?.action === id ? Date.parse(mark.firstAt ?? mark.at) : undefined;
}
