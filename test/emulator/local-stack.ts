import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { EmulatedCluster } from './cluster.ts';
import { Emulator } from './emulator.ts';
import { createDemoWorld, DEMO_CLUSTER } from './scenario.ts';
import { serveEmulator } from './server.ts';
import type { EmulatorServer } from './server.ts';
import { FunctionDidNotStart } from '../fixtures/function-did-not-start.ts';

/** The emulated GKE in this process, and the function in one of its own. */
export interface LocalStack {
  url: string;
  emulator: Emulator;
  cluster: EmulatedCluster;
  server: EmulatorServer;
  stop(): Promise<void>;
}

/**
 * Starts the demo's world and the function that acts on it, both on the loopback interface only.
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
  const cluster = createDemoWorld(emulator, { repairDelaySeconds: 2 });
  const server = await serveEmulator(emulator, { reconcileEveryMs: 100 });
  const child = fork(join(import.meta.dirname, '../fixtures/local-function.ts'), {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    env: {
      ...process.env,
      ...server.environment,
      CLUSTERS: DEMO_CLUSTER,
      PORT: String(options.port),
      ...options.settings,
    },
  });
  forwardLines(child, options.onLogLine);
  const port = await Promise.race([waitForPort(child), once(child, 'exit').then(() => undefined)]);
  if (port === undefined) {
    await server.close();
    throw new FunctionDidNotStart();
  }
  return {
    url: `http://127.0.0.1:${port}`,
    emulator,
    cluster,
    server,
    async stop() {
      child.kill('SIGKILL');
      await once(child, 'exit');
      await server.close();
    },
  };
}

async function waitForPort(child: ChildProcess): Promise<number> {
  const [message] = (await once(child, 'message')) as [{ port: number }];
  return message.port;
}

function forwardLines(child: ChildProcess, onLine: (line: string) => void): void {
  let rest = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    const lines = (rest + chunk.toString()).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) onLine(line);
  });
}
