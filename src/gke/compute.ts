import type { Clock, Deadline } from '../clock.ts';
import type { Config } from '../config.ts';
import { isUpstreamStatus, UpstreamError } from '../errors.ts';
import { getGoogleAuth, toGoogleOptions, toUpstreamError, withinCall } from './google.ts';
import { callWithRetries } from './retry.ts';
import type { Gate } from './retry.ts';

/** The outcome of asking Compute to delete an instance. */
export type DeletionOutcome =
  | { outcome: 'deletion_accepted'; operation: string }
  /** The machine is gone, or Compute is deleting or creating it now: a repair is in progress. */
  | { outcome: 'already_gone' | 'already_repairing' };

/** The deletion of one instance. */
export interface InstanceDeletion {
  projectId: string;
  zone: string;
  /** The numeric id if it is known, because the replacement has the same name. Else the name. */
  instance: string;
  /** A UUID. While Compute remembers it, a repetition is the same request. */
  requestId: string;
}

/**
 * Deletes an instance. Its instance group then creates a new one.
 *
 * @param limits.isRepeatable true if `instance` is a numeric id, so that a repetition cannot hit the replacement
 * @throws {UpstreamError}
 */
export type DeleteInstance = (
  deletion: InstanceDeletion,
  limits: { deadline: Deadline; gate: Gate; isRepeatable: boolean },
) => Promise<DeletionOutcome>;

/**
 * Sends one deletion once. Resolves to the operation's name, which is empty if the answer had none.
 *
 * @throws {UpstreamError}
 */
export type SendDeletion = (deletion: InstanceDeletion, timeoutMs: number) => Promise<string>;

/** Loads the Compute client at the first call. */
export type LoadSendDeletion = () => Promise<SendDeletion>;

/** Creates the function that deletes instances. It retries; a repair in progress is an outcome, not an error. */
export function createDeleteInstance(clock: Clock, load: LoadSendDeletion): DeleteInstance {
  return async (deletion, { deadline, gate, isRepeatable }) => {
    // Before the gate, because nothing slow may come between the gate and the deletion.
    const sendDeletion = await load();
    // A deletion by name must not be repeated if its outcome is unknown: the replacement has that name too.
    const shouldRetry = (error: UpstreamError) =>
      error.isRetryable && (isRepeatable || error.upstreamStatus === 429);
    try {
      const what = { api: 'Compute API', call: describeCall(deletion) } as const;
      const operation = await callWithRetries({ clock, deadline, gate, shouldRetry }, async (options) => {
        const name = await withinCall(options, what, sendDeletion(deletion, options.timeoutMs));
        if (name) return name;
        // Without an operation, nothing confirms that Compute accepted the deletion.
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

/** Creates the loader of the Compute client, which is large and needed only for a repair. */
export function createLoadSendDeletion(config: Config): LoadSendDeletion {
  return createLoadOnce(() => loadSendDeletion(config));
}

/** Loads at the first call and keeps what was loaded. A failure is not kept: the next call loads again. */
export function createLoadOnce<T>(load: () => Promise<T>): () => Promise<T> {
  let loading: Promise<T> | undefined;
  return () =>
    (loading ??= load().catch((error: unknown) => {
      loading = undefined;
      throw error;
    }));
}

async function loadSendDeletion(config: Config): Promise<SendDeletion> {
  // Import the one client, because the package's index loads 130.
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
