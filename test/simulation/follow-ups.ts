import { effectsOf } from '../../src/action-type.ts';
import type { Action } from '../../src/request/action.ts';
import type { ClusterView } from './world-view.ts';
import type { SentCall } from './function-instance.ts';
import type { Violate } from './promises.ts';
import { isRelease } from './sent-calls.ts';

const attemptLabel = 'jobset.sigs.k8s.io/restart-attempt';
const releaseSuffix = '.uncordon';
const escalationSuffix = '.on-failure';

/** What may follow from an action, each as an action of its own. */
export function foresee(action: Action): Action[] {
  const { incident: _, id, onFailure, uncordonWhenRepaired, ...shared } = action;
  const follow = (suffix: string, type: Action['type']): Action => ({
    ...shared,
    id: `${id}${suffix}`,
    type,
    effects: effectsOf[type],
    uncordonWhenRepaired: uncordonWhenRepaired === true && suffix === escalationSuffix,
  });
  const escalation = onFailure && follow(escalationSuffix, onFailure);
  return [
    ...(escalation ? [escalation, ...foresee(escalation)] : []),
    ...(uncordonWhenRepaired === true ? [follow(releaseSuffix, 'uncordon_nodepool')] : []),
  ];
}

/** Never is a run that is back escalated for, and never is a pool released that is not whole. */
export class FollowUps {
  readonly #cluster: ClusterView;
  readonly #violate: Violate;
  readonly #now: () => number;
  readonly #poolSizes = new Map<string, number>();
  /** Since when each pool is whole, or not, as far as anybody looked. */
  readonly #wholeness = new Map<string, { isWhole: boolean; since: number }>();
  #runBack: { attempt: number; since: number } | undefined;

  constructor(cluster: ClusterView, violate: Violate, now: () => number) {
    this.#cluster = cluster;
    this.#violate = violate;
    this.#now = now;
    for (const { metadata } of cluster.nodes()) {
      const pool = metadata.labels?.['cloud.google.com/gke-nodepool'] ?? '';
      this.#poolSizes.set(pool, (this.#poolSizes.get(pool) ?? 0) + 1);
    }
  }

  /** Something may have changed in the world. */
  observe(): void {
    const now = this.#now();
    for (const [pool, size] of this.#poolSizes) {
      const isWhole = this.#countReady(pool) === size;
      if (this.#wholeness.get(pool)?.isWhole !== isWhole) this.#wholeness.set(pool, { isWhole, since: now });
    }
    const attempt = this.#findAttemptThatIsBack();
    if (attempt === undefined) this.#runBack = undefined;
    else if (attempt !== this.#runBack?.attempt) this.#runBack = { attempt, since: now };
  }

  /**
   * An action cordons a node, restarts the run, or deletes a machine.
   *
   * @param since is when the pool's lock was wanted: what became true later it need not know
   * @param hasActed is true where it has deleted something before, which it may finish
   */
  onDeed({ actionId }: SentCall, { since, hasActed }: { since: number; hasActed: boolean }): void {
    if (!actionId.endsWith(escalationSuffix) || hasActed) return;
    this.observe();
    if (!this.#runBack || this.#runBack.since >= since) return;
    this.#violate('no-needless-escalation', `${actionId} acts, though the run is back`);
  }

  /** A verdict is written. @param lookedAt is when its reconcile looked */
  onVerdict(id: string, verdict: string, ended: number | undefined, lookedAt: number): void {
    if (verdict !== 'not_recovered' || ended === undefined) return;
    this.observe();
    const back = this.#runBack;
    if (!back || back.attempt <= ended || back.since >= lookedAt) return;
    this.#violate(
      'verdicts-are-true',
      `${id} is not recovered, but its run is back in attempt ${back.attempt}`,
    );
  }

  /** A node is released. */
  onSend(call: SentCall, held: { nodePool: string; since: number } | undefined): void {
    if (!held || !isRelease(call) || !call.actionId.endsWith(releaseSuffix)) return;
    this.observe();
    const state = this.#wholeness.get(held.nodePool);
    if (!state || state.isWhole || state.since >= held.since) return;
    this.#violate('whole-before-release', `${call.actionId} releases ${held.nodePool}, which is not whole`);
  }

  #countReady(pool: string): number {
    const isReady = (each: { type: string; status: string }) =>
      each.type === 'Ready' && each.status === 'True';
    return this.#cluster.nodes(pool).filter(({ status }) => status.conditions.some(isReady)).length;
  }

  /** The attempt of which every pod is Ready, on nodes that nobody has cordoned. */
  #findAttemptThatIsBack(): number | undefined {
    const [jobSet] = this.#cluster.jobsets('default');
    if (!jobSet) return undefined;
    const attempt = jobSet.status?.restarts ?? 0;
    const cordoned = new Set(
      this.#cluster
        .nodes()
        .filter(({ spec }) => spec.unschedulable === true)
        .map(({ metadata }) => metadata.name),
    );
    const well = this.#cluster
      .pods('default')
      .filter(
        ({ metadata, spec, status }) =>
          metadata.labels?.[attemptLabel] === String(attempt) &&
          metadata.deletionTimestamp === undefined &&
          status.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') === true &&
          !cordoned.has(spec.nodeName ?? ''),
      );
    const wanted = jobSet.spec.replicatedJobs.reduce(
      (sum, { replicas = 1, template }) => sum + replicas * (template.spec.parallelism ?? 1),
      0,
    );
    return well.length >= wanted ? attempt : undefined;
  }
}
