import { spawn } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { root } from './run.ts';
import { findFreePort } from '../fixtures/free-port.ts';

/** The function in a process of its own, started as the buildpack starts it. */
export interface DeployedFunction {
  url: string;
  /** What it has written on stdout since it takes requests, line by line. */
  lines(): string[];
  stop(): Promise<void>;
}

/**
 * Starts one of the two functions with these settings; resolves when it takes requests.
 *
 * @param directory is where it was built, with its node_modules; the checkout's sources unless given, where it runs as it is written
 */
export async function startFunction(
  target: 'failover' | 'failoverWebhook',
  environment: Record<string, string>,
  directory?: string,
): Promise<DeployedFunction> {
  const port = await findFreePort();
  const child = spawn(process.execPath, ['node_modules/.bin/functions-framework'], {
    cwd: directory ?? root,
    env: {
      ...process.env,
      ...(directory === root && { FUNCTION_SOURCE: 'src/index.ts' }),
      ...environment,
      // The checkout has sources and perhaps an old build; what the buildpack built is found by package.json's `main`.
      ...(directory === undefined ? { FUNCTION_SOURCE: 'src/index.ts' } : {}),
      FUNCTION_TARGET: target,
      FUNCTION_SIGNATURE_TYPE: 'http',
      LOG_EXECUTION_ID: 'true',
      NODE_ENV: 'production',
      PORT: String(port),
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const exited = new Promise<void>((resolve) => child.on('exit', () => resolve()));
  const url = `http://127.0.0.1:${port}`;
  // The framework answers this path itself, so that nothing is logged.
  while (!(await fetch(`${url}/robots.txt`).catch(() => undefined))) {
    if (child.exitCode !== null) throw new Error(`${target} did not start: ${stdout}${stderr}`);
    await delay(50);
  }
  const started = stdout.length;
  return {
    url,
    lines: () =>
      stdout
        .slice(started)
        .split('\n')
        .filter((line) => line.startsWith('{')),
    async stop() {
      child.kill();
      await exited;
    },
  };
}
