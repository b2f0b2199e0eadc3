/** What the function needs besides a real control plane: the Container API that describes it, and its machines. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Emulator } from '../emulator/emulator.ts';
import { serveEmulator } from '../emulator/server.ts';
import { serveFunction } from '../fixtures/served-function.ts';
import type { ServedFunction } from '../fixtures/served-function.ts';
import type { ControlPlane } from './capabilities.ts';
import { eventually } from './eventually.ts';
import { applyRights, renderRights } from './function-rights.ts';
import type { Manifest } from './function-rights.ts';
import { patchTypes } from './kubernetes-client.ts';
import type { JobSet, KubernetesList, KubernetesObject, Node } from './kubernetes-client.ts';
import { createKwokMachines } from './kwok-machines.ts';
import { createWorld, jobSetsPath, poolLabel } from './world.ts';
import type { Machines, World } from './world.ts';

export const clusterFullName = 'projects/test-project/locations/us-central1/clusters/real';
/** The function's user name for the API server. */
export const functionUser = 'failover@test-project.iam.gserviceaccount.com';
/** The same service account in tokens without an e-mail. */
export const functionUniqueId = '104711811223344556677';
const leases = '/apis/coordination.k8s.io/v1/namespaces/autometric-failover-system/leases';

/** A real control plane with the rest of Google Cloud around it. */
export interface FailoverRig {
  world: World;
  /** Numeric ids of the machines that were deleted through the Compute API, in order. */
  deletions: string[];
  /** The environment that points an instance of the function here, and its settings. */
  environment: Record<string, string>;
  /** What serves the Container API. */
  emulator: Emulator;
  /** The function's rights: exactly those of deploy/rbac. */
  rights: Manifest[];
  nodesOf(pool: string): Promise<Node[]>;
  isCordoned(pool: string): Promise<boolean>;
  readJobSet(name: string, namespace?: string): Promise<JobSet>;
  /** Answers once so many pods of a JobSet run on a pool. */
  allRunOn(jobSet: string, pool: string, count: number, namespace?: string): Promise<void>;
  /** Changes a lock so that its holder looks silent for so long that the lock is free. */
  expireLock(pool: string): Promise<void>;
  /** Serves one more instance of the function in this process. */
  serve(settings?: Record<string, string>): Promise<ServedFunction>;
  /** Deletes the function's Leases, so that tests do not meet each other's cooldowns. */
  forget(): Promise<void>;
  /** Stops the servers, and leaves the cluster as it is. */
  close(): Promise<void>;
  /** Removes the world too. */
  stop(): Promise<void>;
}

export interface FailoverRigOptions {
  /** The function's user name, unless it comes by its unique id. */
  user?: string;
  /** The namespaces of JobSets that it may touch: `default`. */
  namespaces?: string[];
  /** The endpoint that the Container API returns, if a proxy stands in front of the API server. */
  endpoint?: { url: string; ca: string };
  /** Awaited after the request to delete a machine, before the response and before the slice comes back. */
  onDeletion?: () => Promise<void>;
  /** What serves the Container API, and machines of another kind than KWOK's alone. */
  emulator?: Emulator;
  machines?: Machines;
}

/** Prepares a control plane as `deploy/` does: the function has the rights of deploy/rbac there, and no others. */
export async function createFailoverRig(
  controlPlane: ControlPlane,
  options: FailoverRigOptions = {},
): Promise<FailoverRig> {
  const { user = functionUser, namespaces = ['default'], endpoint = controlPlane, onDeletion } = options;
  const { admin } = controlPlane;
  const { emulator = new Emulator(), machines = createKwokMachines(admin) } = options;
  const names = { email: functionUser, uniqueId: functionUniqueId, namespaces };
  const rights = await renderRights(names);
  for (const name of namespaces) {
    await admin.request('POST', '/api/v1/namespaces', { body: { metadata: { name } } });
  }
  await applyRights(admin, rights);

  const cluster = emulator.addCluster({ name: clusterFullName });
  const server = await serveEmulator(emulator);
  Object.assign(cluster.endpoints, { ip: new URL(endpoint.url).host, ca: endpoint.ca });
  emulator.tokens.issueToken = () => ({ token: controlPlane.token(user), expiresInSeconds: 3599 });
  emulator.tokens.authenticateForGoogle = () => user;
  const world = createWorld(admin, machines);
  const compute = await serveCompute(controlPlane, world, onDeletion);
  const environment = {
    ...server.environment,
    CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE: compute.url,
    CLUSTERS: clusterFullName,
    ALLOWED_NAMESPACES: namespaces.join(','),
  };
  const served: ServedFunction[] = [];
  const nodesOf = async (pool: string): Promise<Node[]> => {
    const selector = encodeURIComponent(`${poolLabel}=${pool}`);
    return (await admin.get<KubernetesList<Node>>(`/api/v1/nodes?labelSelector=${selector}`)).items ?? [];
  };
  const close = async (): Promise<void> => {
    for (const one of served) await one.close();
    await compute.close();
    await server.close();
  };
  return {
    world,
    deletions: compute.deletions,
    environment,
    emulator,
    rights,
    nodesOf,
    isCordoned: async (pool) => (await nodesOf(pool)).every(({ spec }) => spec.unschedulable === true),
    readJobSet: (name, namespace = 'default') => admin.get<JobSet>(`${jobSetsPath(namespace)}/${name}`),
    async allRunOn(jobSet, pool, count, namespace) {
      const isThere = async () => {
        const nodes = new Set((await nodesOf(pool)).map(({ metadata }) => metadata.name));
        const running = await world.runningPods(jobSet, namespace);
        if (running.filter(({ spec }) => nodes.has(spec.nodeName ?? '')).length === count) return true;
        const pods = await world.pods(jobSet, namespace);
        throw new Error(
          JSON.stringify(pods.map(({ metadata, spec, status }) => [metadata.name, spec.nodeName, status])),
        );
      };
      await eventually(`${jobSet} runs on ${pool}`, isThere);
    },
    async expireLock(pool) {
      const renewTime = new Date(Date.now() - 120_000).toISOString().replace('Z', '000Z');
      const options = { body: { spec: { renewTime } }, contentType: patchTypes.merge };
      const { status, text } = await admin.request('PATCH', `${leases}/pool-${pool}`, options);
      if (status !== 200 && status !== 404) throw new Error(`the lock of ${pool} was answered ${text}`);
    },
    async serve(settings = {}) {
      const one = await serveFunction({ ...environment, ...settings });
      served.push(one);
      return one;
    },
    async forget() {
      const { items } = await admin.get<KubernetesList<KubernetesObject>>(leases);
      for (const { metadata } of items ?? []) await admin.request('DELETE', `${leases}/${metadata.name}`);
      await applyRights(
        admin,
        rights.filter(({ kind }) => kind === 'Lease'),
      );
      compute.deletions.length = 0;
    },
    close,
    async stop() {
      await world.removeAll();
      await close();
    },
  };
}

/** Deletes a machine by its numeric id; all machines of its slice come back as new ones, on new Nodes. */
async function serveCompute(
  { admin }: ControlPlane,
  world: World,
  onDeletion: (() => Promise<void>) | undefined,
) {
  const deletions: string[] = [];
  const replacements: Promise<void>[] = [];
  const server = createServer((request, response) => {
    const answer = (status: number, body: object) => {
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(body));
    };
    const [, id] = /\/instances\/([^/?]+)/.exec(request.url ?? '') ?? [];
    const idOf = ({ metadata }: Node) => metadata.annotations?.['container.googleapis.com/instance_id'];
    const carryOut = async () => {
      const { items } = await admin.get<KubernetesList<Node>>('/api/v1/nodes');
      const nodes = items ?? [];
      const named = nodes.find(({ metadata }) => metadata.name === id);
      if (request.method === 'GET' && named) {
        // No machine that still boots: those are not repaired.
        const at = new Date(Date.now() - 3_600_000).toISOString();
        const times = { creationTimestamp: at, lastStartTimestamp: at };
        return answer(200, { id: idOf(named), status: 'RUNNING', ...times });
      }
      const hit = nodes.find((node) => idOf(node) === id);
      if (request.method !== 'DELETE' || !hit || id === undefined) {
        return answer(404, { error: { code: 404, message: 'not found', errors: [{ reason: 'notFound' }] } });
      }
      deletions.push(id);
      await onDeletion?.();
      const slice = nodes.filter(
        ({ metadata }) => metadata.labels?.[poolLabel] === hit.metadata.labels?.[poolLabel],
      );
      replacements.push(
        ...slice.map(({ metadata }) => world.replaceInstance(metadata.name, { newNode: true })),
      );
      answer(200, { kind: 'compute#operation', id: '1', name: `operation-${id}`, status: 'RUNNING' });
    };
    carryOut().catch((error: unknown) => answer(500, { error: { code: 500, message: String(error) } }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    deletions,
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/compute/v1/`,
    async close() {
      await Promise.allSettled(replacements);
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
