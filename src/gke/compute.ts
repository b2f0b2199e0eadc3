import { toMs } from '../clock.ts';
import type { Clock, Deadline } from '../clock.ts';
import type { Config } from '../config.ts';
import { isUpstreamStatus, UpstreamError } from '../errors.ts';
import { getGoogleAuth, refuseLacking, toGoogleOptions, withinCall } from './google.ts';
import { callWithRetries } from './retry.ts';
import type { Gate } from './retry.ts';

/** The outcome of asking Compute to delete an instance. */
export type DeletionOutcome =
  | { outcome: 'deletion_accepted'; operation: Operation }
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

/** Compute's operation, and which instance Compute says that it deletes. */
export interface Operation {
  /** Empty if the answer had none. */
  name: string;
  targetLink?: string;
  targetId?: string;
}

/** An instance as Compute shows it now. */
export interface Instance {
  /** The numeric id. */
  id: string;
  /** `RUNNING`, `STOPPING` and so on. */
  status: string;
  /** In ms since the epoch. */
  createdAt: number | undefined;
  /** When it was started last, in ms since the epoch. */
  startedAt?: number | undefined;
}

/**
 * Deletes an instance. Its instance group then creates a new one.
 *
 * @param limits.isRepeatable true if `instance` is a numeric id, so that a repetition cannot hit the replacement
 * @param limits.check asked before every try, before the gate; an outcome is the answer, and nothing is sent
 * @throws {UpstreamError}
 */
export type DeleteInstance = (
  deletion: InstanceDeletion,
  limits: {
    deadline: Deadline;
    gate: Gate;
    isRepeatable: boolean;
    check?: () => Promise<DeletionOutcome | undefined>;
  },
) => Promise<DeletionOutcome>;

/**
 * Reads an instance by its name or its numeric id. Resolves to undefined if there is none.
 *
 * @throws {UpstreamError}
 */
export type ReadInstance = (
  ref: InstanceRef,
  limits: { deadline: Deadline },
) => Promise<Instance | undefined>;

/** One instance; `instance` is its name or its numeric id. */
export type InstanceRef = Omit<InstanceDeletion, 'requestId'>;

/** What is sent to Compute. Each call is sent once, and throws an {@link UpstreamError} if it fails. */
export interface ComputeClient {
  sendDeletion(deletion: InstanceDeletion, timeoutMs: number): Promise<Operation>;
  getInstance(ref: InstanceRef, timeoutMs: number): Promise<InstanceAnswer>;
}

/** The fields of an instance that the function requests. The deployed bundle knows no others (deploy/build.ts). */
export const instanceFields = ['id', 'status', 'creationTimestamp', 'lastStartTimestamp'] as const;

/** An instance as the client gives it. */
export interface InstanceAnswer {
  id?: unknown;
  status?: unknown;
  creationTimestamp?: unknown;
  lastStartTimestamp?: unknown;
}

/** Asks Compute for the machine of a plan; undefined if there is none of that name. */
export type AskMachine = (machine: {
  projectId: string;
  zone: string;
  instanceName: string;
}) => Promise<Instance | undefined>;

/** Returns the function that asks Compute until a deadline. */
export function toAskMachine(readInstance: ReadInstance, deadline: Deadline): AskMachine {
  return ({ projectId, zone, instanceName: instance }) =>
    readInstance({ projectId, zone, instance }, { deadline });
}

/** Waits for an answer of Compute, or takes something else where an older role does not let the function ask. */
export async function unlessForbidden<Answer, Instead>(
  asked: Promise<Answer>,
  instead: (error: UpstreamError) => Instead,
): Promise<Answer | Instead> {
  try {
    return await asked;
  } catch (error) {
    if (!isUpstreamStatus(error, 401, 403)) throw error;
    return instead(error);
  }
}

/** Loads the Compute client at the first call. */
export type LoadCompute = () => Promise<ComputeClient>;

/** Creates the function that deletes instances. It retries; a repair in progress is an outcome, not an error. */
export function createDeleteInstance(clock: Clock, load: LoadCompute): DeleteInstance {
  return async (deletion, { deadline, gate, isRepeatable, check }) => {
    // Before the gate, because nothing slow may come between the gate and the deletion.
    const client = await load();
    let found: DeletionOutcome | undefined;
    const checkThenGate = async () => {
      found = await check?.();
      if (found) throw new Error('nothing is to be sent');
      return gate();
    };
    // A deletion by name must not be repeated if its outcome is unknown: the replacement has that name too.
    const shouldRetry = (error: UpstreamError) =>
      error.isRetryable && (isRepeatable || error.upstreamStatus === 429);
    try {
      const what = { api: 'Compute API', call: describeCall(deletion) } as const;
      const limits = { clock, deadline, gate: checkThenGate, shouldRetry };
      const operation = await callWithRetries(limits, async (options) => {
        const sent = await withinCall(options, what, client.sendDeletion(deletion, options.timeoutMs));
        if (sent.name) return sent;
        // Without an operation, nothing confirms that Compute accepted the deletion.
        throw new UpstreamError({ ...what, status: 200, reason: 'without an operation', isRetryable: true });
      });
      return { outcome: 'deletion_accepted', operation };
    } catch (error) {
      if (found) return found;
      if (isUpstreamStatus(error, 404)) return { outcome: 'already_gone' };
      if (isUpstreamStatus(error, 400) && error.upstreamReason === 'resourceNotReady') {
        return { outcome: 'already_repairing' };
      }
      throw error;
    }
  };
}

/** Creates the function that reads an instance. It retries. */
export function createReadInstance(clock: Clock, load: LoadCompute): ReadInstance {
  return async (ref, { deadline }) => {
    const client = await load();
    const what = { api: 'Compute API', call: describeCall(ref, 'GET') } as const;
    try {
      return await callWithRetries({ clock, deadline }, async (options) => {
        const answer = await withinCall(options, what, client.getInstance(ref, options.timeoutMs));
        const id = toText(answer.id);
        if (id) {
          const startedAt = toMs(answer.lastStartTimestamp);
          const createdAt = toMs(answer.creationTimestamp);
          return { id, status: toText(answer.status), createdAt, startedAt };
        }
        throw new UpstreamError({ ...what, status: 200, reason: 'without an instance', isRetryable: true });
      });
    } catch (error) {
      if (isUpstreamStatus(error, 404)) return undefined;
      throw error;
    }
  };
}

/** Creates the loader of the Compute client, which is large and needed only for a repair. */
export function createLoadCompute(config: Config): LoadCompute {
  return createLoadOnce(() => loadCompute(config));
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

async function loadCompute(config: Config): Promise<ComputeClient> {
  // Import the one client, because the package's index loads 130.
  const { InstancesClient } = await import('@google-cloud/compute/build/src/v1/instances_client.js');
  const instances = new InstancesClient({
    auth: getGoogleAuth(config),
    ...toGoogleOptions(config.computeEndpoint),
  });
  return {
    async sendDeletion(deletion, timeoutMs) {
      const { projectId: project, zone, instance, requestId } = deletion;
      const [{ latestResponse }] = await instances
        .delete({ project, zone, instance, requestId }, { timeout: timeoutMs, retry: null })
        .catch(refuseLacking('Compute API', describeCall(deletion), 'compute.instances.delete'));
      const answer = (latestResponse ?? {}) as { [field in keyof Operation]?: unknown };
      const [targetLink, targetId] = [toText(answer.targetLink), toText(answer.targetId)];
      return {
        name: toText(answer.name),
        ...(targetLink ? { targetLink } : {}),
        ...(targetId ? { targetId } : {}),
      };
    },
    async getInstance(ref, timeoutMs) {
      const { projectId: project, zone, instance } = ref;
      const headers = { 'X-Goog-FieldMask': instanceFields.join(',') };
      const [answer] = await instances
        .get({ project, zone, instance }, { timeout: timeoutMs, retry: null, otherArgs: { headers } })
        .catch(refuseLacking('Compute API', describeCall(ref, 'GET'), 'compute.instances.get'));
      return answer;
    },
  };
}

/** Google's clients give a number that is larger than JavaScript's own as a string. */
function toText(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : '';
}

function describeCall({ projectId, zone, instance }: InstanceRef, method = 'DELETE'): string {
  return `${method} projects/${projectId}/zones/${zone}/instances/${instance}`;
}
