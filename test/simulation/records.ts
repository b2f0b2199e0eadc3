import { jobSetNameLabel } from '../../src/gke/jobset.ts';
import type { Plan, RepairPlan, RestartPlan } from '../../src/plan.ts';
import { toRecordName } from '../../src/state/record-format.ts';
import type { Verdict } from '../../src/verdict.ts';
import type { ClusterView, MachinesView } from './world-view.ts';
import type { FollowUps } from './follow-ups.ts';
import type { SentCall } from './function-instance.ts';
import type { Violate } from './promises.ts';
import { isMachineDeletion } from './sent-calls.ts';

const recordPath = /\/leases\/(action-[^/]+)$/;
const namespace = 'autometric-failover-system';

/** A record as it is. */
interface Stored {
  id: string;
  nodePool: string;
  resourceVersion: string | undefined;
  plan: Plan | undefined;
  verdict: Verdict | undefined;
}

/** Never is anything deleted before a plan that names it is recorded, and never is a verdict changed, or false. */
export class Records {
  readonly #emulator: MachinesView;
  readonly #cluster: ClusterView;
  readonly #violate: Violate;
  readonly #followUps: FollowUps;
  readonly #firstCalls = new Map<number, number>();

  constructor(emulator: MachinesView, cluster: ClusterView, followUps: FollowUps, violate: Violate) {
    this.#followUps = followUps;
    this.#emulator = emulator;
    this.#cluster = cluster;
    this.#violate = violate;
  }

  /** A machine or a pod is deleted, or a Job is ended. */
  onDeletion(call: SentCall): void {
    const { actionId, method, path, body } = call;
    const { plan } = this.#read(toRecordName(actionId));
    const { repair, restart } = plan ?? {};
    const uid = readUid(body);
    const isJob = /\/jobs\/[^/]+$/.test(path);
    const isNamed = [restart?.job, ...(restart?.jobs ?? [])].some((job) => job?.uid === uid);
    const names = [repair?.instanceId, repair?.instanceName, ...this.#listIds(repair)].map(
      (name) => `/instances/${name}?`,
    );
    // The pods that a restart frees are not named by its plan; only a leader ends an attempt.
    const isPlanned = isMachineDeletion(call)
      ? repair !== undefined && names.some((name) => path.includes(name))
      : restart !== undefined && (!isJob || isNamed);
    if (!isPlanned) this.#violate('plan-first', `${actionId} sends ${method} ${path}, which no plan names`);
  }

  onSend({ method, path, body, invocation, at }: SentCall): void {
    if (!this.#firstCalls.has(invocation)) this.#firstCalls.set(invocation, at);
    const [, name = ''] = (method === 'PUT' && recordPath.exec(path)) || [];
    if (name === '') return;
    const { metadata } = body as {
      metadata: { resourceVersion?: string; annotations?: Record<string, string> };
    };
    const before = this.#read(name);
    const verdict = parse(metadata.annotations?.['autometric-failover/verdict']) as Verdict | undefined;
    if (!verdict || metadata.resourceVersion !== before.resourceVersion) return;
    if (before.verdict && JSON.stringify(before.verdict) !== JSON.stringify(verdict)) {
      const change = `from ${before.verdict.verdict} to ${verdict.verdict}`;
      this.#violate('verdicts-are-true', `the verdict of ${before.id} is changed ${change}`);
    }
    if (before.plan) this.#checkVerdict(before, before.plan, verdict);
    if (before.verdict) return;
    const ended = before.plan?.restart?.attempt;
    this.#followUps.onVerdict(before.id, verdict.verdict, ended, this.#firstCalls.get(invocation) ?? at);
  }

  #checkVerdict({ id, nodePool }: Stored, { repair, restart }: Plan, { verdict }: Verdict): void {
    if (verdict === 'repaired') {
      const old = this.#emulator.fleet.list().find((machine) => machine.id === repair?.instanceId);
      if (repair && (!old || this.#isRepairedInPlace(repair) || isNewer(old.createdAt, repair))) return;
      this.#violate('verdicts-are-true', `${id} is repaired, but machine ${old?.name} is the old one`);
    }
    if (verdict !== 'recovered') return;
    const { name = '', namespace: of = '' } = restart?.jobSet ?? {};
    const attempt = this.#cluster.get('jobsets', of, name)?.status?.restarts ?? 0;
    if (restart && attempt > restart.attempt) return;
    const jobs = new Set(this.#cluster.jobs(of).map(({ metadata }) => metadata.uid));
    if (restart?.jobs && !restart.jobs.some(({ uid }) => jobs.has(uid))) return;
    if (restart && this.#runsElsewhere(restart, nodePool)) return;
    this.#violate('verdicts-are-true', `${id} is recovered, but its run is still in attempt ${attempt}`);
  }

  /**
   * No pod of the run is on the pool, so each has started since. Pods are made anew in the same attempt where the run is suspended and
   * resumed, or where the API server dies right after the leader's deletion (seen on Kubernetes 1.33).
   */
  #runsElsewhere({ jobSet: { namespace: of, name }, leader }: RestartPlan, nodePool: string): boolean {
    const there = new Set(this.#cluster.nodes(nodePool).map(({ metadata }) => metadata.name));
    const pods = this.#cluster
      .pods(of)
      .filter(({ metadata }) => metadata.labels?.[jobSetNameLabel] === name)
      .filter(({ metadata }) => metadata.deletionTimestamp === undefined);
    return (
      pods.length > 0 &&
      pods.every(
        ({ metadata, spec, status }) =>
          metadata.uid !== leader?.uid && status?.phase === 'Running' && !there.has(spec.nodeName ?? ''),
      )
    );
  }

  /** Where a plan knows only the name of its machine: the ids that machines of this name have had. */
  #listIds(repair: RepairPlan | undefined): string[] {
    if (!repair || repair.instanceId !== undefined) return [];
    const { fleet } = this.#emulator;
    const all = [...fleet.list(), ...fleet.deletions.map(({ instance }) => instance)];
    return all.filter(({ name }) => name === repair.instanceName).map(({ id }) => id);
  }

  /** A label had GKE start the machine again, or report its host. */
  #isRepairedInPlace({ way, node, before }: RepairPlan): boolean {
    if (way === undefined) return false;
    const { nodeInfo } = this.#cluster.get('nodes', undefined, node.name)?.status ?? {};
    return way !== 'reboot' || nodeInfo?.['bootID'] !== before?.bootId;
  }

  #read(name: string): Stored {
    const { metadata } = this.#cluster.get('leases', namespace, name) ?? {};
    const annotations = metadata?.annotations ?? {};
    return {
      id: annotations['autometric-failover/id'] ?? '',
      nodePool: annotations['autometric-failover/node-pool'] ?? '',
      resourceVersion: metadata?.resourceVersion,
      plan: parse(annotations['autometric-failover/plan']) as Plan | undefined,
      verdict: parse(annotations['autometric-failover/verdict']) as Verdict | undefined,
    };
  }
}

function readUid(body: unknown): string | undefined {
  const { metadata, preconditions } = (body ?? {}) as Record<string, { uid?: string } | undefined>;
  return metadata?.uid ?? preconditions?.uid;
}

function parse(text: string | undefined): unknown {
  return text === undefined ? undefined : JSON.parse(text);
}

/** GKE had it made anew before it was left to GKE. */
function isNewer(createdAt: number, { leftTo }: RepairPlan): boolean {
  return leftTo?.since !== undefined && createdAt > Date.parse(leftTo.since);
}
