import { expect } from 'chai';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { FreshProject } from './fresh-project.ts';
import { needs, root, run } from './run.ts';
import { serveSchemaProviders } from './schema-providers.ts';

const examples = readdirSync(join(root, 'terraform/examples'));
const moduleSource = /^( *)source *= "\.\.\/\.\."$/m;

interface Applied {
  project: FreshProject;
  terraform: (...args: string[]) => Promise<{ code: number | null; text: string }>;
  /** Adds a line to the module's arguments. */
  set: (line: string) => Promise<void>;
}

/** An example in a folder of its own, with the real terraform and a project in which nothing was ever made. */
async function inFreshProject(example: string, use: (applied: Applied) => Promise<void>): Promise<void> {
  const project = new FreshProject();
  const providers = await serveSchemaProviders(project);
  const directory = await mkdtemp(join(tmpdir(), 'apply-'));
  try {
    for (const name of await readdir(join(root, 'terraform/examples', example))) {
      if (!name.endsWith('.tf')) continue;
      const text = await readFile(join(root, 'terraform/examples', example, name), 'utf8');
      // A relative path is used in place; an absolute one would be copied without the repository around it.
      const path = relative(directory, join(root, 'terraform'));
      await writeFile(join(directory, name), text.replace(moduleSource, `$1source = "${path}"`));
    }
    const env = {
      ...providers.environment,
      TF_CLI_CONFIG_FILE: '/dev/null',
      CHECKPOINT_DISABLE: '1',
      TF_IN_AUTOMATION: '1',
      TF_VAR_webhook_password: 'a password of some length',
    };
    const terraform: Applied['terraform'] = async (...args) => {
      const { code, stdout, stderr } = await run('terraform', [...args, '-no-color'], {
        cwd: directory,
        env,
      });
      return { code, text: `${stdout}${stderr}` };
    };
    const path = join(directory, 'main.tf');
    const set = async (line: string) => {
      const text = await readFile(path, 'utf8');
      await writeFile(path, text.replace(/^( *)source *= .*\/terraform"$/m, `$&\n  ${line}`));
    };
    const initialized = await terraform('init', '-input=false');
    expect(initialized.code, initialized.text).to.equal(0);
    await use({ project, terraform, set });
  } finally {
    providers.close();
    await rm(directory, { recursive: true, force: true });
  }
}

describe('each example, by the real terraform in a fresh project that is late where Google is', function () {
  this.timeout(300_000);
  before(function () {
    needs(this, 'terraform');
  });

  for (const example of examples) {
    it(`${example}: one apply, no change, one change, no change, and nothing is left`, async () => {
      await inFreshProject(example, async ({ project, terraform, set }) => {
        const applied = await terraform('apply', '-auto-approve', '-input=false');
        expect(applied.code, applied.text).to.equal(0);
        expect(project.refusals).to.deep.equal([]);
        expect([...project.resources.values()].map(({ type }) => type)).to.include.members([
          'google_cloudfunctions2_function',
          'google_monitoring_dashboard',
        ]);
        const expectNoChange = async () => {
          const planned = await terraform('plan', '-detailed-exitcode', '-input=false');
          expect(planned.code, planned.text).to.equal(0);
        };
        await expectNoChange();
        await set('cooldown_seconds = 7200');
        const changed = await terraform('apply', '-auto-approve', '-input=false');
        expect(changed.text).to.match(/Apply complete! Resources: 0 added, [1-9]\d* changed, 0 destroyed/);
        await expectNoChange();
        const destroyed = await terraform('destroy', '-auto-approve', '-input=false');
        expect(destroyed.code, destroyed.text).to.equal(0);
        expect([...project.resources.keys()]).to.deep.equal([]);
      });
    });
  }

  it('is late enough to be seen: without the waits the first apply fails', async () => {
    await inFreshProject('alerts', async ({ project, terraform, set }) => {
      await set('propagation_seconds = 0');
      const applied = await terraform('apply', '-auto-approve', '-input=false');
      expect(applied.code).to.equal(1);
      expect(project.refusals.join('\n')).to.match(/has not been used|does not exist|missing permission/);
    });
  });
});
