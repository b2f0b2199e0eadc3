/** What people, machines and GKE itself do meanwhile. Each is done past the proxy, and again where the API server is down. */
import { setTimeout as delay } from 'node:timers/promises';
import type { GkeWork } from '../emulator/gke-work.ts';
import type { History } from './chaos-history.ts';
import { choose, nodesPerPool } from './chaos-lanes.ts';
import type { Lane } from './chaos-lanes.ts';
import type { ControlPlane } from './capabilities.ts';
import { eventually } from './eventually.ts';
import type { FailoverRig } from './failover-rig.ts';
import type { KubernetesList, Node, Pod } from './kubernetes-client.ts';
import type { Machines } from './world.ts';
import { poolLabel } from './world.ts';

export interface DeadNode {
  name: string;
  /** Does nothing where its machine was replaced meanwhile. */
  revive(): Promise<void>;
}

export class ChaosPeople {
  readonly #admin: ControlPlane['admin'];
  readonly #machines: Machines;
  readonly #history: History;
  readonly #random: () => number;
  readonly #work: GkeWork;

  constructor(options: {
    controlPlane: ControlPlane;
    rig: FailoverRig;
    machines: Machines;
    history: History;
    random: () => number;
  }) {
    this.#admin = options.controlPlane.admin;
    this.#machines = options.machines;
    this.#history = options.history;
    this.#random = options.random;
    const [cluster] = options.rig.emulator.clusters.values();
    if (!cluster) throw new Error('the rig has no cluster');
    this.#work = cluster.work;
  }

  /** The names of a pool's nodes, in order. */
  async nodesOf(pool: string): Promise<string[]> {
    return (await this.#list(pool)).map(({ metadata }) => metadata.name).sort();
  }

  /** The machine of one of the nodes that a lane's run is on dies. */
  async killNode({ jobSet, pools }: Lane, random: () => number): Promise<DeadNode | undefined> {
    const selector = encodeURIComponent(`jobset.sigs.k8s.io/jobset-name=${jobSet}`);
    const pods = await this.#insist('the pods', () =>
      this.#admin.get<KubernetesList<Pod>>(`/api/v1/namespaces/default/pods?labelSelector=${selector}`),
    );
    const used = (pods.items ?? []).flatMap(({ spec }) => spec.nodeName ?? []);
    const nodes = (await Promise.all(pools.map((pool) => this.#list(pool)))).flat();
    const node = choose(
      nodes.filter(({ metadata }) => used.includes(metadata.name)),
      random,
    );
    if (!node) return undefined;
    const { name, uid } = node.metadata;
    this.#history.note({ kind: 'trouble', what: `the machine of ${name} dies` });
    await this.#insist(`${name} dies`, () => this.#machines.kill(name, 0).then(() => true));
    const revive = async (): Promise<void> => {
      const { status, body } = await this.#insist(name, () =>
        this.#admin.request<Node>('GET', `/api/v1/nodes/${name}`),
      );
      if (status !== 200 || body.metadata.uid !== uid) return;
      this.#history.note({ kind: 'trouble', what: `the machine of ${name} is back` });
      await this.#insist(`${name} is back`, () => this.#machines.revive(name).then(() => true)).catch(
        () => undefined,
      );
    };
    return { name, revive };
  }

  /** Makes disturbances, one at a time, until it is told to stop. */
  async disturb(lanes: Lane[], stopped: AbortSignal): Promise<void> {
    while (!stopped.aborted) {
      await delay(10_000 + this.#random() * 30_000, undefined, { signal: stopped }).catch(() => undefined);
      if (stopped.aborted) return;
      const lane = choose(lanes, this.#random);
      if (!lane) return;
      const pool = choose(lane.pools, this.#random) ?? '';
      const draw = this.#random();
      if (draw < 0.4) await this.#pause(4_000 + this.#random() * 6_000);
      else if (draw < 0.7) await this.#operate(pool, 5_000 + this.#random() * 20_000);
      else await this.#cordon(pool, 10_000 + this.#random() * 40_000);
    }
  }

  async #pause(ms: number): Promise<void> {
    const path = '/apis/coordination.k8s.io/v1/namespaces/autometric-failover-system/leases/cluster';
    const set = (paused: string | null) =>
      this.#insist('the pause', () =>
        this.#admin.patch(path, { metadata: { annotations: { 'autometric-failover/paused': paused } } }),
      );
    await set('chaos');
    this.#history.note({ kind: 'pause', isOn: true });
    await delay(ms);
    this.#history.note({ kind: 'pause', isOn: false });
    await set(null);
  }

  /** GKE works on a pool, as its operations say. */
  async #operate(pool: string, ms: number): Promise<void> {
    const operation = this.#work.begin('UPGRADE_NODES', { pool });
    this.#history.note({ kind: 'gke', operation });
    await delay(ms);
    this.#work.end(operation);
  }

  /** A person cordons a node that nobody has cordoned, and takes it back after a while. */
  async #cordon(pool: string, ms: number): Promise<void> {
    const node = choose(
      (await this.#list(pool)).filter(({ spec }) => spec.unschedulable !== true),
      this.#random,
    );
    if (!node) return;
    const { name, uid } = node.metadata;
    const set = (unschedulable: boolean | null) =>
      this.#insist('a cordon', () =>
        this.#admin.request<Node>('PATCH', `/api/v1/nodes/${name}?fieldManager=kubectl-cordon`, {
          body: { metadata: { uid }, spec: { unschedulable } },
          contentType: 'application/merge-patch+json',
        }),
      );
    if ((await set(true)).status !== 200) return;
    this.#history.note({ kind: 'person', what: 'person_cordons', pool, node: name });
    await delay(ms);
    this.#history.note({ kind: 'person', what: 'person_uncordons', pool, node: name });
    await set(null);
  }

  async #list(pool: string): Promise<Node[]> {
    const selector = encodeURIComponent(`${poolLabel}=${pool}`);
    const list = await this.#insist(pool, () =>
      this.#admin.get<KubernetesList<Node>>(`/api/v1/nodes?labelSelector=${selector}`),
    );
    return (list.items ?? []).slice(0, nodesPerPool);
  }

  #insist<T>(what: string, attempt: () => Promise<T>): Promise<Exclude<T, undefined | false>> {
    return eventually(what, attempt, { intervalMs: 500, timeoutMs: 120_000 });
  }
}
