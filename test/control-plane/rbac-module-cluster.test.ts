import { expect } from 'chai';
import { spawnSync } from 'node:child_process';
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run, root } from '../deploy/run.ts';
import { ControlPlaneUnavailable } from './build-programs.ts';
import type { ControlPlane } from './capabilities.ts';
import { startControlPlane } from './control-plane.ts';
import { renderRights } from './function-rights.ts';
import type { Manifest } from './function-rights.ts';
import { findKubernetesProvider } from './kubernetes-provider.ts';

const names = { email: 'failover@my-project.iam.gserviceaccount.com', uniqueId: '100000000000000000001' };
const suite = 'the module rbac by the real provider, on a real control plane';

describe(suite, function () {
  this.timeout(3_600_000);
  let controlPlane: ControlPlane;
  let directory: string;
  let provider: string;
  before(async function () {
    const skip = (why: string): never => {
      console.log(`  not run: ${suite}: ${why}`);
      return this.skip();
    };
    for (const program of ['terraform', 'kubectl']) {
      if (spawnSync(program, ['version', '--client']).error) skip(`${program} is not installed`);
    }
    const found = await findKubernetesProvider();
    provider = 'missing' in found ? skip(found.missing) : found.directory;
    controlPlane = await startControlPlane({ apiOnly: true }).catch((error: unknown) => {
      if (!(error instanceof ControlPlaneUnavailable)) throw error;
      return skip(error.message);
    });
    directory = await mkdtemp(join(tmpdir(), 'rbac-module-'));
  });
  after(async () => {
    await controlPlane?.stop();
    if (directory) await rm(directory, { recursive: true, force: true });
  });

  /**
   * The module, for the version of the provider that can be had. Its resources have no `_v1` in their names, and it has
   * none for a Lease.
   */
  async function writeModule(): Promise<void> {
    await cp(join(root, 'deploy/rbac'), join(directory, 'deploy/rbac'), { recursive: true });
    const module = join(directory, 'terraform/modules/rbac');
    await cp(join(root, 'terraform/modules/rbac'), module, { recursive: true });
    for (const name of (await readdir(module)).filter((each) => each.endsWith('.tf'))) {
      const text = await readFile(join(module, name), 'utf8');
      const older = text
        .replaceAll(/(kubernetes_\w+)_v1\b/g, '$1')
        .replace(/^resource "kubernetes_manifest" [^]*?^\}\n/m, '')
        .replace(/^ +version = .*\n/m, '');
      await writeFile(join(module, name), older);
    }
    await writeFile(
      join(directory, 'main.tf'),
      `provider "kubernetes" {
  config_path = "${controlPlane.kubeconfigPath}"
}
module "rbac" {
  source     = "./terraform/modules/rbac"
  email      = "${names.email}"
  unique_id  = "${names.uniqueId}"
  namespaces = ["default", "kube-public"]
}
`,
    );
    await writeFile(
      join(directory, 'terraform.rc'),
      `provider_installation {\n  dev_overrides {\n    "hashicorp/kubernetes" = "${provider}"\n  }\n}\n`,
    );
  }

  async function terraform(...args: string[]): Promise<{ code: number | null; text: string }> {
    const env = {
      TF_CLI_CONFIG_FILE: join(directory, 'terraform.rc'),
      CHECKPOINT_DISABLE: '1',
      KUBECONFIG: controlPlane.kubeconfigPath,
    };
    const { code, stdout, stderr } = await run('terraform', [...args, '-no-color'], { cwd: directory, env });
    return { code, text: `${stdout}${stderr}` };
  }

  /** What the API server has of the manifests, with the fields that they name. */
  async function found(manifests: Manifest[]): Promise<Manifest[]> {
    const kubectl = ['--kubeconfig', controlPlane.kubeconfigPath, 'get', '--ignore-not-found', '-o', 'json'];
    const objects: Manifest[] = [];
    for (const { kind, metadata } of manifests) {
      const where = metadata.namespace === undefined ? [] : ['--namespace', metadata.namespace];
      const { stdout } = await run('kubectl', [...kubectl, ...where, kind, metadata.name]);
      if (stdout !== '') objects.push(JSON.parse(stdout) as Manifest);
    }
    return objects;
  }

  it('makes what deploy/rbac.sh prints, changes nothing the second time, and takes it away', async () => {
    await writeModule();
    const manifests = (await renderRights({ ...names, namespaces: ['default', 'kube-public'] })).filter(
      ({ kind }) => kind !== 'Lease',
    );
    // Its modules are put in place; the provider needs no installation.
    await terraform('get');
    const applied = await terraform('apply', '-auto-approve', '-input=false');
    expect(applied.code, applied.text).to.equal(0);
    const made = await found(manifests);
    expect(made.map((object) => toComparable(object))).to.deep.equal(
      manifests.map((manifest) => toComparable(manifest)),
    );
    const planned = await terraform('plan', '-detailed-exitcode', '-input=false');
    expect(planned.code, planned.text).to.equal(0);
    const destroyed = await terraform(
      'destroy',
      '-auto-approve',
      '-input=false',
      '-refresh=false',
      '-target=module.rbac.kubernetes_role_binding.this',
      '-target=module.rbac.kubernetes_role.this',
      '-target=module.rbac.kubernetes_cluster_role.this',
      '-target=module.rbac.kubernetes_cluster_role_binding.this',
    );
    expect(destroyed.code, destroyed.text).to.equal(0);
    // Nothing runs here that would empty a namespace.
    expect((await found(manifests)).map(({ kind }) => kind)).to.deep.equal(['Namespace']);
  });
});

/** The lists in the order of their names, because the provider sorts them, and only what a manifest says. */
function toComparable({ kind, metadata, rules, ...others }: Manifest): object {
  const { roleRef, subjects } = others as { roleRef?: unknown; subjects?: unknown };
  const labels = (metadata as { labels?: Record<string, string> }).labels ?? {};
  return {
    kind,
    name: metadata.name,
    namespace: metadata.namespace,
    label: labels['app.kubernetes.io/name'],
    roleRef,
    subjects,
    rules: rules?.map(({ apiGroups, resources, verbs }) => [
      apiGroups.toSorted(),
      resources.toSorted(),
      verbs.toSorted(),
    ]),
  };
}
