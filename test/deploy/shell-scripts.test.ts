import { expect } from 'chai';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { needs, root, run } from './run.ts';

describe('the shell scripts', () => {
  it('are clean under shellcheck', async function () {
    needs(this, 'shellcheck');
    const files = await readdir(join(root, 'deploy'), { recursive: true });
    const scripts = files.filter((name) => name.endsWith('.sh')).map((name) => `deploy/${name}`);
    expect(scripts).to.include.members(['deploy/deploy.sh', 'deploy/rbac.sh']);
    const { code, stdout } = await run('shellcheck', scripts);
    expect(code, stdout).to.equal(0);
  });

  for (const script of ['deploy/deploy.sh', 'deploy/rbac.sh']) {
    it(`${script} explains itself`, async () => {
      const { code, stdout } = await run(script, ['--help']);
      expect(code).to.equal(0);
      expect(stdout).to.match(new RegExp(`^Usage: ${script} `));
    });
  }
});
