import { expect } from 'chai';
import { readdirSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { withFreshTerraform } from './fresh-terraform.ts';
import type { FreshTerraform } from './fresh-terraform.ts';
import { needs, root } from './run.ts';

const examples = readdirSync(join(root, 'terraform/examples'));
/** An example, in a project in which nothing was ever made. */
async function inFreshProject(
  example: string,
  use: (applied: FreshTerraform) => Promise<void>,
): Promise<void> {
  const folder = join(root, 'terraform/examples', example);
  const names = (await readdir(folder)).filter((name) => name.endsWith('.tf'));
  const texts = await Promise.all(names.map((name) => readFile(join(folder, name), 'utf8')));
  const files = Object.fromEntries(names.map((name, i) => [name, texts[i] ?? '']));
  await withFreshTerraform(files, async (applied) => {
    const initialized = await applied.terraform('init', '-input=false');
    expect(initialized.code, initialized.text).to.equal(0);
    await use(applied);
  });
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
