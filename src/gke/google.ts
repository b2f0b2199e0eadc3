import { GoogleAuth } from 'google-auth-library';
import type { ClientOptions } from 'google-gax';
import type { Clock } from '../clock.ts';
import type { Config } from '../config.ts';
import { UpstreamError } from '../errors.ts';
import type { UpstreamApi } from '../errors.ts';
import type { CallOptions } from './retry.ts';

/**
 * Without `userinfo.email` the API server knows the service account only by its numeric id, and RBAC bindings by e-mail
 * address silently fail.
 */
const scopes = [
  'https://www.googleapis.com/auth/cloud-platform',
  'https://www.googleapis.com/auth/userinfo.email',
];

/**
 * Keeps calls to the metadata server off a proxy of the environment (`HTTPS_PROXY`). The library sends them there like any
 * other call, but only this machine can reach that server. Call it before the first token is asked for.
 */
export function keepMetadataOffProxy(environment: Record<string, string | undefined>): void {
  const own = environment['GCE_METADATA_IP'] || environment['GCE_METADATA_HOST'];
  const hosts = ['169.254.169.254', 'metadata.google.internal', 'metadata.google.internal.'];
  if (own) hosts.push(new URL(/^https?:\/\//.test(own) ? own : `http://${own}`).hostname);
  const given = environment['NO_PROXY'] ?? environment['no_proxy'];
  environment['NO_PROXY'] = [...(given ? [given] : []), ...hosts].join(',');
}

const credentials = new WeakMap<Config, GoogleAuth>();

/**
 * Returns the credentials that all clients of one configuration share. They cache one token until shortly before it
 * expires. Passes a project id: without one the library searches for it and may spawn gcloud.
 */
export function getGoogleAuth(config: Config): GoogleAuth {
  const known = credentials.get(config);
  if (known) return known;
  const auth = new GoogleAuth({ scopes, projectId: config.clusters[0]?.projectId ?? '' });
  credentials.set(config, auth);
  return auth;
}

/** The credentials cache the token, so that asking them costs nothing until the token is about to expire. */
const askTokenEveryMs = 30_000;

/**
 * Returns the current token at once, and asks the credentials for the next one in the background. They get it when the
 * current one has less than 5 minutes left, so an action may run for longer than a token that is old when it begins.
 */
export function keepFresh(
  first: string,
  auth: Pick<GoogleAuth, 'getAccessToken'>,
  clock: Clock,
): () => string {
  let token = first;
  let askedAt = clock.now();
  return () => {
    if (clock.now() - askedAt >= askTokenEveryMs) {
      askedAt = clock.now();
      void auth.getAccessToken().then(
        (next) => (token = next || token),
        // The current token is valid for some minutes more, and a later call asks again.
        () => undefined,
      );
    }
    return token;
  };
}

/**
 * Creates the options that make a Google Cloud client use REST instead of gRPC.
 *
 * @param endpoint undefined means Google's own endpoint
 */
export function toGoogleOptions(endpoint: URL | undefined): ClientOptions {
  if (!endpoint) return { fallback: true };
  const isPlain = endpoint.protocol === 'http:';
  return {
    fallback: true,
    apiEndpoint: endpoint.hostname,
    port: Number(endpoint.port || (isPlain ? 80 : 443)),
    protocol: isPlain ? 'http' : 'https',
  };
}

/** The fields of a Google Cloud client's error that are read here. */
interface GoogleErrorLike {
  message?: string;
  code?: number | string;
  httpStatusCode?: number;
  status?: number;
  cause?: { code?: string };
}

/** Rejects with a converted error of a Google Cloud client, which names the permission that may be lacking. */
export function refuseLacking(api: UpstreamApi, call: string, permission: string): (error: unknown) => never {
  return (error) => {
    throw toUpstreamError(error, api, call, `grant ${permission} (gcp-role.yaml)`);
  };
}

/** gRPC's DEADLINE_EXCEEDED, which the clients report for their own time-outs. */
const deadlineExceeded = 4;

/**
 * Converts an error of a Google Cloud client.
 *
 * @param advice what to do about a 401 or 403
 */
export function toUpstreamError(
  error: unknown,
  api: UpstreamApi,
  call: string,
  advice: string,
): UpstreamError {
  const { code, httpStatusCode, status: plainStatus } = (error ?? {}) as GoogleErrorLike;
  const status = httpStatusCode ?? plainStatus;
  const { reason, message } = readBody(error);
  // Compute reports an exceeded rate limit as a 403, which is not a denial.
  const isRateLimit = reason === 'rateLimitExceeded' || reason === 'userRateLimitExceeded';
  return new UpstreamError({
    api,
    call,
    status,
    reason,
    isTimeout: status === undefined && code === deadlineExceeded,
    ...(isRateLimit ? { isRetryable: true } : {}),
    advice: !isRateLimit && (status === 401 || status === 403) ? advice : undefined,
    // The clients' own messages may contain the whole body, and causes are logged. So the cause has only these fields.
    cause: status === undefined ? error : { status, reason, message: message?.slice(0, 500) },
  });
}

/** An error in the body of an answer, in Google's format. */
interface ErrorBody {
  error?: { errors?: { reason?: string }[]; status?: string; message?: unknown };
}

/**
 * Reads an error's reason (`error.errors[0].reason`, which the clients drop) and message from the body that the clients
 * keep for telemetry. The token client, which is not a Google Cloud client, keeps no body.
 */
function readBody(error: unknown): { reason?: string | undefined; message?: string | undefined } {
  const payload = (error as Record<symbol, unknown> | undefined)?.[
    Symbol.for('google-gax.rawHttpResponsePayload')
  ];
  const { error: said } = (parseJson(payload) ?? {}) as ErrorBody;
  const reason = said?.errors?.[0]?.reason ?? said?.status;
  return {
    reason: typeof reason === 'string' && /^[A-Za-z_]{1,64}$/.test(reason) ? reason : undefined,
    message: typeof said?.message === 'string' ? said.message : undefined,
  };
}

function parseJson(payload: unknown): unknown {
  try {
    return typeof payload === 'string' ? JSON.parse(payload) : payload;
  } catch {
    return undefined;
  }
}

/**
 * Waits for a Google Cloud client until the try's time is over or the instance shuts down. A token request may hang for
 * minutes, and no client stops at a shutdown.
 *
 * @throws {UpstreamError} `upstream_timeout`
 */
export async function withinCall<T>(
  { timeoutMs, signal }: CallOptions,
  { api, call }: { api: UpstreamApi; call: string },
  work: Promise<T>,
): Promise<T> {
  const { promise: isOver, reject } = Promise.withResolvers<never>();
  const stop = () => reject(new UpstreamError({ api, call, isTimeout: true }));
  const timer = setTimeout(stop, timeoutMs).unref();
  signal.addEventListener('abort', stop);
  if (signal.aborted) stop();
  try {
    return await Promise.race([work, isOver]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', stop);
  }
}
