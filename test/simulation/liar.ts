import type { HttpResponse } from '../../src/gke/transport.ts';
import type { EmulatedCluster } from '../emulator/cluster.ts';
import { cloneJson } from '../emulator/objects.ts';
import type { JobSet, KubernetesObject, Node, Pod } from '../emulator/objects.ts';
import type { SentCall } from './function-instance.ts';
import type { Lie } from './lie-stories.ts';

const idAnnotation = 'container.googleapis.com/instance_id';
const attemptLabel = 'jobset.sigs.k8s.io/restart-attempt';
const topologyPrefix = 'cloud.google.com/gce-topology-';
const accelerators = ['google.com/tpu', 'nvidia.com/gpu'];

interface Version {
  at: number;
  object: Readonly<KubernetesObject>;
}

interface Told {
  cluster: EmulatedCluster;
  now: () => number;
  /** The lie of a kind that is told now. */
  find: (kind: Lie['kind']) => Lie | undefined;
  isOneChipDead: (at?: number) => boolean;
}

/** Tells what the APIs answer otherwise than it is: late, early, under another name, or in part. The world stays as it is. */
export class Liar {
  readonly #told: Told;
  /** By uid. */
  readonly #versions = new Map<string, Version[]>();
  readonly #goneAt = new Map<string, number>();
  readonly #firstNodes = new Set<string>();
  /** The machine that is repaired, and the run as it was. */
  #before: {
    instanceId: string | undefined;
    attempt: number;
    jobs: Set<string>;
    startTime: string | undefined;
  } = {
    instanceId: undefined,
    attempt: 0,
    jobs: new Set(),
    startTime: undefined,
  };

  constructor(told: Told) {
    this.#told = told;
    this.observe();
    for (const { metadata } of told.cluster.nodes()) this.#firstNodes.add(metadata.uid);
  }

  /** Remembers how it was directly before the action. */
  begin(instanceId: string | undefined, startTime: string | undefined): void {
    const { cluster } = this.#told;
    const attempt = cluster.jobsets('default')[0]?.status?.restarts ?? 0;
    const jobs = new Set(cluster.jobs('default').map(({ metadata }) => metadata.uid));
    this.#before = { instanceId, attempt, jobs, startTime };
  }

  /** Something may have changed in the world. */
  observe(): void {
    const { cluster, now } = this.#told;
    const seen = new Set<string>();
    for (const object of cluster.stored()) {
      if (object.kind === 'Lease') continue;
      const { uid } = object.metadata;
      seen.add(uid);
      const versions = this.#versions.get(uid) ?? [];
      if (versions.at(-1)?.object !== object) versions.push({ at: now(), object });
      this.#versions.set(uid, versions);
    }
    for (const uid of this.#versions.keys()) {
      if (!seen.has(uid) && !this.#goneAt.has(uid)) this.#goneAt.set(uid, now());
    }
  }

  distort({ api, method, path }: SentCall, answer: HttpResponse): HttpResponse {
    if (method !== 'GET' || answer.status !== 200) return answer;
    this.observe();
    const body = JSON.parse(answer.body) as {
      lastStartTimestamp?: string;
      items?: KubernetesObject[];
    };
    if (api === 'compute') this.#distortInstance(body);
    else if (api === 'container') return answer;
    else if (path.includes('/nodes')) this.#distortNodes(body);
    else if (path.includes('/pods')) this.#each(body, (pod) => this.#distortPod(pod as Pod));
    else if (path.includes('/jobsets')) this.#each(body, (jobSet) => this.#distortJobSet(jobSet as JobSet));
    else return answer;
    return { ...answer, body: JSON.stringify(body) };
  }

  #each(body: { items?: KubernetesObject[] }, distort: (object: KubernetesObject) => void): void {
    for (const object of body.items ?? [body as unknown as KubernetesObject]) distort(object);
  }

  #distortInstance(body: { lastStartTimestamp?: string }): void {
    const { startTime } = this.#before;
    if (this.#told.find('start_times_lag') && startTime !== undefined) body.lastStartTimestamp = startTime;
  }

  #distortNodes(body: { items?: KubernetesObject[] }): void {
    this.#each(body, (node) => this.#distortNode(node as Node));
    const lie = this.#told.find('old_nodes_linger');
    const [sample] = body.items ?? [];
    if (!lie || !('bySeconds' in lie) || !sample || !('status' in sample)) return;
    const since = this.#told.now() - lie.bySeconds * 1000;
    for (const [uid, goneAt] of this.#goneAt) {
      const last = this.#versions.get(uid)?.at(-1)?.object;
      const pool = sample.metadata.labels?.['cloud.google.com/gke-nodepool'];
      if (last?.kind !== 'Node' || goneAt < since) continue;
      if (last.metadata.labels?.['cloud.google.com/gke-nodepool'] !== pool) continue;
      body.items?.push(cloneJson(last));
    }
  }

  #distortNode(node: Node): void {
    const { find, now } = this.#told;
    const { uid } = node.metadata;
    const isNew = !this.#firstNodes.has(uid);
    const late = this.#past(uid, 'node_status_lags') as Node | undefined;
    if (late && 'status' in node) node.status = cloneJson(late.status);
    const lateIds = this.#past(uid, 'node_ids_lag') as Node | undefined;
    if (lateIds) copyIds(node, lateIds);
    const lateBoot = this.#past(uid, 'boot_ids_lag') as Node | undefined;
    if (lateBoot && 'status' in node) {
      node.status.nodeInfo = { ...node.status.nodeInfo, bootID: lateBoot.status.nodeInfo.bootID ?? '' };
    }
    if (find('boot_ids_are_missing') && 'status' in node) {
      node.status.nodeInfo = { ...node.status.nodeInfo, bootID: '' };
    }
    const missing = find('ids_are_missing');
    const age = now() - Date.parse(node.metadata.creationTimestamp);
    if (missing && 'bySeconds' in missing && isNew && age < missing.bySeconds * 1000) {
      delete node.metadata.annotations?.[idAnnotation];
    }
    const isOld = node.metadata.annotations?.[idAnnotation] === this.#before.instanceId;
    if (isOld && find('old_machine_looks_ready') && 'status' in node) makeReady(node);
    if (isNew && find('new_machines_have_new_names')) node.metadata.name = toNewName(node.metadata.name);
    const lag = find('node_status_lags');
    const lagMs = lag && 'bySeconds' in lag ? lag.bySeconds * 1000 : 0;
    const statusAt = Math.max(now() - lagMs, Date.parse(node.metadata.creationTimestamp));
    if (this.#told.isOneChipDead(statusAt) && 'status' in node) killOneChip(node);
  }

  #distortPod(pod: Pod): void {
    const { find } = this.#told;
    const { uid, labels = {} } = pod.metadata;
    const late = this.#past(uid, 'pods_lag') as Pod | undefined;
    if (late && 'status' in pod) {
      pod.status = cloneJson(late.status);
      if (late.metadata.deletionTimestamp === undefined) delete pod.metadata.deletionTimestamp;
    }
    const isOld =
      Number(labels[attemptLabel] ?? 0) <= this.#before.attempt &&
      this.#before.jobs.has(pod.metadata.ownerReferences?.[0]?.uid ?? '');
    if (!isOld || !find('old_pods_look_ready') || !('status' in pod)) return;
    delete pod.metadata.deletionTimestamp;
    const time = pod.metadata.creationTimestamp;
    pod.status = {
      ...pod.status,
      phase: 'Running',
      conditions: [{ type: 'Ready', status: 'True', lastTransitionTime: time }],
    };
  }

  #distortJobSet(jobSet: JobSet): void {
    const late = this.#past(jobSet.metadata.uid, 'counts_lag') as JobSet | undefined;
    if (late && jobSet.status) jobSet.status = cloneJson(late.status ?? jobSet.status);
    const restarts = jobSet.status?.restarts ?? 0;
    if (jobSet.status && this.#told.find('counts_lead') && restarts === this.#before.attempt) {
      jobSet.status.restarts = restarts + 1;
    }
  }

  /** The object as it was, so much earlier as the lie says; the first that was seen of it where it is younger. */
  #past(uid: string, kind: Lie['kind']): Readonly<KubernetesObject> | undefined {
    const lie = this.#told.find(kind);
    const versions = this.#versions.get(uid);
    if (!lie || !('bySeconds' in lie) || !versions) return undefined;
    const at = this.#told.now() - lie.bySeconds * 1000;
    return (versions.findLast((version) => version.at <= at) ?? versions[0])?.object;
  }
}

function toNewName(name: string): string {
  return `${name}-n`;
}

function copyIds({ metadata }: Node, { metadata: late }: Node): void {
  const { [idAnnotation]: id } = late.annotations ?? {};
  if (id !== undefined) metadata.annotations = { ...metadata.annotations, [idAnnotation]: id };
  const topology = Object.entries(late.labels ?? {}).filter(([key]) => key.startsWith(topologyPrefix));
  metadata.labels = { ...metadata.labels, ...Object.fromEntries(topology) };
}

/** Its kubelet is silent, and nobody has noticed; its devices are all there. */
function makeReady({ metadata, status }: Node): void {
  const time = metadata.creationTimestamp;
  status.conditions = [{ type: 'Ready', status: 'True', lastTransitionTime: time }];
  status.allocatable = { ...status.capacity };
}

/** The device plugin reports one device less than the machine has. */
export function killOneChip({ status }: Node): void {
  for (const name of accelerators) {
    const count = Number(status.allocatable[name] ?? 0);
    if (count > 0) status.allocatable = { ...status.allocatable, [name]: String(count - 1) };
  }
}
