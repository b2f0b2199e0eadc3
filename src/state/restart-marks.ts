import { waitForAll } from '../ahead.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import type { RestartPlan } from '../plan.ts';
import { readMark, withMark, withoutMark } from './cooldown.ts';
import type { CooldownMark, Effect } from './cooldown.ts';
import { isAccepted } from './deed.ts';
import type { LeaseState } from './lease-format.ts';
import type { PoolLock } from './lock.ts';
import {
  acceptRestartMark,
  readMarkLease,
  readRestartMark,
  restoreRestartMark,
  writeRestartMark,
} from './restart-mark.ts';

/** The error that is about to be answered waits for this. */
const restorePatienceMs = 5_000;

/**
 * The two marks of a restart: the pool's, for the cooldown, and the JobSet's, so that each attempt is ended once. Both are
 * begun before anything is deleted, accepted once the deletion was, and taken back where it was not sent.
 */
export class RestartMarks {
  readonly #plan: RestartPlan;
  readonly #tools: { kubernetes: Kubernetes; lock: PoolLock; actionId: string };
  readonly #effect: Effect;
  /** What was there before this claim wrote its marks. Undefined while it has written none. */
  #before: { pool: CooldownMark | undefined; jobSet: LeaseState | undefined } | undefined;
  #at = '';
  #written: LeaseState | undefined;

  constructor(plan: RestartPlan, tools: { kubernetes: Kubernetes; lock: PoolLock; actionId: string }) {
    this.#plan = plan;
    this.#tools = tools;
    this.#effect = `restart ${plan.jobSet.namespace}/${plan.jobSet.name}`;
  }

  /**
   * Begins both marks.
   *
   * @param lease is the JobSet's Lease as it was read before the JobSet
   * @returns false where another action has written the JobSet's mark since; then no mark of this action is left
   */
  async begin(lease: LeaseState | undefined): Promise<boolean> {
    const { kubernetes, lock, actionId } = this.#tools;
    const { jobSet, attempt, job, jobs, leader } = this.#plan;
    const at = new Date(kubernetes.serverNow()).toISOString();
    const pool = readMark(lock.annotations, this.#effect);
    this.#before ??= { pool, jobSet: lease };
    this.#at = at;
    // A repetition is no reason to doubt what was accepted before.
    const wasAccepted = pool?.action === actionId && pool.attempt === attempt && isAccepted(pool);
    const state = wasAccepted ? ('accepted' as const) : ('begun' as const);
    const common = { action: actionId, at, jobSetUid: jobSet.uid, attempt, state };
    const jobUid = job?.uid ?? '';
    const recreated = jobs ? { jobUid } : {};
    const own = { jobUid, leaderUid: leader?.uid, ...(jobs ? { isRecreation: true } : {}) };
    // Whichever of the two is there alone, where this instance dies: nothing has been deleted.
    [, this.#written] = await waitForAll([
      lock.update((annotations) => withMark(annotations, this.#effect, { ...common, ...recreated })),
      writeRestartMark(kubernetes, jobSet, { ...common, ...own }, lease),
    ]);
    if (!this.#written) await this.takeBack();
    return this.#written !== undefined;
  }

  /** Marks the deletion as accepted, also for marks that an earlier claim of this action has begun. */
  async accept(): Promise<void> {
    const { kubernetes, lock, actionId } = this.#tools;
    await waitForAll([
      this.#acceptCooldown(lock, actionId),
      acceptRestartMark(kubernetes, this.#plan.jobSet, actionId, {
        known: this.#written,
        sent: this.isBegun ? readRestartMark(this.#written) : undefined,
      }),
    ]);
  }

  async #acceptCooldown(lock: PoolLock, actionId: string): Promise<void> {
    const mark = readMark(lock.annotations, this.#effect);
    if (mark?.action !== actionId || isAccepted(mark)) return;
    await lock.update((annotations) => withMark(annotations, this.#effect, { ...mark, state: 'accepted' }));
  }

  /** Whether this claim has begun marks that it has not taken back. */
  get isBegun(): boolean {
    return this.#before !== undefined;
  }

  /** Restores what was there before: the pool's mark with the next write of its lock, the JobSet's at once if possible. */
  async takeBack(): Promise<void> {
    if (!this.#before) return;
    const { kubernetes, lock } = this.#tools;
    const { pool, jobSet } = this.#before;
    this.#before = undefined;
    lock.updateLater((annotations) => withoutMark(annotations, this.#effect, pool));
    // Where this fails, the mark says no more than that a restart was begun.
    await this.#restoreJobSet(kubernetes.within(restorePatienceMs), jobSet).catch(() => undefined);
  }

  async #restoreJobSet(kubernetes: Kubernetes, before: LeaseState | undefined): Promise<void> {
    // Read again, because the mark may have been written although its answer was lost.
    const lease = await readMarkLease(kubernetes, this.#plan.jobSet);
    const mark = readRestartMark(lease);
    if (!lease || mark?.action !== this.#tools.actionId || mark.at !== this.#at) return;
    await restoreRestartMark(kubernetes, lease, before);
  }
}
