/** The Kubernetes API as plain requests and answers: what a test wants to see, status codes and headers included. */
import { createInterface } from 'node:readline';
import { Agent, request } from 'undici';

export interface KubernetesClient {
  url: string;
  /** Sends one request and answers it whatever its status. */
  request<T = Status>(method: Method, path: string, options?: RequestOptions): Promise<Answer<T>>;
  /** Sends one request and answers its body. @throws when the status is not 2xx */
  get<T = KubernetesObject>(path: string, options?: RequestOptions): Promise<T>;
  post<T = KubernetesObject>(path: string, body: unknown): Promise<T>;
  patch<T = KubernetesObject>(path: string, body: unknown, contentType?: PatchType): Promise<T>;
  delete(path: string, body?: unknown): Promise<void>;
  /** Hands over each line of an answer, such as that of a watch, as it comes; until it ends, or the signal aborts. */
  stream(path: string, onLine: (line: string) => void, signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

export interface ClientOptions {
  url: string;
  ca: string;
  /** A bearer token or a client certificate; with neither, the client is anonymous. */
  token?: string;
  certificate?: string;
  key?: string;
}

export interface RequestOptions {
  body?: unknown;
  contentType?: string;
  accept?: string;
}

export interface Answer<T> {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  /** Parsed where it is JSON. */
  body: T;
  text: string;
}

export const patchTypes = {
  apply: 'application/apply-patch+yaml',
  merge: 'application/merge-patch+json',
  strategic: 'application/strategic-merge-patch+json',
  json: 'application/json-patch+json',
} as const;
export type PatchType = (typeof patchTypes)[keyof typeof patchTypes];

export interface KubernetesObject {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  spec?: unknown;
  status?: unknown;
}

export interface ObjectMeta {
  name: string;
  namespace?: string;
  uid: string;
  resourceVersion: string;
  generation?: number;
  creationTimestamp?: string;
  deletionTimestamp?: string;
  deletionGracePeriodSeconds?: number;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  finalizers?: string[];
  ownerReferences?: { kind: string; name: string; uid: string; controller?: boolean }[];
  managedFields?: {
    manager: string;
    operation: string;
    fieldsV1: Record<string, unknown>;
    subresource?: string;
  }[];
}

export interface KubernetesList<T> {
  kind: string;
  apiVersion: string;
  metadata: { resourceVersion?: string; continue?: string; remainingItemCount?: number };
  items: T[] | null;
}

/** What the API server answers in place of an object. */
export interface Status {
  kind: string;
  apiVersion: string;
  status: string;
  message: string;
  reason: string;
  code: number;
  details?: {
    name?: string;
    kind?: string;
    uid?: string;
    group?: string;
    causes?: { reason: string; message: string; field?: string }[];
  };
}

export interface Condition {
  type: string;
  status: 'True' | 'False' | 'Unknown';
  reason?: string;
  message?: string;
  lastTransitionTime?: string;
}

export interface Node extends KubernetesObject {
  spec: {
    unschedulable?: boolean;
    providerID?: string;
    taints?: { key: string; value?: string; effect: string }[];
  };
  status: { conditions?: Condition[]; allocatable?: Record<string, string> };
}

export interface Pod extends KubernetesObject {
  spec: { nodeName?: string; nodeSelector?: Record<string, string> };
  status: {
    phase: 'Pending' | 'Running' | 'Succeeded' | 'Failed';
    conditions?: Condition[];
    containerStatuses?: { state: { terminated?: { finishedAt: string } } }[];
  };
}

export interface Job extends KubernetesObject {
  spec: { backoffLimit: number; activeDeadlineSeconds?: number; suspend?: boolean };
  status: { active?: number; failed?: number; terminating?: number; conditions?: Condition[] };
}

export interface JobSet extends KubernetesObject {
  spec: { suspend?: boolean; failurePolicy?: object };
  status?: {
    restarts?: number;
    restartsCountTowardsMax?: number;
    terminalState?: string;
    conditions?: Condition[];
  };
}

/** Creates a client with a connection pool of its own. */
export function createKubernetesClient({
  url,
  ca,
  token,
  certificate,
  key,
}: ClientOptions): KubernetesClient {
  const agent = new Agent({
    connections: 16,
    connect: { ca, ...(certificate !== undefined && { cert: certificate, key: key ?? '' }) },
  });
  const send = async <T>(method: Method, path: string, options: RequestOptions = {}): Promise<Answer<T>> => {
    const { body, contentType = 'application/json', accept = 'application/json' } = options;
    const response = await request(new URL(path, url), {
      method,
      dispatcher: agent,
      headers: {
        accept,
        ...(body !== undefined && { 'content-type': contentType }),
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
      },
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const text = await response.body.text();
    const isJson = String(response.headers['content-type']).startsWith('application/json');
    return {
      status: response.statusCode,
      headers: response.headers,
      body: (isJson ? JSON.parse(text) : undefined) as T,
      text,
    };
  };
  const stream = async (path: string, onLine: (line: string) => void, signal: AbortSignal): Promise<void> => {
    const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
    const { body, statusCode } = await request(new URL(path, url), {
      dispatcher: agent,
      headers,
      signal,
      bodyTimeout: 0,
    });
    if (statusCode >= 300) throw new Error(`GET ${path} was answered ${statusCode}: ${await body.text()}`);
    for await (const line of createInterface(body)) onLine(line);
  };
  const succeed = async <T>(method: Method, path: string, options?: RequestOptions): Promise<T> => {
    const { status, body, text } = await send<T>(method, path, options);
    if (status >= 300) throw new Error(`${method} ${path} was answered ${status}: ${text}`);
    return body;
  };
  return {
    url,
    request: send,
    get: (path, options) => succeed('GET', path, options),
    post: (path, body) => succeed('POST', path, { body }),
    patch: (path, body, contentType = patchTypes.merge) => succeed('PATCH', path, { body, contentType }),
    async delete(path, body) {
      await succeed('DELETE', path, body === undefined ? {} : { body });
    },
    stream,
    close: () => agent.close(),
  };
}
