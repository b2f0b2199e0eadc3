import { Emulator } from '../emulator/emulator.ts';
import type { EmulatedCluster } from '../emulator/cluster.ts';
import { createDemoWorld, demoCluster } from '../emulator/scenario.ts';
import { serveEmulator } from '../emulator/server.ts';
import type { EmulatorServer } from '../emulator/server.ts';
import { startFunction } from './deployed-function.ts';
import type { DeployedFunction } from './deployed-function.ts';

/** The real function in a process of its own, on an emulated GKE with the demo's world. */
export interface EmulatedGke {
  emulator: Emulator;
  cluster: EmulatedCluster;
  google: EmulatorServer;
  deployed: DeployedFunction;
  post: (path: string, body: object, headers?: Record<string, string>) => Promise<Response>;
}

export interface DeployOptions {
  settings?: Record<string, string>;
  target?: 'failover' | 'failoverWebhook';
  /** Where it was built; the checkout unless given. */
  directory?: string;
}

/** Starts them, calls `use`, and stops them in any case. */
export async function onEmulatedGke<T>(
  use: (gke: EmulatedGke) => Promise<T>,
  { settings = {}, target = 'failover', directory }: DeployOptions = {},
): Promise<T> {
  const emulator = new Emulator();
  const cluster = createDemoWorld(emulator);
  const google = await serveEmulator(emulator, { reconcileEveryMs: 50 });
  try {
    const deployed = await startFunction(
      target,
      {
        ...google.environment,
        CLUSTERS: demoCluster,
        NODE_EXTRA_CA_CERTS: google.publicCaPath,
        ...settings,
      },
      directory,
    );
    const post = (path: string, body: object, headers: Record<string, string> = {}) =>
      fetch(`${deployed.url}${path}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: JSON.stringify(body),
      });
    try {
      return await use({ emulator, cluster, google, deployed, post });
    } finally {
      await deployed.stop();
    }
  } finally {
    await google.close();
  }
}
