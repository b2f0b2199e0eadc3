import {
  BatchV1Api,
  CoordinationV1Api,
  createConfiguration,
  CustomObjectsApi,
  ResponseContext,
  ServerConfiguration,
  wrapHttpLibrary,
} from '@kubernetes/client-node';
import type { RequestContext, CoreV1Api } from '@kubernetes/client-node';
import { DirectCoreV1Api } from './direct-core.ts';
import type { Answer, Call, Perform } from './direct-core.ts';
import {
  assertObject,
  guardAnswers,
  parseObject,
  toNetworkError,
  toStatusError,
} from './kubernetes-error.ts';
import { callWithRetries } from './retry.ts';
import type { CallLimits, Gate, WhileWaiting } from './retry.ts';
import type { BearerToken, HttpResponse, Transport } from './transport.ts';

/** The Kubernetes API of one cluster for one invocation. Its calls retry, and reject with {@link UpstreamError}. */
export interface Kubernetes {
  core: CoreV1Api;
  batch: BatchV1Api;
  coordination: CoordinationV1Api;
  custom: CustomObjectsApi;
  /** The API server's time in ms since the epoch, from its latest `Date` header. Before the first answer: the local time. */
  serverNow(): number;
  /** Returns a client that passes the gate before each try of a write. */
  throughGate(gate: Gate): Kubernetes;
  /** Returns a client whose calls must end within `ms` from now, for calls that must not hold up an action. */
  within(ms: number): Kubernetes;
  /** Returns a client that waits for its turn before each read, and each write of a Lease. What acts on many nodes does not wait. */
  paced(pace: () => Promise<void>): Kubernetes;
  /** Returns a client with a wrapper around the waits between two tries. */
  waiting(whileWaiting: WhileWaiting): Kubernetes;
}

/**
 * Creates the client of one API server.
 *
 * @param options.token the bearer token, or what returns the current one for each call; undefined if the transport presents a
 *   client certificate
 * @param options.certifiedBy who said which certificate the server has, for messages
 */
export function createKubernetes(options: {
  server: string;
  token: BearerToken | undefined;
  transport: Transport;
  limits: CallLimits;
  certifiedBy?: string;
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
      core: guardAnswers(new DirectCoreV1Api(configuration, options.server, perform)),
      batch: guardAnswers(new BatchV1Api(configuration)),
      coordination: guardAnswers(new CoordinationV1Api(configuration)),
      custom: guardAnswers(new CustomObjectsApi(configuration)),
      serverNow: () => serverClock.now(),
      throughGate: (gate) => through({ ...limits, gate }),
      within: (ms) => through({ ...limits, deadline: limits.deadline.within(ms) }),
      paced: (pace) => through({ ...limits, pace }),
      waiting: (whileWaiting) => through({ ...limits, whileWaiting }),
    };
  };
  return through(options.limits);
}

interface Connection {
  token: BearerToken | undefined;
  transport: Transport;
  limits: CallLimits;
  certifiedBy?: string;
}

/** Sends a request of the generated client, and returns the response in the generated client's form. */
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

/** Sends a call with retries. This is the only place that converts the errors of Kubernetes calls. */
function performCall(
  { method, url, headers, body, isAnswerUnread = false }: Call,
  { token, transport, limits: { gate, pace, ...ungated }, certifiedBy }: Connection,
  serverClock: ServerClock,
): Promise<Answer> {
  const authorize = () => {
    if (token === undefined) return headers;
    return { ...headers, Authorization: `Bearer ${typeof token === 'string' ? token : token()}` };
  };
  // Called only after a failure, because parsing the URL of thousands of successful patches costs time.
  const describe = () => `${method} ${new URL(url).pathname}`;
  return callWithRetries(method === 'GET' ? ungated : { ...ungated, gate }, async ({ timeoutMs }) => {
    if (pace && (method === 'GET' || url.includes('/leases'))) await pace();
    const sentAt = ungated.clock.now();
    let answer: HttpResponse;
    try {
      answer = await transport({ method, url, headers: authorize(), body, timeoutMs });
    } catch (error) {
      throw toNetworkError(error, describe(), certifiedBy);
    }
    serverClock.observe(answer, sentAt);
    if (answer.status >= 400) throw toStatusError(answer, method, describe());
    if (answer.body.length < longBody && !isAnswerUnread) {
      return { ...answer, object: parseObject(answer, describe) };
    }
    assertObject(answer, describe);
    return { ...answer, object: undefined };
  });
}

/** In characters. The generated client parses a longer body, such as a page of nodes; to parse it twice takes too long. */
const longBody = 262_144;

type ServerClock = ReturnType<typeof createServerClock>;

/** If an answer took longer, the instance may have been frozen while it waited, so its `Date` is long past. */
const promptMs = 5_000;

/** Estimates the API server's time from the `Date` headers of its answers. */
function createServerClock({ clock }: CallLimits) {
  let offsetMs: number | undefined;
  return {
    now: () => clock.now() + (offsetMs ?? 0),
    observe(response: HttpResponse, sentAt: number) {
      const date = Date.parse(response.headers['date'] ?? '');
      if (!Number.isFinite(date)) return;
      const now = clock.now();
      const tookMs = now - sentAt;
      if (tookMs <= promptMs) offsetMs = date - now;
      // Until an answer is prompt, the instance's own clock counts, as far as the late answer bears it out.
      else offsetMs ??= Math.min(Math.max(now, date), date + tookMs) - now;
    },
  };
}
