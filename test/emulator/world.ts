import { cloneJson } from './objects.ts';
import type { Affinity, FailurePolicy, Job, JobSet, Node, PodSpec, ReplicatedJob, Taint } from './objects.ts';
import { toHex, toPhysicalHost } from './fleet.ts';
import type { Instance } from './fleet.ts';
import type { Random } from './random.ts';
import { kubernetesVersion } from './discovery.ts';
import { exclusiveTopologyAnnotation } from './exclusive-placement.ts';
import { usesItsGraceAnnotation } from './kubelet.ts';
import { fieldsOf } from './field-set.ts';
import { healthy } from './node-lifecycle.ts';

/** The options of a new node pool. */
export interface PoolOptions {
  /** How many nodes: 16 in a slice, 2 elsewhere. */
  nodes?: number;
  zone?: string;
  machineType?: string;
  labels?: Record<string, string>;
  taints?: Taint[];
  /** Countable resources of each node beyond cpu and memory: `{"google.com/tpu": 4}`. */
  resources?: Record<string, number>;
  /** Bytes to add to each Node's list of images. A real Node has 10 to 20 KB. */
  paddingBytes?: number;
  /** All machines are one unit: if one is lost, all are re-created. */
  isAtomic?: boolean;
  /** From the accepted deletion of a machine until it is gone, 30. */
  stopSeconds?: number;
  /** From the accepted deletion of a machine until its replacement runs, 120. */
  repairDelaySeconds?: number;
  nodeObject?: 'reregistered' | 'survives';
  isRepairDisabled?: boolean;
}

export interface TpuSliceOptions extends PoolOptions {
  topology?: string;
  chipsPerNode?: number;
  accelerator?: string;
}

/** Fills in what a TPU slice is by default: 16 nodes of a v6e 8x8. */
export function toTpuPool(options: TpuSliceOptions): PoolOptions {
  const { topology = '8x8', chipsPerNode = 4, accelerator = 'tpu-v6e-slice' } = options;
  const chips = topology.split('x').reduce((product, side) => product * Number(side), 1);
  return {
    nodes: Math.max(Math.floor(chips / chipsPerNode), 1),
    machineType: `ct6e-standard-${chipsPerNode}t`,
    isAtomic: chips > chipsPerNode,
    ...options,
    labels: {
      'cloud.google.com/gke-tpu-topology': topology,
      'cloud.google.com/gke-tpu-accelerator': accelerator,
      'cloud.google.com/gke-accelerator-count': String(chipsPerNode),
      ...options.labels,
    },
    taints: [{ key: 'google.com/tpu', value: 'present', effect: 'NoSchedule' }, ...(options.taints ?? [])],
    resources: { 'google.com/tpu': chipsPerNode, ...options.resources },
  };
}

/** Independent GPU nodes. */
export function toGpuPool(options: PoolOptions): PoolOptions {
  return {
    machineType: 'a3-highgpu-8g',
    ...options,
    labels: {
      'cloud.google.com/gke-accelerator': 'nvidia-h100-80gb',
      'cloud.google.com/gke-accelerator-count': '8',
      ...options.labels,
    },
    taints: [{ key: 'nvidia.com/gpu', value: 'present', effect: 'NoSchedule' }, ...(options.taints ?? [])],
    resources: { 'nvidia.com/gpu': 8, ...options.resources },
  };
}

/** A machine name as GKE creates it. Only TPU names lack the cluster's name. */
export function toNamePrefix(random: Random, cluster: string, pool: string, isTpu: boolean): string {
  const hash = random.pick('0123456789abcdef', 8);
  return isTpu ? `gke-tpu-${hash}` : `gke-${cluster}-${pool}-${hash}`;
}

export interface NodeDetails {
  instance: Instance;
  options: PoolOptions;
  time: string;
  /** The last part of its address. */
  number: number;
}

/** A Node as its kubelet registers it on GKE. */
export function toNode({ instance, options, time, number }: NodeDetails): Node {
  const { name, project, zone, machineType, group } = instance;
  const resources = Object.entries(options.resources ?? {}).map(([key, count]) => [key, String(count)]);
  const capacity = {
    cpu: '4',
    memory: '16393244Ki',
    pods: '110',
    ...(Object.fromEntries(resources) as object),
  };
  const condition = (type: string, status: 'True' | 'False', reason: string) => ({
    type,
    status,
    reason,
    message: reason,
    lastHeartbeatTime: time,
    lastTransitionTime: time,
  });
  const node: Node = {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name,
      uid: '',
      resourceVersion: '',
      creationTimestamp: time,
      labels: {
        'beta.kubernetes.io/arch': 'amd64',
        'beta.kubernetes.io/os': 'linux',
        'cloud.google.com/gke-nodepool': group.pool,
        'kubernetes.io/arch': 'amd64',
        'kubernetes.io/hostname': name,
        'kubernetes.io/os': 'linux',
        'node.kubernetes.io/instance-type': machineType,
        'topology.kubernetes.io/region': zone.replace(/-[a-z]$/, ''),
        'topology.kubernetes.io/zone': zone,
        ...options.labels,
      },
      annotations: {
        'volumes.kubernetes.io/controller-managed-attach-detach': 'true',
      },
    },
    spec: {
      providerID: `gce://${project}/${zone}/${name}`,
      podCIDR: `10.${Math.floor(number / 256) % 256}.${number % 256}.0/24`,
      ...(options.taints?.length && { taints: cloneJson(options.taints) }),
    },
    status: {
      capacity,
      allocatable: { ...capacity },
      conditions: [
        ...Object.entries(healthy).map(([type, reason]) => condition(type, 'False', reason)),
        condition('Ready', 'True', 'KubeletReady'),
      ],
      addresses: [
        { type: 'InternalIP', address: `10.128.${Math.floor(number / 250)}.${(number % 250) + 2}` },
        { type: 'Hostname', address: name },
      ],
      nodeInfo: {
        architecture: 'amd64',
        bootID: '',
        containerRuntimeVersion: 'containerd://2.1.5',
        kernelVersion: '6.12.55+',
        kubeletVersion: kubernetesVersion,
        kubeProxyVersion: kubernetesVersion,
        machineID: '',
        operatingSystem: 'linux',
        osImage: 'Container-Optimized OS from Google',
        systemUUID: '',
      },
      ...(options.paddingBytes && { images: toImages(options.paddingBytes) }),
    },
  };
  showMachine(node, instance);
  node.metadata.managedFields = [
    {
      manager: 'kubelet',
      operation: 'Update',
      apiVersion: 'v1',
      time,
      fieldsType: 'FieldsV1',
      fieldsV1: fieldsOf({ ...node, status: undefined, spec: { providerID: '' } }),
    },
  ];
  return node;
}

/** Writes into a Node which machine it is: its instance id, its host, and what is new with each machine. */
export function showMachine({ metadata, status }: Node, instance: Instance): void {
  metadata.annotations = {
    ...metadata.annotations,
    'container.googleapis.com/instance_id': instance.id,
  };
  const topology = Object.entries(toPhysicalHost(instance) ?? {});
  metadata.labels = {
    ...metadata.labels,
    ...Object.fromEntries(topology.map(([level, id]) => [`cloud.google.com/gce-topology-${level}`, id])),
  };
  const systemUuid = toUuid(`system ${instance.id}`);
  status.nodeInfo = {
    ...status.nodeInfo,
    bootID: toUuid(`boot ${instance.id}${instance.reboots > 0 ? ` ${instance.reboots}` : ''}`),
    machineID: systemUuid.replaceAll('-', ''),
    systemUUID: systemUuid,
  };
}

function toUuid(text: string): string {
  return toHex(text).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

/** A replicated Job of a new JobSet. A field that is left out has JobSet's or Kubernetes' default. */
export interface ReplicatedJobOptions {
  name: string;
  replicas?: number;
  parallelism?: number;
  completions?: number;
  backoffLimit?: number;
  activeDeadlineSeconds?: number;
  podReplacementPolicy?: NonNullable<Job['spec']['podReplacementPolicy']>;
  podFailurePolicy?: NonNullable<Job['spec']['podFailurePolicy']>;
  completionMode?: 'Indexed' | 'NonIndexed';
  nodeSelector?: Record<string, string>;
  affinity?: Affinity;
  tolerations?: NonNullable<PodSpec['tolerations']>;
  /** What each pod requests: `{"google.com/tpu": 4}` by default, so that one pod fits on a node. */
  resources?: Record<string, number>;
  terminationGracePeriodSeconds?: number;
  /** Its pods do not end before their grace is over. Otherwise they end at once. */
  usesItsGrace?: boolean;
}

export interface JobSetOptions {
  namespace?: string;
  name: string;
  replicatedJobs: ReplicatedJobOptions[];
  /** `{maxRestarts: 3}` by default; null for none. */
  failurePolicy?: FailurePolicy | null;
  /** A topology label that only one Job at a time may have: `cloud.google.com/gke-nodepool`. */
  exclusiveTopology?: string;
  suspend?: boolean;
  managedBy?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
}

/** A JobSet as a person would submit it. */
export function toJobSet(options: JobSetOptions): Record<string, unknown> {
  const { name, namespace = 'default', exclusiveTopology, suspend, managedBy, labels } = options;
  const failurePolicy = options.failurePolicy === undefined ? { maxRestarts: 3 } : options.failurePolicy;
  const annotations = {
    ...options.annotations,
    ...(exclusiveTopology && { [exclusiveTopologyAnnotation]: exclusiveTopology }),
  };
  const spec: Partial<JobSet['spec']> = {
    replicatedJobs: options.replicatedJobs.map(toReplicatedJob),
    ...(failurePolicy && { failurePolicy }),
    ...(suspend !== undefined && { suspend }),
    ...(managedBy && { managedBy }),
  };
  return {
    apiVersion: 'jobset.x-k8s.io/v1alpha2',
    kind: 'JobSet',
    metadata: { name, namespace, ...(labels && { labels }), annotations },
    spec,
  };
}

function toReplicatedJob(options: ReplicatedJobOptions): ReplicatedJob {
  const {
    name,
    replicas = 1,
    resources = { 'google.com/tpu': 4 },
    nodeSelector,
    affinity,
    tolerations,
  } = options;
  const limits = Object.fromEntries(Object.entries(resources).map(([key, count]) => [key, String(count)]));
  const podSpec: PodSpec = {
    containers: [{ name: 'main', image: 'train:latest', resources: { limits, requests: limits } }],
    ...(nodeSelector && { nodeSelector }),
    ...(affinity && { affinity }),
    ...(tolerations && { tolerations }),
  };
  if (options.terminationGracePeriodSeconds !== undefined) {
    podSpec.terminationGracePeriodSeconds = options.terminationGracePeriodSeconds;
  }
  const parallelism = options.parallelism ?? 1;
  const spec: Job['spec'] = {
    parallelism,
    completions: options.completions ?? parallelism,
    template: {
      ...(options.usesItsGrace && { metadata: { annotations: { [usesItsGraceAnnotation]: 'true' } } }),
      spec: podSpec,
    },
  };
  const copied = [
    'backoffLimit',
    'activeDeadlineSeconds',
    'podReplacementPolicy',
    'podFailurePolicy',
  ] as const;
  for (const field of copied) {
    if (options[field] !== undefined) Object.assign(spec, { [field]: options[field] });
  }
  if (options.completionMode) spec.completionMode = options.completionMode;
  return { name, replicas, template: { spec } };
}

const images = new Map<number, { names: string[]; sizeBytes: number }[]>();

/** One frozen list for all nodes, because with thousands of nodes the copies would take most of the memory. */
function toImages(bytes: number): { names: string[]; sizeBytes: number }[] {
  const known = images.get(bytes);
  if (known) return known;
  const list = Array.from({ length: Math.ceil(bytes / 180) }, (_, index) => {
    const digest = String(index).padStart(64, '0');
    return {
      names: [`us-docker.pkg.dev/gke-release/image-${index}@sha256:${digest}`.padEnd(140, 'x')],
      sizeBytes: 1_000_000 + index,
    };
  });
  Object.freeze(list);
  images.set(bytes, list);
  return list;
}
