import { failedPrecondition } from './api-status.ts';
import type { ClusterState } from './cluster-state.ts';
import type { Plural, StoredObjects } from './object-store.ts';
import { isPodLive, toTime } from './objects.ts';
import type { KubernetesObject, Pod } from './objects.ts';
import { resourceOf } from './resources.ts';

export interface DeleteOptions {
  gracePeriodSeconds?: number;
  propagationPolicy?: 'Foreground' | 'Background' | 'Orphan';
  preconditions?: { uid?: string; resourceVersion?: string };
}

/**
 * Deletes as the API server does: at once, or only marked, where a grace period runs or a finalizer holds the object.
 * Marking again may shorten the grace period and never prolongs it.
 * @returns the object as it was last, and whether it is gone
 * @throws ApiStatus 409 where a precondition does not hold
 */
export function deleteObject<P extends Plural>(
  state: ClusterState,
  plural: P,
  object: StoredObjects[P],
  options: DeleteOptions = {},
): { object: StoredObjects[P]; gone: boolean } {
  assertPreconditions(plural, object, options);
  const grace = plural === 'pods' ? toPodGrace(object as Pod, options.gracePeriodSeconds) : 0;
  const finalizers = withPropagation(object, plural, options.propagationPolicy);
  if (grace === 0 && finalizers.length === 0 && plural !== 'namespaces') {
    state.store.remove(plural, object);
    return { object, gone: true };
  }
  const marked = state.store.update(plural, object, (draft) => {
    const { metadata } = draft;
    if (finalizers.length > 0) metadata.finalizers = finalizers;
    const running = metadata.deletionGracePeriodSeconds ?? Infinity;
    if (metadata.deletionTimestamp && running <= grace) return;
    metadata.deletionTimestamp = toTime(state.now() + grace * 1000);
    metadata.deletionGracePeriodSeconds = grace;
    if (metadata.generation !== undefined) metadata.generation += 1;
    if (plural === 'namespaces') draft['status'] = { phase: 'Terminating' };
  });
  return { object: marked, gone: false };
}

function assertPreconditions(plural: Plural, object: KubernetesObject, options: DeleteOptions): void {
  const { uid, resourceVersion } = options.preconditions ?? {};
  const { metadata } = object;
  if (uid !== undefined && uid !== metadata.uid) {
    throw failedPrecondition(
      resourceOf(plural),
      metadata.name,
      `the UID in the precondition (${uid}) does not match the UID in record (${metadata.uid}). ` +
        'The object might have been deleted and then recreated',
    );
  }
  if (resourceVersion !== undefined && resourceVersion !== metadata.resourceVersion) {
    throw failedPrecondition(
      resourceOf(plural),
      metadata.name,
      `the ResourceVersion in the precondition (${resourceVersion}) does not match the ResourceVersion in record ` +
        `(${metadata.resourceVersion}). The object might have been modified`,
    );
  }
}

/** The grace period of a pod: none if it never reached a node or has ended, because nothing has to stop. */
function toPodGrace(pod: Pod, asked: number | undefined): number {
  if (!pod.spec.nodeName || !isPodLive(pod)) return 0;
  return asked ?? pod.spec.terminationGracePeriodSeconds ?? 30;
}

const propagationFinalizers = { Foreground: 'foregroundDeletion', Orphan: 'orphan' };

function withPropagation(
  object: KubernetesObject,
  plural: Plural,
  policy: DeleteOptions['propagationPolicy'],
): string[] {
  const finalizers = object.metadata.finalizers ?? [];
  if (!policy || plural === 'pods' || plural === 'nodes') return finalizers;
  const others = finalizers.filter((each) => each !== 'foregroundDeletion' && each !== 'orphan');
  return policy === 'Background' ? others : [...others, propagationFinalizers[policy]];
}
