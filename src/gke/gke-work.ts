import type { ClusterManagerClient } from '@google-cloud/container/build/src/v1/cluster_manager_client.js';
import type { Clock, Deadline } from '../clock.ts';
import type { ClusterName } from '../cluster-name.ts';
import type { Config } from '../config.ts';
import { FailoverError, UpstreamError } from '../errors.ts';
import { getContainerClient } from './container-client.ts';
import { toOperations, toPools } from './gke-work-answer.ts';
import type { GkeOperation, GkePool } from './gke-work-answer.ts';
import { refuseLacking, withinCall } from './google.ts';
import { callWithRetries } from './retry.ts';
import type { CallOptions } from './retry.ts';

/** What GKE itself is doing to a cluster, as far as it could be asked. */
export interface GkeWork {
  /** By name; undefined if they could not be read. */
  pools: Map<string, GkePool> | undefined;
  /** Those under way on this cluster; undefined if they could not be read. */
  operations: GkeOperation[] | undefined;
  /** What could not be asked, and why. */
  unread: string[];
}

/**
 * Asks what GKE is doing to a cluster. It never fails: what could not be asked is in the answer. It takes at most 3 s, so
 * that it holds up nothing.
 */
export type ReadGkeWork = (cluster: ClusterName, limits: { deadline: Deadline }) => Promise<GkeWork>;

/** What is sent to the Container API. Each call is sent once, and throws an {@link UpstreamError} if it fails. */
export interface GkeWorkClient {
  /** A cluster with {@link poolFields}. */
  getPools(cluster: ClusterName, timeoutMs: number): Promise<unknown>;
  /** All operations of a location with {@link operationFields}. */
  listOperations(location: string, timeoutMs: number): Promise<unknown>;
}

/** The fields of a cluster that are requested for its pools. The deployed bundle knows no others (deploy/build.ts). */
export const poolFields = [
  'nodePools.name',
  'nodePools.status',
  'nodePools.conditions.code',
  'nodePools.conditions.canonicalCode',
  'nodePools.updateInfo.blueGreenInfo.phase',
  'nodePools.config.spot',
  'nodePools.config.preemptible',
  'nodePools.config.flexStart',
  'nodePools.queuedProvisioning.enabled',
];

/** The same for operations. */
export const operationFields = [
  'operations.name',
  'operations.operationType',
  'operations.status',
  'operations.startTime',
  'operations.targetLink',
];

const patienceMs = 3_000;

/** Creates the function that asks what GKE is doing. */
export function createReadGkeWork(clock: Clock, load: () => GkeWorkClient): ReadGkeWork {
  return async (cluster, { deadline }) => {
    const limits = { clock, deadline: deadline.within(patienceMs) };
    const ask = async <T>(
      what: string,
      call: (options: CallOptions) => Promise<T>,
    ): Promise<{ found?: T; unread: string[] }> => {
      try {
        return { found: await callWithRetries(limits, call), unread: [] };
      } catch (error) {
        if (!(error instanceof FailoverError)) throw error;
        return { unread: [`${what} could not be read: ${error.message}`] };
      }
    };
    const client = load();
    const location = toLocation(cluster);
    const [pools, operations] = await Promise.all([
      ask('the state of its node pools', async (options) => {
        const what = toCall(`GET ${cluster.fullName}`);
        const answer = await withinCall(options, what, client.getPools(cluster, options.timeoutMs));
        return toPools(answer) ?? throwMalformed(what);
      }),
      ask("GKE's operations", async (options) => {
        const what = toCall(`GET ${location}/operations`);
        const answer = await withinCall(options, what, client.listOperations(location, options.timeoutMs));
        return toOperations(answer, cluster) ?? throwMalformed(what);
      }),
    ]);
    const unread = [...pools.unread, ...operations.unread];
    return { pools: pools.found, operations: operations.found, unread };
  };
}

/** A local run by a kubeconfig does not ask the Container API, and says so. */
export function createNoGkeWork(): ReadGkeWork {
  const unread = [
    'what GKE is doing was not asked, because KUBECONFIG_CONTEXT is set (the Container API is left out)',
  ];
  return async () => ({ pools: undefined, operations: undefined, unread: [...unread] });
}

/** Creates the client, which is the one that asks for the cluster's endpoint. */
export function createGkeWorkClient(config: Config): GkeWorkClient {
  const client: ClusterManagerClient = getContainerClient(config);
  const toOptions = (timeoutMs: number, fields: string[]) => ({
    timeout: timeoutMs,
    retry: null,
    otherArgs: { headers: { 'X-Goog-FieldMask': fields.join(',') } },
  });
  return {
    async getPools({ fullName }, timeoutMs) {
      const [answer] = await client
        .getCluster({ name: fullName }, toOptions(timeoutMs, poolFields))
        .catch(refuseLacking('Container API', `GET ${fullName}`, 'container.clusters.get'));
      return answer;
    },
    async listOperations(parent, timeoutMs) {
      const [answer] = await client
        .listOperations({ parent }, toOptions(timeoutMs, operationFields))
        .catch(refuseLacking('Container API', `GET ${parent}/operations`, 'container.operations.list'));
      return answer;
    },
  };
}

function toLocation({ projectId, location }: ClusterName): string {
  return `projects/${projectId}/locations/${location}`;
}

function toCall(call: string): { api: 'Container API'; call: string } {
  return { api: 'Container API', call };
}

function throwMalformed(what: ReturnType<typeof toCall>): never {
  throw new UpstreamError({ ...what, status: 200, reason: 'with something else', isRetryable: true });
}
