import { expect } from 'chai';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { needs, root, run } from './run.ts';

describe('the shell scripts', () => {
  it('pass shellcheck', async function () {
    needs(this, 'shellcheck');
    const files = await readdir(join(root, 'deploy'), { recursive: true });
    const scripts = files.filter((name) => name.endsWith('.sh')).map((name) => `deploy/${name}`);
    expect(scripts).to.include.members(['deploy/deploy.sh', 'deploy/rbac.sh']);
    const { code, stdout } = await run('shellcheck', scripts);
    expect(code, stdout).to.equal(0);
  });

  const scripts = [
    'deploy/deploy.sh',
    'deploy/rbac.sh',
    'deploy/examples/call-with-curl.sh',
    'deploy/examples/call-with-gcloud.sh',
  ];
  for (const script of scripts) {
    for (const option of ['--help', '-h']) {
      it(`${script} ${option} prints how to use it`, async () => {
        const { code, stdout } = await run(script, [option]);
        expect(code).to.equal(0);
        expect(stdout).to.match(new RegExp(`^Usage: ${script} `));
      });
    }
  }

  for (const [name, needed] of [
    ['call-with-curl.sh', 'curl'],
    ['call-with-gcloud.sh', 'jq'],
  ] as const) {
    const script = `deploy/examples/${name}`;
    for (const given of [[], ['my-project', 'us-central1', 'autometric-failover']]) {
      it(`${script} with ${given.length} arguments prints how to use it, and fails`, async () => {
        const { code, stdout, stderr } = await run(script, given);
        expect({ code, stdout }).to.deep.equal({ code: 2, stdout: '' });
        expect(stderr).to.match(new RegExp(`^Usage: ${script} PROJECT REGION FUNCTION ACTION_FILE\n`));
        expect(stderr).to.include(`gcloud and ${needed}`);
      });
    }

    it(`${script} says which program is missing`, async () => {
      const directory = await mkdtemp(join(tmpdir(), 'path-'));
      try {
        await writeFile(join(directory, 'gcloud'), '#!/bin/sh\n', { mode: 0o755 });
        const given = [
          'my-project',
          'us-central1',
          'autometric-failover',
          'deploy/examples/actions/cordon.json',
        ];
        const result = await run('/bin/bash', [script, ...given], { env: { PATH: directory } });
        expect(result).to.deep.equal({
          code: 1,
          stdout: '',
          stderr: `${name}: ${needed} is not installed\n`,
        });
      } finally {
        await rm(directory, { recursive: true });
      }
    });
  }
});
