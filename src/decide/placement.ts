import type { V1NodeSelectorRequirement, V1NodeSelectorTerm, V1PodSpec } from '@kubernetes/client-node';
import { metadataListOnly, withHeaders } from '../gke/direct-patch.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { listAll } from '../gke/list.ts';
import { nodePoolLabel } from '../gke/nodes.ts';

type Labels = Record<string, string>;

/** Says whether a pod's node selector and required affinity let it run in one node pool only, and that is this one. */
export function isPinnedTo(podSpec: V1PodSpec, nodePool: string, hostnames: Set<string>): boolean {
  const selector = podSpec.nodeSelector ?? {};
  if (selector[nodePoolLabel] === nodePool || hostnames.has(selector[hostnameLabel] ?? '')) return true;
  const terms = requiredTerms(podSpec);
  return (
    terms !== undefined &&
    terms.every(({ matchExpressions = [], matchFields = [] }) =>
      [...matchExpressions, ...matchFields].some(isPin),
    )
  );

  function isPin({ key, operator, values = [] }: V1NodeSelectorRequirement): boolean {
    if (operator !== 'In') return false;
    if (key === nodePoolLabel) return values.every((value) => value === nodePool);
    // On GKE a node's name is its host name.
    return [hostnameLabel, nameField].includes(key) && values.every((value) => hostnames.has(value));
  }
}

/** Counts the uncordoned nodes outside a pool that a pod's node selector and required affinity match. */
export async function countSchedulableElsewhere(
  { core }: Pick<Kubernetes, 'core'>,
  podSpec: V1PodSpec,
  nodePool: string,
): Promise<number> {
  const equals = Object.entries(podSpec.nodeSelector ?? {}).map(([key, value]) => `${key}=${value}`);
  const labelSelector = [...equals, `${nodePoolLabel}!=${nodePool}`].join(',');
  const nodes = await listAll(
    (page) =>
      core.listNode(
        { labelSelector, fieldSelector: 'spec.unschedulable!=true', ...page },
        withHeaders({ Accept: metadataListOnly }),
      ),
    ({ metadata }) => ({ name: metadata?.name ?? '', labels: metadata?.labels ?? {} }),
  );
  const terms = requiredTerms(podSpec);
  if (!terms) return nodes.length;
  return nodes.filter(({ name, labels }) => terms.some((term) => matchesTerm(term, name, labels))).length;
}

const hostnameLabel = 'kubernetes.io/hostname';
const nameField = 'metadata.name';

function requiredTerms(podSpec: V1PodSpec): V1NodeSelectorTerm[] | undefined {
  return podSpec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms;
}

/** A term with nothing in it matches nothing, as in Kubernetes. */
function matchesTerm(
  { matchExpressions = [], matchFields = [] }: V1NodeSelectorTerm,
  name: string,
  labels: Labels,
): boolean {
  if (matchExpressions.length + matchFields.length === 0) return false;
  return (
    matchExpressions.every((requirement) => matches(requirement, labels)) &&
    matchFields.every((requirement) => matches(requirement, { [nameField]: name }))
  );
}

function matches({ key, operator, values = [] }: V1NodeSelectorRequirement, labels: Labels): boolean {
  const value = labels[key];
  switch (operator) {
    case 'In':
      return value !== undefined && values.includes(value);
    case 'NotIn':
      return value === undefined || !values.includes(value);
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
    case 'Gt':
      return toInteger(value) > toInteger(values[0]);
    case 'Lt':
      return toInteger(value) < toInteger(values[0]);
    default:
      return false;
  }
}

/** NaN, which is neither greater nor less, for what is no whole number. */
function toInteger(text: string | undefined): number {
  return /^[+-]?\d+$/.test(text ?? '') ? Number(text) : Number.NaN;
}
