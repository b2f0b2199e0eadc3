import { toJsonResponse } from './http.ts';
import type { HttpResponse } from './http.ts';
import { apiVersionOf, knownResources } from './resources.ts';
import type { Resource } from './resources.ts';

/** The version that the emulated control plane reports. */
export const gkeVersion = '1.36.3-gke.1000';
export const kubernetesVersion = `v${gkeVersion}`;

/** Answers discovery requests; undefined for any other path. */
export function answerDiscovery(pathname: string): HttpResponse | undefined {
  const path = pathname.replace(/\/$/, '');
  if (path === '/version') return toJsonResponse(200, toVersion());
  if (path === '/healthz' || path === '/livez' || path === '/readyz') {
    return { status: 200, headers: { 'content-type': 'text/plain; charset=utf-8' }, body: 'ok' };
  }
  if (path === '/api') return toJsonResponse(200, { kind: 'APIVersions', versions: ['v1'] });
  if (path === '/apis') return toJsonResponse(200, toGroupList());
  if (path === '/openapi/v3') return toJsonResponse(200, toOpenApiIndex());

  const version = findGroupVersions().find((each) => path === toVersionPath(each));
  if (version) return toJsonResponse(200, toResourceList(version));
  const described = findGroupVersions().find((each) => path === `/openapi/v3${toVersionPath(each)}`);
  if (described) return toJsonResponse(200, toOpenApi(described));
  const group = toGroups().find(({ name }) => path === `/apis/${name}`);
  return group && toJsonResponse(200, { kind: 'APIGroup', apiVersion: 'v1', ...group });
}

function toVersion(): unknown {
  const [, major, minor] = /^v(\d+)\.(\d+)/.exec(kubernetesVersion) ?? [];
  return {
    major,
    minor,
    gitVersion: kubernetesVersion,
    platform: 'linux/amd64',
    goVersion: 'go1.26',
    compiler: 'gc',
  };
}

interface Group {
  name: string;
  versions: { groupVersion: string; version: string }[];
  preferredVersion: { groupVersion: string; version: string };
}

function toGroups(): Group[] {
  const served = knownResources.filter(({ group }) => group !== '');
  return served
    .filter(({ group }, index) => served.findIndex((each) => each.group === group) === index)
    .map((resource) => {
      const version = { groupVersion: apiVersionOf(resource), version: resource.version };
      return { name: resource.group, versions: [version], preferredVersion: version };
    });
}

function toGroupList(): unknown {
  return { kind: 'APIGroupList', apiVersion: 'v1', groups: toGroups() };
}

function findGroupVersions(): string[] {
  return [...new Set(knownResources.map(apiVersionOf))];
}

function toVersionPath(groupVersion: string): string {
  return groupVersion === 'v1' ? '/api/v1' : `/apis/${groupVersion}`;
}

const allVerbs = ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch'];

function toResourceList(groupVersion: string): unknown {
  const resources = knownResources.filter((resource) => apiVersionOf(resource) === groupVersion);
  return {
    kind: 'APIResourceList',
    apiVersion: 'v1',
    groupVersion,
    resources: resources.flatMap((resource) => [
      toEntry(resource, resource.plural, resource.kind, allVerbs),
      ...resource.subresources.map((each) =>
        toEntry(
          resource,
          `${resource.plural}/${each}`,
          each === 'eviction' ? 'Eviction' : resource.kind,
          each === 'eviction' ? ['create'] : ['get', 'patch', 'update'],
        ),
      ),
    ]),
  };
}

function toEntry(resource: Resource, name: string, kind: string, verbs: string[]): unknown {
  const isMain = !name.includes('/');
  return {
    name,
    singularName: isMain ? resource.singular : '',
    namespaced: resource.namespaced,
    kind,
    verbs,
    ...(isMain && resource.shortNames.length > 0 && { shortNames: resource.shortNames }),
  };
}

function toOpenApiIndex(): unknown {
  const paths = findGroupVersions().map((each) => {
    const path = toVersionPath(each);
    return [path.slice(1), { serverRelativeURL: `/openapi/v3${path}?hash=1` }];
  });
  return { paths: Object.fromEntries(paths) as unknown };
}

/** Just enough for `kubectl apply`: it looks for the fieldValidation parameter of each kind's PATCH. */
function toOpenApi(groupVersion: string): unknown {
  const resources = knownResources.filter((resource) => apiVersionOf(resource) === groupVersion);
  const paths = resources.map((resource) => {
    const scope = resource.namespaced ? '/namespaces/{namespace}' : '';
    const path = `${toVersionPath(groupVersion)}${scope}/${resource.plural}/{name}`;
    const kind = { group: resource.group, version: resource.version, kind: resource.kind };
    const parameters = ['dryRun', 'fieldManager', 'fieldValidation', 'force'].map((name) => ({
      name,
      in: 'query',
      schema: { type: name === 'force' ? 'boolean' : 'string', uniqueItems: true },
    }));
    const operation = { parameters, responses: {}, 'x-kubernetes-group-version-kind': kind };
    return [path, { patch: { ...operation, 'x-kubernetes-action': 'patch' } }];
  });
  return {
    openapi: '3.0.0',
    info: { title: 'Kubernetes', version: kubernetesVersion },
    paths: Object.fromEntries(paths) as unknown,
    components: { schemas: {} },
  };
}
