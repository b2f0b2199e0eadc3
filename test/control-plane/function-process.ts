/** The function in a process of its own, which can be killed. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Answer } from '../fixtures/served-function.ts';
import { FunctionDidNotStart } from '../fixtures/function-did-not-start.ts';

export interface FunctionProcess {
  url: string;
  /** Sends an action. @throws when the process dies meanwhile */
  send(action: object): Promise<Pick<Answer, 'status' | 'body'>>;
  /** Ends it at once, as a machine that fails does. */
  kill(): Promise<void>;
  exited: Promise<unknown>;
}

/**
 * Starts it with these settings, on the loopback interface.
 * @param options.port any, unless given
 * @throws when it does not start
 */
export async function startFunctionProcess(
  environment: Record<string, string>,
  options: { port?: number; onLogLine?: (line: string) => void } = {},
): Promise<FunctionProcess> {
  const child = fork(join(import.meta.dirname, '../fixtures/local-function.ts'), {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    env: { ...process.env, ...environment, PORT: String(options.port ?? 0) },
  });
  const exited = once(child, 'exit');
  if (child.stdout) createInterface(child.stdout).on('line', options.onLogLine ?? (() => {}));
  const started = once(child, 'message') as Promise<[{ port: number }]>;
  const message = await Promise.race([started, exited.then(() => undefined)]);
  if (message === undefined) throw new FunctionDidNotStart();
  const url = `http://127.0.0.1:${message[0].port}`;
  return {
    url,
    async send(action) {
      const response = await fetch(`${url}/actions`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify(action),
      });
      return { status: response.status, body: (await response.json()) as Answer['body'] };
    },
    async kill() {
      child.kill('SIGKILL');
      await exited;
    },
    exited,
  };
}
