import type { Action } from '../../src/request/action.ts';
import type { ClusterView } from './world-view.ts';
import type { End } from './deeds.ts';
import type { SentCall } from './function-instance.ts';
import type { Violate } from './promises.ts';

interface DeletedPod {
  jobUid: string;
  attempt: string;
  index: string;
  nodeName: string | undefined;
}

/** A pod gets fewer seconds to end only where the caller says so, and only once its Job is certain to end. */
export class Graces {
  readonly #cluster: ClusterView;
  /** Every call that has ended an attempt. */
  readonly #ends: End[];
  readonly #violate: Violate;
  /** Nodes that were not Ready at any time: their pods may be freed. */
  readonly #sick = new Set<string>();

  constructor(cluster: ClusterView, ends: End[], violate: Violate) {
    this.#cluster = cluster;
    this.#ends = ends;
    this.#violate = violate;
  }

  observe(): void {
    for (const { metadata, status } of this.#cluster.nodes()) {
      const ready = status?.conditions?.find(({ type }) => type === 'Ready');
      if (ready?.status !== 'True') this.#sick.add(metadata.name);
    }
  }

  /**
   * Whether the deletion of a pod shortens its grace, and ends no attempt.
   */
  isShortened(call: SentCall, pod: DeletedPod, action: Action | undefined): boolean {
    const isCertain = this.#isEnding(pod.jobUid) || this.#isEndedBy(call, pod);
    if (action?.restartGraceSeconds !== undefined && isCertain) {
      this.#checkAttempt(call, pod);
      return true;
    }
    const { gracePeriodSeconds } = (call.body ?? {}) as { gracePeriodSeconds?: number };
    const mayBeFreed =
      gracePeriodSeconds === 0 &&
      (pod.nodeName === undefined ||
        this.#sick.has(pod.nodeName) ||
        this.#cluster.get('nodes', undefined, pod.nodeName) === undefined);
    const mayBeLeader = gracePeriodSeconds === 0 && pod.index === '0';
    if (!mayBeFreed && !mayBeLeader) {
      this.#violate('own-grace-holds', `${call.actionId} sends ${call.path}, whose Job need not end`);
    }
    return false;
  }

  /** Of the attempts that a plan can mean, only the first one that this action has ended. */
  #checkAttempt({ actionId, path }: SentCall, { attempt }: DeletedPod): void {
    const planned = this.#planned(actionId);
    if (planned === undefined || String(planned) === attempt) return;
    if (Number(attempt) < planned) return;
    this.#violate(
      'own-grace-holds',
      `${actionId} sends ${path} of attempt ${attempt}, and planned ${planned}`,
    );
  }

  #planned(actionId: string): number | undefined {
    const lease = this.#cluster
      .leases('autometric-failover-system')
      .find(({ metadata }) => metadata.annotations?.['autometric-failover/id'] === actionId);
    const plan = lease?.metadata.annotations?.['autometric-failover/plan'];
    const { restart } = JSON.parse(plan ?? '{}') as { restart?: { attempt: number } };
    return restart?.attempt;
  }

  #isEnding(jobUid: string): boolean {
    const job = this.#cluster.jobs().find(({ metadata }) => metadata.uid === jobUid);
    if (!job || job.metadata.deletionTimestamp !== undefined) return true;
    return (job.status.conditions ?? []).some(
      ({ type, status }) => ['FailureTarget', 'Failed'].includes(type) && status === 'True',
    );
  }

  /** The same request has deleted the leader of the attempt, which no Job with this backoffLimit survives. */
  #isEndedBy({ invocation }: SentCall, { attempt, jobUid }: DeletedPod): boolean {
    const job = this.#cluster.jobs().find(({ metadata }) => metadata.uid === jobUid);
    const isEnded = this.#ends.some(
      ({ call, attempt: ended }) =>
        call.invocation === invocation &&
        ended === attempt &&
        call.method === 'DELETE' &&
        call.status !== undefined,
    );
    return isEnded && job?.spec.backoffLimit === 0;
  }
}
