import { effectsOf } from '../../src/action-type.ts';
import type { Config } from '../../src/config.ts';
import type { Action } from '../../src/request/action.ts';
import type { RecordedStep } from '../../src/step.ts';
import type { Node } from '../emulator/objects.ts';
import type { ClusterView, MachinesView } from './world-view.ts';
import { Answers } from './answers.ts';
import { Approvals } from './approvals.ts';
import { checkAttempts } from './attempts.ts';
import type { Attempt } from './attempts.ts';
import { Closes } from './closes.ts';
import { Deeds } from './deeds.ts';
import { Graces } from './graces.ts';
import { FollowUps, foresee } from './follow-ups.ts';
import { findTwoHands } from './gkes-hands.ts';
import type { SentCall } from './function-instance.ts';
import { Limits } from './limits.ts';
import type { PromiseId, Violate } from './promises.ts';
import { Recoveries } from './recoveries.ts';
import { Records } from './records.ts';
import { isCordon, isMachineDeletion, nodePath } from './sent-calls.ts';
import type { VirtualTime } from './virtual-time.ts';

const leasePath = /\/namespaces\/autometric-failover-system\/leases(?:\/(.+))?$/;
const podPath = /^\/api\/v1\/namespaces\/[^/]+\/pods\/([^/]+)$/;
const jobPath = /^\/apis\/batch\/v1\/namespaces\/[^/]+\/jobs\/([^/]+)$/;
const restartMarkPath = /\/leases\/jobset-[^/]+$/;
const restartWindowMs = 240_000;

interface Held {
  nodePool: string;
  /** `<action id>/<claim id>` */
  holder: string;
  since: number;
}

/** Which attempt of which JobSet something belongs to. */
interface Run {
  /** The JobSet's uid. */
  jobSet: string;
  attempt: string;
}

interface KnownPod extends Run {
  jobUid: string;
  index: string;
  nodeName: string | undefined;
}

/** Something that ends an attempt, or a Job that is made anew in the same attempt. */
interface Restart extends Run {
  action: string;
  call: SentCall;
  /** What nobody else may end. */
  subject: string;
}

/** Watches what the instances send and what becomes of the world, and says what must never be. */
export class Invariants {
  readonly calls: SentCall[] = [];
  readonly limits: Limits;
  readonly approvals: Approvals;
  readonly #deeds = new Deeds(this.calls, (promise, what) => this.violate(promise, what));
  readonly #recoveries: Recoveries;
  readonly #closes: Closes;
  readonly #records: Records;
  readonly #followUps: FollowUps;
  readonly #graces: Graces;
  readonly #config: Config;
  readonly #violations: string[] = [];
  readonly #emulator: MachinesView;
  readonly #cluster: ClusterView;
  readonly #time: Pick<VirtualTime, 'now'>;
  readonly #actions = new Map<string, Action>();
  /** The pool locks that each invocation has taken, by what it wrote. A reconcile may take several. */
  readonly #holders = new Map<number, Map<string, Held>>();
  readonly #pods = new Map<string, KnownPod>();
  readonly #jobs = new Map<string, Run>();
  /** uid of each node that a person has cordoned and not released. */
  readonly #personal = new Map<string, string>();
  /** When a person released a node of a pool: what an earlier action has cordoned there is another question. */
  readonly #releasedAt = new Map<string, number>();
  readonly #firstNodes: Map<string, string>;
  /** When each action first wanted the lock of its pool. */
  readonly #begunAt = new Map<string, number>();
  /** Invocations that have read the mark of a JobSet's last restart. */
  readonly #restarting = new Set<number>();
  /** Pods that were on a dead node when an invocation began to delete them. */
  readonly #freed = new Set<string>();
  readonly #restarts: Restart[] = [];
  readonly #answers = new Answers(
    { calls: this.calls, ends: this.#deeds.ends, restarts: this.#restarts },
    (promise, what) => this.violate(promise, what),
  );

  constructor({
    emulator,
    cluster,
    time,
    config,
    limits,
  }: {
    emulator: MachinesView;
    cluster: ClusterView;
    time: Pick<VirtualTime, 'now'>;
    config: Config;
    /** Where other parts of the cluster count too. */
    limits?: Limits;
  }) {
    this.#emulator = emulator;
    this.#cluster = cluster;
    this.#time = time;
    const violate: Violate = (promise, what) => this.violate(promise, what);
    this.approvals = new Approvals(cluster, violate);
    this.limits = limits ?? new Limits(Number(config.maxPoolsPerHour), violate);
    this.#recoveries = new Recoveries(cluster, this.calls, violate);
    this.#closes = new Closes(cluster, violate);
    this.#config = config;
    this.#followUps = new FollowUps(cluster, violate, () => time.now);
    this.#graces = new Graces(cluster, this.#deeds.ends, violate);
    this.#records = new Records(emulator, cluster, this.#followUps, violate);
    this.#firstNodes = new Map(
      cluster.nodes().map(({ metadata }) => [metadata.uid ?? '', metadata.name ?? '']),
    );
    this.observe();
  }

  violate(promise: PromiseId, what: string): void {
    this.#violations.push(`${promise}: ${what}`);
  }

  onAction(action: Action): void {
    this.#actions.set(action.id, action);
    for (const following of foresee(action)) this.#actions.set(following.id, following);
    this.approvals.onAction(action);
    this.#closes.onAction(action);
  }

  /** An action was answered with its steps. */
  onDone(action: Action, steps: RecordedStep[]): void {
    this.#deeds.onSteps(action.id, steps);
    this.#answers.onDone(action.id, steps);
    this.#closes.onDone(action);
    this.#noteClosed(action);
  }

  /** An alert was answered with why nothing is done. */
  onIgnored(action: Action, message: string): void {
    this.#deeds.onIgnored(action.id, message);
    this.#recoveries.onIgnored(action, message);
    this.#noteClosed(action);
  }

  #noteClosed(action: Action): void {
    if (action.incident?.isClosed) this.#closes.onClosed(action, this.#time.now);
  }

  onDisturbance(kind: string, pool: string, node: string): void {
    this.#closes.prune();
    const uid = this.#cluster.get('nodes', undefined, node)?.metadata.uid ?? '';
    if (kind === 'person_cordons') this.#personal.set(uid, node);
    if (kind === 'person_uncordons') {
      this.#personal.delete(uid);
      this.#releasedAt.set(pool, this.#time.now);
    }
  }

  /** Remembers which pod belongs to which attempt: it is gone when the question comes. */
  observe(): void {
    this.#followUps.observe();
    this.#graces.observe();
    for (const { metadata, spec } of this.#cluster.pods()) {
      const labels = metadata.labels ?? {};
      this.#pods.set(metadata.uid ?? '', {
        ...readRun(labels),
        jobUid: metadata.ownerReferences?.[0]?.uid ?? '',
        index: labels['batch.kubernetes.io/job-completion-index'] ?? '',
        nodeName: spec.nodeName,
      });
    }
    for (const { metadata } of this.#cluster.jobs()) {
      this.#jobs.set(metadata.uid ?? '', readRun(metadata.labels));
    }
  }

  onSend(call: SentCall): void {
    this.calls.push(call);
    if (restartMarkPath.test(call.path)) this.#restarting.add(call.invocation);
    this.limits.onSend(call);
    this.#recoveries.onSend(call);
    this.#records.onSend(call);
    if (call.method !== 'GET') this.#noteHolder(call);
    const held = this.#heldBy(call);
    // A reconcile frees the pods of one action after the other.
    if (call.actionId === 'reconcile' && held && this.#isDeletion(call)) {
      call.actionId = held.holder.split('/')[0] ?? '';
    }
    this.#followUps.onSend(call, held);
    this.#closes.onSend(call, this.#actions.get(call.actionId), held?.nodePool);
    if (call.method === 'GET') return;
    const isDeletion = this.#isDeletion(call);
    if (isDeletion || nodePath.test(call.path)) {
      this.#assertHoldsLock(call);
      this.approvals.onWrite(call);
    }
    if (isDeletion) {
      this.observe();
      this.#assertAllCordoned(call);
      this.#records.onDeletion(call);
      this.#noteRestart(call);
    }
    if (isMachineDeletion(call)) this.#onDeed(call, 'deletes a machine');
    if (isDeletion || isCordon(call)) this.limits.onWrite(call);
    if (isCordon(call)) this.#onDeed(call, 'cordons a node');
  }

  /** A node is cordoned, the run is restarted, or a machine is deleted. Pods that are freed later are neither. */
  #onDeed(call: SentCall, what: string): void {
    const action = this.#actions.get(call.actionId);
    const held = this.#heldBy(call);
    if (!action || !held) return;
    this.limits.onDeed(call, held.nodePool);
    this.#followUps.onDeed(call, { since: held.since, hasActed: this.#recoveries.hasActed(action.id) });
    this.#closes.onDeed(call, action);
    this.#recoveries.onDeed(call, action, held, what);
  }

  /** What was wrong until now. */
  get violations(): string[] {
    return [...new Set(this.#violations)];
  }

  /** What is wrong, once everything is over. */
  conclude(): string[] {
    this.#checkDeletions();
    this.#checkRestarts();
    this.#checkPersonalCordons();
    this.#checkAttempts();
    this.limits.conclude();
    return this.violations;
  }

  #isDeletion(call: SentCall): boolean {
    const { method, path } = call;
    return (
      isMachineDeletion(call) ||
      (method === 'DELETE' && podPath.test(path)) ||
      ((method === 'PATCH' || method === 'DELETE') && jobPath.test(path))
    );
  }

  #noteHolder(call: SentCall): void {
    if (!leasePath.test(call.path)) return;
    const body = call.body as
      { metadata?: { name?: string }; spec?: { holderIdentity?: string } } | undefined;
    const name = body?.metadata?.name ?? '';
    const holder = body?.spec?.holderIdentity;
    if (!name.startsWith('pool-') || !holder) return;
    const nodePool = name.slice('pool-'.length);
    const all = this.#holders.get(call.invocation) ?? new Map<string, Held>();
    const before = all.get(nodePool);
    const since = before?.holder === holder ? before.since : call.at;
    const [actionId = ''] = holder.split('/');
    if (!this.#begunAt.has(actionId)) this.#begunAt.set(actionId, call.at);
    // The last one comes last.
    all.delete(nodePool);
    this.#holders.set(call.invocation, all.set(nodePool, { nodePool, holder, since }));
  }

  /** The lock under which something is sent: of several, that of the pool that it is about. */
  #heldBy({ invocation, path, body }: SentCall): Held | undefined {
    const all = this.#holders.get(invocation);
    if (!all) return undefined;
    const { preconditions } = (body ?? {}) as { preconditions?: { uid?: string } };
    const name = nodePath.exec(path)?.[1] ?? this.#pods.get(preconditions?.uid ?? '')?.nodeName;
    const node = name === undefined ? undefined : this.#cluster.get('nodes', undefined, name);
    return (
      all.get(node?.metadata.labels?.['cloud.google.com/gke-nodepool'] ?? '') ?? [...all.values()].at(-1)
    );
  }

  /** Never two holders sending writes to a pool at once. */
  #assertHoldsLock(call: SentCall): void {
    const held = this.#heldBy(call);
    const lease = held && this.#cluster.get('leases', 'autometric-failover-system', `pool-${held.nodePool}`);
    if (held && lease?.spec?.holderIdentity === held.holder) return;
    this.violate(
      'lock-first',
      `${call.actionId} sends ${call.method} ${call.path} at ${this.#elapsed(call.at)} without the lock of its pool, ` +
        `which is ${lease?.spec?.holderIdentity ?? 'nobody'}'s`,
    );
  }

  /** Never a deletion before all cordons. */
  #assertAllCordoned(call: SentCall): void {
    const action = this.#actions.get(call.actionId);
    const pool = this.#heldBy(call)?.nodePool;
    if (!action || pool === undefined || !effectsOf[action.type].cordon) return;
    const begunAt = this.#begunAt.get(call.actionId) ?? 0;
    if ((this.#releasedAt.get(pool) ?? 0) >= begunAt) return;
    // Kubernetes tells times in whole seconds. What came later is a replacement, which stays as it is.
    const isOlder = ({ metadata: { uid, creationTimestamp } }: Node) =>
      this.#firstNodes.has(uid ?? '') || Date.parse(creationTimestamp ?? '') + 1_000 < begunAt;
    const open = this.#cluster.nodes(pool).filter((node) => isOlder(node) && !node.spec.unschedulable);
    if (open.length > 0) {
      this.violate(
        'cordon-first',
        `${call.actionId} deletes with ${open[0]?.metadata.name} still schedulable`,
      );
    }
  }

  #noteRestart(call: SentCall): void {
    const body = call.body as { preconditions?: { uid?: string }; metadata?: { uid?: string } } | undefined;
    if (jobPath.test(call.path)) {
      this.#onDeed(call, 'restarts the run');
      const uid = body?.metadata?.uid ?? body?.preconditions?.uid ?? '';
      const run = this.#jobs.get(uid) ?? { jobSet: '?', attempt: '?' };
      // A Job that is deleted is made anew in the same attempt.
      this.#onRestart(call, run, call.method === 'DELETE' ? `Job ${uid}` : toSubject(run));
      this.#deeds.onEnd({ attempt: run.attempt, call });
    }
    if (!podPath.test(call.path)) return;
    const pod = this.#pods.get(body?.preconditions?.uid ?? '');
    if (!pod) {
      this.violate(
        'known-pods-only',
        `${call.actionId} deletes a pod that was never seen, or without its uid`,
      );
    }
    const isShortened = pod && this.#graces.isShortened(call, pod, this.#actions.get(call.actionId));
    if (pod?.index === '0') this.#deeds.onEnd({ attempt: pod.attempt, call });
    if (pod?.index === '0' && !isShortened && !this.#isFreed(call, pod.nodeName)) {
      this.#onDeed(call, 'restarts the run');
      this.#onRestart(call, pod, toSubject(pod));
    }
  }

  #onRestart(call: SentCall, { jobSet, attempt }: Run, subject: string): void {
    this.#restarts.push({ jobSet, attempt, subject, action: call.actionId, call });
  }

  /**
   * A pod on a dead node is freed, which is no restart of its own; it stays so while it is tried again, and in a replay, which
   * restarts nothing and so never reads the JobSet's mark.
   */
  #isFreed({ invocation, path }: SentCall, nodeName: string | undefined): boolean {
    if (!this.#restarting.has(invocation)) return true;
    const key = `${invocation} ${path}`;
    if (this.#isNodeDead(nodeName)) this.#freed.add(key);
    return this.#freed.has(key);
  }

  #isNodeDead(name: string | undefined): boolean {
    const node = name === undefined ? undefined : this.#cluster.get('nodes', undefined, name);
    return !node || node.status?.conditions?.find(({ type }) => type === 'Ready')?.status !== 'True';
  }

  /** Never two deletions for one plan, never a replacement, never two from one pool within the cooldown. */
  #checkDeletions(): void {
    const sent = this.calls.filter((call) => isMachineDeletion(call));
    const byPool = new Map<string, { action: string; at: number }>();
    const byAction = new Map<string, string>();
    for (const { instance, operation } of this.#emulator.fleet.deletions) {
      const call = sent.find(
        ({ path }) => operation.requestId !== undefined && path.endsWith(operation.requestId),
      );
      const action = call?.actionId ?? '?';
      const earlier = byAction.get(action);
      if (earlier !== undefined) {
        this.violate(
          'one-machine-a-plan',
          `${action} deleted ${earlier} and then ${instance.name} (${instance.id})`,
        );
      }
      byAction.set(action, `${instance.name} (${instance.id})`);
      const before = byPool.get(instance.group.pool);
      if (before && operation.startedAt - before.at < this.#cooldownMs) {
        this.violate(
          'one-repair-a-cooldown',
          `${action} repaired ${instance.group.pool} within the cooldown after ${before.action}`,
        );
      }
      byPool.set(instance.group.pool, { action, at: operation.startedAt });
      const firstSent = Math.min(...sent.filter(({ actionId }) => actionId === action).map(({ at }) => at));
      if (instance.createdAt > firstSent) {
        this.violate('one-machine-a-plan', `${action} deleted a replacement, ${instance.name}`);
      }
    }
    this.#checkOtherMachines(sent);
    for (const what of findTwoHands(this.calls, this.#cluster, this.#emulator.fleet)) {
      this.violate('one-hand', what);
    }
  }

  /** Never is the deletion of another machine of a pool even sent within the cooldown after one that was carried out. */
  #checkOtherMachines(sent: SentCall[]): void {
    for (const { instance, operation } of this.#emulator.fleet.deletions) {
      const { pool } = instance.group;
      const first = sent.find(
        ({ path }) => operation.requestId !== undefined && path.endsWith(operation.requestId),
      );
      const second = sent.find(
        ({ actionId, at, path, invocation }) =>
          actionId !== first?.actionId &&
          this.#holders.get(invocation)?.has(pool) === true &&
          at > operation.startedAt &&
          at < operation.startedAt + this.#cooldownMs &&
          !path.includes(`/instances/${instance.id}?`),
      );
      if (!second) continue;
      this.violate(
        'one-repair-a-cooldown',
        `${second.actionId} sends ${second.path} within the cooldown after ${first?.actionId} repaired ${pool}`,
      );
    }
  }

  /** Never two restarts of one attempt of a JobSet, nor two from one pool within the cooldown. */
  #checkRestarts(): void {
    const effective = this.#restarts.filter(({ call }) => call.status === 200);
    const byAction = new Map<string, string>();
    for (const { action, attempt } of effective) {
      const earlier = byAction.get(action) ?? attempt;
      if (earlier !== attempt) {
        this.violate('one-attempt-a-restart', `${action} restarted attempt ${earlier}, and then ${attempt}`);
      }
      byAction.set(action, earlier);
    }
    const byAttempt = new Map<string, { action: string; at: number }>();
    for (const { action, subject, attempt, call } of effective) {
      const earlier = byAttempt.get(subject);
      if (earlier && earlier.action !== action && call.at - earlier.at < restartWindowMs) {
        this.violate(
          'one-attempt-a-restart',
          `${action} restarted attempt ${attempt} again after ${earlier.action}`,
        );
      }
      byAttempt.set(subject, earlier ?? { action, at: call.at });
    }
    const byPool = new Map<string, { action: string; at: number }>();
    for (const { action, jobSet, call } of effective) {
      const pool = this.#heldBy(call)?.nodePool ?? '?';
      const earlier = byPool.get(`${pool} ${jobSet}`);
      if (earlier && earlier.action !== action && call.at - earlier.at < this.#cooldownMs) {
        this.violate(
          'one-restart-a-cooldown',
          `${action} restarted from ${pool} within the cooldown after ${earlier.action}`,
        );
      }
      byPool.set(`${pool} ${jobSet}`, { action, at: call.at });
    }
  }

  /** Never more restarts of one JobSet, or repairs of one pool, within a day than the bound. */
  #checkAttempts(): void {
    const max = this.#config.maxAttemptsPerDay;
    const violate: Violate = (promise, what) => this.violate(promise, what);
    const effective = this.#restarts.filter(({ call }) => call.status === 200);
    for (const jobSet of new Set(effective.map((each) => each.jobSet))) {
      const restarts = effective.filter((each) => each.jobSet === jobSet);
      const attempts = restarts.map(({ action, call }) => ({ action, at: call.at }));
      checkAttempts('the JobSet was restarted', attempts, max, violate);
    }
    const sent = this.calls.filter((call) => isMachineDeletion(call));
    const byPool = new Map<string, Attempt[]>();
    for (const { instance, operation } of this.#emulator.fleet.deletions) {
      const call = sent.find(
        ({ path }) => operation.requestId !== undefined && path.endsWith(operation.requestId),
      );
      const { pool } = instance.group;
      const before = byPool.get(pool) ?? [];
      byPool.set(pool, [...before, { action: call?.actionId ?? '?', at: operation.startedAt }]);
    }
    for (const [pool, all] of byPool) checkAttempts(`${pool} was repaired`, all, max, violate);
  }

  /** No cordon of another manager is ever lost. */
  #checkPersonalCordons(): void {
    for (const [uid, name] of this.#personal) {
      const node = this.#cluster.get('nodes', undefined, name);
      if (node?.metadata.uid === uid && !node.spec.unschedulable) {
        this.violate('people-first', `the cordon that a person put on ${name} is gone`);
      }
    }
  }

  /** It counts from the mark, and until a deletion is accepted a minute may pass. */
  get #cooldownMs(): number {
    return (this.#config.cooldownSeconds - 60) * 1000;
  }

  #elapsed(at: number): string {
    return `${((at - this.#time.now) / 1000).toFixed(1)} s`;
  }
}

function readRun(labels: Record<string, string> = {}): Run {
  return {
    jobSet: labels['jobset.sigs.k8s.io/jobset-uid'] ?? '',
    attempt: labels['jobset.sigs.k8s.io/restart-attempt'] ?? '',
  };
}

function toSubject({ jobSet, attempt }: Run): string {
  return `attempt ${attempt} of ${jobSet}`;
}
