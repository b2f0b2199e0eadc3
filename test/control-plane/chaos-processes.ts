/** The instances of the function, as processes that are killed and started anew, and whoever sends them something. */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { startFunctionProcess } from '../fixtures/function-process.ts';
import type { FunctionProcess } from '../fixtures/function-process.ts';
import { deliveryHeader } from './chaos-delivery.ts';
import type { History, Sent } from './chaos-history.ts';

export interface Answered {
  /** Undefined where the instance died, or nobody answered. */
  status: number | undefined;
  body: Record<string, unknown>;
}

export interface ChaosProcesses {
  /** Sends something to an instance that lives; waits for one if there is none. */
  send(what: Sent, request: { path: string; body: unknown; caller?: string }): Promise<Answered>;
  /** Kills one, and starts another one in its place. */
  crash(): Promise<void>;
  stop(): Promise<void>;
}

/** No request to the function takes longer, as its own deadline is far below. */
const patienceMs = 120_000;

export async function startChaosProcesses(
  count: number,
  environment: Record<string, string>,
  history: History,
): Promise<ChaosProcesses> {
  const living = new Map<string, FunctionProcess>();
  let number = 0;
  let next = 0;
  const start = async (): Promise<void> => {
    const name = `instance-${number++}`;
    const onMessage = (message: object): void => {
      const { connected } = message as { connected?: { port: number; pool: string; delivery: string } };
      if (connected) history.note({ kind: 'connected', process: name, ...connected });
    };
    const started = await startFunctionProcess(environment, {
      onLogLine: (line) => history.note({ kind: 'log', process: name, line }),
      preload: { module: join(import.meta.dirname, 'chaos-preload.ts'), onMessage },
    });
    living.set(name, started);
  };
  await Promise.all(Array.from({ length: count }, start));

  const choose = async (): Promise<[string, FunctionProcess]> => {
    for (;;) {
      const found = [...living][next++ % Math.max(1, living.size)];
      if (found) return found;
      await delay(100);
    }
  };
  return {
    async send(what, { path, body, caller }) {
      const [process, { url }] = await choose();
      const delivery = `d${history.number()}`;
      history.note({ kind: 'delivery', delivery, process, what });
      const claims = caller && Buffer.from(JSON.stringify({ email: caller })).toString('base64url');
      let status: number | undefined;
      let text = '';
      try {
        const response = await fetch(url + path, {
          method: 'POST',
          headers: {
            'Content-Type': 'application/json',
            [deliveryHeader]: delivery,
            ...(claims && { Authorization: `Bearer ${randomUUID()}.${claims}.` }),
          },
          body: JSON.stringify(body),
          signal: AbortSignal.timeout(patienceMs),
        });
        text = await response.text();
        status = response.status;
      } catch (error) {
        text = String(error);
      }
      history.note({ kind: 'answer', delivery, status, text });
      return { status, body: status === undefined ? {} : parse(text) };
    },

    async crash() {
      const [name, process] = [...living][Math.floor(Math.random() * living.size)] ?? [];
      if (name === undefined) return;
      living.delete(name);
      history.note({ kind: 'trouble', what: `SIGKILL to ${name}` });
      await process?.kill();
      await start();
    },

    async stop() {
      for (const process of living.values()) await process.kill();
    },
  };
}

function parse(text: string): Record<string, unknown> {
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    return {};
  }
}
