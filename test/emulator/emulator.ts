import { EmulatedCluster } from './cluster.ts';
import type { ClusterSpec } from './cluster-description.ts';
import { answerCompute } from './compute-api.ts';
import { answerContainer } from './container-api.ts';
import { Faults, toFaultResponse } from './faults.ts';
import type { Api, Fault, RecordedRequest } from './faults.ts';
import { Fleet } from './fleet.ts';
import { ConnectionLost, NeverAnswered, parseJson, splitPath } from './http.ts';
import type { HttpRequest, HttpResponse } from './http.ts';
import { answerMetadata } from './metadata-server.ts';
import type { ServiceAccount } from './metadata-server.ts';
import { Random } from './random.ts';
import { Tokens } from './tokens.ts';

export interface EmulatorOptions {
  /** Milliseconds since 1970, the clock of the whole emulator. `Date.now` unless given. */
  now?: () => number;
  /** The seed of names, uids and probabilities. */
  seed?: number;
  /** Whom the metadata server's tokens are for. */
  serviceAccount?: ServiceAccount;
}

/**
 * A GKE of our own: the Container, Compute and metadata APIs and any number of clusters, as plain synchronous state.
 * It has no socket and no timer; a server or an in-memory transport hands requests in, and `reconcile` makes one step
 * of everything that happens by itself.
 */
export class Emulator {
  readonly clusters = new Map<string, EmulatedCluster>();
  /** Every request, in order of arrival. */
  readonly requests: RecordedRequest[] = [];
  readonly faults: Faults;
  /** The VMs and their deletions. */
  readonly fleet: Fleet;
  readonly tokens: Tokens;
  readonly now: () => number;
  readonly #random: Random;
  #sequence = 0;

  constructor(options: EmulatorOptions = {}) {
    this.now = options.now ?? Date.now;
    const seed = options.seed ?? 1;
    this.#random = new Random(seed);
    // A sequence of its own, so that a test with one fault more has the same names.
    this.faults = new Faults(new Random(seed ^ 0x5eed));
    this.fleet = new Fleet(this.now, this.#random);
    this.tokens = new Tokens(options.serviceAccount ?? defaultAccount, this.now);
  }

  addCluster(spec: ClusterSpec): EmulatedCluster {
    const cluster = new EmulatedCluster(spec, {
      now: this.now,
      random: this.#random,
      fleet: this.fleet,
      tokens: this.tokens,
      perform: (name, request, answer) => this.#perform('kubernetes', name, request, answer),
      number: this.clusters.size,
    });
    this.clusters.set(spec.name, cluster);
    return cluster;
  }

  handleContainer(request: HttpRequest): HttpResponse {
    const catalogue = {
      list: (project: string, location: string) =>
        this.#findClusters(project, location).map((cluster) => cluster.describe()),
      listNodePools: (project: string, location: string, name: string) =>
        this.#findClusters(project, location)
          .find((cluster) => cluster.shortName === name)
          ?.describePools(),
      listOperations: (project: string, location: string) =>
        this.#findClusters(project, location).flatMap((cluster) => cluster.work.describe()),
    };
    return this.#perform('container', undefined, request, (each) =>
      answerContainer(catalogue, this.now(), this.tokens.authenticateForGoogle, each),
    );
  }

  handleCompute(request: HttpRequest): HttpResponse {
    return this.#perform('compute', undefined, request, (each) =>
      answerCompute(this.fleet, this.now(), this.tokens.authenticateForGoogle, each),
    );
  }

  handleMetadata(request: HttpRequest): HttpResponse {
    return this.#perform('metadata', undefined, request, (each) =>
      answerMetadata(this.tokens, this.now(), each),
    );
  }

  /** The requests that may have changed something, including kubectl's dry runs. */
  writes(): RecordedRequest[] {
    return this.requests.filter(({ method }) => method !== 'GET' && method !== 'HEAD');
  }

  /** One step of all controllers and instance groups. @returns whether anything changed */
  reconcile(): boolean {
    let hasChanged = this.fleet.reconcile();
    for (const cluster of this.clusters.values()) hasChanged = cluster.reconcile() || hasChanged;
    return hasChanged;
  }

  /** Reconciles until nothing changes any more at this point of the clock. */
  settle(): void {
    for (let step = 0; step < maxSteps; step++) if (!this.reconcile()) return;
    throw new Error(`the controllers did not come to rest within ${maxSteps} steps`);
  }

  #findClusters(project: string, location: string): EmulatedCluster[] {
    return [...this.clusters.values()].filter(
      (cluster) => cluster.project === project && (location === '-' || cluster.location === location),
    );
  }

  #perform(
    api: Api,
    cluster: string | undefined,
    request: HttpRequest,
    answer: (request: HttpRequest) => HttpResponse,
  ): HttpResponse {
    const recorded = toRecord(api, cluster, request, this.now(), this.#sequence++);
    this.requests.push(recorded);
    const fault = this.faults.strike(recorded, request.path);
    if (fault) recorded.fault = fault;
    const carryOut = () => {
      const response = answer(request);
      recorded.status = response.status;
      return response;
    };
    const response = fault ? this.#answerWith(fault, recorded, carryOut) : carryOut();
    return fault?.delayMs === undefined ? response : { ...response, delayMs: fault.delayMs };
  }

  #answerWith({ effect }: Fault, recorded: RecordedRequest, carryOut: () => HttpResponse): HttpResponse {
    switch (effect) {
      case 'refuse':
        throw new ConnectionLost(false, true);
      case 'reset_before':
        throw new ConnectionLost(false);
      case 'reset_after':
        carryOut();
        throw new ConnectionLost(true);
      case 'hang':
        throw new NeverAnswered(false);
      case 'hang_after':
        carryOut();
        throw new NeverAnswered(true);
      case 'malformed': {
        const response = carryOut();
        return { ...response, status: 200, body: '<html>{"kind": "No' };
      }
      case 'none':
        return carryOut();
      default:
        if (effect.isApplied) carryOut();
        recorded.status = effect.status;
        return toFaultResponse(effect, new Date(this.now()).toUTCString());
    }
  }
}

const maxSteps = 1000;

const defaultAccount: ServiceAccount = {
  email: 'failover@demo-project.iam.gserviceaccount.com',
  uniqueId: '104711811223344556677',
  projectId: 'demo-project',
};

function toRecord(
  api: Api,
  cluster: string | undefined,
  request: HttpRequest,
  at: number,
  sequence: number,
): RecordedRequest {
  const { pathname, query } = splitPath(request.path);
  const text = request.body;
  return {
    api,
    ...(cluster !== undefined && { cluster }),
    method: request.method,
    path: pathname,
    query: Object.fromEntries(query),
    headers: request.headers,
    // Parsed on first access, because most are never read.
    get body() {
      return text === '' ? undefined : (parseJson(text) ?? text);
    },
    at,
    sequence,
  };
}

export { ConnectionLost, NeverAnswered };
export type { HttpRequest, HttpResponse, RecordedRequest };
