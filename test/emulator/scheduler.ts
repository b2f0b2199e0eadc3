import type { ClusterState } from './cluster-state.ts';
import { isPodLive, setCondition } from './objects.ts';
import type { Node, Pod, PodAffinityTerm, PodSpec, Taint, Toleration } from './objects.ts';
import { parseQuantity } from './quantity.ts';
import { matchesLabels, toRequirements } from './selectors.ts';

/**
 * Binds pending pods to nodes as kube-scheduler does, as far as accelerator jobs need it: node selector and affinity,
 * cordon, taints, resources, required pod affinity and anti-affinity. Deterministic: pods by age and name,
 * nodes by pool and name, so that slice-a fills up before slice-b. Every pending pod is tried in every step: a real
 * one may wait five minutes for the scheduler to look again.
 */
export function schedulePods(state: ClusterState): void {
  const pending = state.store
    .lookup('pods', 'unbound', 'yes')
    .filter((pod) => pod.status.phase === 'Pending' && !pod.metadata.deletionTimestamp)
    .sort((a, b) => compareText(a.metadata.creationTimestamp, b.metadata.creationTimestamp));
  if (pending.length === 0) return;
  const pass = new SchedulingPass(state);
  for (const pod of pending) pass.schedule(pod);
}

/**
 * Says why a node does not fit a pod, by cordons, taints and the pod's selectors; undefined if it fits. The words and the
 * order are those of kube-scheduler 1.36. Older ones name the taint: `untolerated taint {google.com/tpu: present}`.
 */
export function explainUnfit(node: Node, spec: PodSpec): string | undefined {
  const tolerations = spec.tolerations ?? [];
  if (node.spec.unschedulable && !isTolerated(unschedulableTaint, tolerations)) {
    return 'node(s) were unschedulable';
  }
  const isRepelled = node.spec.taints?.some(
    (each) => each.effect !== 'PreferNoSchedule' && !isTolerated(each, tolerations),
  );
  if (isRepelled) return 'node(s) had untolerated taint(s)';
  return matchesNodeSelection(node, spec) ? undefined : "node(s) didn't match Pod's node affinity/selector";
}

export function isTolerated(taint: Taint, tolerations: readonly Toleration[]): boolean {
  return tolerations.some((each) => {
    if (each.effect && each.effect !== taint.effect) return false;
    if (!each.key) return each.operator === 'Exists';
    if (each.key !== taint.key) return false;
    return each.operator === 'Exists' || (each.value ?? '') === (taint.value ?? '');
  });
}

const unschedulableTaint: Taint = { key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' };

/** For pods that ask for the same: the nodes that suit them, and how many of these are known to be full. */
interface Suitable {
  nodes: Node[];
  next: number;
  /** Why the other nodes, and those before `next`, do not fit. */
  reasons: Map<string, number>;
  /** Nodes before `next` where the pod would fit if others made room. */
  contested: number;
}

class SchedulingPass {
  readonly #state: ClusterState;
  readonly #nodes: Node[];
  /** What is taken of a node's countable resources, by node name. */
  readonly #taken = new Map<string, Record<string, number>>();
  readonly #suitable = new Map<string, Suitable>();
  /** Bound pods with the labels that affinity looks at. */
  readonly #bound: Pod[];
  readonly #exclusive: Pod[];

  constructor(state: ClusterState) {
    this.#state = state;
    const poolOf = (node: Node) => node.metadata.labels?.['cloud.google.com/gke-nodepool'] ?? '';
    this.#nodes = [...state.store.list('nodes')].sort((a, b) => compareText(poolOf(a), poolOf(b)));
    this.#bound = state.store.list('pods').filter((pod) => pod.spec.nodeName && isPodLive(pod));
    this.#exclusive = this.#bound.filter((pod) => pod.spec.affinity?.podAntiAffinity);
    for (const pod of this.#bound) this.#take(pod.spec.nodeName ?? '', pod.spec);
  }

  schedule(pod: Pod): void {
    const candidates = this.#findSuitable(pod.spec);
    const reasons = new Map(candidates.reasons);
    const affinity = new AffinityCheck(pod, this.#bound, this.#exclusive, (name) => this.#nodeOf(name));
    /** Nodes where the pod would fit if others made room. */
    let contested = candidates.contested;
    for (let index = candidates.next; index < candidates.nodes.length; index++) {
      const node = candidates.nodes[index] as Node;
      const lacks = this.#findLacks(node, pod.spec);
      if (lacks.length > 0) {
        const isContested = lacks.every(({ isTaken }) => isTaken);
        for (const { reason } of lacks) countReason(reasons, reason);
        if (isContested) contested += 1;
        // All nodes up to here are full, so the next pod with the same requests can skip them.
        if (index === candidates.next) {
          candidates.next += 1;
          for (const { reason } of lacks) countReason(candidates.reasons, reason);
          if (isContested) candidates.contested += 1;
        }
        continue;
      }
      const refusal = affinity.explainRefusal(node);
      if (refusal) {
        countReason(reasons, refusal);
        if (refusal !== unmatchedAffinity) contested += 1;
        continue;
      }
      this.#bind(pod, node);
      return;
    }
    this.#reject(pod, reasons, contested);
  }

  #nodeOf(name: string | undefined): Node | undefined {
    return name === undefined ? undefined : this.#state.store.get('nodes', undefined, name);
  }

  #findSuitable(spec: PodSpec): Suitable {
    const { nodeSelector, affinity, tolerations } = spec;
    const key = JSON.stringify([nodeSelector, affinity?.nodeAffinity, tolerations, toRequests(spec)]);
    let suitable = this.#suitable.get(key);
    if (!suitable) {
      suitable = { nodes: [], next: 0, reasons: new Map(), contested: 0 };
      for (const node of this.#nodes) {
        const why = explainUnfit(node, spec);
        if (why === undefined) suitable.nodes.push(node);
        else countReason(suitable.reasons, why);
      }
      this.#suitable.set(key, suitable);
    }
    return suitable;
  }

  /** What a node has too little of: taken by others, or not there at all. */
  #findLacks(node: Node, spec: PodSpec): { reason: string; isTaken: boolean }[] {
    const taken = this.#taken.get(node.metadata.name) ?? {};
    return Object.entries(toRequests(spec)).flatMap(([resource, count]) => {
      const available = parseQuantity(node.status.allocatable?.[resource] ?? 0);
      if ((taken[resource] ?? 0) + count <= available) return [];
      const isPods = resource === 'pods';
      return {
        reason: isPods ? 'Too many pods' : `Insufficient ${resource}`,
        isTaken: isPods || count <= available,
      };
    });
  }

  #take(nodeName: string, spec: PodSpec): void {
    const taken = this.#taken.get(nodeName) ?? {};
    for (const [resource, count] of Object.entries(toRequests(spec))) {
      taken[resource] = (taken[resource] ?? 0) + count;
    }
    this.#taken.set(nodeName, taken);
  }

  #bind(pod: Pod, node: Node): void {
    const bound = this.#state.update('pods', pod, (draft) => {
      draft.spec.nodeName = node.metadata.name;
      const conditions = (draft.status.conditions ??= []).filter((each) => each.type !== 'PodScheduled');
      setCondition(conditions, { type: 'PodScheduled', status: 'True' }, this.#state.time());
      draft.status.conditions = conditions;
    });
    this.#take(node.metadata.name, bound.spec);
    this.#bound.push(bound);
    if (bound.spec.affinity?.podAntiAffinity) this.#exclusive.push(bound);
  }

  /** Marks a pod Unschedulable. Nothing is ever preempted, because all pods have the same priority. */
  #reject(pod: Pod, reasons: Map<string, number>, contested: number): void {
    const count = this.#nodes.length;
    const preemption = new Map([
      ['No preemption victims found for incoming pod', contested],
      ['Preemption is not helpful for scheduling', count - contested],
    ]);
    const message =
      count === 0
        ? 'no nodes available to schedule pods'
        : `${describeNone(count, reasons)} no new claims to deallocate, preemption: ${describeNone(count, preemption)}`;
    const previous = pod.status.conditions?.find((each) => each.type === 'PodScheduled');
    if (previous?.message === message) return;
    this.#state.update('pods', pod, (draft) => {
      const condition = { type: 'PodScheduled', status: 'False' as const, reason: 'Unschedulable', message };
      setCondition((draft.status.conditions ??= []), condition, this.#state.time());
    });
    if (!previous) this.#state.recordEvent(pod, 'default-scheduler', 'Warning', 'FailedScheduling', message);
  }
}

function countReason(reasons: Map<string, number>, reason: string): void {
  reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
}

function describeNone(count: number, reasons: Map<string, number>): string {
  const list = [...reasons].filter(([, nodes]) => nodes > 0).map(([reason, nodes]) => `${nodes} ${reason}`);
  return `0/${count} nodes are available: ${list.sort().join(', ')}.`;
}

const unmatchedAffinity = "node(s) didn't match pod affinity rules";

/** Required affinity between pods, by topology, as JobSet's exclusive placement asks for it. */
class AffinityCheck {
  readonly #wanted: { term: PodAffinityTerm; domains: Set<string>; isFirst: boolean }[];
  readonly #unwanted: { term: PodAffinityTerm; domains: Set<string> }[];
  /** The same of bound pods that this pod would disturb. */
  readonly #shunned: { term: PodAffinityTerm; domains: Set<string> }[] = [];

  constructor(
    pod: Pod,
    bound: Pod[],
    exclusive: Pod[],
    nodeOf: (name: string | undefined) => Node | undefined,
  ) {
    const { podAffinity, podAntiAffinity } = pod.spec.affinity ?? {};
    const domainOf = (each: Pod, key: string) => nodeOf(each.spec.nodeName)?.metadata.labels?.[key];
    const findDomains = (term: PodAffinityTerm, pods: Pod[]) => {
      const domains = new Set<string>();
      for (const each of pods) {
        if (!isSelectedBy(term, each, pod)) continue;
        const domain = domainOf(each, term.topologyKey);
        if (domain !== undefined) domains.add(domain);
      }
      return domains;
    };
    this.#wanted = (podAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? []).map((term) => {
      const domains = findDomains(term, bound);
      // The first pod of a group can go anywhere, because it matches its own term.
      return { term, domains, isFirst: domains.size === 0 && isSelectedBy(term, pod, pod) };
    });
    this.#unwanted = (podAntiAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? []).map((term) => ({
      term,
      domains: findDomains(term, bound),
    }));
    // The anti-affinity of bound pods applies to this pod, too.
    for (const each of exclusive) {
      for (const term of each.spec.affinity?.podAntiAffinity
        ?.requiredDuringSchedulingIgnoredDuringExecution ?? []) {
        const domain = isSelectedBy(term, pod, each) ? domainOf(each, term.topologyKey) : undefined;
        if (domain !== undefined) this.#shunned.push({ term, domains: new Set([domain]) });
      }
    }
  }

  explainRefusal(node: Node): string | undefined {
    const { labels } = node.metadata;
    for (const { term, domains, isFirst } of this.#wanted) {
      const domain = labels?.[term.topologyKey];
      if (domain === undefined || (!isFirst && !domains.has(domain))) {
        return unmatchedAffinity;
      }
    }
    const isIn = ({ term, domains }: { term: PodAffinityTerm; domains: Set<string> }): boolean =>
      domains.has(labels?.[term.topologyKey] ?? '');
    if (this.#unwanted.some(isIn)) return "node(s) didn't match pod anti-affinity rules";
    if (this.#shunned.some(isIn)) return "node(s) didn't satisfy existing pods anti-affinity rules";
    return undefined;
  }
}

function isSelectedBy(term: PodAffinityTerm, candidate: Pod, owner: Pod): boolean {
  const isNear =
    term.namespaceSelector !== undefined || candidate.metadata.namespace === owner.metadata.namespace;
  return isNear && matchesLabels(candidate.metadata.labels, toRequirements(term.labelSelector));
}

function matchesNodeSelection(node: Node, spec: PodSpec): boolean {
  const { labels, name } = node.metadata;
  for (const [key, value] of Object.entries(spec.nodeSelector ?? {})) {
    if (labels?.[key] !== value) return false;
  }
  const required = spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  if (!required) return true;
  return required.nodeSelectorTerms.some(
    ({ matchExpressions = [], matchFields = [] }) =>
      matchesLabels(labels, matchExpressions) && matchesLabels({ 'metadata.name': name }, matchFields),
  );
}

export const countedResources = ['google.com/tpu', 'nvidia.com/gpu'];

function toRequests(spec: PodSpec): Record<string, number> {
  const requests: Record<string, number> = { pods: 1 };
  for (const { resources } of spec.containers) {
    for (const [resource, text] of Object.entries({ ...resources?.limits, ...resources?.requests })) {
      requests[resource] = (requests[resource] ?? 0) + parseQuantity(text);
    }
  }
  return requests;
}

function compareText(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
