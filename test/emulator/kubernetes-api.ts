import {
  ApiStatus,
  forbidden,
  forbiddenPath,
  methodNotAllowed,
  notServed,
  unauthorized,
} from './api-status.ts';
import type { ClusterState } from './cluster-state.ts';
import { answerDiscovery } from './discovery.ts';
import { splitPath, toJsonResponse, toTextResponse } from './http.ts';
import type { HttpRequest, HttpResponse } from './http.ts';
import { parseKubernetesRequest } from './kubernetes-request.ts';
import type { KubernetesRequest, Verb } from './kubernetes-request.ts';
import { Lister, readObject } from './kubernetes-read.ts';
import { removeCollection, removeObject } from './kubernetes-delete.ts';
import { createObject, patchObject, replaceObject } from './kubernetes-write.ts';
import { apiVersionOf, knownResources } from './resources.ts';
import { watchObjects } from './watch.ts';

/** What a user may not do. A field that is left out matches everything. */
export interface Denial {
  user?: string;
  verb?: Verb;
  /** With the subresource: `pods/eviction`. */
  resource?: string;
  namespace?: string;
  name?: string;
}

/** The API server of one cluster, without a socket. */
export class KubernetesApi {
  readonly denials: Denial[] = [];
  readonly #state: ClusterState;
  readonly #lister = new Lister();
  readonly #authenticate: (authorization: string | undefined) => string | undefined;

  /** `authenticate` gives the user that an Authorization header stands for. */
  constructor(state: ClusterState, authenticate: (authorization: string | undefined) => string | undefined) {
    this.#state = state;
    this.#authenticate = authenticate;
  }

  expireContinueTokens(): void {
    this.#lister.expireContinueTokens();
  }

  handle(request: HttpRequest): HttpResponse {
    const response = this.#answer(request);
    const headers = {
      'cache-control': 'no-cache, private',
      date: new Date(this.#state.now()).toUTCString(),
      ...response.headers,
    };
    return { ...response, headers };
  }

  #answer(request: HttpRequest): HttpResponse {
    try {
      const { authorization } = request.headers;
      const user = authorization === undefined ? anonymous : this.#authenticate(authorization);
      if (user === undefined) throw unauthorized();
      const { pathname } = splitPath(request.path);
      const discovered = request.method === 'GET' && answerDiscovery(pathname);
      if (discovered && user === anonymous && !publicPaths.has(pathname)) {
        throw forbiddenPath(user, pathname);
      }
      if (discovered) return discovered;
      const parsed = parseKubernetesRequest(request, user);
      if (!parsed && isServed(pathname)) throw notServed();
      if (!parsed) return toTextResponse(404, '404 page not found\n');
      if (parsed === 'method_not_allowed') throw methodNotAllowed();
      this.#assertAllowed(parsed);
      return this.#verbs[parsed.verb](this.#state, parsed);
    } catch (error) {
      if (!(error instanceof ApiStatus)) throw error;
      const retryAfter = error.details?.retryAfterSeconds;
      return toJsonResponse(
        error.code,
        error,
        retryAfter === undefined ? {} : { 'retry-after': String(retryAfter) },
      );
    }
  }

  readonly #verbs: Record<Verb, (state: ClusterState, request: KubernetesRequest) => HttpResponse> = {
    get: readObject,
    list: (state, request) => this.#lister.list(state, request),
    watch: watchObjects,
    create: createObject,
    update: replaceObject,
    patch: patchObject,
    delete: removeObject,
    deletecollection: removeCollection,
  };

  #assertAllowed({ verb, resource, subresource, namespace, name, user }: KubernetesRequest): void {
    const attributes = {
      user,
      verb,
      group: resource.group,
      resource: subresource ? `${resource.plural}/${subresource}` : resource.plural,
      namespace,
      name,
    };
    const isDenied = this.denials.some((denial) =>
      (['user', 'verb', 'resource', 'namespace', 'name'] as const).every(
        (key) => denial[key] === undefined || denial[key] === attributes[key],
      ),
    );
    if (isDenied || user === anonymous) throw forbidden(attributes);
  }
}

/** The user of a request without a token. A wrong token has no user. */
const anonymous = 'system:anonymous';
/** What the role system:public-info-viewer lets everybody read. */
const publicPaths = new Set(['/version', '/healthz', '/livez', '/readyz']);

/** Whether a path lies in a group and version that is served, though it names no resource of it. */
function isServed(pathname: string): boolean {
  const [api, ...segments] = pathname.split('/').filter(Boolean);
  const groupVersion =
    api === 'api' ? segments[0] : api === 'apis' ? segments.slice(0, 2).join('/') : undefined;
  return knownResources.some((resource) => apiVersionOf(resource) === groupVersion);
}
