import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { buildFunction } from '../../deploy/build.ts';
import { Emulator } from '../emulator/emulator.ts';
import { createDemoWorld, demoCluster } from '../emulator/scenario.ts';
import { serveEmulator } from '../emulator/server.ts';
import type { EmulatorServer } from '../emulator/server.ts';
import { findFreePort } from '../fixtures/free-port.ts';

const root = join(import.meta.dirname, '../..');

/** What only the page's code has. */
const marks = ['frame-ancestors', 'prefers-color-scheme'];

/** Notes each module that is loaded, and tells them when it is asked. */
const hook = `import { registerHooks } from 'node:module';
const loaded = [];
registerHooks({ load(url, context, next) { loaded.push(url); return next(url, context); } });
process.on('message', () => process.send(loaded));`;

describe('the built function', function () {
  this.timeout(120_000);
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

  it('loads what makes pages for the first browser, and not for an action', async () => {
    const url = await start();
    const inPage = readdirSync(join(directory, 'dist')).filter((name) => {
      if (!name.endsWith('.mjs')) return false;
      const text = readFileSync(join(directory, 'dist', name), 'utf8');
      return marks.some((mark) => text.includes(mark));
    });
    expect(inPage).to.have.length(1);

    const action = { requestor: 'alice', reason: 'ECC errors', node_pool: 'slice-a', jobset_name: 'train' };
    for (const type of ['cordon_nodepool_and_restart_jobset', 'repair_nodepool', 'list_actions']) {
      const body = type === 'list_actions' ? { type } : { ...action, type };
      const headers = { 'Content-Type': 'application/json', Accept: 'text/html' };
      const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) });
      expect(response.status, await response.text()).to.equal(200);
    }
    expect((await fetch(`${url}/status`)).status).to.equal(200);
    const forActions = await loadedSoFar();
    expect(forActions).to.include('index.mjs');
    expect(forActions.filter((name) => inPage.includes(name))).to.deep.equal([]);

    const page = await fetch(url, { headers: { Accept: 'text/html' } });
    expect(page.status).to.equal(200);
    expect(await page.text()).to.match(/<h1>\s*Cluster demo\s*<\/h1>/);
    expect(await loadedSoFar()).to.include.members(inPage);
  });

  /** The names of the files of the bundle that the function has loaded. */
  async function loadedSoFar(): Promise<string[]> {
    child.send('which?');
    const [urls] = (await once(child, 'message')) as [string[]];
    const paths = urls.filter((url) => url.startsWith('file:')).map((url) => fileURLToPath(url));
    return paths.map((path) => path.replace(join(directory, 'dist/'), ''));
  }

  async function start(): Promise<string> {
    const port = await findFreePort();
    child = spawn(join(root, 'node_modules/.bin/functions-framework'), [], {
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
