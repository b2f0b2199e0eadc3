import type { Clock, Deadline } from '../clock.ts';
import type { Config } from '../config.ts';
import { isUpstreamStatus, UpstreamError } from '../errors.ts';
import { getGoogleAuth, toGoogleOptions, toUpstreamError, withinCall } from './google.ts';
import { callWithRetries } from './retry.ts';
import type { Gate } from './retry.ts';

/** What became of asking Compute to delete an instance. */
export type DeletionOutcome =
  | { outcome: 'deletion_accepted'; operation: string }
  /** The machine is gone, or is being deleted or created this moment: a repair is under way. */
  | { outcome: 'already_gone' | 'already_repairing' };

/** One instance; `instance` is its numeric id wherever that is known, for a replacement has the same name. */
export interface InstanceDeletion {
  projectId: string;
  zone: string;
  instance: string;
  /** UUID: a repetition within Compute's memory is the same request. */
  requestId: string;
}

/** Deletes an instance; its instance group makes a new one. */
export type DeleteInstance = (
  deletion: InstanceDeletion,
  limits: { deadline: Deadline; gate: Gate; isRepeatable: boolean },
) => Promise<DeletionOutcome>;

/** Sends one deletion once; resolves to the operation's name, empty where the answer had none, or rejects with an {@link UpstreamError}. */
export type SendDeletion = (deletion: InstanceDeletion, timeoutMs: number) => Promise<string>;

/** Loads what sends deletions, once. */
export type LoadSendDeletion = () => Promise<SendDeletion>;

/** Prepares deleting instances, with retries, and with what is under way already as an outcome. */
export function createDeleteInstance(clock: Clock, load: LoadSendDeletion): DeleteInstance {
  return async (deletion, { deadline, gate, isRepeatable }) => {
    // Before the gate: nothing that takes long may come between it and the deletion.
    const sendDeletion = await load();
    // By name, a request whose fate is unknown must not be sent again: the replacement has that name too.
    const shouldRetry = (error: UpstreamError) =>
      error.isRetryable && (isRepeatable || error.upstreamStatus === 429);
    try {
      const what = { api: 'Compute API', call: describeCall(deletion) } as const;
      const operation = await callWithRetries({ clock, deadline, gate, shouldRetry }, async (options) => {
        const name = await withinCall(options, what, sendDeletion(deletion, options.timeoutMs));
        if (name) return name;
        // An answer must not promise a deletion that nobody has confirmed.
        throw new UpstreamError({ ...what, status: 200, reason: 'without an operation', isRetryable: true });
      });
      return { outcome: 'deletion_accepted', operation };
    } catch (error) {
      if (isUpstreamStatus(error, 404)) return { outcome: 'already_gone' };
      if (isUpstreamStatus(error, 400) && error.upstreamReason === 'resourceNotReady') {
        return { outcome: 'already_repairing' };
      }
      throw error;
    }
  };
}

/** Prepares the Compute API's client, which is large and loaded for a repair only. */
export function createLoadSendDeletion(config: Config): LoadSendDeletion {
  let loading: Promise<SendDeletion> | undefined;
  return () => (loading ??= loadSendDeletion(config));
}

async function loadSendDeletion(config: Config): Promise<SendDeletion> {
  // The package's index loads 130 clients.
  const { InstancesClient } = await import('@google-cloud/compute/build/src/v1/instances_client.js');
  const instances = new InstancesClient({
    auth: getGoogleAuth(config),
    ...toGoogleOptions(config.computeEndpoint),
  });
  return async (deletion, timeoutMs) => {
    const { projectId, zone, instance, requestId } = deletion;
    const advice = 'grant compute.instances.delete (gcp-role.yaml)';
    const request = { project: projectId, zone, instance, requestId };
    const [{ latestResponse }] = await instances
      .delete(request, { timeout: timeoutMs, retry: null })
      .catch((error: unknown) => {
        throw toUpstreamError(error, 'Compute API', describeCall(deletion), advice);
      });
    return ((latestResponse ?? {}) as { name?: string }).name ?? '';
  };
}

function describeCall({ projectId, zone, instance }: InstanceDeletion): string {
  return `DELETE projects/${projectId}/zones/${zone}/instances/${instance}`;
}
