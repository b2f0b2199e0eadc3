import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { buildFunction } from '../../deploy/build.ts';
import { Emulator } from '../emulator/emulator.ts';
import { createDemoWorld, demoCluster } from '../emulator/scenario.ts';
import { serveEmulator } from '../emulator/server.ts';
import type { EmulatorServer } from '../emulator/server.ts';
import { findFreePort } from '../fixtures/free-port.ts';

const root = join(import.meta.dirname, '../..');

/** Tells which parts of the function's file have run, when it is asked. */
const hook = `globalThis.ran = []; process.on('message', () => process.send(globalThis.ran));`;

/** A part of the file runs when it is first imported. */
const part = (module: string) => `"${module}"(){`;
const page = 'src/page/page.ts';

describe('the built function', function () {
  let directory: string;
  let server: EmulatorServer;
  let child: ChildProcess;

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'page-'));
    symlinkSync(join(root, 'node_modules'), join(directory, 'node_modules'));
    await buildFunction(join(directory, 'dist'), () => undefined);
    const emulator = new Emulator();
    createDemoWorld(emulator);
    server = await serveEmulator(emulator);
  });

  after(async () => {
    child.kill('SIGKILL');
    await server.close();
    rmSync(directory, { recursive: true });
  });

  it('runs what makes pages for the first browser, and not for an action', async () => {
    const [name = ''] = readdirSync(join(directory, 'dist')).filter((each) => each.endsWith('.cjs'));
    let code = readFileSync(join(directory, 'dist', name), 'utf8');
    expect(code.split(part(page))).to.have.length(2);
    code = code.replace(part(page), `${part(page)}globalThis.ran.push("${page}");`);
    writeFileSync(join(directory, 'dist', name), code);
    const url = await start();

    const action = { requestor: 'alice', reason: 'ECC errors', node_pool: 'slice-a', jobset_name: 'train' };
    for (const type of ['cordon_nodepool_and_restart_jobset', 'repair_nodepool', 'list_actions']) {
      const body = type === 'list_actions' ? { type } : { ...action, type };
      const headers = { 'Content-Type': 'application/json', Accept: 'text/html' };
      const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) });
      expect(response.status, await response.text()).to.equal(200);
    }
    expect((await fetch(`${url}/status`)).status).to.equal(200);
    expect(await ranSoFar()).to.deep.equal([]);

    const shown = await fetch(url, { headers: { Accept: 'text/html' } });
    expect(shown.status).to.equal(200);
    expect(await shown.text()).to.match(/<h1>\s*Cluster demo\s*<\/h1>/);
    expect(await ranSoFar()).to.deep.equal([page]);
  });

  async function ranSoFar(): Promise<string[]> {
    child.send('which?');
    const [ran] = (await once(child, 'message')) as [string[]];
    return ran;
  }

  async function start(): Promise<string> {
    const port = await findFreePort();
    child = spawn(process.execPath, [join(directory, 'dist/start.mjs')], {
      cwd: directory,
      env: {
        PATH: dirname(process.execPath),
        NODE_ENV: 'production',
        NODE_OPTIONS: `--import "data:text/javascript,${encodeURIComponent(hook)}"`,
        ...server.environment,
        FUNCTION_TARGET: 'failover',
        FUNCTION_SIGNATURE_TYPE: 'http',
        FUNCTION_SOURCE: join(directory, 'dist/index.mjs'),
        PORT: String(port),
        CLUSTERS: demoCluster,
      },
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    const url = `http://127.0.0.1:${port}`;
    while (!(await fetch(`${url}/robots.txt`).catch(() => undefined))) {
      if (child.exitCode !== null) throw new Error('the function did not start');
      await Promise.race([once(child, 'exit'), sleep(20)]);
    }
    return url;
  }
});
