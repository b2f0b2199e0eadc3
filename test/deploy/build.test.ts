import { expect } from 'chai';
import { copyFile, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { onEmulatedGke } from './emulated-gke.ts';
import { root, run } from './run.ts';
import { uploadList } from './upload-list.ts';

interface PackageJson {
  main: string;
  dependencies: Record<string, string>;
}

/** What the buildpack for Node.js does with what is uploaded, but for the download of packages: those installed are taken. */
describe('what is uploaded', function () {
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
    // A copy and no links: npm writes into what it prunes.
    await run('cp', ['-a', join(root, 'node_modules'), directory]);
  });
  after(async () => {
    if (directory) await rm(directory, { recursive: true, force: true });
  });

  const npm = (...args: string[]) => run('npm', args, { cwd: directory, env: { NODE_ENV: 'development' } });

  it('is built by gcp-build, with the packages for development', async () => {
    const { code, stdout, stderr } = await npm('run', 'gcp-build');
    expect(code, stdout + stderr).to.equal(0);
  });

  it('has its main file after the build, which Node takes', async () => {
    const { code, stderr } = await run(process.execPath, ['--check', join(directory, packageJson.main)]);
    expect(code, stderr).to.equal(0);
  });

  it('runs with the packages for production alone', async () => {
    const pruned = await npm('prune', '--omit=dev', '--offline', '--no-audit');
    expect(pruned.code, pruned.stderr).to.equal(0);
    const action = { type: 'cordon_nodepool', node_pool: 'slice-a', requestor: 'me', reason: 'ICI errors' };
    await onEmulatedGke(
      async ({ cluster, post }) => {
        const response = await post('/actions', action);
        expect(await response.json()).to.have.nested.property('steps[0].cordoned', 16);
        expect(cluster.nodes().filter(({ spec }) => spec?.unschedulable)).to.have.lengthOf(16);
      },
      { directory },
    );
  });

  it('names the framework, which the buildpack would put in at an old version', () => {
    expect(packageJson.dependencies).to.have.property('@google-cloud/functions-framework');
  });
});
