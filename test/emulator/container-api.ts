import { gkeVersion } from './discovery.ts';
import { selectFields } from './field-mask.ts';
import { GoogleError, noSuchPath, unauthenticated } from './google-error.ts';
import { splitPath, toJsonResponse } from './http.ts';
import type { HttpRequest, HttpResponse } from './http.ts';

/** A cluster as the Container API describes it. */
export interface ClusterDescription {
  name: string;
  location: string;
  status: string;
  [field: string]: unknown;
}

/** What the Container API needs to know of the clusters. */
export interface ClusterCatalogue {
  /** By project; `-` as location means all of them. */
  list(project: string, location: string): ClusterDescription[];
  listNodePools(project: string, location: string, cluster: string): ClusterDescription[] | undefined;
}

const pathPattern =
  /^\/v1\/projects\/([^/]+)\/(?:locations|zones)\/([^/]+)\/(?:clusters(?:\/([^/]+)(?:\/(nodePools)(?:\/([^/]+))?)?)?|(serverConfig))$/;

/** Answers the Container API: clusters and node pools, to read only. */
export function answerContainer(
  catalogue: ClusterCatalogue,
  now: number,
  authenticate: (authorization: string | undefined) => string | undefined,
  request: HttpRequest,
): HttpResponse {
  const { pathname, query } = splitPath(request.path);
  const headers = { date: new Date(now).toUTCString() };
  try {
    if (authenticate(request.headers['authorization']) === undefined) throw unauthenticated();
    if (request.method !== 'GET') throw noSuchPath();
    const body = route(catalogue, pathname);
    const fields = query.get('fields') ?? request.headers['x-goog-fieldmask'];
    const selected = fields ? selectFields(body, fields) : body;
    // Clients without the enums' names ask for their numbers.
    const isNumeric = /enum-encoding=int/.test(query.get('$alt') ?? '');
    return toJsonResponse(200, isNumeric ? withNumericStatus(selected) : selected, headers);
  } catch (error) {
    if (!(error instanceof GoogleError)) throw error;
    const response = error.toResponse();
    return { ...response, headers: { ...response.headers, ...headers } };
  }
}

function route(catalogue: ClusterCatalogue, pathname: string): unknown {
  const match = pathPattern.exec(pathname);
  if (!match) throw noSuchPath();
  const [, project = '', location = '', name, nodePools, nodePool, serverConfig] = match.map((part) =>
    part === undefined ? undefined : decodeURIComponent(part),
  );
  if (serverConfig) return { defaultClusterVersion: gkeVersion, channels: [] };
  const clusters = catalogue.list(project, location);
  if (name === undefined) return clusters.length > 0 ? { clusters } : {};
  const path = `projects/${project}/locations/${location}/clusters/${name}`;
  const cluster = clusters.find((each) => each.name === name);
  if (!cluster) throw missing(path);
  if (!nodePools) return cluster;
  const pools = catalogue.listNodePools(project, location, name) ?? [];
  if (nodePool === undefined) return { nodePools: pools };
  const pool = pools.find((each) => each.name === nodePool);
  if (!pool) throw missing(`${path}/nodePools/${nodePool}`);
  return pool;
}

function missing(path: string): GoogleError {
  return new GoogleError(404, 'NOT_FOUND', 'notFound', `Not found: ${path}.`);
}

const clusterStatus = [
  'STATUS_UNSPECIFIED',
  'PROVISIONING',
  'RUNNING',
  'RECONCILING',
  'STOPPING',
  'ERROR',
  'DEGRADED',
];

function withNumericStatus(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  const body = { ...value } as Record<string, unknown>;
  if (typeof body['status'] === 'string') {
    body['status'] = Math.max(clusterStatus.indexOf(body['status']), 0);
  }
  for (const field of ['clusters', 'nodePools']) {
    if (Array.isArray(body[field])) body[field] = (body[field] as unknown[]).map(withNumericStatus);
  }
  return body;
}
