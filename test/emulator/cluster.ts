import { describeCluster } from './cluster-description.ts';
import type { ClusterEndpoints, ClusterSpec } from './cluster-description.ts';
import type { ClusterDescription } from './container-api.ts';
import { ClusterState } from './cluster-state.ts';
import type { Fleet, RepairBehaviour } from './fleet.ts';
import { collectGarbage } from './garbage-collector.ts';
import { GkeWork } from './gke-work.ts';
import { parseJson, toTextResponse } from './http.ts';
import type { HttpRequest, HttpResponse } from './http.ts';
import { runJobs } from './job-controller.ts';
import { runJobSets } from './jobset-controller.ts';
import { finishPod, runKubelets } from './kubelet.ts';
import { KubernetesApi } from './kubernetes-api.ts';
import type { Denial } from './kubernetes-api.ts';
import { manageNodes, silenceNode, wakeNode } from './node-lifecycle.ts';
import { NodePools } from './node-pools.ts';
import type { Plural, StoredObjects } from './object-store.ts';
import { cloneJson } from './objects.ts';
import type { Event, Job, JobSet, Lease, Node, Pod } from './objects.ts';
import type { Random } from './random.ts';
import { schedulePods } from './scheduler.ts';
import { Switches } from './switches.ts';
import type { Tokens } from './tokens.ts';
import { toGpuPool, toJobSet, toTpuPool } from './world.ts';
import type { JobSetOptions, PoolOptions, TpuSliceOptions } from './world.ts';

/** What an emulator passes to its clusters. */
export interface ClusterContext {
  now: () => number;
  random: Random;
  fleet: Fleet;
  tokens: Tokens;
  /** Records a request and applies faults to it. */
  perform: (
    cluster: string,
    request: HttpRequest,
    answer: (request: HttpRequest) => HttpResponse,
  ) => HttpResponse;
  /** Its number, for addresses. */
  number: number;
}

/** One GKE cluster: its Kubernetes API, its controllers, and ways to build and break its world. */
export class EmulatedCluster {
  readonly name: string;
  readonly project: string;
  readonly location: string;
  readonly shortName: string;
  /** A test may change it at any time. The Container API returns the present values. */
  readonly spec: ClusterSpec;
  readonly endpoints: ClusterEndpoints;
  /** What is broken until it is turned off. */
  readonly switches: Switches;
  /** What GKE does by itself: its operations. */
  readonly work: GkeWork;
  readonly #context: ClusterContext;
  readonly #state: ClusterState;
  readonly #api: KubernetesApi;
  readonly #pools: NodePools;
  #settledAt = -1;
  #wakeAt = 0;

  constructor(spec: ClusterSpec, context: ClusterContext) {
    const match = /^projects\/([^/]+)\/locations\/([^/]+)\/clusters\/([^/]+)$/.exec(spec.name);
    if (!match) throw new Error(`not a cluster's full name: ${spec.name}`);
    const [, project = '', location = '', shortName = ''] = match;
    this.project = project;
    this.location = location;
    this.shortName = shortName;
    this.name = spec.name;
    this.spec = spec;
    this.endpoints = {
      ip: `10.0.${context.number}.2`,
      dns: `gke-${context.random.pick('0123456789abcdef', 24)}-1.${location}.gke.goog`,
      ca: '',
    };
    this.#context = context;
    this.#state = new ClusterState(context.now, context.random);
    this.work = new GkeWork(this, this.#state);
    this.#pools = new NodePools(this, this.#state, context.fleet, this.work);
    this.switches = new Switches(this.#state, this.#pools, { fleet: context.fleet, work: this.work });
    this.#api = new KubernetesApi(this.#state, context.tokens.authenticateForKubernetes);
    for (const namespace of ['default', 'kube-node-lease', 'kube-system']) this.addNamespace(namespace);
  }

  /** Answers a request to the Kubernetes API. @throws ConnectionLost, NeverAnswered where a fault says so */
  handle(request: HttpRequest): HttpResponse {
    return this.#context.perform(this.name, request, (each) => this.#api.handle(each));
  }

  /** The same through the DNS endpoint, whose front end can refuse before Kubernetes sees the request. */
  handleDns(request: HttpRequest): HttpResponse {
    return this.#context.perform(this.name, request, (each) => this.#refuseDns() ?? this.#api.handle(each));
  }

  /** Asks the Kubernetes API as a person, neither recorded nor subject to faults. */
  ask(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
    user = 'admin@example.com',
  ): { status: number; body: unknown; headers: Record<string, string> } {
    const response = this.#api.handle({
      method,
      path,
      headers: {
        authorization: `Bearer ${this.#context.tokens.tokenFor(user)}`,
        'user-agent': 'kubectl/v1.36.3',
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...headers,
      },
      body: body === undefined ? '' : JSON.stringify(body),
    });
    return {
      status: response.status,
      body: parseJson(response.body) ?? response.body,
      headers: response.headers,
    };
  }

  // --- the world

  addNamespace(name: string): void {
    const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name } };
    this.#must(this.ask('POST', '/api/v1/namespaces', namespace));
  }

  /** Adds a TPU node pool, a multi-host slice unless its topology fits one machine. @returns its nodes' names */
  addTpuSlice(pool: string, options: TpuSliceOptions = {}): string[] {
    return this.#pools.add(pool, toTpuPool(options), true);
  }

  /** Adds a pool of independent nodes: CPU, or GPU. @returns its nodes' names */
  addPool(pool: string, options: PoolOptions & { gpu?: boolean } = {}): string[] {
    return this.#pools.add(pool, options.gpu ? toGpuPool(options) : options, false);
  }

  /** One more node joins a pool. @returns its name */
  joinNode(pool: string): string {
    return this.#pools.join(pool);
  }

  /** Submits a JobSet, as a person does. @returns the object created */
  addJobSet(options: JobSetOptions): JobSet {
    const path = `/apis/jobset.x-k8s.io/v1alpha2/namespaces/${options.namespace ?? 'default'}/jobsets`;
    return this.#must(this.ask('POST', path, toJobSet(options))) as JobSet;
  }

  /**
   * A machine dies: its kubelet falls silent, and the control plane has just noticed. Its pods never end by
   * themselves; after 300 s they are marked for deletion.
   */
  killNode(name: string): void {
    silenceNode(this.#state, name);
  }

  /** The machine answers again. */
  reviveNode(name: string): void {
    wakeNode(this.#state, name);
  }

  /** Sends what `kubectl cordon` and `uncordon` send, as any field manager. */
  cordonAs(manager: string, node: string, value: boolean): void {
    const headers = {
      'user-agent': `${manager}/v1.36.3`,
      'content-type': 'application/strategic-merge-patch+json',
    };
    const patch = { spec: { unschedulable: value || null } };
    this.#must(this.ask('PATCH', `/api/v1/nodes/${node}`, patch, headers));
  }

  /**
   * GKE puts another machine behind the same name: a new numeric id, rewritten on the same Node object, or with
   * `reregistered` on a new one. @returns the new id
   */
  replaceInstance(node: string, nodeObject: RepairBehaviour['nodeObject'] = 'survives'): string {
    const instance = this.#context.fleet.list(this.project).find((each) => each.name === node);
    if (!instance) throw new Error(`no instance ${node}`);
    return this.#context.fleet.replace(instance, nodeObject).id;
  }

  /** A node leaves for good, and its machine with it, as on a resize. */
  removeNode(name: string): void {
    const node = this.#state.store.get('nodes', undefined, name);
    if (node) this.#state.store.remove('nodes', node);
  }

  /** Ends a pod's containers by themselves: a crash, or success. */
  finishPod(
    namespace: string,
    name: string,
    phase: 'Succeeded' | 'Failed',
    exitCode = phase === 'Failed' ? 1 : 0,
  ): void {
    const pod = this.#state.store.get('pods', namespace, name);
    if (!pod) throw new Error(`no pod ${namespace}/${name}`);
    finishPod(this.#state, pod, phase, exitCode);
  }

  /** Forbids these requests from now on (403, as RBAC does). @returns a function that allows them again */
  deny(denial: Denial): () => void {
    const { denials } = this.#api;
    denials.push(denial);
    return () => void denials.splice(denials.indexOf(denial), 1);
  }

  /** Makes each open list answer 410 for its next page. */
  expireContinueTokens(): void {
    this.#api.expireContinueTokens();
  }

  // --- the present objects, as copies

  nodes(pool?: string): Node[] {
    return cloneJson(
      pool === undefined ? this.#state.store.list('nodes') : this.#state.store.lookup('nodes', 'pool', pool),
    );
  }

  pods(namespace?: string): Pod[] {
    return cloneJson(this.#state.store.list('pods', namespace));
  }

  jobs(namespace?: string): Job[] {
    return cloneJson(this.#state.store.list('jobs', namespace));
  }

  jobsets(namespace?: string): JobSet[] {
    return cloneJson(this.#state.store.list('jobsets', namespace));
  }

  leases(namespace?: string): Lease[] {
    return cloneJson(this.#state.store.list('leases', namespace));
  }

  events(namespace?: string): Event[] {
    return cloneJson(this.#state.store.list('events', namespace));
  }

  get<P extends Plural>(
    plural: P,
    namespace: string | undefined,
    name: string,
  ): StoredObjects[P] | undefined {
    return cloneJson(this.#state.store.get(plural, namespace, name));
  }

  /** Stores an object directly, without the API: no validation, no ownership. Creates it if it does not exist. */
  put<P extends Plural>(plural: P, object: StoredObjects[P]): void {
    this.#state.create(plural, cloneJson(object));
  }

  /** Changes a stored object directly, without the API. */
  change<P extends Plural>(
    plural: P,
    namespace: string | undefined,
    name: string,
    change: (draft: StoredObjects[P]) => void,
  ): void {
    const object = this.#state.store.get(plural, namespace, name);
    if (!object) throw new Error(`no ${plural} ${namespace ?? ''}/${name}`);
    this.#state.update(plural, object, change);
  }

  /** Removes an object directly, without the API and whatever its finalizers. */
  remove(plural: Plural, namespace: string | undefined, name: string): void {
    const object = this.#state.store.get(plural, namespace, name);
    if (object) this.#state.store.remove(plural, object);
  }

  // --- for the emulator

  /** One step of each controller. @returns whether anything changed */
  reconcile(): boolean {
    const state = this.#state;
    const { revision } = state.store;
    // A switch that was turned off may have asked for a step, too.
    this.#wakeAt = Math.min(this.#wakeAt, state.takeWakeTime());
    if (revision === this.#settledAt && state.now() < this.#wakeAt) return false;
    this.#pools.repairByItself();
    manageNodes(state);
    collectGarbage(state);
    runJobSets(state);
    runJobs(state);
    schedulePods(state);
    runKubelets(state);
    this.#wakeAt = state.takeWakeTime();
    this.#settledAt = state.store.revision === revision ? revision : -1;
    return state.store.revision !== revision;
  }

  /** As the Container API describes it. */
  describe(): ClusterDescription {
    return describeCluster(this, this.#state.store.list('nodes').length);
  }

  describePools(): ClusterDescription[] {
    return this.#pools.describe();
  }

  /** Its errors are not a Status, so that code that parses them as JSON fails here. */
  #refuseDns(): HttpResponse | undefined {
    const { allowsExternalDns, deniesConnect } = this.spec;
    if (allowsExternalDns && !deniesConnect) return undefined;
    const why = allowsExternalDns
      ? "Permission 'container.clusters.connect' denied"
      : 'external access to the DNS endpoint is not allowed';
    return toTextResponse(403, `Forbidden: ${why} on resource "${this.name}"\n`);
  }

  #must({ status, body }: { status: number; body: unknown }): unknown {
    if (status >= 400) throw new Error(`the emulated API answered ${status}: ${JSON.stringify(body)}`);
    return body;
  }
}
