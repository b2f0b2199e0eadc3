import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { findFreePort } from '../fixtures/free-port.ts';
import { moduleDefaults } from '../fixtures/module-defaults.ts';

const root = join(import.meta.dirname, '../..');

/** What starts a function. */
export interface FunctionSpec {
  /** The module that is loaded. */
  source: string;
  target: string;
  environment?: Record<string, string>;
}

/** A function in a process of its own, started as the buildpack starts it. */
export interface FunctionProcess {
  url: string;
  /** From the spawn until the first request was answered, once `call` has been. */
  post(body: unknown, path?: string): Promise<{ status: number; body: Record<string, unknown>; ms: number }>;
  /** Gets a path. */
  get(path: string): Promise<{ status: number; body: Record<string, unknown>; ms: number }>;
  /** Milliseconds since the spawn. */
  elapsedMs(): number;
  /** The CPU time that it has taken so far. */
  cpuMs(): number;
  /** The most memory that it has had so far. */
  peakRssMb(): number;
  output(): string;
  stop(): Promise<void>;
}

/** Starts a function and waits until it takes connections. */
export async function startFunction({
  source,
  target,
  environment = {},
}: FunctionSpec): Promise<FunctionProcess> {
  const port = await findFreePort();
  const spawnedAt = performance.now();
  // In the image, the start command leads to what was built beside the function (deploy/build-link.ts).
  const linked = join(dirname(source), 'start.mjs');
  const command = existsSync(linked) ? `node ${linked}` : 'node_modules/.bin/functions-framework';
  const child = spawn('/bin/bash', ['-c', `exec ${command}`], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      PATH: `${join(root, 'node_modules/.bin')}:${process.env['PATH']}`,
      HOME: process.env['HOME'] ?? '/tmp',
      NODE_ENV: 'production',
      K_SERVICE: 'failover',
      K_REVISION: 'failover-00001',
      FUNCTION_TARGET: target,
      FUNCTION_SIGNATURE_TYPE: 'http',
      FUNCTION_SOURCE: source,
      PORT: String(port),
      // As the module deploys it.
      NODE_OPTIONS: moduleDefaults.nodeOptions,
      ...environment,
    },
  });
  let output = '';
  const collect = (chunk: Buffer) => void (output += chunk.toString());
  child.stdout.on('data', collect);
  child.stderr.on('data', collect);
  await waitUntilListening(child, port, () => output);
  const send = async (path: string, options: RequestInit = {}) => {
    const sentAt = performance.now();
    const response = await fetch(`http://127.0.0.1:${port}${path}`, options);
    const text = await response.text();
    return { status: response.status, body: parse(text), ms: performance.now() - sentAt };
  };
  return {
    url: `http://127.0.0.1:${port}`,
    post: (body, path = '/') =>
      send(path, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      }),
    get: (path) => send(path),
    elapsedMs: () => performance.now() - spawnedAt,
    cpuMs: () => readCpuMs(child),
    peakRssMb: () => readPeakRssMb(child),
    output: () => output,
    async stop() {
      if (child.exitCode !== null) return;
      child.kill('SIGKILL');
      await once(child, 'exit');
    },
  };
}

function parse(text: string): Record<string, unknown> {
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    return { text };
  }
}

/** Tries the port until it accepts a connection, as Cloud Run does. */
async function waitUntilListening(child: ChildProcess, port: number, output: () => string): Promise<void> {
  for (;;) {
    if (child.exitCode !== null) throw new Error(`the function ended at start:\n${output()}`);
    if (await canConnect(port)) return;
    await sleep(2);
  }
}

function canConnect(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/** Linux counts in ticks of 10 ms. */
function readCpuMs({ pid }: ChildProcess): number {
  const [, rest = ''] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ');
  const fields = rest.split(' ');
  return 10 * (Number(fields[11]) + Number(fields[12]));
}

function readPeakRssMb({ pid }: ChildProcess): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmHWM:\s*(\d+) kB$/m.exec(status)?.[1]) / 1024;
}
