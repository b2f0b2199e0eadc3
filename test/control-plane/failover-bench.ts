/** What the function needs beside a real control plane: the Container API that leads to it, and the machines behind it. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Emulator } from '../emulator/emulator.ts';
import { serveEmulator } from '../emulator/server.ts';
import { serveFunction } from '../served-function.ts';
import type { ServedFunction } from '../served-function.ts';
import type { ControlPlane } from './control-plane.ts';
import type { KubernetesList, Node } from './kubernetes-client.ts';
import { createKwokMachines } from './kwok-machines.ts';
import { createWorld, POOL_LABEL } from './world.ts';
import type { World } from './world.ts';

export const FUNCTION_USER = 'failover@test-project.iam.gserviceaccount.com';
export const CLUSTER = 'projects/test-project/locations/us-central1/clusters/real';
const NAMESPACE = 'autometric-failover-system';

/** A real control plane with the rest of Google Cloud around it. */
export interface FailoverBench {
  world: World;
  /** Numeric ids of the machines that were deleted through the Compute API, in order. */
  deletions: string[];
  environment: Record<string, string>;
  /** Serves one more instance of the function in this process. */
  serve(settings?: Record<string, string>): Promise<ServedFunction>;
  /** Forgets all that the function has remembered, so that tests don't meet each other's cooldowns. */
  forget(): Promise<void>;
  stop(): Promise<void>;
}

/**
 * @param user is who the function is to the API server
 */
export async function createFailoverBench(
  controlPlane: ControlPlane,
  user = FUNCTION_USER,
): Promise<FailoverBench> {
  const { admin } = controlPlane;
  const emulator = new Emulator();
  const cluster = emulator.addCluster({ name: CLUSTER });
  const server = await serveEmulator(emulator);
  Object.assign(cluster.endpoints, { ip: new URL(controlPlane.url).host, ca: controlPlane.ca });
  emulator.tokens.issueToken = () => ({ token: controlPlane.token(user), expiresInSeconds: 3599 });
  emulator.tokens.authenticateForGoogle = () => user;
  const world = createWorld(admin, createKwokMachines(admin));
  const compute = await serveCompute(controlPlane, world);
  const environment = {
    ...server.environment,
    CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE: compute.url,
    CLUSTERS: CLUSTER,
  };
  const served: ServedFunction[] = [];
  const leases = `/apis/coordination.k8s.io/v1/namespaces/${NAMESPACE}/leases`;
  await admin.request('POST', '/api/v1/namespaces', { body: { metadata: { name: NAMESPACE } } });
  return {
    world,
    deletions: compute.deletions,
    environment,
    async serve(settings = {}) {
      const one = await serveFunction({ ...environment, ...settings });
      served.push(one);
      return one;
    },
    async forget() {
      const { items } = await admin.get<KubernetesList<Node>>(leases);
      for (const { metadata } of items ?? []) await admin.request('DELETE', `${leases}/${metadata.name}`);
      compute.deletions.length = 0;
    },
    async stop() {
      for (const one of served) await one.close();
      await world.removeAll();
      await compute.close();
      await server.close();
    },
  };
}

/** Deletes a machine by its numeric id; all machines of its slice come back as new ones, on new Nodes. */
async function serveCompute({ admin }: ControlPlane, world: World) {
  const deletions: string[] = [];
  const replacements: Promise<void>[] = [];
  const server = createServer((request, response) => {
    const answer = (status: number, body: object) => {
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(body));
    };
    const id = /\/instances\/(\d+)\?/.exec(request.url ?? '')?.[1];
    const carryOut = async () => {
      const { items } = await admin.get<KubernetesList<Node>>('/api/v1/nodes');
      const nodes = items ?? [];
      const hit = nodes.find(
        ({ metadata }) => metadata.annotations?.['container.googleapis.com/instance_id'] === id,
      );
      if (request.method !== 'DELETE' || !hit || id === undefined) {
        return answer(404, { error: { code: 404, message: 'not found', errors: [{ reason: 'notFound' }] } });
      }
      deletions.push(id);
      const slice = nodes.filter(
        ({ metadata }) => metadata.labels?.[POOL_LABEL] === hit.metadata.labels?.[POOL_LABEL],
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
