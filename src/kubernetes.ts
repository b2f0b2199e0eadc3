import {
  BatchV1Api,
  CoordinationV1Api,
  CoreV1Api,
  createConfiguration,
  CustomObjectsApi,
  ResponseContext,
  ServerConfiguration,
  setHeaderOptions,
  wrapHttpLibrary,
} from '@kubernetes/client-node';
import type {
  Configuration,
  CoreV1ApiPatchNodeRequest,
  RequestContext,
  V1Node,
} from '@kubernetes/client-node';
import { UpstreamError } from './errors.ts';
import { callWithRetries, parseRetryAfter } from './retry.ts';
import type { CallLimits, Gate } from './retry.ts';
import { TimeoutError } from './transport.ts';
import type { HttpResponse, Transport } from './transport.ts';

/** The Kubernetes API of one cluster for one invocation. Its calls retry, and throw {@link UpstreamError}. */
export interface Kubernetes {
  core: CoreV1Api;
  batch: BatchV1Api;
  coordination: CoordinationV1Api;
  custom: CustomObjectsApi;
  /** The API server's time in ms since the epoch, by its latest `Date` header; the local clock before the first answer. */
  serverNow(): number;
  /** The same, with every write held back by the gate. */
  throughGate(gate: Gate): Kubernetes;
  /** The same, given up after so many milliseconds from now: for what must not hold an action up. */
  within(ms: number): Kubernetes;
}

/**
 * Creates the client of one API server.
 *
 * @param token is sent as a bearer token; undefined where the transport presents a client certificate
 */
export function createKubernetes(options: {
  server: string;
  token: string | undefined;
  transport: Transport;
  limits: CallLimits;
}): Kubernetes {
  const serverClock = createServerClock(options.limits);
  const through = (limits: CallLimits): Kubernetes => {
    const connection = { ...options, limits };
    const perform = (call: Call) => performCall(call, connection, serverClock);
    const configuration = createConfiguration({
      baseServer: new ServerConfiguration(options.server, {}),
      httpApi: wrapHttpLibrary({ send: (context) => send(context, perform) }),
    });
    return {
      core: new DirectCoreV1Api(configuration, options.server, perform),
      batch: new BatchV1Api(configuration),
      coordination: new CoordinationV1Api(configuration),
      custom: new CustomObjectsApi(configuration),
      serverNow: () => serverClock.now(),
      throughGate: (gate) => through({ ...limits, gate }),
      within: (ms) => through({ ...limits, deadline: limits.deadline.within(ms) }),
    };
  };
  return through(options.limits);
}

/** A call as it is sent, but for the credentials. */
interface Call {
  method: string;
  url: string;
  headers: Record<string, string>;
  body: string | undefined;
}

type Perform = (call: Call) => Promise<HttpResponse>;

interface Connection {
  token: string | undefined;
  transport: Transport;
  limits: CallLimits;
}

/** Sends what the generated client has put together. */
async function send(context: RequestContext, perform: Perform): Promise<ResponseContext> {
  const body = context.getBody();
  const response = await perform({
    method: context.getHttpMethod(),
    url: context.getUrl(),
    headers: context.getHeaders(),
    body: typeof body === 'string' ? body : undefined,
  });
  return new ResponseContext(response.status, response.headers, {
    text: async () => response.body,
    binary: async () => Buffer.from(response.body),
    stream: () => null,
  });
}

/**
 * The generated API, but that patching a node goes past the generated code, which turns every answer into models: half of
 * what cordoning thousands of nodes takes.
 */
class DirectCoreV1Api extends CoreV1Api {
  readonly #nodes: string;
  readonly #perform: Perform;

  constructor(configuration: Configuration, server: string, perform: Perform) {
    super(configuration);
    this.#nodes = `${server}/api/v1/nodes`;
    this.#perform = perform;
  }

  /** Answers the node as the server sent it: its times are strings. */
  override async patchNode(
    { name, body, ...parameters }: CoreV1ApiPatchNodeRequest,
    options?: ReturnType<typeof withHeaders>,
  ): Promise<V1Node> {
    const headers = options && headersOf.get(options);
    if (!headers) return super.patchNode({ name, body, ...parameters }, options);
    const query = Object.entries(parameters).map(
      ([key, value]) => `${key}=${encodeURIComponent(String(value))}`,
    );
    const answer = await this.#perform({
      method: 'PATCH',
      url: `${this.#nodes}/${encodeURIComponent(name)}?${query.join('&')}`,
      headers,
      body: JSON.stringify(body),
    });
    return JSON.parse(answer.body) as V1Node;
  }
}

/** Sends a call, retries it, and translates its failure: once, here. */
function performCall(
  { method, url, headers, body }: Call,
  { token, transport, limits: { gate, ...ungated } }: Connection,
  serverClock: ServerClock,
): Promise<HttpResponse> {
  const call = `${method} ${new URL(url).pathname}`;
  const sent = {
    method,
    url,
    headers: token === undefined ? headers : { ...headers, Authorization: `Bearer ${token}` },
    body,
  };
  return callWithRetries(method === 'GET' ? ungated : { ...ungated, gate }, async (attempt) => {
    const sentAt = ungated.clock.now();
    let answer: HttpResponse;
    try {
      answer = await transport({ ...sent, ...attempt });
    } catch (error) {
      throw toNetworkError(error, call);
    }
    serverClock.observe(answer, sentAt);
    if (answer.status >= 400) throw toStatusError(answer, method, call);
    assertJson(answer, call);
    return answer;
  });
}

function toNetworkError(error: unknown, call: string): UpstreamError {
  const isCertificate = /CERT|TLS|SSL|SELF_SIGNED|UNABLE_TO_/.test(readErrorCode(error));
  return new UpstreamError({
    api: 'Kubernetes API',
    call,
    isTimeout: error instanceof TimeoutError,
    isRetryable: !isCertificate,
    advice: isCertificate ? 'its certificate is not the one that the Container API announced' : undefined,
    cause: error,
  });
}

function readErrorCode(error: unknown): string {
  const code = (error as { code?: unknown } | undefined)?.code;
  return typeof code === 'string' ? code : '';
}

function toStatusError(answer: HttpResponse, method: string, call: string): UpstreamError {
  const status = parseStatus(answer.body);
  return new UpstreamError({
    api: 'Kubernetes API',
    call,
    status: answer.status,
    reason: status.reason,
    kind: status.details?.kind,
    retryAfterSeconds: parseRetryAfter(answer.headers['retry-after']),
    advice: describeDenial(answer.status, method, call, status.details?.kind),
    cause: { status: answer.status, reason: status.reason, message: status.message?.slice(0, 500) },
  });
}

interface Status {
  reason?: string;
  message?: string;
  details?: { kind?: string };
}

/** The front end of a DNS endpoint need not answer with a Kubernetes Status. */
function parseStatus(body: string): Status {
  try {
    const parsed = JSON.parse(body) as Status | null;
    return parsed && typeof parsed === 'object' ? parsed : {};
  } catch {
    return {};
  }
}

function describeDenial(
  status: number,
  method: string,
  call: string,
  kind: string | undefined,
): string | undefined {
  if (status === 401) return "the cluster does not accept the function's token";
  if (status === 404 && kind === 'namespaces') {
    return 'its namespace is missing: deploy/rbac.sh … | kubectl apply -f -, then send the action again';
  }
  if (status !== 403) return undefined;
  const { resource, name, namespace } = parseResourcePath(call.slice(method.length + 1));
  const verb = {
    GET: name ? 'get' : 'list',
    POST: 'create',
    PUT: 'update',
    PATCH: 'patch',
    DELETE: 'delete',
  }[method];
  const where = namespace ? ` in namespace ${namespace}` : '';
  return (
    `the function's service account may not ${verb} ${resource}${where}: ` +
    'deploy/rbac.sh … | kubectl apply -f -, and grant container.clusters.connect (gcp-role.yaml)'
  );
}

function parseResourcePath(path: string): {
  resource: string;
  name?: string | undefined;
  namespace?: string | undefined;
} {
  const found =
    /^\/(?:api|apis\/[^/]+)\/[^/]+(?:\/namespaces\/(?<namespace>[^/]+))?\/(?<resource>[^/]+)(?:\/(?<name>[^/]+))?/.exec(
      path,
    );
  return {
    resource: found?.groups?.resource ?? path,
    name: found?.groups?.name,
    namespace: found?.groups?.namespace,
  };
}

/** A cut or foreign body must be an upstream's failure, not ours, and never count as an empty list or a free lock. */
function assertJson(answer: HttpResponse, call: string): void {
  const text = answer.body.trim();
  const isCut = !text.startsWith('{') || !text.endsWith('}');
  // Parsing a long list twice would take too long; who reads it looks at its kind.
  if (!isCut && (text.length >= 262_144 || hasKind(text))) return;
  throw new UpstreamError({
    api: 'Kubernetes API',
    call,
    status: answer.status,
    reason: 'with a body that is no Kubernetes object',
    isRetryable: true,
  });
}

function hasKind(text: string): boolean {
  try {
    return typeof (JSON.parse(text) as { kind?: unknown }).kind === 'string';
  } catch {
    return false;
  }
}

type ServerClock = ReturnType<typeof createServerClock>;

/** An answer that took longer may have waited for a frozen instance to thaw: its `Date` is long past. */
const promptMs = 5_000;

function createServerClock({ clock }: CallLimits) {
  let offsetMs: number | undefined;
  return {
    now: () => clock.now() + (offsetMs ?? 0),
    observe(response: HttpResponse, sentAt: number) {
      const date = Date.parse(response.headers.date ?? '');
      const isPrompt = clock.now() - sentAt <= promptMs;
      if (Number.isFinite(date) && (isPrompt || offsetMs === undefined)) offsetMs = date - clock.now();
    },
  };
}

/** Answers of this shape carry names and labels only, a tenth of a node. */
export const metadataOnly = 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json';
export const metadataListOnly =
  'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json';

const headersOf = new WeakMap<object, Record<string, string>>();

/** Options that set headers on one call of the generated client. */
export function withHeaders(headers: Record<string, string>): ReturnType<typeof setHeaderOptions> {
  const options = Object.entries(headers).reduce<ReturnType<typeof setHeaderOptions>>(
    (others, [name, value]) => setHeaderOptions(name, value, others),
    {},
  );
  headersOf.set(options, headers);
  return options;
}
