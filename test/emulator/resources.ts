import type { Plural } from './object-store.ts';

/** One resource that the API serves, with what discovery says of it. */
export interface Resource {
  plural: Plural;
  singular: string;
  kind: string;
  group: string;
  version: string;
  namespaced: boolean;
  shortNames: string[];
  subresources: string[];
  /** A custom resource has no strategic merge patch. */
  custom: boolean;
}

export const knownResources: readonly Resource[] = [
  define('namespaces', 'Namespace', '', 'v1', {
    namespaced: false,
    shortNames: ['ns'],
    subresources: ['status'],
  }),
  define('nodes', 'Node', '', 'v1', { namespaced: false, shortNames: ['no'], subresources: ['status'] }),
  define('pods', 'Pod', '', 'v1', { shortNames: ['po'], subresources: ['status', 'eviction'] }),
  define('events', 'Event', '', 'v1', { shortNames: ['ev'] }),
  define('jobs', 'Job', 'batch', 'v1', { subresources: ['status'] }),
  define('cronjobs', 'CronJob', 'batch', 'v1', { shortNames: ['cj'], subresources: ['status'] }),
  define('leases', 'Lease', 'coordination.k8s.io', 'v1', {}),
  define('jobsets', 'JobSet', 'jobset.x-k8s.io', 'v1alpha2', { subresources: ['status'], custom: true }),
];

export function findResource(group: string, version: string, plural: string): Resource | undefined {
  return knownResources.find(
    (each) => each.group === group && each.version === version && each.plural === plural,
  );
}

export function resourceOf(plural: Plural): Resource {
  const resource = knownResources.find((each) => each.plural === plural);
  if (!resource) throw new Error(`no resource ${plural}`);
  return resource;
}

export function apiVersionOf(resource: Resource): string {
  return resource.group ? `${resource.group}/${resource.version}` : resource.version;
}

/** `jobsets.jobset.x-k8s.io`, as error texts name a resource; `nodes` in the core group. */
export function qualifiedName(resource: Resource): string {
  return resource.group ? `${resource.plural}.${resource.group}` : resource.plural;
}

function define(
  plural: Plural,
  kind: string,
  group: string,
  version: string,
  rest: Partial<Resource>,
): Resource {
  return {
    plural,
    singular: kind.toLowerCase(),
    kind,
    group,
    version,
    namespaced: true,
    shortNames: [],
    subresources: [],
    custom: false,
    ...rest,
  };
}
