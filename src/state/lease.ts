import { createHash } from 'node:crypto';
import { V1MicroTime } from '@kubernetes/client-node';
import type { V1Lease } from '@kubernetes/client-node';
import { toMs } from '../clock.ts';
import { isUpstreamStatus, UpstreamError } from '../errors.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { metadataListOnly, withHeaders } from '../gke/direct-patch.ts';
import { listAll, listFew } from '../gke/list.ts';
import { failoverNamespace } from '../names.ts';
import { version, versionKey, withoutKnownVersion } from './stored.ts';

/** A Lease as it was read. Times are in ms since the epoch, by the API server's clock. */
export interface LeaseState {
  name: string;
  uid: string;
  resourceVersion: string;
  labels: Record<string, string>;
  annotations: Record<string, string>;
  holder: string | undefined;
  acquiredAt: number | undefined;
  renewedAt: number | undefined;
  durationSeconds: number | undefined;
}

/** A Lease as it is to be written. */
export type LeaseDraft = Partial<Omit<LeaseState, 'uid' | 'resourceVersion'>> & { name: string };

type Coordination = Pick<Kubernetes, 'coordination'>;

/** Reads a Lease; undefined when there is none. */
export async function readLease(
  { coordination }: Coordination,
  name: string,
): Promise<LeaseState | undefined> {
  try {
    return toLeaseState(await coordination.readNamespacedLease({ namespace: failoverNamespace, name }));
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
    return toLeaseState(
      await coordination.createNamespacedLease({ namespace: failoverNamespace, body: toLease(draft) }),
    );
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
    return toLeaseState(
      await coordination.replaceNamespacedLease({ namespace: failoverNamespace, name, body: toLease(state) }),
    );
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
  return leases.map((lease) => toLeaseState(lease));
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
  const path = `/apis/coordination.k8s.io/v1/namespaces/${failoverNamespace}/leases`;
  let left = maxConflicts;
  return () => {
    left -= 1;
    if (left > 0) return;
    throw new UpstreamError({
      api: 'Kubernetes API',
      call: name === undefined ? `POST ${path}` : `PUT ${path}/${name}`,
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

/** Reads the parts of a Lease that this function uses. */
export function toLeaseState({ metadata, spec }: V1Lease): LeaseState {
  return {
    name: metadata?.name ?? '',
    uid: metadata?.uid ?? '',
    resourceVersion: metadata?.resourceVersion ?? '',
    labels: metadata?.labels ?? {},
    annotations: withoutKnownVersion(metadata?.annotations ?? {}),
    holder: spec?.holderIdentity || undefined,
    acquiredAt: toMs(spec?.acquireTime),
    renewedAt: toMs(spec?.renewTime),
    durationSeconds: spec?.leaseDurationSeconds,
  };
}

function toLease(draft: LeaseDraft & Partial<LeaseState>): V1Lease {
  const {
    name,
    labels = {},
    annotations = {},
    holder,
    acquiredAt,
    renewedAt,
    durationSeconds,
    uid,
    resourceVersion,
  } = draft;
  // Without its uid, a replace of a Lease that was deleted meanwhile would create it again.
  const known = uid && resourceVersion ? { uid, resourceVersion } : {};
  return {
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: { name, labels, annotations: { [versionKey]: version, ...annotations }, ...known },
    spec: {
      ...(holder === undefined ? {} : { holderIdentity: holder }),
      ...(acquiredAt === undefined ? {} : { acquireTime: new V1MicroTime(acquiredAt) }),
      ...(renewedAt === undefined ? {} : { renewTime: new V1MicroTime(renewedAt) }),
      ...(durationSeconds === undefined ? {} : { leaseDurationSeconds: durationSeconds }),
    },
  };
}
