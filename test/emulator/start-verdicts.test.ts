import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { expect } from 'chai';

type Json = Record<string, unknown>;

const asked = { requestor: 'me', reason: 'trying it' };
const restart = {
  ...asked,
  id: 'try-1',
  type: 'cordon_nodepool_and_restart_jobset',
  jobset_name: 'train',
  node_pool: 'slice-a',
};

// What a user does who tries it: nothing but `npm start` and HTTP. Cloud Scheduler is played by `npm start` itself.
describe('a restart after npm start', function () {
  this.timeout(240_000);
  let child: ChildProcess;

  afterEach(() => child.kill('SIGKILL'));

  async function start(environment: Record<string, string>): Promise<string> {
    child = spawn(process.execPath, [join(import.meta.dirname, 'start.ts')], {
      env: { ...process.env, PORT: '0', ...environment },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let printed = '';
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (printed += text));
    for (;;) {
      const [, url] = /listens on (http:\S+),/.exec(printed) ?? [];
      if (url !== undefined && printed.includes('Ctrl-C ends it')) return url;
      if (child.exitCode !== null) throw new Error(`it has ended: ${printed}`);
      await Promise.race([once(child.stdout ?? child, 'data'), once(child, 'exit')]);
    }
  }

  async function send(url: string, action: Json): Promise<void> {
    const response = await fetch(`${url}/actions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(action),
    });
    expect(response.status, await response.text()).to.equal(200);
  }

  /** The verdict, once the action is settled. */
  async function waitForVerdict(url: string): Promise<Json> {
    for (;;) {
      const response = await fetch(`${url}/actions/try-1?wait=60`);
      const action = (await response.json()) as Json;
      expect(response.status, JSON.stringify(action)).to.equal(200);
      if (action['state'] === 'settled') return action['verdict'] as Json;
    }
  }

  it('has the verdict recovered, with seconds', async () => {
    const url = await start({});
    await send(url, restart);
    const verdict = await waitForVerdict(url);
    expect(verdict).to.include({ verdict: 'recovered', attempt: 1 });
    expect(verdict['seconds']).to.be.a('number');
    expect(verdict['recovered_at']).to.match(/^\d{4}-/);
  });

  it('has the verdict not_recovered with the reason where the spare slice is cordoned', async () => {
    const url = await start({ RECOVERY_TIMEOUT_SECONDS: '60' });
    await send(url, { ...asked, id: 'spare', type: 'cordon_nodepool', node_pool: 'slice-b' });
    await send(url, restart);
    const verdict = await waitForVerdict(url);
    expect(verdict).to.include({ verdict: 'not_recovered', attempt: 1 });
    expect(verdict).not.to.have.property('seconds');
    expect(verdict['why']).to.match(
      /^not within 60 s: 1 of 16 pods are Pending: 0\/\d+ nodes are available: .*\d+ node\(s\) were unschedulable; 15 of 16 pods do not exist$/,
    );
  });
});
