import { admitCreate, admitUpdate, normaliseNode } from './admission.ts';
import { alreadyExists, badRequest, invalid, invalidValue, notFound } from './api-status.ts';
import type { ClusterState } from './cluster-state.ts';
import { isDeletionDue } from './cluster-state.ts';
import type { KubernetesRequest } from './kubernetes-request.ts';
import { recordUpdate } from './managed-fields.ts';
import type { Manager } from './managed-fields.ts';
import { cloneJson, isEqualJson, isJsonObject } from './objects.ts';
import type { JsonObject, KubernetesObject, ManagedFieldsEntry, Node } from './objects.ts';
import { apiVersionOf, resourceOf } from './resources.ts';

/** Validates and stores a new object. @throws ApiStatus */
export function storeNew(
  state: ClusterState,
  request: KubernetesRequest,
  draft: KubernetesObject,
): KubernetesObject {
  const { resource, namespace } = request;
  if (namespace && !state.store.get('namespaces', undefined, namespace)) {
    throw notFound(resourceOf('namespaces'), namespace);
  }
  admitCreate(state, resource, draft);
  const { name } = draft.metadata;
  if (state.store.get(resource.plural, namespace, name)) throw alreadyExists(resource, name);
  if (!draft.metadata.managedFields) recordUpdate(undefined, draft, toManager(state, request));
  if (isDryRun(request)) return draft;
  return state.create(resource.plural, draft);
}

/** Removes from a body the fields that only the server may set. */
export function toNewObject(
  state: ClusterState,
  request: KubernetesRequest,
  body: KubernetesObject,
): KubernetesObject {
  const { resource, namespace } = request;
  const draft = cloneJson(body);
  const { metadata } = draft;
  if (namespace && metadata.namespace && metadata.namespace !== namespace) {
    throw badRequest('the namespace of the provided object does not match the namespace sent on the request');
  }
  if (metadata.resourceVersion) {
    throw badRequest('resourceVersion should not be set on objects to be created');
  }
  if (metadata.generateName && !metadata.name) metadata.name = metadata.generateName + state.random.suffix();
  for (const field of [
    'uid',
    'creationTimestamp',
    'deletionTimestamp',
    'managedFields',
    'generation',
  ] as const) {
    delete metadata[field];
  }
  if (namespace) metadata.namespace = namespace;
  else delete metadata.namespace;
  const { kind } = resource;
  return { ...draft, apiVersion: apiVersionOf(resource), kind, metadata };
}

/**
 * Brings a changed object into the store: what may not change, what is kept from before, who owns what. Nothing is
 * stored where nothing differs. @throws ApiStatus
 */
export function storeChange(
  state: ClusterState,
  request: KubernetesRequest,
  current: KubernetesObject,
  wanted: KubernetesObject,
  operation: ManagedFieldsEntry['operation'],
): KubernetesObject {
  const { resource, subresource } = request;
  const draft = restrictToEndpoint(current, wanted, subresource, resource.subresources.includes('status'));
  const { metadata } = draft;
  if (metadata.uid && metadata.uid !== current.metadata.uid) {
    throw invalid(resource, current.metadata.name, [
      invalidValue('metadata.uid', metadata.uid, 'field is immutable'),
    ]);
  }
  keepSystemFields(current, draft, operation);
  dropEmptyMaps(metadata);
  admitUpdate(resource, current, draft);
  if (resource.plural === 'nodes') normaliseNode(draft as Node);
  if (operation === 'Update') recordUpdate(current, draft, toManager(state, request));
  if (metadata.generation !== undefined && !isEqualJson(current['spec'], draft['spec'])) {
    metadata.generation += 1;
  }
  if (isEqualJson(current, draft)) return current;
  if (isDryRun(request)) return draft;
  const updated = state.store.put(resource.plural, draft);
  if (isDeletionDue(updated)) state.store.remove(resource.plural, updated);
  return updated;
}

/** The main endpoint leaves the status alone, and `/status` leaves everything else. */
function restrictToEndpoint(
  current: KubernetesObject,
  wanted: KubernetesObject,
  subresource: string | undefined,
  hasStatus: boolean,
): KubernetesObject {
  if (subresource === 'status') {
    return cloneJson({ ...current, status: wanted['status'], metadata: withMetadataOf(current, wanted) });
  }
  const { status, ...others } = wanted;
  const draft = cloneJson({ ...others, apiVersion: current.apiVersion, kind: current.kind });
  // Stored objects never change, so an unchanged part need not be copied.
  return { ...draft, status: hasStatus ? current['status'] : cloneJson(status) };
}

function withMetadataOf(current: KubernetesObject, wanted: KubernetesObject): KubernetesObject['metadata'] {
  const { uid, managedFields } = wanted.metadata;
  return { ...current.metadata, uid, ...(managedFields && { managedFields }) };
}

function keepSystemFields(
  current: KubernetesObject,
  draft: KubernetesObject,
  operation: ManagedFieldsEntry['operation'],
): void {
  const { metadata: before } = current;
  const kept: (keyof KubernetesObject['metadata'])[] = [
    ...(['uid', 'resourceVersion', 'creationTimestamp', 'generation'] as const),
    ...(['deletionTimestamp', 'deletionGracePeriodSeconds', 'namespace', 'generateName'] as const),
    ...(operation === 'Update' ? (['managedFields'] as const) : []),
  ];
  const metadata = draft.metadata as unknown as JsonObject;
  for (const field of kept) {
    if (before[field] === undefined) delete metadata[field];
    else metadata[field] = cloneJson(before[field]);
  }
}

function dropEmptyMaps(metadata: KubernetesObject['metadata']): void {
  for (const field of ['labels', 'annotations'] as const) {
    const map = metadata[field];
    if (map === null || (isJsonObject(map) && Object.keys(map).length === 0)) delete metadata[field];
  }
  if (metadata.finalizers?.length === 0) delete metadata.finalizers;
}

export function toManager(state: ClusterState, request: KubernetesRequest): Manager {
  const agent = (request.headers['user-agent'] ?? 'unknown').split('/')[0] ?? 'unknown';
  return {
    name: request.query.get('fieldManager') ?? agent.slice(0, 128),
    apiVersion: apiVersionOf(request.resource),
    subresource: request.subresource,
    time: state.time(),
  };
}

export function isDryRun(request: KubernetesRequest): boolean {
  return request.query.get('dryRun') === 'All';
}
