import { expect } from 'chai';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { RbacCluster } from './rbac-cluster.ts';
import type { KubernetesObject } from './rbac-cluster.ts';
import { needs, root, run } from './run.ts';
import { serveSchemaProviders } from './schema-providers.ts';

const email = 'autometric-failover@my-project.iam.gserviceaccount.com';
const uniqueId = '100000000000000000001';

/** The real terraform with the module alone, in a simulated cluster. */
async function withModule(
  lines: string,
  use: (
    cluster: RbacCluster,
    terraform: (...args: string[]) => Promise<{ code: number | null; text: string }>,
  ) => Promise<void>,
): Promise<void> {
  const cluster = new RbacCluster();
  const providers = await serveSchemaProviders(cluster);
  const directory = await mkdtemp(join(tmpdir(), 'rbac-'));
  try {
    const path = relative(directory, join(root, 'terraform/modules/rbac'));
    const given = `email = "${email}"\n  unique_id = "${uniqueId}"\n  ${lines}`;
    await writeFile(join(directory, 'main.tf'), `module "rbac" {\n  source = "${path}"\n  ${given}\n}\n`);
    const env = { ...providers.environment, TF_CLI_CONFIG_FILE: '/dev/null', CHECKPOINT_DISABLE: '1' };
    const terraform = async (...args: string[]) => {
      const { code, stdout, stderr } = await run('terraform', [...args, '-no-color'], {
        cwd: directory,
        env,
      });
      return { code, text: `${stdout}${stderr}` };
    };
    const initialized = await terraform('init', '-input=false');
    expect(initialized.code, initialized.text).to.equal(0);
    await use(cluster, terraform);
  } finally {
    providers.close();
    await rm(directory, { recursive: true, force: true });
  }
}

async function rendered(namespaces: string, ...more: string[]): Promise<KubernetesObject[]> {
  const args = ['--email', email, '--unique-id', uniqueId, '--namespaces', namespaces, ...more];
  const { stdout } = await run('deploy/rbac.sh', args);
  return parseAllDocuments(stdout).map((document) => document.toJS() as KubernetesObject);
}

/** The lists in the order of their names: Terraform keeps sets. */
const inOrder = ({ rules, ...object }: KubernetesObject): object => ({
  ...object,
  ...(rules && {
    rules: rules.map(({ apiGroups, resources, verbs }) => ({
      apiGroups: apiGroups.toSorted(),
      resources: resources.toSorted(),
      verbs: verbs.toSorted(),
    })),
  }),
});

// F-247: who keeps clusters in Terraform had to copy the RBAC, and the copy grew old.
describe('the module rbac, by the real terraform', function () {
  this.timeout(1_500_000);
  before(function () {
    needs(this, 'terraform', 'kubectl');
  });

  it('makes what deploy/rbac.sh prints, then nothing more, and takes all of it away again', async () => {
    await withModule('namespaces = ["default", "research"]', async (cluster, terraform) => {
      const applied = await terraform('apply', '-auto-approve', '-input=false');
      expect(applied.code, applied.text).to.equal(0);
      const expected = await rendered('default,research');
      expect(expected).to.have.lengthOf.at.least(12);
      expect(cluster.objects.map((object) => inOrder(object))).to.have.deep.members(
        expected.map((object) => inOrder(object)),
      );
      const planned = await terraform('plan', '-detailed-exitcode', '-input=false');
      expect(planned.code, planned.text).to.equal(0);
      const destroyed = await terraform('destroy', '-auto-approve', '-input=false');
      expect(destroyed.code, destroyed.text).to.equal(0);
      expect(cluster.objects).to.deep.equal([]);
    });
  });

  it('leaves out the Lease, whose kind of resource needs the cluster during the plan', async () => {
    await withModule('create_lease = false', async (cluster, terraform) => {
      const applied = await terraform('apply', '-auto-approve', '-input=false');
      expect(applied.code, applied.text).to.equal(0);
      const expected = (await rendered('default')).filter(({ kind }) => kind !== 'Lease');
      expect(cluster.objects.map((object) => inOrder(object))).to.have.deep.members(
        expected.map((object) => inOrder(object)),
      );
    });
  });

  it('lets it make Jobs for tests only where that is wanted', async () => {
    await withModule('acceptance = true', async (cluster, terraform) => {
      const applied = await terraform('apply', '-auto-approve', '-input=false');
      expect(applied.code, applied.text).to.equal(0);
      const expected = await rendered('default', '--acceptance');
      expect(expected).to.have.lengthOf((await rendered('default')).length + 2);
      expect(cluster.objects.map((object) => inOrder(object))).to.have.deep.members(
        expected.map((object) => inOrder(object)),
      );
    });
  });

  for (const [what, lines, message] of [
    ['no namespace', 'namespaces = []', /List at least one namespace/],
    ['a namespace that is a path', 'namespaces = ["../x"]', /List at least one namespace/],
  ] as const) {
    it(`refuses ${what}`, async () => {
      await withModule(lines, async (_cluster, terraform) => {
        const { code, text } = await terraform('plan', '-input=false');
        expect(code).to.equal(1);
        expect(text).to.match(message);
      });
    });
  }
});
