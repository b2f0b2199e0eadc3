import type { InstancesClient } from '@google-cloud/compute';
import type { Clock, Deadline } from './clock.ts';
import type { Config } from './config.ts';
import { isUpstreamStatus } from './errors.ts';
import { toGoogleOptions, toUpstreamError } from './google.ts';
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

/**
 * Prepares deleting instances through the Compute API, whose client is large and loaded on the first repair only.
 */
export function createDeleteInstance(config: Config, clock: Clock): DeleteInstance {
  let client: Promise<InstancesClient> | undefined;
  return async ({ projectId, zone, instance, requestId }, { deadline, gate, isRepeatable }) => {
    client ??= loadClient(config);
    const instances = await client;
    const call = `DELETE projects/${projectId}/zones/${zone}/instances/${instance}`;
    try {
      return await callWithRetries({ clock, deadline, gate }, async ({ timeoutMs }) => {
        try {
          const [{ latestResponse }] = await instances.delete(
            { project: projectId, zone, instance, requestId },
            { timeout: timeoutMs, retry: null },
          );
          const { name } = (latestResponse ?? {}) as { name?: string };
          return { outcome: 'deletion_accepted' as const, operation: name ?? '' };
        } catch (error) {
          const translated = toUpstreamError(
            error,
            'Compute API',
            call,
            'grant compute.instances.delete (gcp-role.yaml)',
          );
          // By name, a request whose fate is unknown must not be sent again: the replacement has that name too.
          if (!isRepeatable && !isUpstreamStatus(translated, 429))
            throw Object.assign(translated, { isRetryable: false });
          throw translated;
        }
      });
    } catch (error) {
      if (isUpstreamStatus(error, 404)) return { outcome: 'already_gone' };
      if (isUpstreamStatus(error, 400) && error.upstreamReason === 'resourceNotReady')
        return { outcome: 'already_repairing' };
      throw error;
    }
  };
}

async function loadClient(config: Config): Promise<InstancesClient> {
  const { InstancesClient } = await import('@google-cloud/compute');
  return new InstancesClient(toGoogleOptions(config.computeEndpoint));
}
