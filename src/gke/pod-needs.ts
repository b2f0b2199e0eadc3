import type { V1Container, V1NodeSelectorTerm, V1PodSpec, V1Toleration } from '@kubernetes/client-node';
import { toQuantity } from './quantity.ts';

/** What a pod asks of the node that it may run on. */
export interface PodNeeds {
  /** A pod that names its node is not scheduled: it goes there, cordoned or not. */
  nodeName: string | undefined;
  nodeSelector: Record<string, string>;
  /** The required node affinity: a node must match one of them. Undefined if there is none. */
  terms: V1NodeSelectorTerm[] | undefined;
  tolerations: V1Toleration[];
  /** What it requests of each resource. */
  requests: Record<string, number>;
  /** The label of which a Job has one value for itself, by JobSet's exclusive placement. */
  exclusiveTopology: string | undefined;
  /** Kueue's topology-aware scheduling chooses its node, and writes it into the pod's own node selector. */
  isPlacedByKueue: boolean;
}

const exclusive = 'alpha.jobset.sigs.k8s.io/exclusive-topology';
/** With it, JobSet's controller has put a selector into the template, and its webhook leaves the pods alone. */
const nodeSelectorStrategy = 'alpha.jobset.sigs.k8s.io/node-selector';
const kueueLabel = 'kueue.x-k8s.io/tas';
const kueueGate = 'kueue.x-k8s.io/topology';

interface PodTemplate {
  metadata?: { labels?: Record<string, string>; annotations?: Record<string, string> };
  spec?: V1PodSpec;
}

/** Reads what a pod, or a template of pods, asks of its node. */
export function toPodNeeds({ metadata, spec }: PodTemplate): PodNeeds {
  const { labels = {}, annotations = {} } = metadata ?? {};
  return {
    nodeName: spec?.nodeName,
    nodeSelector: spec?.nodeSelector ?? {},
    terms: spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms,
    tolerations: spec?.tolerations ?? [],
    requests: toRequests(spec),
    exclusiveTopology: annotations[nodeSelectorStrategy] === undefined ? annotations[exclusive] : undefined,
    isPlacedByKueue:
      labels[kueueLabel] !== undefined ||
      (spec?.schedulingGates ?? []).some(({ name }) => name === kueueGate),
  };
}

/** The devices that a pod requests. They are whole, and nothing but pods uses them, unlike cpu and memory. */
export function devicesOf({ requests }: Pick<PodNeeds, 'requests'>): string[] {
  return Object.keys(requests).filter((resource) => resource.includes('/'));
}

/** As the scheduler counts: containers and sidecars run together, and each init container beside the sidecars. */
function toRequests(spec: V1PodSpec | undefined): Record<string, number> {
  const init = spec?.initContainers ?? [];
  const isSidecar = ({ restartPolicy }: V1Container) => restartPolicy === 'Always';
  const sidecars = sum(init.filter(isSidecar).map(requestsOf));
  const running = sum([...(spec?.containers ?? []).map(requestsOf), sidecars]);
  const needed = { ...running };
  for (const container of init.filter((each) => !isSidecar(each))) {
    for (const [resource, amount] of Object.entries(sum([requestsOf(container), sidecars]))) {
      needed[resource] = Math.max(needed[resource] ?? 0, amount);
    }
  }
  const ofPod = requestsOf(spec?.resources ? { resources: spec.resources } : {});
  return sum([{ ...needed, ...ofPod }, toAmounts(spec?.overhead ?? {})]);
}

/** Where only a limit is set, the request is the same. */
function requestsOf({ resources }: Pick<V1Container, 'resources'>): Record<string, number> {
  return toAmounts({ ...resources?.limits, ...resources?.requests });
}

function toAmounts(quantities: Record<string, string>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(quantities)
      .map(([resource, text]): [string, number] => [resource, toQuantity(text)])
      .filter(([, amount]) => amount > 0),
  );
}

function sum(all: Record<string, number>[]): Record<string, number> {
  const total: Record<string, number> = {};
  for (const amounts of all) {
    for (const [resource, amount] of Object.entries(amounts)) {
      total[resource] = (total[resource] ?? 0) + amount;
    }
  }
  return total;
}
