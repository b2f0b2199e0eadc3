import type { ClusterManagerClient } from '@google-cloud/container/build/src/v1/cluster_manager_client.js';
import type { protos } from '@google-cloud/container';
import type { GoogleAuth } from 'google-auth-library';
import type { Clock, Deadline } from '../clock.ts';
import type { ClusterName } from '../cluster-name.ts';
import type { Config } from '../config.ts';
import { FailoverError, isUpstreamStatus, UpstreamError } from '../errors.ts';
import { getContainerClient } from './container-client.ts';
import { getGoogleAuth, keepFresh, refuseLacking, toUpstreamError, withinCall } from './google.ts';
import { readKubeconfig } from './kubeconfig.ts';
import { createKubernetes } from './kubernetes.ts';
import type { Kubernetes } from './kubernetes.ts';
import { callWithRetries } from './retry.ts';
import type { CallOptions } from './retry.ts';
import { createConnectionPool } from './transport.ts';
import type { ClusterEndpoint } from './transport.ts';

type Cluster = protos.google.container.v1.ICluster;

/** One invocation's connection to a cluster. */
export interface ClusterConnection {
  name: ClusterName;
  kubernetes: Kubernetes;
  isAutopilot: boolean;
  /** Closes the connection pool. */
  close(): void;
}

/**
 * Connects to one cluster within the time that the action has left.
 *
 * @throws {UpstreamError} if Google Cloud does not answer, or the cluster has no such endpoint
 * @throws {FailoverError} `target_not_found` if there is no such cluster
 */
export type Connect = (name: ClusterName, deadline: Deadline) => Promise<ClusterConnection>;

/**
 * Creates the function that connects to clusters. Cached per instance: the Google clients, the token (until shortly before
 * it expires), and each cluster's endpoint and CA (5 min). Each call opens its own connection pool and Kubernetes client.
 */
export function createConnect(config: Config, clock: Clock): Connect {
  const { kubeconfigContext } = config;
  const source =
    kubeconfigContext === undefined
      ? createEndpointReader(config, clock)
      : { read: () => readKubeconfig(kubeconfigContext), isKept: () => false, forget: () => undefined };
  return async (name, deadline) => {
    const wasKept = source.isKept(name);
    const openPool = ({ tls }: ClusterEndpoint) =>
      createConnectionPool(tls, deadline.signal, () => source.forget(name));
    let endpoint = await source.read(name, deadline);
    let pool = openPool(endpoint);
    const isStale = wasKept && !(await pool.canConnect(endpoint.server));
    if (isStale) {
      // The cluster has a new endpoint or CA. The cached one must not make the action fail.
      pool.close();
      source.forget(name);
      endpoint = await source.read(name, deadline);
      pool = openPool(endpoint);
    }
    const { server, token, isAutopilot } = endpoint;
    const { transport } = pool;
    const kubernetes = createKubernetes({
      server,
      token,
      transport,
      limits: { clock, deadline },
      certifiedBy: kubeconfigContext === undefined ? 'the Container API' : 'the kubeconfig',
    });
    return { name, kubernetes, isAutopilot, close: () => pool.close() };
  };
}

/** The fields of a cluster that the function requests. The deployed bundle knows no others (deploy/build.ts). */
export const clusterFields = [
  'name',
  'status',
  'endpoint',
  'masterAuth.clusterCaCertificate',
  'controlPlaneEndpointsConfig.dnsEndpointConfig.endpoint',
  'controlPlaneEndpointsConfig.dnsEndpointConfig.allowExternalTraffic',
  'controlPlaneEndpointsConfig.ipEndpointsConfig.enabled',
  'controlPlaneEndpointsConfig.ipEndpointsConfig.privateEndpoint',
  'privateClusterConfig.privateEndpoint',
  'autopilot.enabled',
];

/** A cluster's endpoint rarely changes while an instance lives, but it can. */
const keepEndpointMs = 5 * 60_000;

function createEndpointReader(config: Config, clock: Clock) {
  const auth = getGoogleAuth(config);
  const kept = new Map<string, { cluster: Cluster; until: number }>();

  return {
    async read(name: ClusterName, deadline: Deadline): Promise<ClusterEndpoint> {
      const asksToken = callWithRetries({ clock, deadline }, (options) => readToken(auth, options));
      const [token, cluster] = await Promise.all([
        asksToken,
        recall(name) ?? callWithRetries({ clock, deadline }, (options) => ask(name, options)),
      ]).catch(async (error: unknown) => {
        // The Container API needs a token too. If reading the token failed, throw that error: it is the cause.
        await asksToken;
        throw error;
      });
      const endpoint = toEndpoint(cluster, name, config.gkeEndpoint);
      if (!recall(name)) kept.set(name.fullName, { cluster, until: clock.now() + keepEndpointMs });
      const isAutopilot = cluster.autopilot?.enabled ?? false;
      return { ...endpoint, token: keepFresh(token, auth, clock), isAutopilot };
    },
    isKept: (name: ClusterName) => recall(name) !== undefined,
    forget: (name: ClusterName) => void kept.delete(name.fullName),
  };

  function recall({ fullName }: ClusterName): Cluster | undefined {
    const known = kept.get(fullName);
    return known && clock.now() < known.until ? known.cluster : undefined;
  }

  function ask(name: ClusterName, options: CallOptions): Promise<Cluster> {
    return readCluster(getContainerClient(config), name, options);
  }
}

async function readToken(auth: GoogleAuth, options: CallOptions): Promise<string> {
  const what = { api: 'metadata server', call: 'GET token' } as const;
  const asked = auth.getAccessToken().catch((error: unknown) => {
    throw toUpstreamError(error, what.api, what.call, 'is the function running as a service account?');
  });
  const token = await withinCall(options, what, asked);
  if (token) return token;
  throw new UpstreamError({ ...what, status: 200, reason: 'without a token' });
}

async function readCluster(
  container: ClusterManagerClient,
  name: ClusterName,
  options: CallOptions,
): Promise<Cluster> {
  const what = { api: 'Container API', call: `GET ${name.fullName}` } as const;
  const asked = container
    .getCluster(
      { name: name.fullName },
      {
        timeout: options.timeoutMs,
        retry: null,
        otherArgs: { headers: { 'X-Goog-FieldMask': clusterFields.join(',') } },
      },
    )
    .catch(refuseLacking(what.api, what.call, 'container.clusters.get'));
  try {
    const [cluster] = await withinCall(options, what, asked);
    return cluster;
  } catch (error) {
    if (!isUpstreamStatus(error, 404)) throw error;
    throw new FailoverError('target_not_found', `there is no cluster ${name.fullName}`, { cause: error });
  }
}

/**
 * Chooses one of a cluster's endpoints. With `auto` that is the DNS endpoint if it allows external traffic, else the
 * public IP endpoint.
 *
 * The DNS endpoint has a publicly trusted certificate, so the cluster's own CA would break TLS there.
 *
 * @throws {UpstreamError} if the cluster has no such endpoint
 */
export function toEndpoint(
  cluster: Cluster,
  name: ClusterName,
  wanted: Config['gkeEndpoint'],
): Pick<ClusterEndpoint, 'server' | 'tls'> {
  const { dnsEndpointConfig, ipEndpointsConfig } = cluster.controlPlaneEndpointsConfig ?? {};
  const hasDns = Boolean(dnsEndpointConfig?.endpoint && dnsEndpointConfig.allowExternalTraffic);
  const kind = wanted === 'auto' ? (hasDns ? 'dns' : 'public') : wanted;
  if (kind === 'dns') {
    // The endpoint's name is always set, even if the endpoint allows no external traffic.
    if (!hasDns) {
      throw endpointMissing(
        name,
        'DNS endpoint that allows external traffic (gcloud container clusters update --enable-dns-access)',
      );
    }
    return { server: `https://${dnsEndpointConfig?.endpoint}`, tls: {} };
  }
  if (ipEndpointsConfig?.enabled === false) {
    throw endpointMissing(
      name,
      'IP endpoint; allow external traffic to its DNS endpoint (gcloud container clusters update --enable-dns-access)',
    );
  }
  const privateEndpoint = ipEndpointsConfig?.privateEndpoint || cluster.privateClusterConfig?.privateEndpoint;
  const endpoint = kind === 'private' ? privateEndpoint : cluster.endpoint;
  if (!endpoint) throw endpointMissing(name, `${kind} IP endpoint`);
  if (endpoint.endsWith('.gke.goog')) return { server: `https://${endpoint}`, tls: {} };
  const certificate = cluster.masterAuth?.clusterCaCertificate;
  if (!certificate) throw endpointMissing(name, 'CA certificate');
  return { server: `https://${endpoint}`, tls: { ca: Buffer.from(certificate, 'base64').toString() } };
}

function endpointMissing(name: ClusterName, what: string): UpstreamError {
  return new UpstreamError({
    api: 'Container API',
    call: `GET ${name.fullName}`,
    status: 200,
    isRetryable: false,
    advice: `the cluster has no ${what}`,
  });
}
