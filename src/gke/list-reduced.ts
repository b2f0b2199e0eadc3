import type { V1Node, V1Pod } from '@kubernetes/client-node';
import { metadataListOnly, reducedTo } from './direct-core.ts';
import type { Kubernetes } from './kubernetes.ts';
import { listAll } from './list.ts';
import type { ListPage } from './list.ts';

type Core = Pick<Kubernetes, 'core'>;

/** Which objects are listed. */
interface Selectors {
  labelSelector?: string;
  fieldSelector?: string;
}

/**
 * Lists whole nodes, and keeps a part of each as soon as it is parsed, because nodes are large.
 *
 * @param reduce gets the node as the server sent it, so times are strings
 * @throws {UpstreamError} as {@link listAll} does
 */
export function listNodes<Kept>(
  { core }: Core,
  selectors: Selectors,
  reduce: (node: V1Node) => Kept,
  accept?: string,
): Promise<Kept[]> {
  const options = reducedTo(reduce, accept);
  return listAll<Kept>(async (page) => {
    const list = await core.listNode({ ...selectors, ...page }, options);
    return list as unknown as ListPage<Kept>;
  });
}

/** The same for nodes of which the server sends the metadata alone. */
export function listNodesMetadata<Kept>(
  kubernetes: Core,
  selectors: Selectors,
  reduce: (node: Pick<V1Node, 'metadata'>) => Kept,
): Promise<Kept[]> {
  return listNodes(kubernetes, selectors, reduce, metadataListOnly);
}

/** The same for the pods of a namespace. */
export function listPods<Kept>(
  { core }: Core,
  selectors: Selectors & { namespace: string },
  reduce: (pod: V1Pod) => Kept,
): Promise<Kept[]> {
  const options = reducedTo(reduce);
  return listAll<Kept>(async (page) => {
    const list = await core.listNamespacedPod({ ...selectors, ...page }, options);
    return list as unknown as ListPage<Kept>;
  });
}
