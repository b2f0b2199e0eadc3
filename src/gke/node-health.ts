// How well a node is, by what was read of it.
import { isDraining, isMaintained, isOutOfService, isQuarantined, scaleDownTaint } from './node-labels.ts';
import type { NodeHealth } from './nodes.ts';

/** True if a node has not been Ready for at least 60 s by the API server's clock, so that it counts as dead. */
export function isDead(node: NodeHealth, serverNow: number): boolean {
  return !node.isReady && serverNow - (node.readyChangedAt ?? node.createdAt) >= deadAfterMs;
}

const deadAfterMs = 60_000;

/** Sorts nodes, the least healthy first: not Ready, then announced to leave, then by the number of problems, then by name. */
export function rankByHealth(nodes: NodeHealth[]): NodeHealth[] {
  return [...nodes].sort(byHealth);
}

/** True if Kubernetes reports no problem with a node. */
export function isHealthy(node: NodeHealth): boolean {
  return node.isReady && !isLeaving(node) && node.problems.length === 0;
}

function byHealth(a: NodeHealth, b: NodeHealth): number {
  return (
    Number(a.isReady) - Number(b.isReady) ||
    Number(isLeaving(b)) - Number(isLeaving(a)) ||
    b.problems.length - a.problems.length ||
    (a.name < b.name ? -1 : 1)
  );
}

/** True if the machine's termination or maintenance is announced or under way. */
function isLeaving(node: NodeHealth): boolean {
  return isAnnounced(node) || node.lifecycle !== undefined;
}

function isAnnounced(node: NodeHealth): boolean {
  return node.taintKeys.some((key) => /termination|maintenance/i.test(key)) || isMaintained(node);
}

/**
 * True if GKE, its autoscaler, NVSentinel or an administrator takes the node out of service: for an upgrade, a resize, maintenance, a
 * fault, or for good.
 */
export function isBeingDrained(node: NodeHealth): boolean {
  return (
    isAnnounced(node) ||
    isOutOfService(node) ||
    isDraining(node) ||
    isQuarantined(node) ||
    node.taintKeys.includes(scaleDownTaint)
  );
}

/** Says in words why a node was ranked first by {@link rankByHealth}. */
export function describeHealth(node: NodeHealth): string {
  if (!node.isReady) return 'not Ready';
  if (isLeaving(node)) return 'about to be terminated or maintained';
  return node.problems.length > 0 ? node.problems.join(', ') : 'all look healthy; first by name';
}
