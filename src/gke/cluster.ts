import type { RequestOptions } from 'node:https';
import { ClusterManagerClient } from '@google-cloud/container/build/src/v1/cluster_manager_client.js';
import type { protos } from '@google-cloud/container';
import type { GoogleAuth } from 'google-auth-library';
import type { Clock, Deadline } from '../clock.ts';
import type { ClusterName } from '../cluster-name.ts';
import type { Config } from '../config.ts';
import { FailoverError, isUpstreamStatus, UpstreamError } from '../errors.ts';
import { getGoogleAuth, toGoogleOptions, toUpstreamError, withinCall } from './google.ts';
import { createKubernetes } from './kubernetes.ts';
import type { Kubernetes } from './kubernetes.ts';
import { callWithRetries } from './retry.ts';
import type { CallOptions } from './retry.ts';
import { createConnectionPool } from './transport.ts';
import type { TlsOptions } from './transport.ts';

type Cluster = protos.google.container.v1.ICluster;

/** A cluster that an invocation is connected to. */
export interface ClusterConnection {
  name: ClusterName;
  kubernetes: Kubernetes;
  isAutopilot: boolean;
  /** Closes the connection pool. */
  close(): void;
}

/** Where an API server is and how it is trusted. */
export interface ClusterEndpoint {
  server: string;
  tls: TlsOptions;
  token: string | undefined;
  isAutopilot: boolean;
}

/** Connects to one cluster within the time that the action has left. */
export type Connect = (name: ClusterName, deadline: Deadline) => Promise<ClusterConnection>;

/**
 * Prepares connecting. An instance keeps its clients, the token until shortly before it expires, and for some minutes
 * where a cluster is and what it is trusted by; the connection and its Kubernetes client are an invocation's own.
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
      // The cluster has moved, or has another CA. The action must not pay for what was kept.
      pool.close();
      source.forget(name);
      endpoint = await source.read(name, deadline);
      pool = openPool(endpoint);
    }
    const { server, token, isAutopilot } = endpoint;
    const { transport } = pool;
    const kubernetes = createKubernetes({ server, token, transport, limits: { clock, deadline } });
    return { name, kubernetes, isAutopilot, close: () => pool.close() };
  };
}

/** The fields of a cluster that are asked for; the deployed bundle knows these alone (deploy/build.ts). */
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

/** A cluster's endpoint may change while an instance lives, though hardly ever. */
const keepEndpointMs = 5 * 60_000;

function createEndpointReader(config: Config, clock: Clock) {
  const auth = getGoogleAuth(config);
  let client: ClusterManagerClient | undefined;
  const kept = new Map<string, { cluster: Cluster; until: number }>();

  return {
    async read(name: ClusterName, deadline: Deadline): Promise<ClusterEndpoint> {
      const asked = callWithRetries({ clock, deadline }, (options) => readToken(auth, options));
      const [token, cluster] = await Promise.all([
        asked,
        recall(name) ?? callWithRetries({ clock, deadline }, (options) => ask(name, options)),
      ]).catch(async (error: unknown) => {
        // The Container API cannot be asked without a token: where there is none, that is what is to be told.
        await asked;
        throw error;
      });
      const endpoint = toEndpoint(cluster, name, config.gkeEndpoint);
      if (!recall(name)) kept.set(name.fullName, { cluster, until: clock.now() + keepEndpointMs });
      return { ...endpoint, token, isAutopilot: cluster.autopilot?.enabled ?? false };
    },
    isKept: (name: ClusterName) => recall(name) !== undefined,
    forget: (name: ClusterName) => void kept.delete(name.fullName),
  };

  function recall({ fullName }: ClusterName): Cluster | undefined {
    const known = kept.get(fullName);
    return known && clock.now() < known.until ? known.cluster : undefined;
  }

  function ask(name: ClusterName, options: CallOptions): Promise<Cluster> {
    client ??= new ClusterManagerClient({ auth, ...toGoogleOptions(config.containerEndpoint) });
    return readCluster(client, name, options);
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
    .catch((error: unknown) => {
      throw toUpstreamError(error, what.api, what.call, 'grant container.clusters.get (gcp-role.yaml)');
    });
  try {
    const [cluster] = await withinCall(options, what, asked);
    return cluster;
  } catch (error) {
    if (!isUpstreamStatus(error, 404)) throw error;
    throw new FailoverError('target_not_found', `there is no cluster ${name.fullName}`, { cause: error });
  }
}

/**
 * Chooses among a cluster's endpoints: the DNS endpoint where it lets outside traffic in, else the IP endpoint, unless
 * the configuration says which.
 *
 * The DNS endpoint is served with a publicly trusted certificate, so the cluster's own CA would break TLS there.
 *
 * @throws {UpstreamError} when the cluster has no such endpoint
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
    // The endpoint's name is always set, also where nothing from outside is let in.
    if (!hasDns)
      throw endpointMissing(
        name,
        'DNS endpoint that allows external traffic (gcloud container clusters update --enable-dns-access)',
      );
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

/**
 * Reads a context of the kubeconfig, for local runs against kind; what parses it is not loaded otherwise.
 *
 * @throws {FailoverError} `target_not_found` when there is no such context
 */
async function readKubeconfig(context: string): Promise<ClusterEndpoint> {
  const { KubeConfig } = await import('@kubernetes/client-node/dist/config.js');
  const kubeconfig = new KubeConfig();
  kubeconfig.loadFromDefault();
  kubeconfig.setCurrentContext(context);
  const cluster = kubeconfig.getCurrentCluster();
  if (!cluster || !kubeconfig.getCurrentUser()) {
    const contexts = kubeconfig.getContexts().map(({ name }) => name);
    const known = contexts.length > 0 ? `there is ${contexts.join(', ')}` : 'there is none';
    throw new FailoverError(
      'target_not_found',
      `the kubeconfig has no context ${context} with a cluster and a user (KUBECONFIG_CONTEXT); ${known}`,
    );
  }
  const options: RequestOptions = {};
  await kubeconfig.applyToHTTPSOptions(options);
  const { ca, cert, key } = options as { ca?: Buffer; cert?: Buffer; key?: Buffer };
  const { Authorization: authorization } = (options.headers ?? {}) as { Authorization?: string };
  return {
    server: cluster.server,
    tls: { ca: ca?.toString(), cert: cert?.toString(), key: key?.toString() },
    token: authorization?.replace(/^Bearer /, ''),
    isAutopilot: false,
  };
}
