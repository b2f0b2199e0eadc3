import { notAcceptable } from './api-status.ts';
import type { KubernetesObject } from './objects.ts';
import { apiVersionOf } from './resources.ts';
import type { Resource } from './resources.ts';
import { toTable } from './table.ts';

export type Representation = 'full' | 'partial' | 'table';

/**
 * What the Accept header asks for: the first of its alternatives that can be had.
 * @throws ApiStatus 406
 */
export function negotiate(accept: string | undefined, isList: boolean): Representation {
  if (!accept) return 'full';
  for (const alternative of accept.split(',')) {
    const [type, ...parameters] = alternative.split(';').map((part) => part.trim());
    if (type !== 'application/json' && type !== '*/*' && type !== 'application/*') continue;
    const as = parameters.find((parameter) => parameter.startsWith('as='))?.slice(3);
    if (as === undefined) return 'full';
    if (as === 'Table') return 'table';
    if (as === (isList ? 'PartialObjectMetadataList' : 'PartialObjectMetadata')) return 'partial';
  }
  throw notAcceptable(['application/json', 'application/yaml', 'application/vnd.kubernetes.protobuf']);
}

export function formatObject(
  resource: Resource,
  object: KubernetesObject,
  representation: Representation,
  options: TableOptions,
): string {
  if (representation === 'full') return toJsonText(resource, object);
  if (representation === 'partial') return JSON.stringify(toPartial(object));
  const metadata = { resourceVersion: object.metadata.resourceVersion };
  return JSON.stringify(toTable(resource, [object], metadata, options));
}

export interface TableOptions {
  now: number;
  includeObject: string | null;
  /** A watch sends the columns once. */
  withoutHeaders?: boolean;
}

export interface ListMetadata {
  resourceVersion: string;
  continue?: string;
  remainingItemCount?: number;
}

export function formatList(
  resource: Resource,
  objects: KubernetesObject[],
  metadata: ListMetadata,
  representation: Representation,
  options: TableOptions,
): string {
  if (representation === 'table') return JSON.stringify(toTable(resource, objects, metadata, options));
  if (representation === 'partial') {
    return JSON.stringify({
      kind: 'PartialObjectMetadataList',
      apiVersion: 'meta.k8s.io/v1',
      metadata,
      // A Go slice without an item is null, so clients must accept null.
      items: objects.length === 0 ? null : objects.map(toPartial),
    });
  }
  const head = JSON.stringify({ kind: `${resource.kind}List`, apiVersion: apiVersionOf(resource), metadata });
  const items = objects.map((object) =>
    resource.custom ? toJsonText(resource, object) : toBareText(object),
  );
  return `${head.slice(0, -1)},"items":[${items.join(',')}]}`;
}

export function toPartial(object: KubernetesObject): unknown {
  return { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata: object.metadata };
}

const bareTexts = new WeakMap<KubernetesObject, string>();

/** An object's JSON without kind and apiVersion, as in lists; kept, as stored objects never change. */
function toBareText(object: KubernetesObject): string {
  let text = bareTexts.get(object);
  if (text === undefined) {
    text = JSON.stringify({ ...object, kind: undefined, apiVersion: undefined });
    bareTexts.set(object, text);
  }
  return text;
}

function toJsonText(resource: Resource, object: KubernetesObject): string {
  const head = JSON.stringify({ kind: resource.kind, apiVersion: apiVersionOf(resource) });
  return `${head.slice(0, -1)},${toBareText(object).slice(1)}`;
}
