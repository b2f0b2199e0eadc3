import { parseJson, splitPath } from './http.ts';
import type { HttpRequest } from './http.ts';
import { findResource } from './resources.ts';
import type { Resource } from './resources.ts';

export type Verb = 'get' | 'list' | 'watch' | 'create' | 'update' | 'patch' | 'delete' | 'deletecollection';

/** A parsed request for a resource. */
export interface KubernetesRequest {
  verb: Verb;
  resource: Resource;
  namespace: string | undefined;
  name: string | undefined;
  subresource: string | undefined;
  query: URLSearchParams;
  headers: Record<string, string>;
  /** Parsed JSON, or undefined where there is none. */
  body: unknown;
  text: string;
  user: string;
}

/** Understands a path below /api/v1 or /apis/GROUP/VERSION; undefined where it names no resource kept here. */
export function parseKubernetesRequest(
  request: HttpRequest,
  user: string,
): KubernetesRequest | 'method_not_allowed' | undefined {
  const { pathname, query } = splitPath(request.path);
  const segments = pathname.split('/').filter(Boolean).map(decodeURIComponent);
  const isCore = segments[0] === 'api';
  if (!isCore && segments[0] !== 'apis') return undefined;
  const [group, version] = isCore ? ['', segments[1]] : [segments[1], segments[2]];
  const rest = segments.slice(isCore ? 2 : 3);
  if (group === undefined || version === undefined || rest.length === 0) return undefined;

  const target = toTarget(group, version, rest);
  if (!target) return undefined;
  const verb = toVerb(request.method, target.name, query, target.subresource);
  if (!verb) return 'method_not_allowed';
  return {
    ...target,
    verb,
    query,
    headers: request.headers,
    body: request.body === '' ? undefined : parseJson(request.body),
    text: request.body,
    user,
  };
}

type Target = Pick<KubernetesRequest, 'resource' | 'namespace' | 'name' | 'subresource'>;

function toTarget(group: string, version: string, segments: string[]): Target | undefined {
  const [first, second, third] = segments;
  const isScoped =
    first === 'namespaces' && third !== undefined && findResource(group, version, third)?.namespaced;
  const [plural, name, subresource, excess] = isScoped ? segments.slice(2) : segments;
  const resource = plural === undefined ? undefined : findResource(group, version, plural);
  if (!resource || excess !== undefined) return undefined;
  // A namespaced object cannot be named without its namespace.
  if (resource.namespaced && name !== undefined && !isScoped) return undefined;
  if (subresource !== undefined && !resource.subresources.includes(subresource)) return undefined;
  return { resource, namespace: isScoped ? second : undefined, name, subresource };
}

function toVerb(
  method: string,
  name: string | undefined,
  query: URLSearchParams,
  subresource: string | undefined,
): Verb | undefined {
  const isCollection = name === undefined;
  switch (method) {
    case 'GET':
      if (isCollection && isTrue(query.get('watch'))) return 'watch';
      return isCollection ? 'list' : 'get';
    case 'POST':
      return isCollection || subresource === 'eviction' ? 'create' : undefined;
    case 'PUT':
      return isCollection ? undefined : 'update';
    case 'PATCH':
      return isCollection ? undefined : 'patch';
    case 'DELETE':
      return isCollection ? 'deletecollection' : 'delete';
    default:
      return undefined;
  }
}

export function isTrue(value: string | null): boolean {
  return value === 'true' || value === '1';
}
