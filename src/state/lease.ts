import { createHash } from 'node:crypto';
import { isUpstreamStatus, UpstreamError } from '../errors.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { metadataListOnly, withHeaders } from '../gke/direct-core.ts';
import { listAll, listFew } from '../gke/list.ts';
import { failoverNamespace } from '../names.ts';
import { leasesPath, toLease, toReadLease, toWrittenLease } from './lease-format.ts';
import type { LeaseDraft, LeaseState } from './lease-format.ts';

type Coordination = Pick<Kubernetes, 'coordination'>;

/** Reads a Lease; undefined when there is none. */
export async function readLease(
  { coordination }: Coordination,
  name: string,
): Promise<LeaseState | undefined> {
  try {
    const read = await coordination.readNamespacedLease({ namespace: failoverNamespace, name });
    return toReadLease(read, name);
  } catch (error) {
    if (isUpstreamStatus(error, 404)) return undefined;
    throw error;
  }
}

/** Creates a Lease; undefined when it exists already. */
export async function createLease(
  { coordination }: Coordination,
  draft: LeaseDraft,
): Promise<LeaseState | undefined> {
  try {
    const body = toLease(draft);
    const created = await coordination.createNamespacedLease({ namespace: failoverNamespace, body });
    return toWrittenLease(created, body, 'POST');
  } catch (error) {
    if (isUpstreamStatus(error, 409)) return undefined;
    throw error;
  }
}

/** Replaces a Lease if it is still as it was read. Undefined when somebody else has written or deleted it. */
export async function replaceLease(
  { coordination }: Coordination,
  state: LeaseState,
): Promise<LeaseState | undefined> {
  const { name } = state;
  try {
    const body = toLease(state);
    const replaced = await coordination.replaceNamespacedLease({ namespace: failoverNamespace, name, body });
    return toWrittenLease(replaced, body, 'PUT');
  } catch (error) {
    if (isUpstreamStatus(error, 404, 409)) return undefined;
    throw error;
  }
}

/** Deletes a Lease if it is still as it was read. Says whether it did. */
export async function deleteLease({ coordination }: Coordination, state: LeaseState): Promise<boolean> {
  const { name, uid, resourceVersion } = state;
  try {
    const body = { preconditions: { uid, resourceVersion } };
    await coordination.deleteNamespacedLease({ namespace: failoverNamespace, name, body });
    return true;
  } catch (error) {
    if (isUpstreamStatus(error, 404, 409)) return false;
    throw error;
  }
}

/** Lists the Leases with a label. */
export async function listLeases(
  { coordination }: Coordination,
  labelSelector: string,
): Promise<LeaseState[]> {
  const leases = await listAll((page) =>
    coordination.listNamespacedLease({ namespace: failoverNamespace, labelSelector, ...page }),
  );
  return leases.map((lease) => toReadLease(lease));
}

/** Lists the names of the Leases with a label; undefined if there are more than `atMost`. Only their metadata is read. */
export async function listLeaseNames(
  { coordination }: Coordination,
  labelSelector: string,
  atMost: number,
): Promise<Set<string> | undefined> {
  const names = await listFew(
    (page) =>
      coordination.listNamespacedLease(
        { namespace: failoverNamespace, labelSelector, ...page },
        withHeaders({ Accept: metadataListOnly }),
      ),
    atMost,
    ({ metadata }) => metadata?.name ?? '',
  );
  return names && new Set(names);
}

/** Counts the Leases with a label and an annotation. Only their metadata is read. */
export async function countLeases(
  { coordination }: Coordination,
  labelSelector: string,
  annotation: string,
): Promise<number> {
  const has = await listAll(
    (page) =>
      coordination.listNamespacedLease(
        { namespace: failoverNamespace, labelSelector, ...page },
        withHeaders({ Accept: metadataListOnly }),
      ),
    ({ metadata }) => metadata?.annotations?.[annotation] !== undefined,
  );
  return has.filter(Boolean).length;
}

/**
 * Changes a Lease's annotations. Reads it again whenever somebody else has written it in between.
 *
 * @param change returns the new annotations, or undefined to leave them as they are
 * @param known is the Lease as it was read a moment ago; it saves a call unless the Lease has changed since
 * @returns the Lease as it is afterwards
 */
export async function updateAnnotations(
  kubernetes: Coordination,
  name: string,
  change: (annotations: Record<string, string>) => Record<string, string> | undefined,
  known?: LeaseState,
): Promise<LeaseState | undefined> {
  const countConflict = limitConflicts(name);
  for (let current = known; ; current = undefined) {
    current ??= await readLease(kubernetes, name);
    const annotations = change(current?.annotations ?? {});
    if (annotations === undefined) return current;
    const written = current
      ? await replaceLease(kubernetes, { ...current, annotations })
      : await createLease(kubernetes, { name, annotations });
    if (written) return written;
    countConflict();
  }
}

/** A hundred instances that write at the same time stay below this, because each round lets one of them through. */
const maxConflicts = 200;

/**
 * Bounds a loop that reads a Lease again each time somebody else has written it first.
 *
 * @param name is the Lease's name; absent where it was to be created
 * @returns a function to call on each conflict; it throws an {@link UpstreamError} when conflicts never end, because
 *   then something other than another writer is in the way
 */
export function limitConflicts(name?: string): () => void {
  let left = maxConflicts;
  return () => {
    left -= 1;
    if (left > 0) return;
    throw new UpstreamError({
      api: 'Kubernetes API',
      call: name === undefined ? `POST ${leasesPath}` : `PUT ${leasesPath}/${name}`,
      status: 409,
      reason: `Conflict ${maxConflicts} times`,
      isRetryable: false,
      advice: 'is something else writing or refusing this Lease?',
    });
  };
}

/** Names the Lease that is about one thing of a kind, such as `action-` and an action's id, whatever characters that has. */
export function toLeaseName(kind: 'action' | 'jobset' | 'closed' | 'host', key: string): string {
  return `${kind}-${createHash('sha256').update(key).digest('hex').slice(0, 32)}`;
}
