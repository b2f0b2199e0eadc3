import type { V1ManagedFieldsEntry } from '@kubernetes/client-node';
import { toMs } from '../clock.ts';
import { isUpstreamStatus } from '../errors.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { failoverNamespace } from '../names.ts';
import { toReadLease } from './lease-format.ts';
import { clusterLease, pausedByKey, pausedKey, toSwitches } from './switches.ts';
import type { ClusterSwitches } from './switches.ts';

/** What has set the pause, as the API server recorded it. It knows tools and not people. */
export interface PauseWriter {
  /** Such as `kubectl-annotate`. */
  tool: string;
  /** When this tool wrote the Lease last, in ms since the epoch. */
  at: number | undefined;
}

/** Reads what a person has set on the Lease `cluster`, and with which tool the pause was set. */
export async function readSwitchesWithWriter(
  kubernetes: Kubernetes,
): Promise<ClusterSwitches & { pauseWriter: PauseWriter | undefined }> {
  try {
    const { coordination } = kubernetes;
    const read = await coordination.readNamespacedLease({ namespace: failoverNamespace, name: clusterLease });
    const lease = toReadLease(read, clusterLease);
    const pauseWriter = findWriter(read.metadata?.managedFields ?? []);
    return { ...toSwitches(lease, kubernetes.serverNow()), lease, pauseWriter };
  } catch (error) {
    if (!isUpstreamStatus(error, 404)) throw error;
    const none = { lease: undefined, pauseWriter: undefined };
    return { ...toSwitches(undefined, kubernetes.serverNow()), ...none };
  }
}

/** The latest of those that own a pausing annotation. */
function findWriter(entries: V1ManagedFieldsEntry[]): PauseWriter | undefined {
  const [latest] = entries
    .filter((entry) => ownsPause(entry.fieldsV1))
    .map(({ manager = 'unknown', time }) => ({ tool: manager, at: toMs(time) }))
    .sort((a, b) => (b.at ?? 0) - (a.at ?? 0));
  return latest;
}

function ownsPause(fields: unknown): boolean {
  const { 'f:metadata': metadata } = (fields ?? {}) as { 'f:metadata'?: { 'f:annotations'?: object } };
  const annotations = metadata?.['f:annotations'] ?? {};
  return [pausedKey, pausedByKey].some((key) => Object.hasOwn(annotations, `f:${key}`));
}
