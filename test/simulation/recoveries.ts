import type { Action } from '../../src/request/action.ts';
import type { Incident } from '../../src/request/incident.ts';
import type { ClusterView } from './world-view.ts';
import type { JobSet, Node } from '../emulator/objects.ts';
import type { SentCall } from './function-instance.ts';
import type { Violate } from './promises.ts';

const attemptLabel = 'jobset.sigs.k8s.io/restart-attempt';
const recordPath = /\/leases\/action-[^/]+$/;
const restartMarkPath = /\/leases\/jobset-[^/]+$/;

/**
 * Never a healthy run restarted for an alert that is older than it, nor a machine deleted, nor a node cordoned: what the
 * alert was about was back before the request looked at it.
 */
export class Recoveries {
  readonly #cluster: ClusterView;
  readonly #calls: SentCall[];
  readonly #violate: Violate;
  /** How many nodes each pool had at the beginning. */
  readonly #poolSizes = new Map<string, number>();
  /** When each invocation began to look at what its latest plan rests on. */
  readonly #lookedAt = new Map<number, number>();
  readonly #lastMarkRead = new Map<number, number>();
  readonly #plans = new Map<number, string>();

  constructor(cluster: ClusterView, calls: SentCall[], violate: Violate) {
    this.#cluster = cluster;
    this.#calls = calls;
    this.#violate = violate;
    for (const { metadata } of cluster.nodes()) {
      const pool = metadata.labels?.['cloud.google.com/gke-nodepool'] ?? '';
      this.#poolSizes.set(pool, (this.#poolSizes.get(pool) ?? 0) + 1);
    }
  }

  onSend(call: SentCall): void {
    const { invocation, method, path, at } = call;
    if (method === 'GET' && restartMarkPath.test(path)) this.#lastMarkRead.set(invocation, at);
    if (method !== 'PUT' || !recordPath.test(path)) return;
    const body = call.body as { metadata?: { annotations?: Record<string, string> } } | undefined;
    const plan = body?.metadata?.annotations?.['autometric-failover/plan'];
    if (plan === undefined) return;
    // A second plan rests on what was read since the restart of the first one was found to be over.
    const before = this.#plans.get(invocation);
    const markReadAt = this.#lastMarkRead.get(invocation);
    if (before !== undefined && before !== plan && markReadAt !== undefined) {
      this.#lookedAt.set(invocation, markReadAt);
    }
    this.#plans.set(invocation, plan);
  }

  /**
   * An action cordons a node, restarts the run, or deletes a machine.
   *
   * @param held is the pool's lock, and since when it was wanted
   */
  onDeed(call: SentCall, action: Action, held: { nodePool: string; since: number }, what: string): void {
    const { incident } = action;
    if (!incident || incident.isClosed || this.hasActed(action.id)) return;
    const overSince = this.#findOverSince(action, incident, held.nodePool);
    const lookedAt = this.#lookedAt.get(call.invocation) ?? held.since;
    if (overSince === undefined || overSince > lookedAt) return;
    this.#violate(
      'recovered-is-over',
      `${action.id} ${what} for an incident of ${toTime(incident.startedAt)}, which was over since ${toTime(overSince)}`,
    );
  }

  /** Nobody is told that the JobSet has restarted since the incident began while its run is older. */
  onIgnored({ id, incident }: Action, message: string): void {
    if (!incident || !/^recovered: JobSet .* has restarted/.test(message)) return;
    const jobs = this.#currentJobs();
    if (!jobs.every((createdAt) => createdAt > incident.startedAt)) {
      this.#violate(
        'told-by-deeds',
        `${id} is told that the JobSet has restarted, but its run is older than the incident`,
      );
    }
    // A restart that waits for a pod on a dead node waits for ever, and only an alert about the JobSet tells of it.
    if (incident.subject?.kind === 'jobset' && jobs.length === 0) {
      this.#violate(
        'told-by-deeds',
        `${id} is told that the JobSet has restarted, but its restart has not come to an end`,
      );
    }
  }

  /** What an action has done itself it may finish. */
  hasActed(id: string): boolean {
    return this.#calls.some(
      ({ actionId, method, path, api, status }) =>
        actionId === id &&
        status === 200 &&
        (api === 'compute' ? method === 'DELETE' : /\/(pods|jobs)\//.test(path) && method !== 'GET'),
    );
  }

  #findOverSince(action: Action, incident: Incident, nodePool: string): number | undefined {
    const { restart, repair, cordon } = action.effects;
    const isOfRun = incident.subject?.kind === 'jobset';
    const times: (number | undefined)[] = [];
    if ((restart || repair || cordon) && !isOfRun) {
      times.push(this.#findBackSince(action, incident, nodePool));
    }
    if (restart || isOfRun) times.push(this.#findRunSince(incident));
    const found = times.flatMap((time) => time ?? []);
    // Kubernetes tells times in whole seconds.
    return found.length > 0 && found.length === times.length ? Math.max(...found) + 1_000 : undefined;
  }

  /** Since when the named node, or the whole pool, is Ready again after the incident began. */
  #findBackSince(action: Action, incident: Incident, nodePool: string): number | undefined {
    const { displayName } = incident;
    const name = action.nodeName ?? (displayName === '' ? undefined : displayName);
    const nodes = this.#cluster
      .nodes(nodePool)
      .filter(({ metadata }) => name === undefined || metadata.name === name);
    if (nodes.length !== (name === undefined ? (this.#poolSizes.get(nodePool) ?? 0) : 1)) return undefined;
    const times = nodes.flatMap((node) => readBackAt(node) ?? []);
    if (times.length < nodes.length) return undefined;
    const backSince = Math.max(...times);
    return backSince > incident.startedAt ? backSince : undefined;
  }

  /** Since when the JobSet's current attempt has all its Jobs, if all of them are younger than the incident. */
  #findRunSince({ startedAt }: Incident): number | undefined {
    const jobs = this.#currentJobs();
    const wanted = this.#jobSet()?.spec.replicatedJobs.reduce((sum, { replicas = 1 }) => sum + replicas, 0);
    if (jobs.length !== wanted || !jobs.every((createdAt) => createdAt > startedAt)) return undefined;
    return Math.max(...jobs);
  }

  #jobSet(): JobSet | undefined {
    return this.#cluster.jobsets('default')[0];
  }

  /** When each Job of the current attempt was created. */
  #currentJobs(): number[] {
    const attempt = String(this.#jobSet()?.status?.restarts ?? 0);
    return this.#cluster
      .jobs('default')
      .filter(({ metadata }) => metadata.labels?.[attemptLabel] === attempt)
      .map(({ metadata }) => Date.parse(metadata.creationTimestamp ?? ''));
  }
}

/** When a node that is Ready was created or became Ready, whichever was later. */
function readBackAt({ metadata, status }: Node): number | undefined {
  const ready = status.conditions.find(({ type }) => type === 'Ready');
  if (ready?.status !== 'True') return undefined;
  return Math.max(Date.parse(metadata.creationTimestamp ?? ''), Date.parse(ready.lastTransitionTime ?? ''));
}

function toTime(ms: number): string {
  return new Date(ms).toISOString().slice(11, 23);
}
