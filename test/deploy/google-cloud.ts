import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A request that reached the simulated Google Cloud. */
export interface CloudRequest {
  method: string;
  path: string;
  query: URLSearchParams;
  headers: IncomingMessage['headers'];
  body: Buffer;
  json: Json;
  /** When it came, from `performance.now()`. */
  at: number;
}

type Json = Record<string, unknown>;

export interface GoogleCloud {
  /** What makes gcloud use it, with a configuration and credentials of its own. */
  environment: Record<string, string>;
  /** All requests, in order of arrival. */
  requests: CloudRequest[];
  /** Everything that exists, by the name that the APIs use: functions, service accounts, topics, policies. */
  resources: Map<string, Json>;
  /** The sources that were uploaded last, as a zip. */
  upload: () => Buffer;
  close: () => Promise<void>;
}

/**
 * Serves as much of Google Cloud as a deployment with gcloud needs, on loopback: resources are kept as they are sent,
 * operations are done at once. Whatever is not known here is answered 404 and so fails the run.
 */
export async function serveGoogleCloud(options: { functionUri?: string } = {}): Promise<GoogleCloud> {
  const requests: CloudRequest[] = [];
  const resources = new Map<string, Json>();
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}`;
  const functionUri = options.functionUri ?? 'https://autometric-failover-abc-uc.a.run.app';
  const world: World = { resources, url, functionUri, refusals: 0 };

  server.on('request', (incoming, response) => {
    void take(incoming, response);
  });
  async function take(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const request = await readRequest(incoming);
    requests.push(request);
    const { status, body } = respond(request, world);
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  }

  const directory = await mkdtemp(join(tmpdir(), 'gcloud-'));
  await writeFile(join(directory, 'person.json'), JSON.stringify(createCredentials()));
  return {
    environment: toGcloudEnvironment(url, port, directory),
    requests,
    resources,
    upload: () => requests.findLast(({ path }) => path === '/upload')?.body ?? Buffer.alloc(0),
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await rm(directory, { recursive: true, force: true });
    },
  };
}

function toGcloudEnvironment(url: string, port: number, directory: string): Record<string, string> {
  const apis = [
    'cloudfunctions',
    'cloudresourcemanager',
    'cloudscheduler',
    'iam',
    'monitoring',
    'pubsub',
    'run',
    'serviceusage',
  ];
  return {
    ...Object.fromEntries(
      apis.map((api) => [`CLOUDSDK_API_ENDPOINT_OVERRIDES_${api.toUpperCase()}`, `${url}/`]),
    ),
    CLOUDSDK_CONFIG: directory,
    CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE: join(directory, 'person.json'),
    CLOUDSDK_AUTH_TOKEN_HOST: `${url}/token`,
    CLOUDSDK_CORE_DISABLE_PROMPTS: '1',
    CLOUDSDK_CORE_DISABLE_USAGE_REPORTING: '1',
    CLOUDSDK_CORE_CHECK_GCE_METADATA: 'false',
    CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK: '1',
    // gcloud puts the region before Cloud Run's host, and that name does not resolve. A proxy gets the request
    // nevertheless.
    CLOUDSDK_PROXY_TYPE: 'http',
    CLOUDSDK_PROXY_ADDRESS: '127.0.0.1',
    CLOUDSDK_PROXY_PORT: String(port),
  };
}

/** A service account's key, the one kind of credentials that gcloud also gets identity tokens for from another address. */
function createCredentials(): Json {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return {
    type: 'service_account',
    project_id: 'my-project',
    private_key_id: 'simulated',
    private_key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
    client_email: 'oncall@my-project.iam.gserviceaccount.com',
    client_id: '1',
    token_uri: 'https://oauth2.googleapis.com/token',
  };
}

async function readRequest(incoming: IncomingMessage): Promise<CloudRequest> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk as Buffer);
  const body = Buffer.concat(chunks);
  const { pathname, searchParams } = new URL(incoming.url ?? '/', 'http://127.0.0.1');
  return {
    method: incoming.method ?? '',
    path: decodeURIComponent(pathname),
    query: searchParams,
    headers: incoming.headers,
    at: performance.now(),
    body,
    json:
      incoming.headers['content-type']?.includes('json') && body.length > 0
        ? (JSON.parse(body.toString()) as Json)
        : {},
  };
}

interface World {
  resources: Map<string, Json>;
  url: string;
  functionUri: string;
  /** How often a grant to an agent was refused. */
  refusals: number;
}
interface Answer {
  status: number;
  body: unknown;
}
/** What answers a method and a path (without the version in front); `parts` are the groups of `at`. */
interface Route {
  on: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  at: RegExp;
  answer: (request: CloudRequest, world: World, parts: string[]) => Answer;
}

function respond(request: CloudRequest, world: World): Answer {
  const path = request.path.replace(/^\/(v\d(beta\d)?\/)?/, '');
  for (const { on, at, answer } of routes) {
    const match = at.exec(path);
    if (on === request.method && match) return answer(request, world, match.slice(1));
  }
  return notFound(`${request.method} ${request.path}`);
}

const routes: Route[] = [
  {
    on: 'POST',
    at: /^token$/,
    answer: () =>
      ok({
        access_token: 'ya29.simulated',
        id_token: identityToken(),
        expires_in: 3600,
        token_type: 'Bearer',
      }),
  },
  { on: 'POST', at: /^projects\/[^/]+\/services:batchEnable$/, answer: () => ok(doneOperation) },
  { on: 'GET', at: /^projects\/[^/]+\/services\/[^/]+$/, answer: () => ok({ state: 'ENABLED' }) },
  {
    on: 'GET',
    at: /^projects\/([^/]+)$/,
    answer: (_, _world, [projectId]) => ok({ projectId, projectNumber }),
  },
  { on: 'POST', at: /^(projects\/([^/]+)\/serviceAccounts)$/, answer: createServiceAccount },
  { on: 'GET', at: /^projects\/-\/serviceAccounts\/[^@]+@([^.]+).*$/, answer: readServiceAccount },
  { on: 'POST', at: /^(projects\/[^/]+\/roles)$/, answer: createRole },
  {
    on: 'GET',
    at: /\/runtimes$/,
    answer: () => ok({ runtimes: [{ name: 'nodejs24', environment: 'GEN_2', stage: 'GA' }] }),
  },
  { on: 'POST', at: /\/functions:generateUploadUrl$/, answer: createUploadUrl },
  { on: 'PUT', at: /^upload$/, answer: () => ok({}) },
  { on: 'POST', at: /^(projects\/[^/]+\/locations\/[^/]+)\/functions$/, answer: createFunction },
  { on: 'PATCH', at: /^(projects\/[^/]+\/locations\/[^/]+\/functions\/.+)$/, answer: changeFunction },
  {
    on: 'POST',
    at: /^projects\/[^/]+\/locations\/[^/]+\/jobs$/,
    answer: ({ json }, { resources }) => create(resources, String(json['name']), json),
  },
  { on: 'POST', at: /^(projects\/[^/]+\/locations\/[^/]+\/jobs\/[^/:]+):run$/, answer: runJob },
  {
    on: 'POST',
    at: /^(projects\/[^/]+\/alertPolicies)$/,
    answer: ({ json }, { resources }, [collection]) => create(resources, `${collection}/1`, json),
  },
  { on: 'GET', at: /\/operations\/[^/]+$/, answer: () => ok(doneOperation) },
  { on: 'GET', at: /^(projects\/[^/]+\/notificationChannels)$/, answer: listChannels },
  { on: 'POST', at: /^(projects\/[^/]+\/notificationChannels)$/, answer: createChannel },
  // Any resource's policy, and then plain resources: Pub/Sub's, and reading and changing all of the above.
  { on: 'GET', at: /^(.+):getIamPolicy$/, answer: readPolicy },
  { on: 'POST', at: /^(.+):getIamPolicy$/, answer: readPolicy },
  { on: 'POST', at: /^(.+):setIamPolicy$/, answer: writePolicy },
  { on: 'GET', at: /^(.+)$/, answer: (_, { resources }, [name = '']) => found(resources, name) },
  {
    on: 'PUT',
    at: /^(.+)$/,
    answer: ({ json }, { resources }, [name = '']) => create(resources, name, json),
  },
  { on: 'PATCH', at: /^(.+)$/, answer: change },
  { on: 'DELETE', at: /^projects\/-\/serviceAccounts\/[^@]+@([^.]+).*$/, answer: removeServiceAccount },
  { on: 'DELETE', at: /^(projects\/[^/]+\/locations\/[^/]+\/functions\/.+)$/, answer: removeFunction },
  { on: 'DELETE', at: /^(.+)$/, answer: remove },
];

/** An unsigned token that names the caller, as Cloud Run passes it on after its check. */
function identityToken(): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const exp = Math.floor(Date.now() / 1000) + 3600;
  return `${part({ alg: 'RS256', typ: 'JWT' })}.${part({ email: 'oncall@my-project.iam.gserviceaccount.com', exp })}.c2ln`;
}

const projectNumber = '123456789012';
const doneOperation = {
  name: 'projects/my-project/locations/us-central1/operations/done',
  done: true,
  metadata: { '@type': 'type.googleapis.com/google.cloud.functions.v2.OperationMetadata', stages: [] },
  response: {},
};

function createServiceAccount(
  { json }: CloudRequest,
  { resources }: World,
  [collection, project]: string[],
): Answer {
  const email = `${String(json['accountId'])}@${project}.iam.gserviceaccount.com`;
  const serviceAccount = { ...(json['serviceAccount'] as Json), email, uniqueId: '100000000000000000001' };
  return create(resources, `${collection}/${email}`, serviceAccount);
}

function readServiceAccount({ path }: CloudRequest, { resources }: World, [project]: string[]): Answer {
  return found(resources, path.replace('/v1/projects/-', `projects/${project}`));
}

function createRole({ json }: CloudRequest, { resources }: World, [collection]: string[]): Answer {
  return create(resources, `${collection}/${String(json['roleId'])}`, json['role'] as Json);
}

function createUploadUrl(_: CloudRequest, { url }: World): Answer {
  return ok({ uploadUrl: `${url}/upload`, storageSource: { bucket: 'uploads', object: 'source.zip' } });
}

function createFunction(
  { json, query }: CloudRequest,
  { resources, functionUri }: World,
  [parent]: string[],
): Answer {
  const id = query.get('functionId');
  const service = `${parent}/services/${id}`;
  const serviceConfig = { ...(json['serviceConfig'] as Json), uri: functionUri, service };
  create(resources, `${parent}/functions/${id}`, {
    ...json,
    environment: 'GEN_2',
    state: 'ACTIVE',
    serviceConfig,
  });
  return ok(doneOperation);
}

/** A deployment sends its whole configuration; what only Google sets stays. */
function changeFunction({ json }: CloudRequest, { resources }: World, [name = '']: string[]): Answer {
  const before = resources.get(name);
  if (!before) return notFound(name);
  const { uri, service } = before['serviceConfig'] as Json;
  const serviceConfig = { ...(json['serviceConfig'] as Json), uri, service };
  resources.set(name, { ...before, ...json, name, serviceConfig });
  return ok(doneOperation);
}

function listChannels(_: CloudRequest, { resources }: World, [collection]: string[]): Answer {
  const channels = [...resources].filter(([name]) => name.startsWith(`${collection}/`));
  return ok({ notificationChannels: channels.map(([, channel]) => channel) });
}

function createChannel({ json }: CloudRequest, { resources }: World, [collection]: string[]): Answer {
  return create(resources, `${collection}/1`, json);
}

function readPolicy(_: CloudRequest, { resources }: World, [name]: string[]): Answer {
  return ok(resources.get(`${name} policy`) ?? { etag: 'BwXhqDPHIFE=' });
}

/** Monitoring's agent comes into being a while after the project's first Pub/Sub channel. */
const refusedToMonitoringAgent = 5;

function writePolicy({ json }: CloudRequest, world: World, [name]: string[]): Answer {
  const { resources } = world;
  const [agent] = /service-\d+@gcp-sa-monitoring[\w.-]+/.exec(JSON.stringify(json)) ?? [];
  if (agent !== undefined && world.refusals++ < refusedToMonitoringAgent) {
    const message = `Service account ${agent} does not exist.`;
    return { status: 400, body: { error: { code: 400, status: 'INVALID_ARGUMENT', message } } };
  }
  resources.set(`${name} policy`, json['policy'] as Json);
  return ok(json['policy']);
}

function change({ json }: CloudRequest, { resources }: World, [name = '']: string[]): Answer {
  resources.set(name, { ...resources.get(name), ...((json['subscription'] ?? json) as Json) });
  return found(resources, name);
}

function removeServiceAccount({ path }: CloudRequest, { resources }: World, [project]: string[]): Answer {
  return resources.delete(path.replace('/v1/projects/-', `projects/${project}`)) ? ok({}) : notFound(path);
}

function removeFunction(_: CloudRequest, { resources }: World, [name = '']: string[]): Answer {
  return resources.delete(name) ? ok(doneOperation) : notFound(name);
}

/** The job has called, and the call has succeeded: a status without a code. */
function runJob(_: CloudRequest, { resources }: World, [name = '']: string[]): Answer {
  const job = resources.get(name);
  if (!job) return notFound(name);
  resources.set(name, { ...job, state: 'ENABLED', lastAttemptTime: new Date().toISOString(), status: {} });
  return found(resources, name);
}

function remove(_: CloudRequest, { resources }: World, [name = '']: string[]): Answer {
  return resources.delete(name) ? ok({}) : notFound(name);
}

function create(resources: Map<string, Json>, name: string, value: Json): Answer {
  resources.set(name, { ...value, name });
  return found(resources, name);
}

function found(resources: Map<string, Json>, name: string): Answer {
  const resource = resources.get(name);
  return resource ? ok(resource) : notFound(name);
}

function notFound(what: string): Answer {
  return {
    status: 404,
    body: { error: { code: 404, status: 'NOT_FOUND', message: `${what} was not found` } },
  };
}

function ok(body: unknown): Answer {
  return { status: 200, body };
}
