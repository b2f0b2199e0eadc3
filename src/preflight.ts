import { FailoverError } from './errors.ts';
import type { NodeRef } from './nodes.ts';
const topologyLabel = 'cloud.google.com/gke-tpu-topology';
const countLabel = 'cloud.google.com/gke-accelerator-count';

/**
 * Refuses unless a multi-host TPU slice has as many nodes as its topology says. The check was asked for, so it never
 * passes silently where it cannot be made.
 *
 * @throws {FailoverError} `preflight_refused`
 */
export function assertExpectedNodeCounts(nodePool: string, nodes: NodeRef[]): void {
  const refuse = (why: string) => new FailoverError('preflight_refused', `expected_node_counts: ${why}`);
  const topologies = new Set(nodes.map(({ labels }) => `${labels[topologyLabel]} ${labels[countLabel]}`));
  if (topologies.size > 1)
    throw refuse(
      `the nodes of node pool ${nodePool} differ in their labels ${topologyLabel} and ${countLabel}`,
    );
  const expected = nodes[0] && toExpectedNodes(nodes[0]);
  if (typeof expected !== 'number')
    throw refuse(`not applicable to node pool ${nodePool}: ${expected ?? 'it has no nodes'}`);
  if (nodes.length !== expected) {
    throw refuse(
      `node pool ${nodePool} has ${nodes.length} nodes, but its TPU topology ${nodes[0]?.labels[topologyLabel]} needs ${expected}`,
    );
  }
}

/** Says whether a node belongs to a TPU slice of several hosts, which GKE re-creates as a whole. */
export function isMultiHost(node: NodeRef): boolean {
  return typeof toExpectedNodes(node) === 'number';
}

/**
 * Computes how many nodes a multi-host slice has: the chips of its topology by the chips of a node. A single-host pool
 * may hold any number of independent nodes, so the formula says nothing there; GPU nodes carry the count too.
 *
 * @returns the number, or why there is none
 */
export function toExpectedNodes({ labels }: NodeRef): number | string {
  const topology = labels[topologyLabel];
  const count = labels[countLabel];
  if (topology === undefined) return `its nodes have no label ${topologyLabel}`;
  if (count === undefined) return `its nodes have no label ${countLabel}`;
  if (!/^[1-9]\d*(x[1-9]\d*){1,2}$/.test(topology))
    return `its TPU topology ${topology} is none that is known`;
  if (!/^[1-9]\d{0,3}$/.test(count)) return `its label ${countLabel}=${count} is no number of chips`;
  const chips = topology.split('x').reduce((product, side) => product * Number(side), 1);
  const perNode = Number(count);
  if (chips <= perNode) return `its TPU topology ${topology} fits on one node, so it has independent nodes`;
  if (chips % perNode !== 0)
    return `its TPU topology ${topology} cannot be divided into nodes of ${perNode} chips`;
  return chips / perNode;
}
