import { parse as parseYaml } from 'yaml';
import { admitCreate, admitUpdate, assertBody, normaliseNode } from './admission.ts';
import {
  alreadyExists,
  ApiStatus,
  badRequest,
  conflict,
  invalid,
  invalidValue,
  notFound,
} from './api-status.ts';
import { staleResourceVersion, unsupportedMediaType } from './api-status.ts';
import type { ClusterState } from './cluster-state.ts';
import { isDeletionDue } from './cluster-state.ts';
import { decode, DecodingError } from './decoding.ts';
import { deleteObject } from './deletion.ts';
import type { DeleteOptions } from './deletion.ts';
import { parseJson } from './http.ts';
import type { HttpResponse } from './http.ts';
import { getObject, selectObjects, tableOptions, toResponse } from './kubernetes-read.ts';
import type { KubernetesRequest } from './kubernetes-request.ts';
import { applyConfiguration, recordUpdate } from './managed-fields.ts';
import type { Manager } from './managed-fields.ts';
import { cloneJson, isEqualJson, isJsonObject, setCondition } from './objects.ts';
import type { JsonObject, KubernetesObject, ManagedFieldsEntry, Node, Pod } from './objects.ts';
import { applyJsonPatch, applyMergePatch, applyStrategicMergePatch } from './patch.ts';
import { formatList, formatObject, negotiate } from './representation.ts';
import { apiVersionOf, resourceOf } from './resources.ts';
import type { Resource } from './resources.ts';

/** Answers POST. @throws ApiStatus */
export function createObject(state: ClusterState, request: KubernetesRequest): HttpResponse {
  if (request.subresource === 'eviction') return evict(state, request);
  const representation = negotiate(request.headers['accept'], false);
  assertJsonBody(request);
  assertBody(request.resource, request.body);
  const created = store(state, request, toNewObject(state, request, request.body));
  return toResponse(
    201,
    formatObject(request.resource, created, representation, tableOptions(state, request)),
  );
}

/** Answers PUT. @throws ApiStatus */
export function replaceObject(state: ClusterState, request: KubernetesRequest): HttpResponse {
  const { resource, namespace, name = '' } = request;
  const representation = negotiate(request.headers['accept'], false);
  assertJsonBody(request);
  assertBody(resource, request.body);
  const body = cloneJson(request.body);
  decodeBody(resource, body);
  if (body.metadata.name && body.metadata.name !== name)
    throw badRequest(
      `the name of the object (${body.metadata.name}) does not match the name on the URL (${name})`,
    );
  body.metadata.name = name;
  const current = state.store.get(resource.plural, namespace, name);
  if (!current) return replaceMissing(state, request, body, representation);
  assertReplaceable(request, current, body);
  const updated = change(state, request, current, body, 'Update');
  return toResponse(200, formatObject(resource, updated, representation, tableOptions(state, request)));
}

const JSON_PATCH = 'application/json-patch+json';
const MERGE_PATCH = 'application/merge-patch+json';
const STRATEGIC_MERGE_PATCH = 'application/strategic-merge-patch+json';
const APPLY_PATCH = 'application/apply-patch+yaml';

/** Answers PATCH, by its content type. @throws ApiStatus */
export function patchObject(state: ClusterState, request: KubernetesRequest): HttpResponse {
  const { resource, namespace, name = '' } = request;
  const representation = negotiate(request.headers['accept'], false);
  const type = (request.headers['content-type'] ?? '').split(';')[0]?.trim();
  const accepted = [
    JSON_PATCH,
    MERGE_PATCH,
    ...(resource.custom ? [] : [STRATEGIC_MERGE_PATCH]),
    APPLY_PATCH,
  ];
  if (!type || !accepted.includes(type)) throw unsupportedMediaType(accepted);
  if (type === APPLY_PATCH) return applyObject(state, request);
  if (request.query.get('force'))
    throw invalidPatchOptions(
      'force',
      'FieldValueForbidden',
      'Forbidden: may not be specified for non-apply patch',
    );
  const current = getObject(state, request);
  const patched = applyPatch(type, resource.kind, current, parsePatch(request));
  if (!isJsonObject(patched['metadata'])) throw badRequest('metadata must be an object');
  const draft = patched as KubernetesObject;
  if (draft.metadata.resourceVersion && draft.metadata.resourceVersion !== current.metadata.resourceVersion)
    throw staleResourceVersion(resource, name);
  if (draft.metadata.name !== name)
    throw badRequest(
      `the name of the object (${draft.metadata.name}) does not match the name on the URL (${name})`,
    );
  if (draft.metadata.namespace !== namespace)
    throw badRequest(
      `the namespace of the object (${draft.metadata.namespace}) does not match the namespace on the URL (${namespace})`,
    );
  decodePatched(request, draft);
  const updated = change(state, request, current, draft, 'Update');
  return toResponse(200, formatObject(resource, updated, representation, tableOptions(state, request)));
}

/** Answers DELETE of one object. @throws ApiStatus */
export function removeObject(state: ClusterState, request: KubernetesRequest): HttpResponse {
  const { resource } = request;
  const object = getObject(state, request);
  const options = parseDeleteOptions(request);
  if (isDryRun(request)) return toResponse(200, JSON.stringify(toSuccess(object, request)));
  const { object: last, gone } = deleteObject(state, resource.plural, object, options);
  // Pods are answered with themselves, everything else that is gone with a Status.
  if (gone && resource.plural !== 'pods') return toResponse(200, JSON.stringify(toSuccess(last, request)));
  return toResponse(200, formatObject(resource, last, 'full', tableOptions(state, request)));
}

/** Answers DELETE of a collection. @throws ApiStatus */
export function removeCollection(state: ClusterState, request: KubernetesRequest): HttpResponse {
  const objects = selectObjects(state, request);
  const options = parseDeleteOptions(request);
  if (!isDryRun(request))
    for (const object of objects) deleteObject(state, request.resource.plural, object, options);
  const metadata = { resourceVersion: String(state.store.revision) };
  return toResponse(
    200,
    formatList(request.resource, objects, metadata, 'full', tableOptions(state, request)),
  );
}

function toNewObject(
  state: ClusterState,
  request: KubernetesRequest,
  body: KubernetesObject,
): KubernetesObject {
  const { resource, namespace } = request;
  const draft = cloneJson(body);
  decodeBody(resource, draft);
  const { metadata } = draft;
  if (namespace && metadata.namespace && metadata.namespace !== namespace)
    throw badRequest('the namespace of the provided object does not match the namespace sent on the request');
  if (metadata.resourceVersion)
    throw badRequest('resourceVersion should not be set on objects to be created');
  if (metadata.generateName && !metadata.name) metadata.name = metadata.generateName + state.random.suffix();
  for (const field of [
    'uid',
    'creationTimestamp',
    'deletionTimestamp',
    'managedFields',
    'generation',
  ] as const)
    delete metadata[field];
  if (namespace) metadata.namespace = namespace;
  else delete metadata.namespace;
  const { kind } = resource;
  return { ...draft, apiVersion: apiVersionOf(resource), kind, metadata };
}

function decodeBody(resource: Resource, draft: KubernetesObject): void {
  try {
    decode(resource, draft);
  } catch (error) {
    if (!(error instanceof DecodingError)) throw error;
    const version = JSON.stringify(resource.version);
    throw badRequest(
      `${resource.kind} in version ${version} cannot be handled as a ${resource.kind}: ${error.message}`,
    );
  }
}

/** What a patch makes unreadable is the patch's fault, and said without a name. */
function decodePatched(request: KubernetesRequest, draft: KubernetesObject): void {
  try {
    decode(request.resource, draft);
  } catch (error) {
    if (!(error instanceof DecodingError)) throw error;
    const message = `Invalid value: ${JSON.stringify(request.text)}: ${error.message}`;
    const causes = [{ reason: 'FieldValueInvalid', message, field: 'patch' }];
    throw new ApiStatus(422, 'Invalid', ` "" is invalid: patch: ${message}`, { causes });
  }
}

function store(state: ClusterState, request: KubernetesRequest, draft: KubernetesObject): KubernetesObject {
  const { resource, namespace } = request;
  if (namespace && !state.store.get('namespaces', undefined, namespace))
    throw notFound(resourceOf('namespaces'), namespace);
  admitCreate(state, resource, draft);
  const { name } = draft.metadata;
  if (state.store.get(resource.plural, namespace, name)) throw alreadyExists(resource, name);
  if (!draft.metadata.managedFields) recordUpdate(undefined, draft, toManager(state, request));
  if (isDryRun(request)) return draft;
  return state.create(resource.plural, draft);
}

function replaceMissing(
  state: ClusterState,
  request: KubernetesRequest,
  body: KubernetesObject,
  representation: 'full' | 'partial' | 'table',
): HttpResponse {
  const { resource, name = '' } = request;
  // Leases and Events are created by a PUT, unless it names the object that it means.
  if (resource.plural !== 'leases' && resource.plural !== 'events') throw notFound(resource, name);
  if (body.metadata.uid) throw conflict(resource, name, toPreconditionText(request, body.metadata.uid, ''));
  delete (body.metadata as Partial<KubernetesObject['metadata']>).resourceVersion;
  const created = store(state, request, toNewObject(state, request, body));
  return toResponse(201, formatObject(resource, created, representation, tableOptions(state, request)));
}

function assertReplaceable(
  request: KubernetesRequest,
  current: KubernetesObject,
  body: KubernetesObject,
): void {
  const { resource, name = '' } = request;
  const { uid, resourceVersion } = body.metadata;
  if (uid && uid !== current.metadata.uid)
    throw conflict(resource, name, toPreconditionText(request, uid, current.metadata.uid));
  const isUnconditionalAllowed = !resource.custom && resource.plural !== 'leases';
  if (!resourceVersion && !isUnconditionalAllowed)
    throw invalid(resource, name, [
      {
        ...invalidValue('metadata.resourceVersion', 0, ''),
        message: 'Invalid value: 0: must be specified for an update',
      },
    ]);
  if (resourceVersion && resourceVersion !== current.metadata.resourceVersion)
    throw staleResourceVersion(resource, name);
}

function toPreconditionText(
  { resource, namespace, name }: KubernetesRequest,
  uid: string,
  found: string,
): string {
  const key = ['/registry', resource.plural, namespace, name].filter(Boolean).join('/');
  return (
    `StorageError: invalid object, Code: 4, Key: ${key}, ResourceVersion: 0, AdditionalErrorMsg: ` +
    `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${found}`
  );
}

function parsePatch(request: KubernetesRequest): unknown {
  if (request.body === undefined) throw badRequest('error decoding patch: invalid JSON');
  return request.body;
}

function applyPatch(type: string, kind: string, current: KubernetesObject, patch: unknown): JsonObject {
  if (type === JSON_PATCH) return applyJsonPatch(current, patch);
  if (!isJsonObject(patch)) throw badRequest('error decoding patch: json: cannot unmarshal into an object');
  if (type === MERGE_PATCH) return applyMergePatch(current, patch) as JsonObject;
  return applyStrategicMergePatch(kind, current, patch);
}

function applyObject(state: ClusterState, request: KubernetesRequest): HttpResponse {
  const { resource, namespace, name = '', query } = request;
  const representation = negotiate(request.headers['accept'], false);
  const manager = query.get('fieldManager');
  if (!manager)
    throw invalidPatchOptions(
      'fieldManager',
      'FieldValueRequired',
      'Required value: is required for apply patch',
    );
  const configuration = parseConfiguration(request);
  const current = state.store.get(resource.plural, namespace, name);
  if (!current) {
    const { uid } = configuration.metadata;
    if (uid) {
      const why = `uid mismatch: the provided object specified uid ${uid}, and no existing object was found`;
      throw conflict(resource, name, why);
    }
    const draft = toNewObject(state, request, configuration);
    const applied = applyConfiguration(draft, configuration, toManager(state, request), true);
    const created = store(state, request, applied);
    return toResponse(201, formatObject(resource, created, representation, tableOptions(state, request)));
  }
  const wanted = configuration.metadata.resourceVersion;
  if (wanted && wanted !== current.metadata.resourceVersion) throw staleResourceVersion(resource, name);
  const isForced = query.get('force') === 'true';
  const draft = applyConfiguration(current, configuration, toManager(state, request), isForced);
  const updated = change(state, request, current, draft, 'Apply');
  return toResponse(200, formatObject(resource, updated, representation, tableOptions(state, request)));
}

function parseConfiguration(request: KubernetesRequest): KubernetesObject {
  const { resource, name } = request;
  const body = parseJson(request.text) ?? readYaml(request.text);
  if (!isJsonObject(body) || typeof body['kind'] !== 'string' || typeof body['apiVersion'] !== 'string')
    throw badRequest("error decoding YAML: Object 'Kind' is missing");
  assertBody(resource, body);
  decodeBody(resource, body);
  if (body.metadata.managedFields) throw badRequest('metadata.managedFields must be nil');
  body.metadata.name ??= name ?? '';
  if (body.metadata.name !== name)
    throw badRequest(
      `the name of the object (${body.metadata.name}) does not match the name on the URL (${name})`,
    );
  return body;
}

function readYaml(text: string): unknown {
  try {
    return parseYaml(text);
  } catch {
    return undefined;
  }
}

/** Brings a changed object into the store: what may not change, what is kept from before, who owns what. */
function change(
  state: ClusterState,
  request: KubernetesRequest,
  current: KubernetesObject,
  wanted: KubernetesObject,
  operation: ManagedFieldsEntry['operation'],
): KubernetesObject {
  const { resource, subresource } = request;
  const draft = restrictToEndpoint(current, wanted, subresource, resource.subresources.includes('status'));
  const { metadata } = draft;
  if (metadata.uid && metadata.uid !== current.metadata.uid)
    throw invalid(resource, current.metadata.name, [
      invalidValue('metadata.uid', metadata.uid, 'field is immutable'),
    ]);
  keepSystemFields(current, draft, operation);
  dropEmptyMaps(metadata);
  admitUpdate(resource, current, draft);
  if (resource.plural === 'nodes') normaliseNode(draft as Node);
  if (operation === 'Update') recordUpdate(current, draft, toManager(state, request));
  if (metadata.generation !== undefined && !isEqualJson(current['spec'], draft['spec']))
    metadata.generation += 1;
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
  if (subresource === 'status')
    return cloneJson({ ...current, status: wanted['status'], metadata: withMetadataOf(current, wanted) });
  return cloneJson({
    ...wanted,
    apiVersion: current.apiVersion,
    kind: current.kind,
    ...(hasStatus && { status: current['status'] }),
  });
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

function toManager(state: ClusterState, request: KubernetesRequest): Manager {
  const agent = (request.headers['user-agent'] ?? 'unknown').split('/')[0] ?? 'unknown';
  return {
    name: request.query.get('fieldManager') ?? agent.slice(0, 128),
    apiVersion: apiVersionOf(request.resource),
    subresource: request.subresource,
    time: state.time(),
  };
}

/** Marks and deletes a pod, as the Eviction API does; there are no disruption budgets here. */
function evict(state: ClusterState, request: KubernetesRequest): HttpResponse {
  const pod = getObject(state, request) as Pod;
  const options = isJsonObject(request.body)
    ? (request.body['deleteOptions'] as DeleteOptions | undefined)
    : undefined;
  const marked = state.update('pods', pod, (draft) => {
    const condition = { type: 'DisruptionTarget', status: 'True' as const, reason: 'EvictionByEvictionAPI' };
    const message = 'Eviction API: evicting';
    setCondition((draft.status.conditions ??= []), { ...condition, message }, state.time());
  });
  deleteObject(state, 'pods', marked, options);
  return toResponse(
    201,
    JSON.stringify({ kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', code: 201 }),
  );
}

function parseDeleteOptions(request: KubernetesRequest): DeleteOptions {
  if (request.text !== '' && !isJsonObject(request.body))
    throw badRequest("couldn't get version/kind; json parse error: invalid character");
  const body = (request.body ?? {}) as DeleteOptions & { orphanDependents?: boolean };
  const grace = request.query.get('gracePeriodSeconds');
  const policy = request.query.get('propagationPolicy') as DeleteOptions['propagationPolicy'] | null;
  const options: DeleteOptions = { ...body };
  if (body.orphanDependents) options.propagationPolicy = 'Orphan';
  if (grace !== null) options.gracePeriodSeconds = Number(grace);
  if (policy) options.propagationPolicy = policy;
  return options;
}

function toSuccess(object: KubernetesObject, { resource }: KubernetesRequest): unknown {
  return {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Success',
    details: {
      name: object.metadata.name,
      ...(resource.group && { group: resource.group }),
      kind: resource.plural,
      uid: object.metadata.uid,
    },
  };
}

function assertJsonBody(request: KubernetesRequest): void {
  const type = (request.headers['content-type'] ?? 'application/json').split(';')[0]?.trim();
  if (type !== 'application/json')
    throw unsupportedMediaType([
      'application/json',
      'application/yaml',
      'application/vnd.kubernetes.protobuf',
    ]);
}

function isDryRun(request: KubernetesRequest): boolean {
  return request.query.get('dryRun') === 'All';
}

function invalidPatchOptions(field: string, reason: string, message: string): ApiStatus {
  return new ApiStatus(422, 'Invalid', `PatchOptions.meta.k8s.io "" is invalid: ${field}: ${message}`, {
    group: 'meta.k8s.io',
    kind: 'PatchOptions',
    causes: [{ reason, message, field }],
  });
}
