import type { Kubernetes } from './kubernetes.ts';
import { listAll } from './list.ts';
import { toNodeHealth } from './nodes.ts';
import type { NodeHealth } from './nodes.ts';

/** Lists the health of all nodes of the cluster by name. */
export async function listNodeHealth({ core }: Pick<Kubernetes, 'core'>): Promise<Map<string, NodeHealth>> {
  const nodes = await listAll(
    (page) => core.listNode(page),
    (node) => toNodeHealth(node),
  );
  return new Map(nodes.map((node) => [node.name, node]));
}
