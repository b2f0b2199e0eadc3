import { expect } from 'chai';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onEmulatedGke } from './emulated-gke.ts';
import { withFreshTerraform } from './fresh-terraform.ts';
import { serveGoogleCloud } from './google-cloud.ts';
import { parseLoggingQuery } from './logging-query.ts';
import { isInstalled, needs, root, run } from './run.ts';

interface CodeBlock {
  section: string;
  language: string;
  text: string;
}

/** The code of docs/deploy.md, each block with the heading that it is under. */
async function readBlocks(): Promise<CodeBlock[]> {
  const page = await readFile(join(root, 'docs/deploy.md'), 'utf8');
  const blocks: CodeBlock[] = [];
  let section = '';
  for (const [, heading, language = '', text = ''] of page.matchAll(/^##+ (.+)$|^```(\w*)\n([^]*?)^```$/gm)) {
    if (heading !== undefined) section = heading;
    else blocks.push({ section, language, text });
  }
  return blocks;
}

const isOfTerraform = ({ text }: CodeBlock) => text.startsWith('terraform ');

describe('docs/deploy.md, with Terraform', function () {
  this.timeout(300_000);
  before(function () {
    needs(this, 'terraform');
  });

  it('deploys, upgrades and removes, command by command', async () => {
    const blocks = await readBlocks();
    const configuration = blocks.find(({ language }) => language === 'hcl')?.text ?? '';
    const commands = blocks.filter((block) => block.language === 'sh' && isOfTerraform(block));
    expect(commands.map(({ text }) => text.trim().split('\n'))).to.deep.equal([
      ['terraform init', 'terraform apply'],
      ['terraform output -raw rbac_command'],
      ['terraform init -upgrade', 'terraform apply'],
      ['terraform destroy'],
    ]);
    await withFreshTerraform({ 'main.tf': configuration }, async ({ project, directory, env }) => {
      const answers = { TF_CLI_ARGS_apply: '-auto-approve', TF_CLI_ARGS_destroy: '-auto-approve' };
      const outputs: string[] = [];
      for (const { text } of commands) {
        const result = await run('bash', ['-ec', text], { cwd: directory, env: { ...env, ...answers } });
        expect(result.code, result.stderr).to.equal(0);
        outputs.push(result.stdout);
      }
      expect(outputs[0]).to.match(/Apply complete! Resources: \d+ added, 0 changed, 0 destroyed/);
      expect(outputs[1]).to.match(
        /deploy\/rbac\.sh --email .+ --unique-id \d+ --namespaces default \| kubectl /,
      );
      expect(outputs[2]).to.match(/Resources: 0 added, 0 changed, 0 destroyed/);
      expect([...project.resources.keys()]).to.deep.equal([]);
    });
  });
});

describe('docs/deploy.md, with the script, by the real gcloud', function () {
  this.timeout(300_000);
  before(function () {
    needs(this, 'gcloud', 'kubectl');
  });

  it('deploys, verifies, lets alerts in and removes, command by command', async () => {
    const blocks = (await readBlocks()).filter((block) => block.language === 'sh' && !isOfTerraform(block));
    await onEmulatedGke(async ({ deployed }) => {
      const cloud = await serveGoogleCloud({ functionUri: deployed.url });
      const bin = await writeStubs();
      const outputs = new Map<string, string>();
      const existing = () =>
        [...cloud.resources.keys()].filter(
          (name) => !/ policy$|notificationChannels|alertPolicies/.test(name),
        );
      try {
        for (const { section, text } of blocks) {
          for (const line of text.trim().split('\n')) {
            const proxy = line.startsWith('gcloud functions call')
              ? // A proxy would also get the call of the function.
                {
                  CLOUDSDK_PROXY_TYPE: undefined,
                  CLOUDSDK_PROXY_ADDRESS: undefined,
                  CLOUDSDK_PROXY_PORT: undefined,
                }
              : {};
            const waits = { RETRY_SECONDS: '0', PROPAGATION_SECONDS: '0' };
            const env = { ...cloud.environment, ...proxy, ...waits, PATH: `${bin}:${process.env['PATH']}` };
            const result = await run('bash', ['-o', 'pipefail', '-ec', line], { env });
            expect(result.code, `${line}: ${result.stdout}${result.stderr}`).to.equal(0);
            outputs.set(`${section}: ${line.split(' ').slice(0, 4).join(' ')}`, result.stdout);
          }
          if (section === 'Let alerts in') expect(existing()).to.have.lengthOf.at.least(11);
        }
        expect(existing()).to.deep.equal([]);
        expect(outputs.get('Verify: gcloud functions call autometric-failover')).to.include('would_cordon');
        expect(outputs.get('Verify: gcloud scheduler jobs describe')).to.match(/^ENABLED\t2/);
        const [, query = ''] = /^logging read (.+?) --project/.exec(
          outputs.get('Let alerts in: gcloud logging read \'resource.type="cloud_run_revision"') ?? '',
        ) ?? ['', ''];
        const isShown = parseLoggingQuery(query);
        const entry = (dryRun: boolean) => ({
          severity: 'INFO',
          resource: { type: 'cloud_run_revision', labels: { service_name: 'autometric-failover' } },
          jsonPayload: { outcome: 'done', dry_run: dryRun, channel: 'push' },
        });
        expect([isShown(entry(true)), isShown(entry(false))]).to.deep.equal([true, false]);
      } finally {
        await cloud.close();
        await rm(bin, { recursive: true });
      }
    });
  });
});

/** gcloud logging always goes to Google, and kubectl needs a cluster: of these only the arguments and the input are taken. */
async function writeStubs(): Promise<string> {
  const bin = await mkdtemp(join(tmpdir(), 'bin-'));
  const stub = async (name: string, condition: string, instead: string) => {
    if (!isInstalled(name)) throw new Error(`${name} is not installed`);
    const { stdout: path } = await run('which', [name]);
    const script = `#!/bin/bash\nif [[ ${condition} ]]; then ${instead}; else exec ${path.trim()} "$@"; fi\n`;
    await writeFile(join(bin, name), script);
    await chmod(join(bin, name), 0o755);
  };
  await stub('gcloud', '$1 == logging', 'echo "$@"');
  await stub('kubectl', '$1 == --context', 'grep -q "kind: ClusterRole"');
  return bin;
}
