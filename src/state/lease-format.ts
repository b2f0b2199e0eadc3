import { V1MicroTime } from '@kubernetes/client-node';
import type { V1Lease } from '@kubernetes/client-node';
import { toMs } from '../clock.ts';
import { answerOther } from '../gke/kubernetes-error.ts';
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

export const leasesPath = `/apis/coordination.k8s.io/v1/namespaces/${failoverNamespace}/leases`;

/**
 * Reads the answer to a get, or an item of a list.
 *
 * @param name is the one that was asked for; absent for a list
 * @throws {UpstreamError} if it is another Lease than the one asked for, or lacks what a write of it needs: without uid and
 *   resourceVersion a replace overwrites whatever another writer has put there
 */
export function toReadLease(answer: V1Lease, name?: string): LeaseState {
  const lease = toLeaseState(answer);
  const isIt = lease.name !== '' && lease.name === (name ?? lease.name);
  if (isIt && lease.uid && lease.resourceVersion) return lease;
  const call = name === undefined ? `GET ${leasesPath}` : `GET ${leasesPath}/${name}`;
  throw answerOther(call, 'with another Lease than the one asked for');
}

/**
 * Reads the answer to a create or a replace. Something between the function and the API server's storage may have changed what
 * was sent. Whoever believed the answer would write the changed Lease back: a lock without its holder.
 *
 * @throws {UpstreamError} if it is not the Lease that was sent; others may have added labels and annotations to it
 */
export function toWrittenLease(answer: V1Lease, sent: V1Lease, method: 'POST' | 'PUT'): LeaseState {
  const [lease, wanted] = [toLeaseState(answer), toLeaseState(sent)];
  const isAsSent =
    lease.name === wanted.name &&
    lease.uid !== '' &&
    (wanted.uid === '' || lease.uid === wanted.uid) &&
    lease.resourceVersion !== '' &&
    lease.holder === wanted.holder &&
    lease.acquiredAt === wanted.acquiredAt &&
    lease.renewedAt === wanted.renewedAt &&
    lease.durationSeconds === wanted.durationSeconds &&
    includes(lease.labels, wanted.labels) &&
    includes(answer.metadata?.annotations ?? {}, sent.metadata?.annotations ?? {});
  if (isAsSent) return lease;
  const call = method === 'POST' ? `POST ${leasesPath}` : `PUT ${leasesPath}/${wanted.name}`;
  throw answerOther(call, 'with another Lease than the one sent');
}

function includes(map: Readonly<Record<string, string>>, wanted: Readonly<Record<string, string>>): boolean {
  return Object.entries(wanted).every(([key, value]) => map[key] === value);
}

/** Reads the parts of a Lease that this function uses. */
function toLeaseState({ metadata, spec }: V1Lease): LeaseState {
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

/** Makes the Lease that is sent. */
export function toLease(draft: LeaseDraft & Partial<LeaseState>): V1Lease {
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
