import { badRequest } from './api-status.ts';
import type { ClusterState } from './cluster-state.ts';
import { deleteObject } from './deletion.ts';
import type { DeleteOptions } from './deletion.ts';
import type { HttpResponse } from './http.ts';
import { getObject, selectObjects, tableOptions, toResponse } from './kubernetes-read.ts';
import type { KubernetesRequest } from './kubernetes-request.ts';
import { isDryRun } from './object-writer.ts';
import { isJsonObject, setCondition } from './objects.ts';
import type { KubernetesObject, Pod } from './objects.ts';
import { formatList, formatObject } from './representation.ts';

/** Answers DELETE of one object. @throws ApiStatus */
export function removeObject(state: ClusterState, request: KubernetesRequest): HttpResponse {
  const { resource } = request;
  const object = getObject(state, request);
  const options = parseDeleteOptions(request);
  if (isDryRun(request)) return toResponse(200, JSON.stringify(toSuccess(object, request)));
  const { object: last, gone } = deleteObject(state, resource.plural, object, options);
  // The answer for a pod is the pod, and for each other deleted object a Status.
  if (gone && resource.plural !== 'pods') return toResponse(200, JSON.stringify(toSuccess(last, request)));
  return toResponse(200, formatObject(resource, last, 'full', tableOptions(state, request)));
}

/** Answers DELETE of a collection. @throws ApiStatus */
export function removeCollection(state: ClusterState, request: KubernetesRequest): HttpResponse {
  const objects = selectObjects(state, request);
  const options = parseDeleteOptions(request);
  if (!isDryRun(request)) {
    for (const object of objects) deleteObject(state, request.resource.plural, object, options);
  }
  const metadata = { resourceVersion: String(state.store.revision) };
  return toResponse(
    200,
    formatList(request.resource, objects, metadata, 'full', tableOptions(state, request)),
  );
}

/** Marks and deletes a pod, as the Eviction API does; there are no disruption budgets here. */
export function evict(state: ClusterState, request: KubernetesRequest): HttpResponse {
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
  if (request.text !== '' && !isJsonObject(request.body)) {
    throw badRequest("couldn't get version/kind; json parse error: invalid character");
  }
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
