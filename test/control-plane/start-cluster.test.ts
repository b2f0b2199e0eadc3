import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { eventually } from './eventually.ts';
import { startOrSkip } from './start-or-skip.ts';

describe('npm run start:cluster', function () {
  before(async function () {
    await (await startOrSkip(this, 'npm run start:cluster')).stop();
  });

  it('prints lines that work when they are pasted, and leaves nothing behind', async () => {
    const child = spawn(process.execPath, [join(import.meta.dirname, 'start.ts')], {
      env: { ...process.env, PORT: '0' },
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    try {
      let printed = '';
      child.stdout.setEncoding('utf8').on('data', (text: string) => (printed += text));
      const pasted = await eventually(
        'it is up',
        () => /To paste:\n\n([^]+?)\n\nThe function's log/.exec(printed)?.[1],
        { timeoutMs: 120_000 },
      );
      const { stdout } = await promisify(execFile)('bash', ['-euc', pasted]);
      expect(stdout).to.match(/gke-tpu-\S+ +Ready .* slice-a\n/);
      expect(stdout).to.match(/pod\/train-workers-0-0-\S+ +1\/1 +Running/);
      expect(stdout).to.match(/^cluster /m);
      expect(stdout).to.include('"outcome":"would_restart"').and.include('"outcome":"restarted"');
      expect(stdout).to.match(/^node\/gke-tpu-\S+ patched$/m);
      expect(stdout).to.include('"step":"repair"').and.include('"step":"uncordon"');
      await eventually('the log follows', () => /"dry_run":true/.test(printed));

      const kubeconfig = /KUBECONFIG=(\S+)/.exec(pasted)?.[1] ?? '';
      expect(existsSync(kubeconfig)).to.equal(true);
      child.kill('SIGINT');
      expect((await once(child, 'exit'))[0]).to.equal(0);
      expect(existsSync(kubeconfig)).to.equal(false);
    } finally {
      child.kill('SIGKILL');
    }
  });

  it('says that its function has ended, ends too, and leaves nothing behind', async () => {
    const child = spawn(process.execPath, [join(import.meta.dirname, 'start.ts')], {
      env: { ...process.env, PORT: '0' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    try {
      let printed = '';
      for (const stream of [child.stdout, child.stderr]) {
        stream.setEncoding('utf8').on('data', (text: string) => (printed += text));
      }
      const kubeconfig = await eventually('it is up', () => /KUBECONFIG=(\S+)/.exec(printed)?.[1], {
        timeoutMs: 120_000,
      });
      const { stdout } = await promisify(execFile)('pgrep', [
        '-P',
        String(child.pid),
        '-f',
        'local-function.ts',
      ]);
      const closed = once(child, 'close');
      process.kill(Number(stdout), 'SIGKILL');
      expect(await closed).to.deep.equal([1, null]);
      expect(printed).to.match(/^the function ended \(SIGKILL\)$/m);
      expect(existsSync(kubeconfig)).to.equal(false);
    } finally {
      child.kill('SIGKILL');
    }
  });
});
