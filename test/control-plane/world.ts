/** Builds what GKE builds: TPU slices, JobSets on them, machines that die and are replaced. */
import { eventually } from './eventually.ts';
import { inParallel } from './in-parallel.ts';
import type { JobSet, KubernetesClient, KubernetesList, Pod } from './kubernetes-client.ts';

export interface World {
  /** Adds a node pool that is one TPU slice, and answers its nodes' names once pods may come to all of them. */
  addTpuSlice(pool: string, options?: TpuSliceOptions): Promise<string[]>;
  addJobSet(spec: JobSetSpec): Promise<JobSet>;
  /** The pods of a JobSet, and those that run and are not being deleted. */
  pods(jobSet: string, namespace?: string): Promise<Pod[]>;
  runningPods(jobSet: string, namespace?: string): Promise<Pod[]>;
  /** The machine dies: its node's Ready turns Unknown, the pods on it never end by themselves. */
  killNode(name: string, options?: { notReadyForSeconds?: number }): Promise<void>;
  /** The machine comes back, and pods in deletion on it end. */
  reviveNode(name: string): Promise<void>;
  /** GKE puts another machine behind the name: a new instance id on the same Node, or on a new Node of that name. */
  replaceInstance(name: string, options?: { newNode?: boolean }): Promise<void>;
  /** Removes everything that was added here. */
  removeAll(): Promise<void>;
}

/** Runs the machines behind the nodes: KWOK or an emulator. */
export interface Machines {
  add(pool: string, options: TpuSliceOptions): Promise<string[]>;
  kill(node: string, notReadyForSeconds: number): Promise<void>;
  revive(node: string): Promise<void>;
  /** @param instanceId of the new machine; any unless given */
  replace(node: string, newNode: boolean, instanceId?: string): Promise<void>;
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
  /** Each Job has a slice of its own: true. `template` asks for it on each replicatedJob's template instead. */
  exclusive?: boolean | 'template';
  /** 0; `null` leaves it to Kubernetes, whose default is 6. */
  backoffLimit?: number | null;
  /** `{maxRestarts: 3}`; `null` has none. */
  failurePolicy?: object | null;
  /** Further fields of the Jobs' spec, e.g. podReplacementPolicy. */
  job?: object;
  /** The accelerator of the slices that its pods may run on, where other slices have the same shape. */
  accelerator?: string;
  /** Its pods have so many seconds to end, and use them. Otherwise they end at once. */
  graceSeconds?: number;
  suspend?: boolean;
  startupPolicy?: object;
  /** The queue of Kueue that it is in. */
  queue?: string;
  /** Annotations of its pods. */
  podAnnotations?: Record<string, string>;
}

/** The kubelets know it: a pod that ignores SIGTERM. */
const usesItsGrace = 'autometric-failover.test/uses-its-grace';
export const poolLabel = 'cloud.google.com/gke-nodepool';
export const topologyLabel = 'cloud.google.com/gke-tpu-topology';
const acceleratorLabel = 'cloud.google.com/gke-tpu-accelerator';
export const chipsPerNode = 4;
/** Of TPU v6e slices, and of one of v5p that is larger, by their number of nodes with 4 chips each. */
const topologies = new Map([
  [1, '2x2'],
  [2, '2x4'],
  [4, '4x4'],
  [8, '4x8'],
  [16, '8x8'],
  [32, '8x16'],
  [64, '16x16'],
  [1024, '16x16x16'],
]);

/**
 * Creates builders that write through `client`, which must be the administrator's. `advance` lets time pass where it does
 * not by itself.
 */
export function createWorld(client: KubernetesClient, machines: Machines, advance?: () => void): World {
  const nodes = new Set<string>();
  const jobSets = new Map<string, string>();

  const pods = async (jobSet: string, namespace = 'default'): Promise<Pod[]> => {
    const selector = encodeURIComponent(`jobset.sigs.k8s.io/jobset-name=${jobSet}`);
    const list = await client.get<KubernetesList<Pod>>(`${podsPath(namespace)}?labelSelector=${selector}`);
    return list.items ?? [];
  };

  return {
    async addTpuSlice(pool, options = {}) {
      const names = await machines.add(pool, options);
      for (const name of names) nodes.add(name);
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

    killNode: (name, { notReadyForSeconds = 0 } = {}) => machines.kill(name, notReadyForSeconds),
    reviveNode: (name) => machines.revive(name),
    replaceInstance: (name, { newNode = false } = {}) => machines.replace(name, newNode),

    async removeAll() {
      await inParallel([...jobSets], async ([name, namespace]) => {
        await client.request('DELETE', `${jobSetsPath(namespace)}/${name}`, {
          body: { propagationPolicy: 'Background' },
        });
        await eventually(
          `the pods of JobSet ${name} are gone`,
          async () => {
            const left = await pods(name, namespace);
            // With grace 0, because a dead kubelet never ends one.
            await inParallel(left, ({ metadata }) =>
              client.request('DELETE', `${podsPath(namespace)}/${metadata.name}`, {
                body: { gracePeriodSeconds: 0 },
              }),
            );
            return left.length === 0;
          },
          { advance },
        );
      });
      jobSets.clear();
      await inParallel([...nodes], (name) => client.request('DELETE', `/api/v1/nodes/${name}`));
      nodes.clear();
    },
  };
}

/** The topology of a slice of so many nodes. */
export function toTopology(nodes: number): string {
  const topology = topologies.get(nodes);
  if (topology === undefined) throw new Error(`there is no slice of ${nodes} nodes`);
  return topology;
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
  const exclusivity = { annotations: { 'alpha.jobset.sigs.k8s.io/exclusive-topology': poolLabel } };
  const template = {
    ...(exclusive === 'template' && { metadata: exclusivity }),
    spec: {
      parallelism,
      completions: parallelism,
      completionMode: 'Indexed',
      ...(backoffLimit !== null && { backoffLimit }),
      ...spec.job,
      template: {
        ...((spec.graceSeconds !== undefined || spec.podAnnotations) && {
          metadata: {
            annotations: {
              ...spec.podAnnotations,
              ...(spec.graceSeconds !== undefined && { [usesItsGrace]: 'true' }),
            },
          },
        }),
        spec: {
          ...(spec.graceSeconds !== undefined && { terminationGracePeriodSeconds: spec.graceSeconds }),
          restartPolicy: 'Never',
          // Exclusive placement ignores sizes, so without a selector a leader can take a slice that is too small.
          nodeSelector:
            pool === undefined
              ? {
                  [topologyLabel]: toTopology(parallelism),
                  ...(spec.accelerator && { [acceleratorLabel]: spec.accelerator }),
                }
              : { [poolLabel]: pool },
          tolerations: [{ key: 'google.com/tpu', operator: 'Exists', effect: 'NoSchedule' }],
          containers: [
            {
              name: 'train',
              image: 'train',
              resources: { limits: { 'google.com/tpu': String(chipsPerNode) } },
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
      ...(spec.queue && { labels: { 'kueue.x-k8s.io/queue-name': spec.queue } }),
      ...(exclusive === true && exclusivity),
    },
    spec: {
      ...(spec.suspend !== undefined && { suspend: spec.suspend }),
      ...(spec.startupPolicy && { startupPolicy: spec.startupPolicy }),
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
