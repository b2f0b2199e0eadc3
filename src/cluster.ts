import { ClusterManagerClient } from '@google-cloud/container';
import type { protos } from '@google-cloud/container';
import type { GoogleAuth } from 'google-auth-library';
import type { Clock, Deadline } from './clock.ts';
import type { ClusterName, Config } from './config.ts';
import { FailoverError, isUpstreamStatus, UpstreamError } from './errors.ts';
import { createGoogleAuth, toGoogleOptions, toUpstreamError, withinAttempt } from './google.ts';
import { createKubernetes } from './kubernetes.ts';
import type { Kubernetes } from './kubernetes.ts';
import { callWithRetries } from './retry.ts';
import type { Attempt } from './retry.ts';
import { createConnectionPool } from './transport.ts';
import type { TlsOptions } from './transport.ts';

type Cluster = protos.google.container.v1.ICluster;

/** A cluster that an invocation is connected to. */
export interface ClusterConnection {
  name: ClusterName;
  kubernetes: Kubernetes;
  isAutopilot: boolean;
  /** Closes the connection pool. */
  close(): Promise<void>;
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
 * Prepares connecting: the clients are made once an instance, the connection and its Kubernetes client once an
 * invocation.
 */
export function createConnect(config: Config, clock: Clock): Connect {
  const readEndpoint =
    config.kubeconfigContext === undefined
      ? createEndpointReader(config, clock)
      : () => readKubeconfig(config.kubeconfigContext ?? '');
  return async (name, deadline) => {
    const { server, tls, token, isAutopilot } = await readEndpoint(name, deadline);
    const pool = createConnectionPool(tls);
    const kubernetes = createKubernetes({
      server,
      token,
      transport: pool.transport,
      limits: { clock, deadline },
    });
    return { name, kubernetes, isAutopilot, close: pool.close };
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

function createEndpointReader(config: Config, clock: Clock) {
  let clients: { auth: GoogleAuth; container: ClusterManagerClient } | undefined;
  return async (name: ClusterName, deadline: Deadline): Promise<ClusterEndpoint> => {
    clients ??= createClients(config);
    const { auth, container } = clients;
    const [token, cluster] = await Promise.all([
      callWithRetries({ clock, deadline }, (attempt) => readToken(auth, attempt)),
      callWithRetries({ clock, deadline }, (attempt) => readCluster(container, name, attempt)),
    ]);
    return {
      ...toEndpoint(cluster, name, config.gkeEndpoint),
      token,
      isAutopilot: cluster.autopilot?.enabled ?? false,
    };
  };
}

function createClients(config: Config) {
  const auth = createGoogleAuth(config);
  return {
    auth,
    container: new ClusterManagerClient({ auth, ...toGoogleOptions(config.containerEndpoint) }),
  };
}

async function readToken(auth: GoogleAuth, attempt: Attempt): Promise<string> {
  const what = { api: 'metadata server', call: 'GET token' } as const;
  const asked = auth.getAccessToken().catch((error: unknown) => {
    throw toUpstreamError(error, what.api, what.call, 'is the function running as a service account?');
  });
  const token = await withinAttempt(attempt, what, asked);
  if (token) return token;
  throw new UpstreamError({ ...what, status: 200, reason: 'without a token' });
}

async function readCluster(
  container: ClusterManagerClient,
  name: ClusterName,
  attempt: Attempt,
): Promise<Cluster> {
  const what = { api: 'Container API', call: `GET ${name.fullName}` } as const;
  const asked = container
    .getCluster(
      { name: name.fullName },
      {
        timeout: attempt.timeoutMs,
        retry: null,
        otherArgs: { headers: { 'X-Goog-FieldMask': clusterFields.join(',') } },
      },
    )
    .catch((error: unknown) => {
      throw toUpstreamError(error, what.api, what.call, 'grant container.clusters.get (gcp-role.yaml)');
    });
  try {
    const [cluster] = await withinAttempt(attempt, what, asked);
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
      throw noEndpoint(
        name,
        'DNS endpoint that allows external traffic (gcloud container clusters update --enable-dns-access)',
      );
    return { server: `https://${dnsEndpointConfig?.endpoint}`, tls: {} };
  }
  if (ipEndpointsConfig?.enabled === false) {
    throw noEndpoint(
      name,
      'IP endpoint; allow external traffic to its DNS endpoint (gcloud container clusters update --enable-dns-access)',
    );
  }
  const privateEndpoint = ipEndpointsConfig?.privateEndpoint || cluster.privateClusterConfig?.privateEndpoint;
  const endpoint = kind === 'private' ? privateEndpoint : cluster.endpoint;
  if (!endpoint) throw noEndpoint(name, `${kind} IP endpoint`);
  if (endpoint.endsWith('.gke.goog')) return { server: `https://${endpoint}`, tls: {} };
  const certificate = cluster.masterAuth?.clusterCaCertificate;
  if (!certificate) throw noEndpoint(name, 'CA certificate');
  return { server: `https://${endpoint}`, tls: { ca: Buffer.from(certificate, 'base64').toString() } };
}

function noEndpoint(name: ClusterName, what: string): UpstreamError {
  return new UpstreamError({
    api: 'Container API',
    call: `GET ${name.fullName}`,
    status: 200,
    isRetryable: false,
    advice: `the cluster has no ${what}`,
  });
}

/** Reads a context of the kubeconfig, for local runs against kind; what parses it is not loaded otherwise. */
async function readKubeconfig(context: string): Promise<ClusterEndpoint> {
  const { KubeConfig } = await import('@kubernetes/client-node/dist/config.js');
  const kubeconfig = new KubeConfig();
  kubeconfig.loadFromDefault();
  const found = kubeconfig.getContextObject(context);
  const cluster = found && kubeconfig.getCluster(found.cluster);
  const user = found && kubeconfig.getUser(found.user);
  if (!cluster || !user) throw new Error(`the kubeconfig has no context ${context} (KUBECONFIG_CONTEXT)`);
  const decode = (data: string | undefined) => (data ? Buffer.from(data, 'base64').toString() : undefined);
  return {
    server: cluster.server,
    tls: { ca: decode(cluster.caData), cert: decode(user.certData), key: decode(user.keyData) },
    token: user.token,
    isAutopilot: false,
  };
}
