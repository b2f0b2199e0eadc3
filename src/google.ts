import { GoogleAuth } from 'google-auth-library';
import type { ClientOptions } from 'google-gax';
import type { Config } from './config.ts';
import { UpstreamError } from './errors.ts';
import type { UpstreamApi } from './errors.ts';

/**
 * Without `userinfo.email` the API server would know the service account by its numeric id, and RBAC bindings by e-mail
 * would silently fail.
 */
const scopes = [
  'https://www.googleapis.com/auth/cloud-platform',
  'https://www.googleapis.com/auth/userinfo.email',
];

/**
 * Creates the function's credentials, which keep their token until shortly before it expires. A project is named, for
 * without one the library goes looking for it, and runs gcloud on the way.
 */
export function createGoogleAuth(config: Config): GoogleAuth {
  return new GoogleAuth({ scopes, projectId: config.clusters[0]?.projectId ?? '' });
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
  const reason = readReason(error);
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
    cause: error,
  });
}

/** Reads `error.errors[0].reason`, which the clients drop, from the body that they keep for telemetry. */
function readReason(error: unknown): string | undefined {
  const payload = (error as Record<symbol, unknown> | undefined)?.[
    Symbol.for('google-gax.rawHttpResponsePayload')
  ];
  try {
    const body = (typeof payload === 'string' ? JSON.parse(payload) : payload) as {
      error?: { errors?: { reason?: string }[]; status?: string };
    };
    const reason = body.error?.errors?.[0]?.reason ?? body.error?.status;
    return reason !== undefined && /^[A-Za-z_]{1,64}$/.test(reason) ? reason : undefined;
  } catch {
    return undefined;
  }
}
