/**
 * How the lists of the kinds kept here merge: by these keys, as a set ("set"), or as a whole (no entry).
 * Read from the `+listMapKey` and `patchMergeKey` marks of the Kubernetes API; `path` is without list elements.
 */
export function listKeysOf(kind: string, path: string): string[] | 'set' | undefined {
  if (path === 'metadata.finalizers') return 'set';
  if (path === 'metadata.ownerReferences') return ['uid'];
  // Only server-side apply takes a Job's conditions as a whole; merged by type they come out the same here.
  if (path === 'status.conditions') return ['type'];
  if (kind === 'JobSet') return jobSetKeys(path);
  if (kind === 'Node') {
    if (path === 'status.addresses') return ['type'];
    return path === 'spec.podCIDRs' ? 'set' : undefined;
  }
  const podPath = kind === 'Job' ? path.replace(/^spec\.template\./, '') : path;
  return podLists[podPath];
}

/** Strategic merge patch knows one key of a list. A node's taints have none: it replaces them. */
export function patchMergeKeyOf(kind: string, path: string): string | undefined {
  const keys = listKeysOf(kind, path);
  return keys === 'set' ? keys : keys?.[0];
}

const podLists: Record<string, string[]> = {
  'spec.containers': ['name'],
  'spec.initContainers': ['name'],
  'spec.containers.env': ['name'],
  'spec.containers.ports': ['containerPort', 'protocol'],
  'spec.containers.volumeMounts': ['mountPath'],
  'spec.volumes': ['name'],
  'spec.imagePullSecrets': ['name'],
  'status.podIPs': ['ip'],
};

function jobSetKeys(path: string): string[] | undefined {
  if (path === 'spec.replicatedJobs' || path === 'status.replicatedJobsStatus') return ['name'];
  return podLists[path.replace(/^spec\.replicatedJobs\.template\.spec\.template\./, '')];
}
