/** Machines that KWOK runs: nodes made through the API of a control plane of ours, with a kubelet each that may die. */
import { createHash, randomInt } from 'node:crypto';
import { eventually } from './eventually.ts';
import { inParallel } from './in-parallel.ts';
import { patchTypes } from './kubernetes-client.ts';
import type { KubernetesClient, KubernetesList, Node, Pod } from './kubernetes-client.ts';
import { chipsPerNode, poolLabel, topologyLabel, toTopology } from './world.ts';
import type { Machines, TpuSliceOptions } from './world.ts';

/** KWOK's stages leave alone what carries it (stages.yaml). */
const deadAnnotation = 'autometric-failover.test/dead';
const instanceIdAnnotation = 'container.googleapis.com/instance_id';
const nodesPath = '/api/v1/nodes';

/** Without kubelets, as in envtest, nodes are only objects, and nothing waits for them to be Ready. */
export function createKwokMachines(client: KubernetesClient, hasKubelets = true): Machines {
  const made = new Map<string, NodeManifest>();
  const becomesReady = async (name: string): Promise<void> => {
    if (!hasKubelets) return;
    await eventually(`node ${name} is Ready`, async () => {
      const { status } = await client.get<Node>(`${nodesPath}/${name}`);
      return status.conditions?.some((each) => each.type === 'Ready' && each.status === 'True') === true;
    });
  };
  /** The node lifecycle controller takes the taint of a new node away some time after it is Ready. Until then no pod comes to it. */
  const becomesUsable = async (name: string): Promise<void> => {
    await becomesReady(name);
    if (!hasKubelets) return;
    await eventually(`node ${name} has lost the taint of a new node`, async () => {
      const { spec } = await client.get<Node>(`${nodesPath}/${name}`);
      return !spec.taints?.some(({ key }) => key === 'node.kubernetes.io/not-ready');
    });
  };
  const podsOn = async (node: string): Promise<Pod[]> => {
    const selector = encodeURIComponent(`spec.nodeName=${node}`);
    return (await client.get<KubernetesList<Pod>>(`/api/v1/pods?fieldSelector=${selector}`)).items ?? [];
  };
  /** Patches a pod, unless it is gone meanwhile. */
  const patchPods = async (node: string, subresource: string, body: object): Promise<void> =>
    inParallel(await podsOn(node), async ({ metadata: { namespace, name } }) => {
      const path = `/api/v1/namespaces/${namespace}/pods/${name}${subresource}`;
      const { status } = await client.request('PATCH', path, { body, contentType: patchTypes.strategic });
      if (status !== 200 && status !== 404) throw new Error(`patching pod ${name} was answered ${status}`);
    });
  const markDead = async (node: string, dead: 'true' | null): Promise<void> => {
    const body = { metadata: { annotations: { [deadAnnotation]: dead } } };
    await client.patch(`${nodesPath}/${node}`, body);
    await patchPods(node, '', body);
  };

  return {
    async add(pool, options) {
      const manifests = Array.from({ length: options.nodes ?? 16 }, (_, index) =>
        nodeManifest(pool, index, options),
      );
      await inParallel(manifests, (manifest) => client.post(nodesPath, manifest));
      for (const manifest of manifests) made.set(manifest.metadata.name, manifest);
      const names = manifests.map(({ metadata }) => metadata.name);
      await inParallel(names, becomesUsable);
      return names;
    },

    async kill(name, notReadyForSeconds) {
      await markDead(name, 'true');
      const since = new Date(Date.now() - notReadyForSeconds * 1000).toISOString().replace(/\.\d+/, '');
      const silent = {
        type: 'Ready',
        status: 'Unknown',
        reason: 'NodeStatusUnknown',
        message: 'Kubelet stopped posting node status.',
        lastHeartbeatTime: since,
        lastTransitionTime: since,
      };
      await client.patch(
        `${nodesPath}/${name}/status`,
        { status: { conditions: [silent] } },
        patchTypes.strategic,
      );
      // A pod that was bound between the two writes above would be started by a dead kubelet.
      await markDead(name, 'true');
      // The node lifecycle controller does this if a heartbeat is missing. Here nothing sends heartbeats.
      const notReady = { type: 'Ready', status: 'False', lastTransitionTime: since };
      await patchPods(name, '/status', { status: { conditions: [notReady] } });
    },

    async revive(name) {
      await markDead(name, null);
      await becomesReady(name);
    },

    async replace(name, newNode, instanceId = createInstanceId()) {
      if (newNode) {
        await client.request('DELETE', `${nodesPath}/${name}`);
        const manifest = made.get(name);
        if (manifest === undefined) throw new Error(`node ${name} was not made here`);
        const annotations = { ...manifest.metadata.annotations, [instanceIdAnnotation]: instanceId };
        await client.post(nodesPath, { ...manifest, metadata: { ...manifest.metadata, annotations } });
      } else {
        const annotations = { [instanceIdAnnotation]: instanceId, [deadAnnotation]: null };
        await client.patch(`${nodesPath}/${name}`, { metadata: { annotations } });
      }
      await becomesReady(name);
    },
  };
}

interface NodeManifest {
  metadata: { name: string; labels: Record<string, string>; annotations: Record<string, string> };
  spec: object;
  status: object;
}

/** A Node as GKE registers it for a TPU machine: its labels, annotations, providerID, taint and chips. */
function nodeManifest(pool: string, index: number, options: TpuSliceOptions): NodeManifest {
  const {
    nodes = 16,
    project = 'test-project',
    zone = 'us-central1-a',
    accelerator = 'tpu-v6e-slice',
  } = options;
  const hash = createHash('sha1').update(`${project}/${zone}/${pool}`).digest('hex').slice(0, 8);
  const name = `gke-tpu-${hash}-${index.toString(36).padStart(4, '0')}`;
  return {
    metadata: {
      name,
      labels: {
        [poolLabel]: pool,
        [topologyLabel]: toTopology(nodes),
        'cloud.google.com/gke-tpu-accelerator': accelerator,
        'cloud.google.com/gke-accelerator-count': String(chipsPerNode),
        'kubernetes.io/hostname': name,
        'kubernetes.io/os': 'linux',
        'node.kubernetes.io/instance-type': 'ct6e-standard-4t',
        'topology.kubernetes.io/region': zone.replace(/-[a-z]$/, ''),
        'topology.kubernetes.io/zone': zone,
      },
      annotations: { [instanceIdAnnotation]: createInstanceId() },
    },
    spec: {
      providerID: `gce://${project}/${zone}/${name}`,
      taints: [{ key: 'google.com/tpu', value: 'present', effect: 'NoSchedule' }],
    },
    status: capacity(),
  };
}

function capacity(): object {
  const resources = { cpu: '180', memory: '720Gi', pods: '110', 'google.com/tpu': String(chipsPerNode) };
  return { capacity: resources, allocatable: resources };
}

/** Compute's numeric ids have up to 20 digits, too many for a JavaScript number. */
function createInstanceId(): string {
  return `${randomInt(1, 9)}${Array.from({ length: 18 }, () => randomInt(10)).join('')}`;
}
