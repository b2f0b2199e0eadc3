import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { expect } from 'chai';
import { findFreePort } from '../fixtures/free-port.ts';

const root = join(import.meta.dirname, '../..');

describe('the function on the machine of a developer', function () {
  let child: ChildProcess | undefined;

  afterEach(() => child?.kill('SIGKILL'));

  // F-130: a function without authentication, with the admin's kubeconfig, listened on every interface.
  it('listens on the loopback interface only, and says where', async () => {
    const port = await findFreePort();
    const started = spawn(process.execPath, ['test/fixtures/local-function.ts'], {
      cwd: root,
      env: {
        ...process.env,
        CLUSTERS: 'projects/local/locations/local/clusters/kind',
        KUBECONFIG_CONTEXT: 'kind-failover',
        PORT: String(port),
      },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    child = started;
    const [output] = (await once(started.stdout.setEncoding('utf8'), 'data')) as [string];
    expect(output).to.equal(`the function listens on http://127.0.0.1:${port}\n`);
    expect((await fetch(`http://127.0.0.1:${port}/robots.txt`)).status).to.equal(404);
    // Where something listens on all interfaces, its port is taken on each of them.
    const other = createServer().listen(port, '127.0.0.2');
    await once(other, 'listening');
    other.close();
  });

  it('is started so by the page about kind', async () => {
    const page = await readFile(join(root, 'deploy/examples/kind/README.md'), 'utf8');
    const commands = [...page.matchAll(/```sh\n([^]*?)```/g)].map(([, block = '']) => block).join('\n');
    expect(commands).to.include('npx node test/fixtures/local-function.ts');
    expect(commands).not.to.match(/functions-framework|npm start/);
  });
});
