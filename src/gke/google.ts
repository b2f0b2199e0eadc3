import { GoogleAuth } from 'google-auth-library';
import type { ClientOptions } from 'google-gax';
import type { Config } from '../config.ts';
import { UpstreamError } from '../errors.ts';
import type { UpstreamApi } from '../errors.ts';
import type { CallOptions } from './retry.ts';

/**
 * Without `userinfo.email` the API server would know the service account by its numeric id, and RBAC bindings by e-mail
 * would silently fail.
 */
const scopes = [
  'https://www.googleapis.com/auth/cloud-platform',
  'https://www.googleapis.com/auth/userinfo.email',
];

const credentials = new WeakMap<Config, GoogleAuth>();

/**
 * Gives the credentials that all clients of one configuration share, and with them one token, kept until shortly before
 * it expires. A project is named, for without one the library goes looking for it, and runs gcloud on the way.
 */
export function getGoogleAuth(config: Config): GoogleAuth {
  const known = credentials.get(config);
  if (known) return known;
  const auth = new GoogleAuth({ scopes, projectId: config.clusters[0]?.projectId ?? '' });
  credentials.set(config, auth);
  return auth;
}

/** Options that make a Google Cloud client speak REST, without gRPC, to Google's own endpoint or to another. */
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

/** What a Google Cloud client throws, as far as it is read here. */
interface GoogleErrorLike {
  message?: string;
  code?: number | string;
  httpStatusCode?: number;
  status?: number;
  cause?: { code?: string };
}

/** gRPC's DEADLINE_EXCEEDED, which the clients report for a time-out of theirs. */
const deadlineExceeded = 4;

/**
 * Translates the failure of a Google Cloud client.
 *
 * @param advice is shown for a 401 or 403
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
  // Compute reports an exhausted rate as a 403, which is no denial.
  const isRateLimit = reason === 'rateLimitExceeded' || reason === 'userRateLimitExceeded';
  return new UpstreamError({
    api,
    call,
    status,
    reason,
    isTimeout: status === undefined && code === deadlineExceeded,
    ...(isRateLimit ? { isRetryable: true } : {}),
    advice: !isRateLimit && (status === 401 || status === 403) ? advice : undefined,
    // The clients' own messages are not passed on, for they may have the whole body in them, and causes are logged.
    cause: status === undefined ? error : { status, reason, message: message?.slice(0, 500) },
  });
}

/** What an answer says of its error, by Google's own form. */
interface ErrorBody {
  error?: { errors?: { reason?: string }[]; status?: string; message?: unknown };
}

/**
 * Reads `error.errors[0].reason`, which the clients drop, and the words of an error from the body that they keep for
 * telemetry. What is no client of Google Cloud, such as the one for tokens, keeps none.
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
 * Gives up waiting for a Google Cloud client once the attempt is over: a token may hang for minutes, and no client heeds
 * that the instance is shutting down.
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
