import { parse as parseYaml } from 'yaml';
import { ApiStatus, badRequest, unsupportedMediaType } from './api-status.ts';
import { decode, DecodingError } from './decoding.ts';
import { parseJson } from './http.ts';
import type { KubernetesRequest } from './kubernetes-request.ts';
import { cloneJson, isJsonObject } from './objects.ts';
import type { KubernetesObject } from './objects.ts';
import { apiVersionOf } from './resources.ts';
import type { Resource } from './resources.ts';

/** The one object of the path's kind that a request brings. @throws ApiStatus 400, 415 */
export function readBody(request: KubernetesRequest): KubernetesObject {
  assertJsonBody(request);
  const { resource, body } = request;
  assertKind(resource, body);
  const draft = cloneJson(body);
  decodeBody(resource, draft);
  return draft;
}

/** What a server-side apply brings: JSON, or YAML. @throws ApiStatus 400 */
export function readConfiguration(request: KubernetesRequest): KubernetesObject {
  const { resource, name } = request;
  const body = parseJson(request.text) ?? readYaml(request.text);
  if (!isJsonObject(body) || typeof body['kind'] !== 'string' || typeof body['apiVersion'] !== 'string') {
    throw badRequest("error decoding YAML: Object 'Kind' is missing");
  }
  assertKind(resource, body);
  decodeBody(resource, body);
  if (body.metadata.managedFields) throw badRequest('metadata.managedFields must be nil');
  body.metadata.name ??= name ?? '';
  if (body.metadata.name !== name) {
    throw badRequest(
      `the name of the object (${body.metadata.name}) does not match the name on the URL (${name})`,
    );
  }
  return body;
}

/** Parses the result of a patch. If it cannot be parsed, the patch is wrong: 422, without a name. */
export function decodePatched(request: KubernetesRequest, draft: KubernetesObject): void {
  try {
    decode(request.resource, draft);
  } catch (error) {
    if (!(error instanceof DecodingError)) throw error;
    const message = `Invalid value: ${JSON.stringify(request.text)}: ${error.message}`;
    const causes = [{ reason: 'FieldValueInvalid', message, field: 'patch' }];
    throw new ApiStatus(422, 'Invalid', ` "" is invalid: patch: ${message}`, { causes });
  }
}

function assertJsonBody(request: KubernetesRequest): void {
  const type = (request.headers['content-type'] ?? 'application/json').split(';')[0]?.trim();
  if (type !== 'application/json') {
    throw unsupportedMediaType([
      'application/json',
      'application/yaml',
      'application/vnd.kubernetes.protobuf',
    ]);
  }
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

function readYaml(text: string): unknown {
  try {
    return parseYaml(text);
  } catch {
    return undefined;
  }
}

/** Refuses a body that is not one object of the kind that the path says. */
function assertKind(resource: Resource, body: unknown): asserts body is KubernetesObject {
  if (!isJsonObject(body)) {
    throw badRequest(
      `the object provided is unrecognized (must be of type ${resource.kind}): couldn't get version/kind; json parse error`,
    );
  }
  const apiVersion = apiVersionOf(resource);
  const { kind, apiVersion: given } = body as { kind?: string; apiVersion?: string };
  if (kind !== undefined && kind !== resource.kind) {
    throw badRequest(
      `${kind} in version ${JSON.stringify(given ?? apiVersion)} cannot be handled as a ${resource.kind}: ` +
        `no kind ${JSON.stringify(kind)} is registered for the version`,
    );
  }
  if (given !== undefined && given !== apiVersion) {
    throw badRequest(
      `the API version in the data (${given}) does not match the expected API version (${apiVersion})`,
    );
  }
  body['metadata'] ??= {};
}
