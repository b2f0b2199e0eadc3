import { FailoverError } from '../errors.ts';
import type { NodeRef } from '../gke/nodes.ts';
import { countLabel, toExpectedNodes, topologyLabel } from '../gke/slice.ts';

/**
 * Refuses unless a multi-host TPU slice has as many nodes as its topology says. The check was asked for, so it never
 * passes silently where it cannot be made.
 *
 * @throws {FailoverError} `preflight_refused`
 */
export function assertExpectedNodeCounts(nodePool: string, nodes: NodeRef[]): void {
  const refuse = (why: string) => new FailoverError('preflight_refused', `expected_node_counts: ${why}`);
  const topologies = new Set(nodes.map(({ labels }) => `${labels[topologyLabel]} ${labels[countLabel]}`));
  if (topologies.size > 1) {
    throw refuse(
      `the nodes of node pool ${nodePool} differ in their labels ${topologyLabel} and ${countLabel}`,
    );
  }
  const expected = nodes[0] && toExpectedNodes(nodes[0]);
  if (typeof expected !== 'number') {
    throw refuse(`not applicable to node pool ${nodePool}: ${expected ?? 'it has no nodes'}`);
  }
  if (nodes.length !== expected) {
    throw refuse(
      `node pool ${nodePool} has ${nodes.length} nodes, but its TPU topology ${nodes[0]?.labels[topologyLabel]} needs ${expected}`,
    );
  }
}
