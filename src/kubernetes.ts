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
import type { RequestContext } from '@kubernetes/client-node';
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
  const through = (gate: Gate | undefined): Kubernetes => {
    const limits = { ...options.limits, gate };
    const configuration = createConfiguration({
      baseServer: new ServerConfiguration(options.server, {}),
      httpApi: wrapHttpLibrary({
        send: (context) => send(context, { ...options, limits }, serverClock),
      }),
    });
    return {
      core: new CoreV1Api(configuration),
      batch: new BatchV1Api(configuration),
      coordination: new CoordinationV1Api(configuration),
      custom: new CustomObjectsApi(configuration),
      serverNow: () => serverClock.now(),
      throughGate: through,
    };
  };
  return through(undefined);
}

interface Connection {
  token: string | undefined;
  transport: Transport;
  limits: CallLimits;
}

/** Sends what the generated client has put together, retries it, and translates its failure: once, here. */
async function send(
  context: RequestContext,
  { token, transport, limits }: Connection,
  serverClock: ServerClock,
): Promise<ResponseContext> {
  const method = context.getHttpMethod();
  const url = context.getUrl();
  const body = context.getBody();
  const headers = {
    ...context.getHeaders(),
    ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
  };
  const call = `${method} ${new URL(url).pathname}`;
  const { gate, ...ungated } = limits;
  const response = await callWithRetries(
    method === 'GET' ? ungated : { ...ungated, gate },
    async (attempt) => {
      const sentAt = limits.clock.now();
      const answer = await transport({
        method,
        url,
        headers,
        body: typeof body === 'string' ? body : undefined,
        ...attempt,
      }).catch((error: unknown) => {
        throw toNetworkError(error, call);
      });
      serverClock.observe(answer, sentAt);
      if (answer.status >= 400) throw toStatusError(answer, method, call);
      assertJson(answer, call);
      return answer;
    },
  );
  return new ResponseContext(response.status, response.headers, {
    text: async () => response.body,
    binary: async () => Buffer.from(response.body),
    stream: () => null,
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

/** A cut or foreign body must be an upstream's failure, not ours, and never count as an empty list. */
function assertJson(answer: HttpResponse, call: string): void {
  const text = answer.body.trim();
  let isObject = text.startsWith('{') && text.endsWith('}');
  if (isObject && text.length < 262_144) {
    try {
      JSON.parse(text);
    } catch {
      isObject = false;
    }
  }
  if (isObject) return;
  throw new UpstreamError({
    api: 'Kubernetes API',
    call,
    status: answer.status,
    reason: 'with a body that is no JSON object',
    isRetryable: true,
  });
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

/** Options that set headers on one call of the generated client. */
export function withHeaders(headers: Record<string, string>): ReturnType<typeof setHeaderOptions> {
  return Object.entries(headers).reduce<ReturnType<typeof setHeaderOptions>>(
    (options, [name, value]) => setHeaderOptions(name, value, options),
    {},
  );
}
