import type { EmulatedCluster } from './cluster.ts';
import { Emulator } from './emulator.ts';
import { createDemoWorld, demoCluster } from './scenario.ts';
import { serveEmulator } from './server.ts';
import type { EmulatorServer } from './server.ts';
import { startCloudScheduler } from '../fixtures/cloud-scheduler.ts';
import { startFunctionProcess } from '../fixtures/function-process.ts';

/** The emulated GKE in this process, and the function in one of its own. */
export interface LocalStack {
  url: string;
  emulator: Emulator;
  cluster: EmulatedCluster;
  server: EmulatorServer;
  /** How the function's process ended: the signal, or `exit code 1`. */
  exited: Promise<string>;
  /** Ends both, and removes their files. */
  stop(): Promise<void>;
}

/**
 * Starts the demo's world and the function that acts on it, both on the loopback interface only. Reconcile is called every
 * second, as Cloud Scheduler does every minute.
 *
 * @param options.port of the function, 0 for any
 * @param options.onLogLine gets each log line of the function
 * @throws {FunctionDidNotStart}
 */
export async function startLocalStack(options: {
  port: number;
  onLogLine: (line: string) => void;
  settings?: Record<string, string>;
}): Promise<LocalStack> {
  const emulator = new Emulator();
  const cluster = createDemoWorld(emulator, { repairDelaySeconds: 2, hasGpuPool: true });
  const server = await serveEmulator(emulator, { reconcileEveryMs: 100 });
  const environment = { ...server.environment, CLUSTERS: demoCluster, ...options.settings };
  const failover = await startFunctionProcess(environment, options).catch(async (error: unknown) => {
    await server.close();
    throw error;
  });
  const scheduler = startCloudScheduler(failover.url, 1000);
  return {
    url: failover.url,
    emulator,
    cluster,
    server,
    exited: failover.exited,
    async stop() {
      await scheduler.stop();
      await failover.kill();
      await server.close();
    },
  };
}
