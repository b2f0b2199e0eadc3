import { withNumericEnums } from './container-enums.ts';
import type { ContainerKind } from './container-enums.ts';
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
  /** Those of all clusters of a location, those that have ended among them. */
  listOperations(project: string, location: string): Record<string, unknown>[];
}

const pathPattern =
  /^\/v1\/projects\/([^/]+)\/(?:locations|zones)\/([^/]+)\/(?:clusters(?:\/([^/]+)(?:\/(nodePools)(?:\/([^/]+))?)?)?|(serverConfig)|(operations)(?:\/([^/]+))?)$/;

/** Answers the Container API: clusters, node pools and operations, to read only. */
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
    const { body, kind } = route(catalogue, pathname);
    const fields = query.get('fields') ?? request.headers['x-goog-fieldmask'];
    const selected = fields ? selectFields(body, fields) : body;
    // Clients without the enums' names ask for their numbers.
    const isNumeric = /enum-encoding=int/.test(query.get('$alt') ?? '');
    return toJsonResponse(200, isNumeric ? withNumericEnums(selected, kind) : selected, headers);
  } catch (error) {
    if (!(error instanceof GoogleError)) throw error;
    const response = error.toResponse();
    return { ...response, headers: { ...response.headers, ...headers } };
  }
}

function route(catalogue: ClusterCatalogue, pathname: string): { body: unknown; kind: ContainerKind } {
  const match = pathPattern.exec(pathname);
  if (!match) throw noSuchPath();
  const [, project = '', location = '', name, nodePools, nodePool, serverConfig, operations, operation] =
    match.map((part) => (part === undefined ? undefined : decodeURIComponent(part)));
  if (operations) {
    return { body: findOperations(catalogue, { project, location, operation }), kind: 'operation' };
  }
  const kind = nodePools ? 'nodePool' : 'cluster';
  if (serverConfig) return { body: { defaultClusterVersion: gkeVersion, channels: [] }, kind };
  return { body: findCluster(catalogue, { project, location, name, nodePools, nodePool }), kind };
}

/** Like the real API, it does not filter, and shows those that have ended. */
function findOperations(
  catalogue: ClusterCatalogue,
  { project, location, operation }: { project: string; location: string; operation: string | undefined },
): unknown {
  const all = catalogue.listOperations(project, location);
  if (operation === undefined) return all.length > 0 ? { operations: all } : {};
  const found = all.find(({ name }) => name === operation);
  if (!found) throw missing(`projects/${project}/locations/${location}/operations/${operation}`);
  return found;
}

function findCluster(
  catalogue: ClusterCatalogue,
  {
    project,
    location,
    name,
    nodePools,
    nodePool,
  }: Record<'project' | 'location', string> & Record<'name' | 'nodePools' | 'nodePool', string | undefined>,
): unknown {
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
