import type { NodeRef } from './nodes.ts';

export const topologyLabel = 'cloud.google.com/gke-tpu-topology';

export const countLabel = 'cloud.google.com/gke-accelerator-count';

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
    return `its TPU topology ${topology} is not a known topology`;
  if (!/^[1-9]\d{0,3}$/.test(count)) return `its label ${countLabel}=${count} is not a number of chips`;
  const chips = topology.split('x').reduce((product, side) => product * Number(side), 1);
  const perNode = Number(count);
  if (chips <= perNode) return `its TPU topology ${topology} fits on one node, so it has independent nodes`;
  if (chips % perNode !== 0)
    return `its TPU topology ${topology} cannot be divided into nodes of ${perNode} chips`;
  return chips / perNode;
}
