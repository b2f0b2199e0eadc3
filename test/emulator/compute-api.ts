import { toInstanceTime, toPhysicalHost } from './fleet.ts';
import type { Fleet, Instance, Operation } from './fleet.ts';
import { selectFields } from './field-mask.ts';
import { GoogleError, noSuchPath, unauthenticated } from './google-error.ts';
import { splitPath, toJsonResponse } from './http.ts';
import type { HttpRequest, HttpResponse } from './http.ts';

const root = 'https://www.googleapis.com/compute/v1';

/** Answers the Compute API, as far as instances and the operations on them go. */
export function answerCompute(
  fleet: Fleet,
  now: number,
  authenticate: (authorization: string | undefined) => string | undefined,
  request: HttpRequest,
): HttpResponse {
  const { pathname, query } = splitPath(request.path);
  const headers = { date: new Date(now).toUTCString() };
  try {
    const user = authenticate(request.headers['authorization']);
    if (user === undefined) throw unauthenticated();
    const body = route(fleet, now, request.method, pathname, query, user);
    const fields = query.get('fields') ?? request.headers['x-goog-fieldmask'];
    return toJsonResponse(200, fields ? selectFields(body, fields) : body, headers);
  } catch (error) {
    if (!(error instanceof GoogleError)) throw error;
    const response = error.toResponse();
    return { ...response, headers: { ...response.headers, ...headers } };
  }
}

const pathPattern =
  /^\/compute\/v1\/projects\/([^/]+)\/(?:zones\/([^/]+)\/(instances|operations)|aggregated\/(instances)|(zones))(?:\/([^/]+))?(?:\/(wait))?$/;

function route(
  fleet: Fleet,
  now: number,
  method: string,
  pathname: string,
  query: URLSearchParams,
  user: string,
): unknown {
  const match = pathPattern.exec(pathname);
  if (!match) throw noSuchPath();
  const [, project = '', zone = '', collection, aggregated, zones, name, wait] = match.map((part) =>
    part === undefined ? undefined : decodeURIComponent(part),
  );
  if (zones && method === 'GET') return toZoneList(fleet, project, name);
  if (aggregated && method === 'GET') return toAggregatedList(fleet, project, query.get('filter'));
  if (collection === 'operations') {
    const operation = name === undefined ? undefined : fleet.findOperation(project, zone, name);
    if (!operation) throw missing(project, `zones/${zone}/operations/${name}`);
    // Compute waits up to two minutes of real time. Here nothing waits, so the caller asks again.
    if (method === 'GET' || (method === 'POST' && wait)) return toOperation(operation, now);
  }
  if (collection === 'instances' && name === undefined && method === 'GET') {
    return toList(project, zone, filterInstances(fleet.list(project, zone), query.get('filter')));
  }
  if (collection === 'instances' && name !== undefined && !wait) {
    if (method === 'DELETE') return toOperation(deleteInstance(fleet, project, zone, name, query, user), now);
    if (method === 'GET') return toInstance(requireInstance(fleet, project, zone, name));
  }
  throw noSuchPath();
}

function deleteInstance(
  fleet: Fleet,
  project: string,
  zone: string,
  nameOrId: string,
  query: URLSearchParams,
  user: string,
): Operation {
  const requestId = query.get('requestId') ?? undefined;
  if (requestId !== undefined && !isRequestId(requestId)) {
    throw new GoogleError(
      400,
      'INVALID_ARGUMENT',
      'invalid',
      `Invalid value for field 'requestId': '${requestId}'. Request ID must be a valid UUID.`,
    );
  }
  const known = requestId === undefined ? undefined : fleet.findRequest(requestId);
  if (known) return known;
  const instance = requireInstance(fleet, project, zone, nameOrId);
  if (instance.status !== 'RUNNING') {
    throw new GoogleError(
      400,
      'FAILED_PRECONDITION',
      'resourceNotReady',
      `The resource 'projects/${project}/zones/${zone}/instances/${instance.name}' is not ready`,
    );
  }
  return fleet.delete(instance, requestId, user);
}

function isRequestId(text: string): boolean {
  return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text) && !/^[0-]+$/.test(text);
}

function requireInstance(fleet: Fleet, project: string, zone: string, nameOrId: string): Instance {
  const instance = fleet.find(project, zone, nameOrId);
  if (!instance) throw missing(project, `zones/${zone}/instances/${nameOrId}`);
  return instance;
}

function missing(project: string, path: string): GoogleError {
  return new GoogleError(
    404,
    'NOT_FOUND',
    'notFound',
    `The resource 'projects/${project}/${path}' was not found`,
  );
}

/** The comparisons that gcloud makes of its `--filter` and its name arguments; anything else selects everything. */
function filterInstances(instances: Instance[], filter: string | null): Instance[] {
  const names = [...(filter ?? '').matchAll(/name\s*(?:=|eq)\s*"?\(?([^\s")]+)\)?"?/g)].map(
    (match) => match[1] ?? '',
  );
  if (names.length === 0) return instances;
  const patterns = names.map((name) => toPattern(name));
  return instances.filter(({ name }) => patterns.some((pattern) => pattern.test(name)));
}

function toPattern(text: string): RegExp {
  const literal = text.split('*').map((part) => part.replaceAll(/[\\^$.+?()[\]{}|]/g, '\\$&'));
  return new RegExp(`^${literal.join('.*')}$`);
}

function toList(project: string, zone: string, instances: Instance[]): unknown {
  return {
    kind: 'compute#instanceList',
    id: `projects/${project}/zones/${zone}/instances`,
    ...(instances.length > 0 && { items: instances.map(toInstance) }),
    selfLink: `${root}/projects/${project}/zones/${zone}/instances`,
  };
}

function toAggregatedList(fleet: Fleet, project: string, filter: string | null): unknown {
  const instances = filterInstances(fleet.list(project), filter);
  const zones = [...new Set(instances.map(({ zone }) => zone))].sort();
  const items = zones.map((zone) => [
    `zones/${zone}`,
    { instances: instances.filter((each) => each.zone === zone).map(toInstance) },
  ]);
  return {
    kind: 'compute#instanceAggregatedList',
    id: `projects/${project}/aggregated/instances`,
    items: Object.fromEntries(items) as unknown,
    selfLink: `${root}/projects/${project}/aggregated/instances`,
  };
}

function toZoneList(fleet: Fleet, project: string, name: string | undefined): unknown {
  const zones = [...new Set(fleet.list(project).map(({ zone }) => zone))].sort().map((zone) => ({
    kind: 'compute#zone',
    name: zone,
    status: 'UP',
    region: `${root}/projects/${project}/regions/${zone.replace(/-[a-z]$/, '')}`,
    selfLink: `${root}/projects/${project}/zones/${zone}`,
  }));
  if (name === undefined) return { kind: 'compute#zoneList', items: zones };
  const zone = zones.find((each) => each.name === name);
  if (!zone) throw missing(project, `zones/${name}`);
  return zone;
}

function toInstance(instance: Instance): unknown {
  const { id, name, project, zone, machineType, status, createdAt, startedAt, group } = instance;
  const physicalHostTopology = toPhysicalHost(instance);
  const zoneUrl = `${root}/projects/${project}/zones/${zone}`;
  return {
    kind: 'compute#instance',
    id,
    creationTimestamp: toInstanceTime(createdAt),
    lastStartTimestamp: toInstanceTime(startedAt),
    name,
    status,
    zone: zoneUrl,
    machineType: `${zoneUrl}/machineTypes/${machineType}`,
    labels: { 'goog-gke-node': '', 'goog-k8s-node-pool-name': group.pool },
    networkInterfaces: [{ kind: 'compute#networkInterface', name: 'nic0', networkIP: '10.128.0.2' }],
    scheduling: { preemptible: false, automaticRestart: true, onHostMaintenance: 'TERMINATE' },
    ...(physicalHostTopology && { resourceStatus: { physicalHostTopology } }),
    selfLink: `${zoneUrl}/instances/${name}`,
  };
}

function toOperation(operation: Operation, now: number): unknown {
  const { id, name, project, zone, targetId, targetName, startedAt, endsAt, user, error } = operation;
  const zoneUrl = `${root}/projects/${project}/zones/${zone}`;
  const isDone = now >= endsAt;
  return {
    kind: 'compute#operation',
    id,
    name,
    zone: zoneUrl,
    operationType: 'delete',
    targetLink: `${zoneUrl}/instances/${targetName}`,
    targetId,
    status: isDone ? 'DONE' : 'RUNNING',
    user,
    progress: isDone ? 100 : 0,
    insertTime: toInstanceTime(startedAt),
    startTime: toInstanceTime(startedAt),
    ...(isDone && { endTime: toInstanceTime(endsAt) }),
    ...(isDone &&
      error && {
        error: { errors: [error] },
        httpErrorStatusCode: 503,
        httpErrorMessage: 'SERVICE UNAVAILABLE',
      }),
    selfLink: `${zoneUrl}/operations/${name}`,
    ...(operation.requestId && { clientOperationId: operation.requestId }),
  };
}
