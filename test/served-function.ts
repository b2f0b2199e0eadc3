import type { AddressInfo } from 'node:net';
import { http } from '@google-cloud/functions-framework';
import { getTestServer } from '@google-cloud/functions-framework/testing';
import { keepRawBodies } from '../src/body.ts';
import { readConfig } from '../src/config.ts';
import { createHandler } from '../src/handler.ts';
import { createLog } from '../src/log.ts';
import { createServices } from '../src/services.ts';

/** The real function behind real HTTP, in this process. */
export interface ServedFunction {
  url: string;
  /** The log lines so far, parsed. */
  lines: Record<string, unknown>[];
  /** Sends an action; a string is sent as it is. */
  send(action: unknown, path?: string): Promise<Answer>;
  close(): Promise<void>;
}

export interface Answer {
  status: number;
  headers: Headers;
  body: { id?: string; steps?: Record<string, unknown>[]; error?: string; code?: string } & Record<
    string,
    unknown
  >;
}

let count = 0;

/**
 * Serves the function with these settings, as one more instance of it: each has its own clients and clock.
 *
 * @param environment is what the emulator says, and the function's settings
 */
export async function serveFunction(environment: Record<string, string>): Promise<ServedFunction> {
  // Google's clients read these themselves, whenever they are asked for a token.
  Object.assign(process.env, environment);
  const config = readConfig(environment);
  const lines: Record<string, unknown>[] = [];
  const handler = createHandler({
    services: createServices(config),
    log: createLog((line) => lines.push(JSON.parse(line) as Record<string, unknown>)),
  });
  const name = `failover-under-test-${count++}`;
  keepRawBodies();
  http(name, handler.handle);
  const server = getTestServer(name);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url,
    lines,
    async send(action, path = '/actions') {
      const response = await fetch(url + path, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: typeof action === 'string' ? action : JSON.stringify(action),
      });
      return {
        status: response.status,
        headers: response.headers,
        body: (await response.json()) as Answer['body'],
      };
    },
    async close() {
      await handler.shutDown();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
