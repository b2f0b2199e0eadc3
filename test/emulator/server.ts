import { rmSync } from 'node:fs';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createCertificateAuthority } from '../control-plane/certificates.ts';
import type { CertificateAuthority } from '../control-plane/certificates.ts';
import type { EmulatedCluster } from './cluster.ts';
import type { Emulator } from './emulator.ts';
import type { HttpRequest, HttpResponse } from './http.ts';
import { listen } from './listener.ts';
import type { Listener } from './listener.ts';
import { SwitchesApi, switchesPath } from './switches-api.ts';

export interface ServerOptions {
  /** How long each answer takes. */
  delayMs?: number;
  /** How often the controllers run by themselves. Never by default, because a test calls `settle`. */
  reconcileEveryMs?: number;
  /** For the Google APIs; any free port unless given. Each cluster always has free ones. */
  port?: number;
}

export interface EmulatorServer {
  /** The environment that points Google's clients, gcloud and the function at the emulator. */
  environment: Record<string, string>;
  /** Writes a kubeconfig of a person of their own for a cluster. @returns its path */
  kubeconfig(cluster: EmulatedCluster, user?: string): Promise<string>;
  /** The CA that stands for those everybody trusts: for NODE_EXTRA_CA_CERTS, with the DNS endpoint. */
  publicCaPath: string;
  /** Where its switches are turned on and off by HTTP (switches-api.ts). */
  switchesUrl: string;
  /** TLS connections opened so far, by cluster and endpoint. */
  connections(cluster: EmulatedCluster): { ip: number; dns: number };
  close(): Promise<void>;
}

/**
 * Puts an emulator, with the clusters that it has by now, on the network of this machine: each cluster over TLS twice (an IP endpoint with its own CA and a
 * DNS endpoint with a public one, both h2 and http/1.1), and Google's APIs with the metadata server over plain HTTP.
 */
export async function serveEmulator(
  emulator: Emulator,
  options: ServerOptions = {},
): Promise<EmulatorServer> {
  const directory = await mkdtemp(join(tmpdir(), 'emulator-'));
  // Removed however the process ends, because nothing else would remove it.
  const removeDirectory = () => rmSync(directory, { recursive: true, force: true });
  process.once('exit', removeDirectory);
  const listeners: Listener[] = [];
  const served = new Map<EmulatedCluster, { ip: Listener; dns: Listener }>();
  for (const cluster of emulator.clusters.values()) {
    const authority = authorityOf(cluster.name);
    const delay = options.delayMs === undefined ? {} : { delayMs: options.delayMs };
    const ip = await listen((request) => cluster.handle(request), {
      tls: certificateOf(authority),
      ...delay,
    });
    const dns = await listen((request) => cluster.handleDns(request), {
      tls: certificateOf(authorityOf('public')),
      ...delay,
    });
    listeners.push(ip, dns);
    served.set(cluster, { ip, dns });
    Object.assign(cluster.endpoints, {
      ip: `127.0.0.1:${ip.port}`,
      dns: `localhost:${dns.port}`,
      ca: authority.certificate,
    });
  }
  const switches = new SwitchesApi(emulator);
  const google = await listen((request) => routeGoogle(emulator, switches, request), options);
  listeners.push(google);
  const publicCaPath = join(directory, 'public-ca.pem');
  await writeFile(publicCaPath, authorityOf('public').certificate);
  const environment = await writeEnvironment(emulator, google.port, directory);
  const timer = options.reconcileEveryMs && setInterval(() => emulator.reconcile(), options.reconcileEveryMs);

  return {
    environment,
    publicCaPath,
    switchesUrl: `http://127.0.0.1:${google.port}${switchesPath}`,
    kubeconfig: (cluster, user = 'admin@example.com') => writeKubeconfig(emulator, cluster, user, directory),
    connections(cluster) {
      const found = served.get(cluster);
      return { ip: found?.ip.connections() ?? 0, dns: found?.dns.connections() ?? 0 };
    },
    async close() {
      if (timer) clearInterval(timer);
      await Promise.all(listeners.map((listener) => listener.close()));
      process.off('exit', removeDirectory);
      removeDirectory();
    },
  };
}

const authorities = new Map<string, CertificateAuthority>();

/** Kept as long as the process runs, because a key takes longer to create than a cluster. */
function authorityOf(name: string): CertificateAuthority {
  let authority = authorities.get(name);
  if (!authority) {
    authority = createCertificateAuthority(name.replaceAll('/', '-').slice(-60));
    authorities.set(name, authority);
  }
  return authority;
}

const certificates = new WeakMap<CertificateAuthority, { certificate: string; key: string }>();

function certificateOf(authority: CertificateAuthority): { certificate: string; key: string } {
  let issued = certificates.get(authority);
  if (!issued) {
    issued = authority.issue({ commonName: 'localhost' }, ['localhost', '127.0.0.1']);
    certificates.set(authority, issued);
  }
  return issued;
}

function routeGoogle(emulator: Emulator, switches: SwitchesApi, request: HttpRequest): HttpResponse {
  if (request.path.split('/')[1] === 'switches') return switches.handle(request);
  if (request.path.startsWith('/compute/')) return emulator.handleCompute(request);
  if (request.path.startsWith('/v1/')) return emulator.handleContainer(request);
  return emulator.handleMetadata(request);
}

async function writeEnvironment(
  emulator: Emulator,
  port: number,
  directory: string,
): Promise<Record<string, string>> {
  // gcloud gets its own configuration and token, never the developer's.
  const tokenPath = join(directory, 'access-token');
  await writeFile(tokenPath, emulator.tokens.tokenFor('admin@example.com'));
  return {
    CLOUDSDK_API_ENDPOINT_OVERRIDES_CONTAINER: `http://127.0.0.1:${port}/`,
    CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE: `http://127.0.0.1:${port}/compute/v1/`,
    CLOUDSDK_CONFIG: join(directory, 'gcloud'),
    CLOUDSDK_CORE_PROJECT: emulator.tokens.account.projectId,
    CLOUDSDK_CORE_DISABLE_PROMPTS: '1',
    CLOUDSDK_CORE_DISABLE_USAGE_REPORTING: '1',
    CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK: '1',
    CLOUDSDK_AUTH_ACCESS_TOKEN_FILE: tokenPath,
    GCE_METADATA_HOST: `127.0.0.1:${port}`,
    METADATA_SERVER_DETECTION: 'assume-present',
  };
}

async function writeKubeconfig(
  emulator: Emulator,
  cluster: EmulatedCluster,
  user: string,
  directory: string,
): Promise<string> {
  const name = cluster.shortName;
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      {
        name,
        cluster: {
          server: `https://${cluster.endpoints.ip}`,
          'certificate-authority-data': Buffer.from(cluster.endpoints.ca).toString('base64'),
        },
      },
    ],
    users: [{ name: user, user: { token: emulator.tokens.tokenFor(user) } }],
    contexts: [{ name, context: { cluster: name, user } }],
    'current-context': name,
  };
  const path = join(directory, `kubeconfig-${name}-${user.replaceAll(/[^\w.]/g, '-')}`);
  // JSON is YAML.
  await writeFile(path, JSON.stringify(config, undefined, 2), { mode: 0o600 });
  return path;
}
