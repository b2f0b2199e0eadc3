import type { V1NodeSelectorRequirement, V1NodeSelectorTerm } from '@kubernetes/client-node';
import { nodePoolLabel } from '../gke/nodes.ts';
import type { NodeRef } from '../gke/nodes.ts';
import type { PodNeeds } from '../gke/pod-needs.ts';

type Labels = Record<string, string>;

/** Says whether a pod's node selector and required affinity let it run in one node pool only, and that is this one. */
export function isPinnedTo(
  { nodeSelector, terms }: Pick<PodNeeds, 'nodeSelector' | 'terms'>,
  nodePool: string,
  hostnames: Set<string>,
): boolean {
  if (nodeSelector[nodePoolLabel] === nodePool || hostnames.has(nodeSelector[hostnameLabel] ?? '')) {
    return true;
  }
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

/** True if a pod's required affinity names another node pool, which may have no nodes yet. */
export function namesOtherPool({ terms = [] }: Pick<PodNeeds, 'terms'>, nodePool: string): boolean {
  return terms.some(({ matchExpressions = [] }) =>
    matchExpressions.some(
      ({ key, operator, values = [] }) =>
        key === nodePoolLabel && operator === 'In' && values.some((value) => value !== nodePool),
    ),
  );
}

/** True if a node has what a pod's node selector and required affinity ask for. */
export function matchesNode(
  { nodeSelector, terms }: Pick<PodNeeds, 'nodeSelector' | 'terms'>,
  { name, labels }: Pick<NodeRef, 'name' | 'labels'>,
): boolean {
  return (
    Object.entries(nodeSelector).every(([key, value]) => labels[key] === value) &&
    (!terms || terms.some((term) => matchesTerm(term, name, labels)))
  );
}

/** GKE's name of a node. */
export const hostnameLabel = 'kubernetes.io/hostname';
const nameField = 'metadata.name';

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
