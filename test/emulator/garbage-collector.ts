import type { ClusterState } from './cluster-state.ts';
import { deleteObject } from './deletion.ts';
import type { KubernetesObject } from './objects.ts';

const owned = ['jobs', 'pods'] as const;
const ownerPlurals = ['jobsets', 'jobs'] as const;

/** Deletes the dependents of objects that are gone, and first those of objects deleted in the foreground. */
export function collectGarbage(state: ClusterState): void {
  const owners = new Map<string, KubernetesObject>();
  for (const plural of ownerPlurals) {
    for (const object of state.store.list(plural)) owners.set(object.metadata.uid, object);
  }

  for (const plural of owned) {
    for (const object of state.store.list(plural)) {
      const references = object.metadata.ownerReferences ?? [];
      const isCollectable = references.every(({ kind }) => kind === 'Job' || kind === 'JobSet');
      if (references.length === 0 || !isCollectable || object.metadata.deletionTimestamp) continue;
      const found = references.flatMap(({ uid }) => owners.get(uid) ?? []);
      const isDoomed = found.every(isDeletedInForeground);
      if (!isDoomed) continue;
      deleteObject(state, plural, object, {
        propagationPolicy: found.length > 0 ? 'Foreground' : 'Background',
      });
    }
  }
  for (const plural of ownerPlurals) {
    for (const object of state.store.list(plural)) {
      if (isDeletedInForeground(object)) finishDeletion(state, object);
    }
  }
  removeNamespaces(state);
}

function isDeletedInForeground(object: KubernetesObject): boolean {
  const { deletionTimestamp, finalizers } = object.metadata;
  return deletionTimestamp !== undefined && Boolean(finalizers?.includes('foregroundDeletion'));
}

function finishDeletion(state: ClusterState, object: KubernetesObject): void {
  const plural = object.kind === 'Job' ? 'jobs' : 'jobsets';
  const dependents = [
    ...state.store.lookup('jobs', 'owner', object.metadata.uid),
    ...state.store.lookup('pods', 'owner', object.metadata.uid),
  ];
  if (dependents.length > 0) return;
  state.update(plural, object as never, (draft: KubernetesObject) => {
    draft.metadata.finalizers = (draft.metadata.finalizers ?? []).filter(
      (each) => each !== 'foregroundDeletion',
    );
    if (draft.metadata.finalizers.length === 0) delete draft.metadata.finalizers;
  });
}

/** Empties namespaces that are being deleted; their finalizer is in the spec, so they are removed here. */
function removeNamespaces(state: ClusterState): void {
  for (const namespace of state.store.list('namespaces')) {
    if (!namespace.metadata.deletionTimestamp) continue;
    const { name } = namespace.metadata;
    const plurals = ['jobsets', 'jobs', 'pods', 'leases', 'events'] as const;
    const contents = plurals.flatMap((plural) =>
      state.store.list(plural, name).map((object) => ({ plural, object })),
    );
    for (const { plural, object } of contents) {
      if (!object.metadata.deletionTimestamp) deleteObject(state, plural, object as never);
    }
    if (contents.length === 0) state.store.remove('namespaces', namespace);
  }
}
