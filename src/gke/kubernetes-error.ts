import { UpstreamError } from '../errors.ts';
import { parseRetryAfter } from './retry.ts';
import { TimeoutError } from './transport.ts';
import type { HttpResponse } from './transport.ts';

/**
 * Converts the error of a call that got no answer.
 *
 * @param certifiedBy who said which certificate the server has
 */
export function toNetworkError(
  error: unknown,
  call: string,
  certifiedBy = 'the Container API',
): UpstreamError {
  const isCertificate = /CERT|TLS|SSL|SELF_SIGNED|UNABLE_TO_/.test(readErrorCode(error));
  return new UpstreamError({
    api: 'Kubernetes API',
    call,
    isTimeout: error instanceof TimeoutError,
    isRetryable: !isCertificate,
    advice: isCertificate ? `its certificate is not the one that ${certifiedBy} announced` : undefined,
    cause: error,
  });
}

function readErrorCode(error: unknown): string {
  const code = (error as { code?: unknown } | undefined)?.code;
  return typeof code === 'string' ? code : '';
}

/** Converts an answer with a status of 400 or above, and says which right is missing if it is a denial. */
export function toStatusError(answer: HttpResponse, method: string, call: string): UpstreamError {
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

/** The fields of a Kubernetes Status that are read here. */
interface Status {
  reason?: string;
  message?: string;
  details?: { kind?: string };
}

/** Reads no field if the body is not a Kubernetes Status: the front end of a DNS endpoint may answer without one. */
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

/**
 * Parses the body of an answer. A truncated or foreign body is the upstream's failure, not ours. It must never count as an
 * empty list or a free lock.
 *
 * @param describe returns the call's method and path
 * @throws {UpstreamError} if the body is not a Kubernetes object
 */
export function parseObject({ status, body }: HttpResponse, describe: () => string): object {
  try {
    const object = JSON.parse(body) as { kind?: unknown } | null;
    if (typeof object?.kind === 'string' && !hasHole(object, body)) return object;
  } catch {
    // The throw below reports it, like JSON that is not a Kubernetes object.
  }
  throw answerMalformed(status, describe());
}

/** True if a list in the object has an element that is null, which no API server sends and nobody could read. */
function hasHole(object: object, body: string): boolean {
  return /[[,]\s*null\s*[,\]]/.test(body) && hasNullElement(object);
}

function hasNullElement(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  if (Array.isArray(value) && value.includes(null)) return true;
  return Object.values(value).some((each) => hasNullElement(each));
}

/**
 * Wraps an API of the generated client: its code throws a TypeError where an answer has a field of another type than the API's,
 * and that is the upstream's failure, not ours.
 */
export function guardAnswers<Api extends object>(api: Api): Api {
  return new Proxy(api, {
    get(target, name) {
      const method: unknown = Reflect.get(target, name);
      if (typeof method !== 'function') return method;
      return async (...parameters: unknown[]): Promise<unknown> => {
        try {
          return await (Reflect.apply(method, target, parameters) as Promise<unknown>);
        } catch (error) {
          throw error instanceof TypeError ? answerUnreadable(String(name), error) : error;
        }
      };
    },
  });
}

/** Converts what was thrown because an answer has a field of another type than the API's. */
export function answerUnreadable(call: string, cause: unknown): UpstreamError {
  return answerOther(call, 'with an object that cannot be read', cause);
}

/** The error for an answer that says it was successful and is not the answer to this call. */
export function answerOther(call: string, reason: string, cause?: unknown): UpstreamError {
  return new UpstreamError({ api: 'Kubernetes API', call, status: 200, reason, isRetryable: true, cause });
}

/**
 * The same check without parsing: of a long body, because the caller parses it, and twice would take too long, and of one that nobody
 * reads.
 */
export function assertObject({ status, body }: HttpResponse, describe: () => string): void {
  const text = body.trim();
  const isObject = text.startsWith('{') && text.endsWith('}') && text.includes('"kind"');
  if (!isObject) throw answerMalformed(status, describe());
}

function answerMalformed(status: number, call: string): UpstreamError {
  return new UpstreamError({
    api: 'Kubernetes API',
    call,
    status,
    reason: 'with a body that is not a Kubernetes object',
    isRetryable: true,
  });
}
