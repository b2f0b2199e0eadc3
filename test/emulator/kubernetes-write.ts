import {
  ApiStatus,
  badRequest,
  conflict,
  invalid,
  invalidValue,
  notFound,
  staleResourceVersion,
  unsupportedMediaType,
} from './api-status.ts';
import type { ClusterState } from './cluster-state.ts';
import type { HttpResponse } from './http.ts';
import { evict } from './kubernetes-delete.ts';
import { getObject, tableOptions, toResponse } from './kubernetes-read.ts';
import type { KubernetesRequest } from './kubernetes-request.ts';
import { applyConfiguration } from './managed-fields.ts';
import { storeChange, storeNew, toManager, toNewObject } from './object-writer.ts';
import { isJsonObject } from './objects.ts';
import type { JsonObject, KubernetesObject } from './objects.ts';
import { applyJsonPatch, applyMergePatch, applyStrategicMergePatch } from './patch.ts';
import { formatObject, negotiate } from './representation.ts';
import { decodePatched, readBody, readConfiguration } from './request-body.ts';

/** Answers POST. @throws ApiStatus */
export function createObject(state: ClusterState, request: KubernetesRequest): HttpResponse {
  if (request.subresource === 'eviction') return evict(state, request);
  const representation = negotiate(request.headers['accept'], false);
  const created = storeNew(state, request, toNewObject(state, request, readBody(request)));
  return toResponse(
    201,
    formatObject(request.resource, created, representation, tableOptions(state, request)),
  );
}

/** Answers PUT. @throws ApiStatus */
export function replaceObject(state: ClusterState, request: KubernetesRequest): HttpResponse {
  const { resource, namespace, name = '' } = request;
  const representation = negotiate(request.headers['accept'], false);
  const body = readBody(request);
  if (body.metadata.name && body.metadata.name !== name) {
    throw badRequest(
      `the name of the object (${body.metadata.name}) does not match the name on the URL (${name})`,
    );
  }
  body.metadata.name = name;
  const current = state.store.get(resource.plural, namespace, name);
  if (!current) return replaceMissing(state, request, body, representation);
  assertReplaceable(request, current, body);
  const updated = storeChange(state, request, current, body, 'Update');
  return toResponse(200, formatObject(resource, updated, representation, tableOptions(state, request)));
}

const jsonPatch = 'application/json-patch+json';
const mergePatch = 'application/merge-patch+json';
const strategicMergePatch = 'application/strategic-merge-patch+json';
const applyPatchType = 'application/apply-patch+yaml';

/** Answers PATCH, by its content type. @throws ApiStatus */
export function patchObject(state: ClusterState, request: KubernetesRequest): HttpResponse {
  const { resource, namespace, name = '' } = request;
  const representation = negotiate(request.headers['accept'], false);
  const type = (request.headers['content-type'] ?? '').split(';')[0]?.trim();
  const accepted = [jsonPatch, mergePatch, ...(resource.custom ? [] : [strategicMergePatch]), applyPatchType];
  if (!type || !accepted.includes(type)) throw unsupportedMediaType(accepted);
  if (type === applyPatchType) return applyObject(state, request);
  if (request.query.get('force')) {
    throw invalidPatchOptions(
      'force',
      'FieldValueForbidden',
      'Forbidden: may not be specified for non-apply patch',
    );
  }
  const current = getObject(state, request);
  const patched = applyPatch(type, resource.kind, current, parsePatch(request));
  if (!isJsonObject(patched['metadata'])) throw badRequest('metadata must be an object');
  const draft = patched as KubernetesObject;
  if (draft.metadata.resourceVersion && draft.metadata.resourceVersion !== current.metadata.resourceVersion) {
    throw staleResourceVersion(resource, name);
  }
  if (draft.metadata.name !== name) {
    throw badRequest(
      `the name of the object (${draft.metadata.name}) does not match the name on the URL (${name})`,
    );
  }
  if (draft.metadata.namespace !== namespace) {
    throw badRequest(
      `the namespace of the object (${draft.metadata.namespace}) does not match the namespace on the URL (${namespace})`,
    );
  }
  decodePatched(request, draft);
  const updated = storeChange(state, request, current, draft, 'Update');
  return toResponse(200, formatObject(resource, updated, representation, tableOptions(state, request)));
}

function replaceMissing(
  state: ClusterState,
  request: KubernetesRequest,
  body: KubernetesObject,
  representation: 'full' | 'partial' | 'table',
): HttpResponse {
  const { resource, name = '' } = request;
  // A PUT creates a missing Lease or Event, unless its body has a uid.
  if (resource.plural !== 'leases' && resource.plural !== 'events') throw notFound(resource, name);
  if (body.metadata.uid) throw conflict(resource, name, toPreconditionText(request, body.metadata.uid, ''));
  delete (body.metadata as Partial<KubernetesObject['metadata']>).resourceVersion;
  const created = storeNew(state, request, toNewObject(state, request, body));
  return toResponse(201, formatObject(resource, created, representation, tableOptions(state, request)));
}

function assertReplaceable(
  request: KubernetesRequest,
  current: KubernetesObject,
  body: KubernetesObject,
): void {
  const { resource, name = '' } = request;
  const { uid, resourceVersion } = body.metadata;
  if (uid && uid !== current.metadata.uid) {
    throw conflict(resource, name, toPreconditionText(request, uid, current.metadata.uid));
  }
  const isUnconditionalAllowed = !resource.custom && resource.plural !== 'leases';
  if (!resourceVersion && !isUnconditionalAllowed) {
    throw invalid(resource, name, [
      {
        ...invalidValue('metadata.resourceVersion', 0, ''),
        message: 'Invalid value: 0: must be specified for an update',
      },
    ]);
  }
  if (resourceVersion && resourceVersion !== current.metadata.resourceVersion) {
    throw staleResourceVersion(resource, name);
  }
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
  if (type === jsonPatch) return applyJsonPatch(current, patch);
  if (!isJsonObject(patch)) throw badRequest('error decoding patch: json: cannot unmarshal into an object');
  if (type === mergePatch) return applyMergePatch(current, patch) as JsonObject;
  return applyStrategicMergePatch(kind, current, patch);
}

function applyObject(state: ClusterState, request: KubernetesRequest): HttpResponse {
  const { resource, namespace, name = '', query } = request;
  const representation = negotiate(request.headers['accept'], false);
  const manager = query.get('fieldManager');
  if (!manager) {
    throw invalidPatchOptions(
      'fieldManager',
      'FieldValueRequired',
      'Required value: is required for apply patch',
    );
  }
  const configuration = readConfiguration(request);
  const current = state.store.get(resource.plural, namespace, name);
  if (!current) {
    const { uid } = configuration.metadata;
    if (uid) {
      const why = `uid mismatch: the provided object specified uid ${uid}, and no existing object was found`;
      throw conflict(resource, name, why);
    }
    const draft = toNewObject(state, request, configuration);
    const applied = applyConfiguration(draft, configuration, toManager(state, request), true);
    const created = storeNew(state, request, applied);
    return toResponse(201, formatObject(resource, created, representation, tableOptions(state, request)));
  }
  const wanted = configuration.metadata.resourceVersion;
  if (wanted && wanted !== current.metadata.resourceVersion) throw staleResourceVersion(resource, name);
  const isForced = query.get('force') === 'true';
  const draft = applyConfiguration(current, configuration, toManager(state, request), isForced);
  const updated = storeChange(state, request, current, draft, 'Apply');
  return toResponse(200, formatObject(resource, updated, representation, tableOptions(state, request)));
}

function invalidPatchOptions(field: string, reason: string, message: string): ApiStatus {
  return new ApiStatus(422, 'Invalid', `PatchOptions.meta.k8s.io "" is invalid: ${field}: ${message}`, {
    group: 'meta.k8s.io',
    kind: 'PatchOptions',
    causes: [{ reason, message, field }],
  });
}
