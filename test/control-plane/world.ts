/** Builds the part of the world that GKE makes: TPU slices, JobSets on them, machines that die and are replaced. */
import { createHash, randomInt } from 'node:crypto';
import { eventually } from './eventually.ts';
import { PATCH } from './kubernetes-client.ts';
import type {
  JobSet,
  KubernetesClient,
  KubernetesList,
  KubernetesObject,
  Node,
  Pod,
} from './kubernetes-client.ts';

export interface World {
  /** Adds a node pool that is one TPU slice, and answers its nodes' names once all of them are Ready. */
  addTpuSlice(pool: string, options?: TpuSliceOptions): Promise<string[]>;
  addJobSet(spec: JobSetSpec): Promise<JobSet>;
  /** The pods of a JobSet, and those that run and are not being deleted. */
  pods(jobSet: string, namespace?: string): Promise<Pod[]>;
  runningPods(jobSet: string, namespace?: string): Promise<Pod[]>;
  /** The machine dies: its node's Ready turns Unknown, the pods on it never end by themselves. */
  killNode(name: string, options?: { notReadyForSeconds?: number }): Promise<void>;
  /** It comes back, and what was being deleted on it ends. */
  reviveNode(name: string): Promise<void>;
  /** GKE puts another machine behind the name: a new instance id on the same Node, or on a new Node of that name. */
  replaceInstance(name: string, options?: { newNode?: boolean }): Promise<void>;
  /** Removes everything that was added here. */
  removeAll(): Promise<void>;
}

export interface TpuSliceOptions {
  /** 16, which is 8x8 chips at 4 a node. */
  nodes?: number;
  project?: string;
  zone?: string;
  accelerator?: string;
}

export interface JobSetSpec {
  name: string;
  namespace?: string;
  /** The only pool that its pods may run on; any TPU slice of this shape unless given. */
  pool?: string;
  /** One replicated Job `workers` with one replica unless given. */
  replicatedJobs?: { name: string; replicas?: number }[];
  /** Pods of each Job: 16. */
  parallelism?: number;
  /** A slice for each Job: true. */
  exclusive?: boolean;
  /** 0; `null` leaves it to Kubernetes, whose default is 6. */
  backoffLimit?: number | null;
  /** `{maxRestarts: 3}`; `null` has none. */
  failurePolicy?: object | null;
  /** Further fields of the Jobs' spec, e.g. podReplacementPolicy. */
  job?: object;
  suspend?: boolean;
}

/** KWOK's stages leave alone what carries it (stages.yaml). */
const DEAD = 'autometric-failover.test/dead';
const POOL_LABEL = 'cloud.google.com/gke-nodepool';
const TOPOLOGY_LABEL = 'cloud.google.com/gke-tpu-topology';
const INSTANCE_ID = 'container.googleapis.com/instance_id';
const CHIPS_PER_NODE = 4;
/** Of TPU v6e slices, by their number of nodes with 4 chips each. */
const TOPOLOGIES = new Map([
  [1, '2x2'],
  [2, '2x4'],
  [4, '4x4'],
  [8, '4x8'],
  [16, '8x8'],
  [32, '8x16'],
  [64, '16x16'],
]);
const NODES = '/api/v1/nodes';

/** Creates builders that write through `client`, which must be the administrator's. */
export function createWorld(client: KubernetesClient): World {
  const nodes = new Set<string>();
  const jobSets = new Map<string, string>();

  const pods = async (jobSet: string, namespace = 'default'): Promise<Pod[]> => {
    const selector = encodeURIComponent(`jobset.sigs.k8s.io/jobset-name=${jobSet}`);
    const list = await client.get<KubernetesList<Pod>>(`${podsPath(namespace)}?labelSelector=${selector}`);
    return list.items ?? [];
  };
  const podsOn = async (node: string): Promise<Pod[]> => {
    const selector = encodeURIComponent(`spec.nodeName=${node}`);
    return (await client.get<KubernetesList<Pod>>(`/api/v1/pods?fieldSelector=${selector}`)).items ?? [];
  };
  const markDead = async (node: string, dead: 'true' | null): Promise<void> => {
    const body = { metadata: { annotations: { [DEAD]: dead } } };
    await client.patch(`${NODES}/${node}`, body);
    await inParallel(await podsOn(node), async ({ metadata }) => {
      const { status } = await client.request('PATCH', podPath(metadata), { body, contentType: PATCH.merge });
      if (status !== 200 && status !== 404)
        throw new Error(`cannot mark pod ${metadata.name} as dead: ${status}`);
    });
  };
  const isReady = async (name: string): Promise<boolean> =>
    (await client.get<Node>(`${NODES}/${name}`)).status.conditions?.some(
      ({ type, status }) => type === 'Ready' && status === 'True',
    ) ?? false;

  const world: World = {
    async addTpuSlice(pool, options = {}) {
      const manifests = Array.from({ length: options.nodes ?? 16 }, (_, index) =>
        nodeManifest(pool, index, options),
      );
      await inParallel(manifests, async (manifest) => {
        await client.post(NODES, manifest);
        nodes.add(manifest.metadata.name);
      });
      const names = manifests.map(({ metadata }) => metadata.name);
      await eventually(`the nodes of ${pool} are Ready`, async () =>
        (await Promise.all(names.map(isReady))).every(Boolean),
      );
      return names;
    },

    async addJobSet(spec) {
      const namespace = spec.namespace ?? 'default';
      const created = await client.post<JobSet>(jobSetsPath(namespace), jobSetManifest(spec));
      jobSets.set(spec.name, namespace);
      return created;
    },

    pods,

    async runningPods(jobSet, namespace) {
      return (await pods(jobSet, namespace)).filter(
        ({ metadata, status }) => status.phase === 'Running' && metadata.deletionTimestamp === undefined,
      );
    },

    async killNode(name, { notReadyForSeconds = 0 } = {}) {
      await markDead(name, 'true');
      const since = new Date(Date.now() - notReadyForSeconds * 1000).toISOString().replace(/\.\d+/, '');
      const condition = {
        type: 'Ready',
        status: 'Unknown',
        reason: 'NodeStatusUnknown',
        message: 'Kubelet stopped posting node status.',
        lastHeartbeatTime: since,
        lastTransitionTime: since,
      };
      await client.patch(`${NODES}/${name}/status`, { status: { conditions: [condition] } }, PATCH.strategic);
      // A pod that was bound between the two writes above would be started by a dead kubelet.
      await markDead(name, 'true');
      // The node lifecycle controller does this when it finds a heartbeat missing; here nobody sends any.
      const notReady = { type: 'Ready', status: 'False', lastTransitionTime: since };
      await inParallel(await podsOn(name), ({ metadata }) =>
        client.request('PATCH', `${podPath(metadata)}/status`, {
          body: { status: { conditions: [notReady] } },
          contentType: PATCH.strategic,
        }),
      );
    },

    async reviveNode(name) {
      await markDead(name, null);
      await eventually(`node ${name} is Ready`, () => isReady(name));
    },

    async replaceInstance(name, { newNode = false } = {}) {
      const node = await client.get<Node>(`${NODES}/${name}`);
      const annotations = { ...node.metadata.annotations, [INSTANCE_ID]: createInstanceId(), [DEAD]: null };
      if (newNode) {
        await client.delete(`${NODES}/${name}`);
        const { [DEAD]: _dead, ...kept } = annotations;
        const { labels = {} } = node.metadata;
        const { providerID, taints = [] } = node.spec;
        await client.post(NODES, {
          metadata: { name, labels, annotations: kept },
          spec: { providerID, taints: taints.filter(({ key }) => key === 'google.com/tpu') },
          status: capacity(),
        });
      } else await client.patch(`${NODES}/${name}`, { metadata: { annotations } });
      await eventually(`node ${name} is Ready`, () => isReady(name));
    },

    async removeAll() {
      await inParallel([...jobSets], async ([name, namespace]) => {
        await client.request('DELETE', `${jobSetsPath(namespace)}/${name}`, {
          body: { propagationPolicy: 'Background' },
        });
        await eventually(`the pods of JobSet ${name} are gone`, async () => {
          const left = await pods(name, namespace);
          const isDead = ({ metadata }: Pod): boolean => metadata.annotations?.[DEAD] !== undefined;
          // A dead kubelet removes nothing.
          await inParallel(left.filter(isDead), ({ metadata }) =>
            client.request('DELETE', podPath(metadata), { body: { gracePeriodSeconds: 0 } }),
          );
          return left.length === 0;
        });
      });
      jobSets.clear();
      await inParallel([...nodes], (name) => client.request('DELETE', `${NODES}/${name}`));
      nodes.clear();
    },
  };
  return world;
}

/** A Node as GKE registers it for a TPU machine: its labels, annotations, providerID, taint and chips. */
function nodeManifest(pool: string, index: number, options: TpuSliceOptions): { metadata: { name: string } } {
  const {
    nodes = 16,
    project = 'test-project',
    zone = 'us-central1-a',
    accelerator = 'tpu-v6e-slice',
  } = options;
  const hash = createHash('sha1').update(`${project}/${zone}/${pool}`).digest('hex').slice(0, 8);
  const name = `gke-tpu-${hash}-${index.toString(36).padStart(4, '0')}`;
  const topology = TOPOLOGIES.get(nodes);
  if (topology === undefined) throw new Error(`there is no v6e slice of ${nodes} nodes`);
  return {
    metadata: {
      name,
      labels: {
        [POOL_LABEL]: pool,
        [TOPOLOGY_LABEL]: topology,
        'cloud.google.com/gke-tpu-accelerator': accelerator,
        'cloud.google.com/gke-accelerator-count': String(CHIPS_PER_NODE),
        'kubernetes.io/hostname': name,
        'kubernetes.io/os': 'linux',
        'node.kubernetes.io/instance-type': 'ct6e-standard-4t',
        'topology.kubernetes.io/region': zone.replace(/-[a-z]$/, ''),
        'topology.kubernetes.io/zone': zone,
      },
      annotations: { [INSTANCE_ID]: createInstanceId() },
    },
    spec: {
      providerID: `gce://${project}/${zone}/${name}`,
      taints: [{ key: 'google.com/tpu', value: 'present', effect: 'NoSchedule' }],
    },
    status: capacity(),
  } as { metadata: { name: string } };
}

function capacity(): object {
  const resources = { cpu: '180', memory: '720Gi', pods: '110', 'google.com/tpu': String(CHIPS_PER_NODE) };
  return { capacity: resources, allocatable: resources };
}

/** Compute's numeric ids have up to 20 digits, too many for a JavaScript number. */
function createInstanceId(): string {
  return `${randomInt(1, 9)}${Array.from({ length: 18 }, () => randomInt(10)).join('')}`;
}

/** The JobSet that a spec describes: pods that ask for a whole machine each. */
export function jobSetManifest(spec: JobSetSpec): object {
  const {
    pool,
    parallelism = 16,
    exclusive = true,
    backoffLimit = 0,
    failurePolicy = { maxRestarts: 3 },
  } = spec;
  const topology = TOPOLOGIES.get(parallelism);
  const template = {
    spec: {
      parallelism,
      completions: parallelism,
      completionMode: 'Indexed',
      ...(backoffLimit !== null && { backoffLimit }),
      ...spec.job,
      template: {
        spec: {
          restartPolicy: 'Never',
          // Exclusive placement looks at no sizes: without a selector a leader may take a slice that is too small.
          nodeSelector: pool === undefined ? { [TOPOLOGY_LABEL]: topology } : { [POOL_LABEL]: pool },
          tolerations: [{ key: 'google.com/tpu', operator: 'Exists', effect: 'NoSchedule' }],
          containers: [
            {
              name: 'train',
              image: 'train',
              resources: { limits: { 'google.com/tpu': String(CHIPS_PER_NODE) } },
            },
          ],
        },
      },
    },
  };
  return {
    apiVersion: 'jobset.x-k8s.io/v1alpha2',
    kind: 'JobSet',
    metadata: {
      name: spec.name,
      ...(exclusive && { annotations: { 'alpha.jobset.sigs.k8s.io/exclusive-topology': POOL_LABEL } }),
    },
    spec: {
      ...(spec.suspend !== undefined && { suspend: spec.suspend }),
      ...(failurePolicy !== null && { failurePolicy }),
      replicatedJobs: (spec.replicatedJobs ?? [{ name: 'workers' }]).map(({ name, replicas = 1 }) => ({
        name,
        replicas,
        template,
      })),
    },
  };
}

export function jobSetsPath(namespace: string): string {
  return `/apis/jobset.x-k8s.io/v1alpha2/namespaces/${namespace}/jobsets`;
}

function podsPath(namespace: string): string {
  return `/api/v1/namespaces/${namespace}/pods`;
}

function podPath({ namespace = 'default', name }: KubernetesObject['metadata']): string {
  return `${podsPath(namespace)}/${name}`;
}

/** Sixteen at once: more only queue at a server with two cores. */
async function inParallel<T>(items: T[], work: (item: T) => Promise<unknown>): Promise<void> {
  const queue = [...items];
  const worker = async (): Promise<void> => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: 16 }, worker));
}
