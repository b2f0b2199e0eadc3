import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { FreshProject } from './fresh-project.ts';
import { root, run } from './run.ts';
import { serveSchemaProviders } from './schema-providers.ts';

/** The real terraform on a configuration of its own, and the project that it makes things in. */
export interface FreshTerraform {
  project: FreshProject;
  directory: string;
  env: Record<string, string>;
  terraform: (...args: string[]) => Promise<{ code: number | null; text: string }>;
  /** Adds a line to the module's arguments. */
  set: (line: string) => Promise<void>;
}

/** The module by its path in an example, or from a repository. */
const moduleSource = /^( *)source *= "(?:\.\.\/\.\.|git::.+)"$/m;

/** Writes the files into a folder of their own, with this checkout's module in them. */
export async function withFreshTerraform(
  files: Record<string, string>,
  use: (fresh: FreshTerraform) => Promise<void>,
): Promise<void> {
  const project = new FreshProject();
  const providers = await serveSchemaProviders(project);
  const directory = await mkdtemp(join(tmpdir(), 'apply-'));
  try {
    for (const [name, text] of Object.entries(files)) {
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
    const terraform: FreshTerraform['terraform'] = async (...args) => {
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
    await use({ project, directory, env, terraform, set });
  } finally {
    providers.close();
    await rm(directory, { recursive: true, force: true });
  }
}
