import type { V1Taint, V1Toleration } from '@kubernetes/client-node';
import type { NodeRoom } from '../gke/node-room.ts';
import { isDead } from '../gke/node-health.ts';
import type { PodNeeds } from '../gke/pod-needs.ts';
import { toQuantity } from '../gke/quantity.ts';

const unschedulable: V1Taint = { key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' };

/** True if a cordon does not keep the pod off: it tolerates the cordon's taint, or names its node. */
export function ignoresCordon({ tolerations, nodeName }: PodNeeds): boolean {
  return nodeName !== undefined || isTolerated(unschedulable, tolerations);
}

/**
 * Says why a node that a pod's selectors match could not take it, however little runs there; undefined if it could. A node
 * that went not Ready a moment ago may be back before the pods are.
 */
export function whyUnfit(needs: PodNeeds, node: NodeRoom, serverNow: number): string | undefined {
  if (node.isCordoned && !ignoresCordon(needs)) return 'cordoned';
  if (isDead(node, serverNow)) return 'not Ready';
  return whyUnfitByKind(needs, node);
}

/** The same for what does not change while the node exists: its taints and its resources. */
export function whyUnfitByKind({ tolerations, requests }: PodNeeds, node: NodeRoom): string | undefined {
  const taint = node.taints.find(
    (each) => blocking.has(each.effect) && !judgedApart.has(each.key) && !isTolerated(each, tolerations),
  );
  if (taint) return `tainted ${taint.key}`;
  const lacking = Object.entries(requests).find(([resource, amount]) => amount > amountOf(node, resource));
  return lacking && `too little ${lacking[0]}`;
}

/** How many such pods a node could take if it were empty. */
export function countPlaces({ requests }: PodNeeds, node: NodeRoom): number {
  const places = Object.entries(requests).map(([resource, amount]) =>
    // 0.3 / 0.1 is a little less than 3.
    Math.floor(amountOf(node, resource) / amount + 1e-9),
  );
  return Math.min(Infinity, ...places);
}

/** How much of a resource a node has for pods. */
export function amountOf({ allocatable }: NodeRoom, resource: string): number {
  return toQuantity(allocatable[resource] ?? 0) || 0;
}

const blocking = new Set(['NoSchedule', 'NoExecute']);

/** The taints that mirror a cordon and the condition Ready. */
const judgedApart = new Set([
  unschedulable.key,
  'node.kubernetes.io/not-ready',
  'node.kubernetes.io/unreachable',
]);

/** As Kubernetes decides it: a toleration without a key, an operator or an effect is the widest. */
function isTolerated({ key, value = '', effect }: V1Taint, tolerations: V1Toleration[]): boolean {
  return tolerations.some((toleration) => {
    if (toleration.effect && toleration.effect !== effect) return false;
    if (toleration.key && toleration.key !== key) return false;
    if (toleration.operator === 'Exists') return true;
    const isEqual = (toleration.operator ?? 'Equal') === 'Equal';
    return isEqual && Boolean(toleration.key) && (toleration.value ?? '') === value;
  });
}
