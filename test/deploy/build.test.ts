import { expect } from 'chai';
import { copyFile, mkdir, mkdtemp, readFile, realpath, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { compileAhead } from '../../deploy/build-compile-ahead.ts';
import { onEmulatedGke } from './emulated-gke.ts';
import { root, run } from './run.ts';
import { uploadList } from './upload-list.ts';

describe('compileAhead', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'compile-ahead-'));
    await writeFile(join(directory, 'index.mjs'), '');
  });
  afterEach(() => rm(directory, { recursive: true }));

  /** Stands for a Node of another version, which cannot run the bundle. */
  async function createNode(version: string): Promise<string> {
    const path = join(directory, 'node');
    const stack =
      'file:///index.mjs:1\nimport x\n       ^\nSyntaxError: no export named x\n    at link (node:internal)';
    const script = `#!/bin/sh\n[ "$1" != --version ] || { echo ${version}; exit; }\nprintf '%s\\n' '${stack}' >&2\nexit 1\n`;
    await writeFile(path, script, { mode: 0o755 });
    return path;
  }

  it('says in one line that a Node is too old', async () => {
    for (const version of ['v20.20.2', 'v22.17.9']) {
      expect(compileAhead(directory, await createNode(version))).to.equal(
        `not compiled ahead for node ${version} (needs 22.18)`,
      );
    }
  });

  it('says in one line why another Node cannot load the bundle', async () => {
    expect(compileAhead(directory, await createNode('v22.18.0'))).to.equal(
      'not compiled ahead for node v22.18.0: SyntaxError: no export named x',
    );
  });
});

interface PackageJson {
  main: string;
  dependencies: Record<string, string>;
}

/** Does what the buildpack for Node.js does with the upload, but takes the installed packages instead of a download. */
describe('the uploaded sources', function () {
  this.timeout(120_000);
  let directory: string;
  let packageJson: PackageJson;

  before(async () => {
    packageJson = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as PackageJson;
    directory = await mkdtemp(join(tmpdir(), 'buildpack-'));
    for (const name of await uploadList()) {
      await mkdir(dirname(join(directory, name)), { recursive: true });
      await copyFile(join(root, name), join(directory, name));
    }
    // A copy, not links, because npm prune writes into the folder.
    await run('cp', ['-a', join(root, 'node_modules'), directory]);
  });
  after(async () => {
    if (directory) await rm(directory, { recursive: true, force: true });
  });

  const npm = (...args: string[]) => run('npm', args, { cwd: directory, env: { NODE_ENV: 'development' } });

  it('builds with gcp-build and the development packages', async () => {
    const { code, stdout, stderr } = await npm('run', 'gcp-build');
    expect(code, stdout + stderr).to.equal(0);
  });

  it('has a main file after the build, and Node can parse it', async () => {
    const { code, stderr } = await run(process.execPath, ['--check', join(directory, packageJson.main)]);
    expect(code, stderr).to.equal(0);
  });

  it('runs with the production packages only', async () => {
    const pruned = await npm('prune', '--omit=dev', '--offline', '--no-audit');
    expect(pruned.code, pruned.stderr).to.equal(0);
    const action = { type: 'cordon_nodepool', node_pool: 'slice-a', requestor: 'me', reason: 'ICI errors' };
    // npm prune may make the links of packages anew.
    const command = join(directory, 'node_modules/.bin/functions-framework');
    expect(await realpath(command)).to.equal(join(await realpath(directory), 'dist/start.mjs'));
    expect((await stat(command)).mode & 0o111).to.equal(0o111);
    await onEmulatedGke(
      async ({ cluster, post, deployed }) => {
        const response = await post('/actions', action);
        expect(await response.json()).to.have.nested.property('steps[0].cordoned', 16);
        expect(cluster.nodes().filter(({ spec }) => spec?.unschedulable)).to.have.lengthOf(16);
        expect(deployed.lines().join('\n')).not.to.include('compile cache was not used');
      },
      { directory },
    );
  });

  it('names the framework, because the buildpack would add an old version', () => {
    expect(packageJson.dependencies).to.have.property('@google-cloud/functions-framework');
  });
});
