import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { constants, createSecureServer } from 'node:http2';
import type { Http2SecureServer, Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createCertificateAuthority } from '../control-plane/certificates.ts';
import type { CertificateAuthority } from '../control-plane/certificates.ts';
import type { EmulatedCluster } from './cluster.ts';
import type { Emulator } from './emulator.ts';
import { ConnectionLost, NeverAnswered, toTextResponse } from './http.ts';
import type { HttpRequest, HttpResponse } from './http.ts';

export interface ServerOptions {
  /** How long each answer takes. */
  delayMs?: number;
  /** How often the controllers make a step by themselves; never unless given: a test calls `settle`. */
  reconcileEveryMs?: number;
  /** For the Google APIs; any free port unless given. Each cluster always has free ones. */
  port?: number;
}

export interface EmulatorServer {
  /** What points Google's clients, gcloud and the function at the emulator. */
  environment: Record<string, string>;
  /** Writes a kubeconfig of a person of their own for a cluster. @returns its path */
  kubeconfig(cluster: EmulatedCluster, user?: string): Promise<string>;
  /** The CA that stands for those everybody trusts: for NODE_EXTRA_CA_CERTS, with the DNS endpoint. */
  publicCaPath: string;
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
  const listeners: Listener[] = [];
  const served = new Map<EmulatedCluster, { ip: Listener; dns: Listener }>();
  for (const cluster of emulator.clusters.values()) {
    const authority = authorityOf(cluster.name);
    const ip = await listenSecurely(authority, (request) => cluster.handle(request), options.delayMs);
    const dns = await listenSecurely(
      authorityOf('public'),
      (request) => cluster.handleDns(request),
      options.delayMs,
    );
    listeners.push(ip, dns);
    served.set(cluster, { ip, dns });
    Object.assign(cluster.endpoints, {
      ip: `127.0.0.1:${ip.port}`,
      dns: `localhost:${dns.port}`,
      ca: authority.certificate,
    });
  }
  const google = await listenPlainly((request) => routeGoogle(emulator, request), options);
  listeners.push(google);
  const publicCaPath = join(directory, 'public-ca.pem');
  await writeFile(publicCaPath, authorityOf('public').certificate);
  const environment = await writeEnvironment(emulator, google.port, directory);
  const timer = options.reconcileEveryMs && setInterval(() => emulator.reconcile(), options.reconcileEveryMs);

  return {
    environment,
    publicCaPath,
    kubeconfig: (cluster, user = 'admin@example.com') => writeKubeconfig(emulator, cluster, user, directory),
    connections(cluster) {
      const found = served.get(cluster);
      return { ip: found?.ip.connections() ?? 0, dns: found?.dns.connections() ?? 0 };
    },
    async close() {
      if (timer) clearInterval(timer);
      await Promise.all(listeners.map((listener) => listener.close()));
      await rm(directory, { recursive: true, force: true });
    },
  };
}

interface Listener {
  port: number;
  /** Connections opened so far. */
  connections(): number;
  close(): Promise<void>;
}

const authorities = new Map<string, CertificateAuthority>();

/** Kept for the process: a key takes longer to make than a cluster. */
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

type Handle = (request: HttpRequest) => HttpResponse;

async function listenSecurely(
  authority: CertificateAuthority,
  handle: Handle,
  delayMs: number | undefined,
): Promise<Listener> {
  const { certificate, key } = certificateOf(authority);
  const server = createSecureServer({
    cert: certificate,
    key,
    allowHTTP1: true,
    settings: { maxConcurrentStreams: 250 },
  });
  server.on('request', (request, response) => void serve(handle, request, response, delayMs));
  // A client that goes away mid-request is no failure of the emulator's.
  server.on('sessionError', () => {});
  return listen(server, 'secureConnection', 0);
}

async function listenPlainly(handle: Handle, options: ServerOptions): Promise<Listener> {
  const server = createServer((request, response) => void serve(handle, request, response, options.delayMs));
  return listen(server, 'connection', options.port ?? 0);
}

async function listen(
  server: Server | Http2SecureServer,
  connectionEvent: 'connection' | 'secureConnection',
  port: number,
): Promise<Listener> {
  let count = 0;
  const sockets = new Set<Socket>();
  server.on(connectionEvent, () => {
    count += 1;
  });
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    connections: () => count,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        // Idle clients would hold it open.
        for (const socket of sockets) socket.destroy();
      }),
  };
}

type AnyRequest = IncomingMessage | Http2ServerRequest;
type AnyResponse = ServerResponse | Http2ServerResponse;

async function serve(
  handle: Handle,
  incoming: AnyRequest,
  outgoing: AnyResponse,
  delayMs = 0,
): Promise<void> {
  let body = '';
  try {
    incoming.setEncoding('utf8');
    for await (const chunk of incoming) body += String(chunk);
  } catch {
    return; // The client gave up while it was sending.
  }
  const response = answer(handle, incoming, body);
  if (!response) return;
  const delay = (response.delayMs ?? 0) + delayMs;
  if (delay > 0) await new Promise((resolve) => setTimeout(resolve, delay).unref());
  send(incoming, outgoing, response);
}

function answer(handle: Handle, incoming: AnyRequest, body: string): HttpResponse | undefined {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(incoming.headers))
    if (value !== undefined && !name.startsWith(':'))
      headers[name] = Array.isArray(value) ? value.join(', ') : value;
  try {
    return handle({ method: incoming.method ?? 'GET', path: incoming.url ?? '/', headers, body });
  } catch (error) {
    if (error instanceof NeverAnswered) return undefined;
    if (error instanceof ConnectionLost) {
      breakConnection(incoming, error);
      return undefined;
    }
    console.error(error);
    return toTextResponse(500, 'the emulator failed; its output says why\n');
  }
}

function send(incoming: AnyRequest, outgoing: AnyResponse, response: HttpResponse): void {
  if (outgoing.destroyed || outgoing.writableEnded) return;
  const writable = outgoing as ServerResponse;
  const length = response.stream ? {} : { 'content-length': String(Buffer.byteLength(response.body)) };
  writable.writeHead(response.status, { ...response.headers, ...length });
  if (!response.stream) {
    writable.end(incoming.method === 'HEAD' ? '' : response.body);
    return;
  }
  writable.flushHeaders?.();
  const stop = response.stream(
    (chunk) => void writable.write(chunk),
    () => void writable.end(),
  );
  writable.on('close', stop);
}

/** As a broken network looks: an RST, or over HTTP/2 a reset of the stream alone; a refusal takes the connection. */
function breakConnection(incoming: AnyRequest, { refused }: ConnectionLost): void {
  if (!('stream' in incoming)) {
    incoming.socket.resetAndDestroy();
    return;
  }
  if (refused) incoming.stream.session?.destroy();
  else incoming.stream.close(constants.NGHTTP2_INTERNAL_ERROR);
}

function routeGoogle(emulator: Emulator, request: HttpRequest): HttpResponse {
  if (request.path.startsWith('/compute/')) return emulator.handleCompute(request);
  if (request.path.startsWith('/v1/')) return emulator.handleContainer(request);
  return emulator.handleMetadata(request);
}

async function writeEnvironment(
  emulator: Emulator,
  port: number,
  directory: string,
): Promise<Record<string, string>> {
  // gcloud is a person's, never the developer's own: it gets its own configuration and token.
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
