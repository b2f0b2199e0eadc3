import { ApiStatus, badRequest, notFound } from './api-status.ts';
import type { ClusterState } from './cluster-state.ts';
import { parseJson } from './http.ts';
import type { HttpResponse } from './http.ts';
import type { KubernetesRequest } from './kubernetes-request.ts';
import type { KubernetesObject, LabelSelectorRequirement } from './objects.ts';
import { formatList, formatObject, negotiate } from './representation.ts';
import type { ListMetadata } from './representation.ts';
import { matchesFields, matchesLabels, parseFieldSelector, parseLabelSelector } from './selectors.ts';
import type { FieldRequirement } from './selectors.ts';

/** Answers GET of one object. @throws ApiStatus */
export function readObject(state: ClusterState, request: KubernetesRequest): HttpResponse {
  const representation = negotiate(request.headers['accept'], false);
  const object = getObject(state, request);
  return toResponse(
    200,
    formatObject(request.resource, object, representation, tableOptions(state, request)),
  );
}

export function getObject(state: ClusterState, request: KubernetesRequest): KubernetesObject {
  const { resource, namespace, name = '' } = request;
  const object = state.store.get(resource.plural, namespace, name);
  if (!object) throw notFound(resource, name);
  return object;
}

/** Lists pages of what was there when the first one was asked for, as etcd's snapshots do. */
export class Lister {
  #snapshots = new Map<string, { objects: KubernetesObject[]; resourceVersion: string }>();
  #sequence = 0;

  /** Forgets the state of open lists, as compaction does, so that the next page gets 410. */
  expireContinueTokens(): void {
    this.#snapshots = new Map();
  }

  list(state: ClusterState, request: KubernetesRequest): HttpResponse {
    const { resource, query } = request;
    const representation = negotiate(request.headers['accept'], true);
    const options = tableOptions(state, request);
    const token = query.get('continue');
    // With resourceVersion=0 the watch cache answers, and it has no pages.
    const isCached = query.get('resourceVersion') === '0' && !token;
    const limit = isCached ? 0 : parseLimit(query.get('limit'));
    const page = token ? this.#resume(token) : this.#start(state, request);
    const items =
      limit > 0 ? page.objects.slice(page.from, page.from + limit) : page.objects.slice(page.from);
    const end = page.from + items.length;
    const metadata: ListMetadata = { resourceVersion: page.resourceVersion };
    if (end < page.objects.length) {
      metadata.continue = this.#keep(page, end);
      const isSelected = query.get('labelSelector') || query.get('fieldSelector');
      if (!isSelected) metadata.remainingItemCount = page.objects.length - end;
    }
    return toResponse(200, formatList(resource, items, metadata, representation, options));
  }

  #start(state: ClusterState, request: KubernetesRequest): Page {
    const objects = selectObjects(state, request);
    return { objects, from: 0, resourceVersion: String(state.store.revision) };
  }

  #resume(token: string): Page {
    const decoded = parseJson(Buffer.from(token, 'base64url').toString()) as
      { id?: string; from?: number } | undefined;
    if (typeof decoded?.id !== 'string' || typeof decoded.from !== 'number') {
      throw badRequest('continue key is not valid: illegal base64 data at input byte 0');
    }
    const snapshot = this.#snapshots.get(decoded.id);
    if (!snapshot) {
      throw new ApiStatus(
        410,
        'Expired',
        'The provided continue parameter is too old to display a consistent list result. You can start a new list ' +
          'without the continue parameter, or use the continue token in this response to retrieve the remainder of ' +
          'the results. Continuing with the provided token results in an inconsistent list - objects that were ' +
          'created, modified, or deleted between the time the first chunk was returned and now may show up in the list.',
      );
    }
    return { ...snapshot, from: decoded.from, id: decoded.id };
  }

  #keep(page: Page, from: number): string {
    const id = page.id ?? String(++this.#sequence);
    this.#snapshots.set(id, { objects: page.objects, resourceVersion: page.resourceVersion });
    const [oldest] = this.#snapshots.keys();
    if (this.#snapshots.size > 200 && oldest) this.#snapshots.delete(oldest);
    return Buffer.from(JSON.stringify({ id, from })).toString('base64url');
  }
}

interface Page {
  objects: KubernetesObject[];
  from: number;
  resourceVersion: string;
  id?: string;
}

export interface Selection {
  labels: LabelSelectorRequirement[];
  fields: FieldRequirement[];
}

/** @throws ApiStatus 400 if a selector cannot be parsed */
export function parseSelection(request: KubernetesRequest): Selection {
  const fields = parseFieldSelector(request.query.get('fieldSelector') ?? '', request.resource.kind);
  if (request.name !== undefined) fields.push({ field: 'metadata.name', equal: true, value: request.name });
  return { labels: parseLabelSelector(request.query.get('labelSelector') ?? ''), fields };
}

export function matches(object: KubernetesObject, { labels, fields }: Selection): boolean {
  return matchesLabels(object.metadata.labels, labels) && matchesFields(object, fields);
}

/** The objects that a list, a watch or a deletion of a collection selects, in order. */
export function selectObjects(state: ClusterState, request: KubernetesRequest): KubernetesObject[] {
  const selection = parseSelection(request);
  const { namespace } = request;
  return findCandidates(state, request, selection).filter(
    (object) => (!namespace || object.metadata.namespace === namespace) && matches(object, selection),
  );
}

/** Uses an index if the selector allows it, because with thousands of nodes and pods this is called often. */
function findCandidates(
  state: ClusterState,
  request: KubernetesRequest,
  selection: Selection,
): KubernetesObject[] {
  const { plural } = request.resource;
  if (plural === 'nodes') {
    const pool = selection.labels.find((each) => each.key === 'cloud.google.com/gke-nodepool');
    const value = pool?.operator === 'In' && pool.values?.length === 1 ? pool.values[0] : undefined;
    if (value !== undefined) return state.store.lookup('nodes', 'pool', value);
  }
  if (plural === 'pods') {
    const node = selection.fields.find((each) => each.field === 'spec.nodeName' && each.equal)?.value;
    if (node) return state.store.lookup('pods', 'node', node);
  }
  return state.store.list(plural, request.namespace);
}

function parseLimit(text: string | null): number {
  if (text === null || text === '') return 0;
  const limit = Number(text);
  if (!Number.isInteger(limit)) {
    throw badRequest(`strconv.ParseInt: parsing ${JSON.stringify(text)}: invalid syntax`);
  }
  return Math.max(limit, 0);
}

export function tableOptions(
  state: ClusterState,
  request: KubernetesRequest,
): { now: number; includeObject: string | null } {
  return { now: state.now(), includeObject: request.query.get('includeObject') };
}

export function toResponse(status: number, body: string): HttpResponse {
  return { status, headers: { 'content-type': 'application/json' }, body };
}
