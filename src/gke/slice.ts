import type { NodeRef } from './nodes.ts';

/** GKE's label with the topology of a TPU slice in chips, such as `4x4`. */
export const topologyLabel = 'cloud.google.com/gke-tpu-topology';

/** GKE's label with the number of chips or GPUs of a node. */
export const countLabel = 'cloud.google.com/gke-accelerator-count';

/** GKE's label with the physical host of a node's machine, where the machine type tells it. */
export const hostLabel = 'cloud.google.com/gce-topology-host';

export const blockLabel = 'cloud.google.com/gce-topology-block';
export const subblockLabel = 'cloud.google.com/gce-topology-subblock';

/** True if a node belongs to a multi-host TPU slice, which GKE re-creates as a whole. */
export function isMultiHost(node: NodeRef): boolean {
  return typeof toExpectedNodes(node) === 'number';
}

/**
 * Computes the number of nodes of a multi-host slice: the chips of its topology divided by the chips of a node. A
 * single-host pool may have any number of independent nodes, so the formula does not apply there. The count label alone
 * does not mean TPU, because GPU nodes have it too.
 *
 * @returns the number of nodes, or a sentence that says why there is no such number
 */
export function toExpectedNodes({ labels }: NodeRef): number | string {
  const topology = labels[topologyLabel];
  const count = labels[countLabel];
  if (topology === undefined) return `its nodes have no label ${topologyLabel}`;
  if (count === undefined) return `its nodes have no label ${countLabel}`;
  if (!/^[1-9]\d*(x[1-9]\d*){1,2}$/.test(topology)) {
    return `its TPU topology ${topology} is not a known topology`;
  }
  if (!/^[1-9]\d{0,3}$/.test(count)) return `its label ${countLabel}=${count} is not a number of chips`;
  const chips = topology.split('x').reduce((product, side) => product * Number(side), 1);
  const perNode = Number(count);
  if (chips <= perNode) return `its TPU topology ${topology} fits on one node, so it has independent nodes`;
  if (chips % perNode !== 0) {
    return `its TPU topology ${topology} cannot be divided into nodes of ${perNode} chips`;
  }
  return chips / perNode;
}
