import { V1MicroTime } from '@kubernetes/client-node';
import type { V1Lease } from '@kubernetes/client-node';
import { toMs } from '../clock.ts';
import { isUpstreamStatus, UpstreamError } from '../errors.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { listAll } from '../gke/list.ts';
import { failoverNamespace } from '../names.ts';

/** A Lease as it was read. Times are ms since the epoch by the API server's clock. */
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

/** What a Lease is to be. */
export type LeaseDraft = Partial<Omit<LeaseState, 'uid' | 'resourceVersion'>> & { name: string };

type Coordination = Pick<Kubernetes, 'coordination'>;

/** Reads a Lease; undefined when there is none. */
export async function readLease(
  { coordination }: Coordination,
  name: string,
): Promise<LeaseState | undefined> {
  try {
    return toState(await coordination.readNamespacedLease({ namespace: failoverNamespace, name }));
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
    return toState(
      await coordination.createNamespacedLease({ namespace: failoverNamespace, body: toLease(draft) }),
    );
  } catch (error) {
    if (isUpstreamStatus(error, 409)) return undefined;
    throw error;
  }
}

/** Replaces a Lease if it is still as it was read; undefined when somebody else has written or deleted it. */
export async function replaceLease(
  { coordination }: Coordination,
  state: LeaseState,
): Promise<LeaseState | undefined> {
  const { name } = state;
  try {
    return toState(
      await coordination.replaceNamespacedLease({ namespace: failoverNamespace, name, body: toLease(state) }),
    );
  } catch (error) {
    if (isUpstreamStatus(error, 404, 409)) return undefined;
    throw error;
  }
}

/** Deletes a Lease if it is still as it was read; says whether it did. */
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
  return leases.map((lease) => toState(lease));
}

/**
 * Changes a Lease's annotations, reading it again for as long as others write it at the same time.
 *
 * @param change returns the annotations as they are to be, or undefined to leave them
 * @param known is how the Lease was read a moment ago, which saves a call unless it has changed since
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

/** More than what a hundred instances that write at the same time come to: in each round one of them is done. */
const maxConflicts = 200;

/**
 * Bounds a loop that reads again each time somebody else has written a Lease first.
 *
 * @param name is the Lease's; absent where it was to be created
 * @returns what to call on each conflict; it throws an {@link UpstreamError} when they never end, for then it is not
 *   somebody else's write that is in the way
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

/** Parses an annotation that holds JSON; undefined when it is absent or broken. */
export function parseAnnotation(annotations: Record<string, string>, key: string): unknown {
  try {
    return JSON.parse(annotations[key] ?? '') as unknown;
  } catch {
    return undefined;
  }
}

function toState({ metadata, spec }: V1Lease): LeaseState {
  return {
    name: metadata?.name ?? '',
    uid: metadata?.uid ?? '',
    resourceVersion: metadata?.resourceVersion ?? '',
    labels: metadata?.labels ?? {},
    annotations: metadata?.annotations ?? {},
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
  // Without its uid, a replace of a Lease that was deleted meanwhile would make it anew.
  const known = uid && resourceVersion ? { uid, resourceVersion } : {};
  return {
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: { name, labels, annotations, ...known },
    spec: {
      ...(holder === undefined ? {} : { holderIdentity: holder }),
      ...(acquiredAt === undefined ? {} : { acquireTime: new V1MicroTime(acquiredAt) }),
      ...(renewedAt === undefined ? {} : { renewTime: new V1MicroTime(renewedAt) }),
      ...(durationSeconds === undefined ? {} : { leaseDurationSeconds: durationSeconds }),
    },
  };
}
