import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect } from 'chai';
import { buildFunction } from '../../deploy/build.ts';
import { findFreePort } from '../fixtures/free-port.ts';

const root = join(import.meta.dirname, '../..');
const credentials = { WEBHOOK_USERNAME: 'monitoring', WEBHOOK_PASSWORD: 'correct horse battery' };
const right = `Authorization: Basic ${Buffer.from('monitoring:correct horse battery').toString('base64')}\r\n`;
const wrong = `Authorization: Basic ${Buffer.from('monitoring:guess').toString('base64')}\r\n`;

const requestCount = 64;
const mebibyte = 1024 * 1024;
/** The largest body that Cloud Run lets through over HTTP/1. */
const bodyBytes = 32 * mebibyte;
/** Below what two of the bodies take. Terraform gives an instance 512 MiB. */
const allowedGrowth = 64 * mebibyte;

describe('the built function', function () {
  let directory: string;
  let instance: Instance;

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'bodies-'));
    symlinkSync(join(root, 'node_modules'), join(directory, 'node_modules'));
    await buildFunction(join(directory, 'dist'), () => undefined);
  });

  after(() => rmSync(directory, { recursive: true }));
  afterEach(() => instance.stop());

  for (const { name, target, path, headers, status } of [
    { name: 'without credentials', target: 'failoverWebhook', path: '/alerts', headers: '', status: 401 },
    { name: 'with wrong ones', target: 'failoverWebhook', path: '/alerts', headers: wrong, status: 401 },
    { name: 'with the right ones', target: 'failoverWebhook', path: '/alerts', headers: right, status: 413 },
    { name: 'behind IAM', target: 'failover', path: '/actions', headers: '', status: 413 },
  ]) {
    // F-121: ten bodies of 32 MiB that nobody had let in took the memory of an instance, and the failover that it carried.
    it(`keeps nothing of ${requestCount} bodies of 32 MiB ${name}`, async () => {
      instance = await startInstance(directory, target);
      const warm = await sendLargeBody(instance.port, path, headers, 1024 * 1024);
      expect(warm).to.equal(status);
      const before = await instance.peakBytes();
      const statuses = await Promise.all(
        Array.from({ length: requestCount }, () => sendLargeBody(instance.port, path, headers, bodyBytes)),
      );
      const growth = (await instance.peakBytes()) - before;
      expect(new Set(statuses)).to.deep.equal(new Set([status]));
      expect(growth).to.be.below(allowedGrowth);
    });
  }
});

/** Sends a body for as long as the connection takes it, whatever is answered meanwhile. Resolves to the status. */
function sendLargeBody(port: number, path: string, headers: string, bytes: number): Promise<number> {
  const chunk = Buffer.alloc(64 * 1024, 0x20);
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1');
    let answer = '';
    let left = bytes;
    const send = () => {
      while (left > 0 && socket.writable) {
        left -= chunk.length;
        if (!socket.write(chunk)) return;
      }
    };
    socket.setEncoding('utf8');
    socket.on('data', (text: string) => {
      answer += text;
      if (left <= 0) socket.end();
    });
    socket.on('drain', send);
    // The other side closes the connection in the middle of the body.
    socket.on('error', () => undefined);
    socket.on('close', () => {
      const status = Number(answer.split(' ')[1]);
      if (status) resolve(status);
      else reject(new Error('closed without an answer'));
    });
    socket.on('connect', () => {
      const head = `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n${headers}`;
      socket.write(`${head}Content-Length: ${bytes}\r\n\r\n`);
      send();
    });
  });
}

interface Instance {
  port: number;
  /** The most memory that it has had. */
  peakBytes(): Promise<number>;
  stop(): Promise<void>;
}

async function startInstance(directory: string, target: string): Promise<Instance> {
  const port = await findFreePort();
  const tellsItsPeak = `process.on('SIGUSR2', () => process.send?.(process.resourceUsage().maxRSS * 1024));`;
  const child: ChildProcess = spawn(process.execPath, [join(directory, 'dist/start.mjs')], {
    cwd: directory,
    env: {
      PATH: dirname(process.execPath),
      NODE_ENV: 'production',
      NODE_OPTIONS: `--import "data:text/javascript,${encodeURIComponent(tellsItsPeak)}"`,
      FUNCTION_TARGET: target,
      FUNCTION_SIGNATURE_TYPE: 'http',
      FUNCTION_SOURCE: join(directory, 'dist/index.mjs'),
      PORT: String(port),
      CLUSTERS: 'projects/ml-prod/locations/us-central1/clusters/train',
      ...credentials,
    },
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  while (!(await fetch(`http://127.0.0.1:${port}/robots.txt`).catch(() => undefined))) {
    if (child.exitCode !== null) throw new Error(`${target} did not start`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return {
    port,
    async peakBytes() {
      const told = once(child, 'message') as Promise<[number]>;
      child.kill('SIGUSR2');
      return (await told)[0];
    },
    async stop() {
      if (child.exitCode !== null) return;
      child.kill('SIGKILL');
      await once(child, 'exit');
    },
  };
}
