import { expect } from 'chai';
import { access, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { parseLoggingQuery } from './logging-query.ts';
import { needs, root, run } from './run.ts';

const pages = ['deploy/troubleshooting.md', 'deploy/examples/kind/README.md', 'terraform/README.md'];
const read = (path: string) => readFile(join(root, path), 'utf8');

describe('the troubleshooting page', () => {
  it('explains every code that the function answers', async () => {
    const page = await read('deploy/troubleshooting.md');
    const [, statuses = ''] = /const statusOfCode = \{(.+?)\}/s.exec(await read('src/errors.ts')) ?? [];
    const codes = [...statuses.matchAll(/^ {2}(\w+):/gm)].map(([, code]) => code ?? '');
    expect(codes).to.have.lengthOf.at.least(20);
    expect(codes.filter((code) => !page.includes(`\`${code}\``))).to.deep.equal([]);
  });

  it('has queries that Logs Explorer can read', async () => {
    const page = await read('deploy/troubleshooting.md');
    const blocks = page.matchAll(/^( *)```(\w*)\n(.*?)\n\1```$/gms);
    const queries = [...blocks].flatMap(([, , language, text = '']) => (language === '' ? [text] : []));
    expect(queries).to.have.lengthOf.at.least(10);
    for (const query of queries) expect(() => parseLoggingQuery(query), query).not.to.throw();
  });

  it('names fields that the function writes', async () => {
    const page = await read('deploy/troubleshooting.md');
    const sources = await readdir(join(root, 'src'), { recursive: true });
    const files = sources.filter((name) => name.endsWith('.ts'));
    const source = (await Promise.all(files.map((name) => read(`src/${name}`)))).join('\n');
    const fields = new Set([...page.matchAll(/jsonPayload\.([a-z_]+)/g)].map(([, field]) => field ?? ''));
    expect(fields.size).to.be.at.least(8);
    for (const field of fields) expect(source, field).to.match(new RegExp(`\\b${field}\\b`));
  });

  it('names the annotations that the function reads', async () => {
    const page = await read('deploy/troubleshooting.md');
    const used = new Set(
      [...page.matchAll(/autometric-failover\/([a-z-]+[a-z])/g)].map(([, key]) => key ?? ''),
    );
    used.delete('issues');
    const source = await read('src/state/switches.ts');
    expect([...used].toSorted()).to.deep.equal(['override-until', 'paused']);
    for (const key of used) expect(source).to.include(`\${prefix}${key}`);
  });
});

describe('the pages', function () {
  this.timeout(60_000);

  it('name files that are there', async () => {
    const missing: string[] = [];
    for (const page of pages) {
      const text = await read(page);
      const links = [...text.matchAll(/\]\(([\w./-]+)\)/g)].map(([, link]) =>
        join(dirname(page), link ?? ''),
      );
      const named = [...text.matchAll(/\b((?:deploy|terraform|test)\/[\w./-]+\.\w+)/g)].map(
        ([, path]) => path ?? '',
      );
      for (const path of [...links, ...named]) {
        await access(join(root, path)).catch(() => missing.push(`${page}: ${path}`));
      }
    }
    expect(missing).to.deep.equal([]);
  });

  it('have gcloud lines that gcloud understands', async function () {
    needs(this, 'gcloud');
    const commands: string[] = [];
    for (const page of pages) {
      const text = await read(page);
      commands.push(
        ...[...text.matchAll(/^ *(gcloud .+)$|`(gcloud [^`]+)`/gm)].map(
          ([, line, inline]) => line ?? inline ?? '',
        ),
      );
    }
    const complete = commands
      .filter((command) => command.includes(' --'))
      .map((command) => command.replace("'QUERY'", '"severity=ERROR"').replaceAll('PROJECT', 'my-project'));
    expect(complete).to.have.lengthOf.at.least(4);
    const directory = await mkdtemp(join(tmpdir(), 'lint-'));
    try {
      const file = join(directory, 'commands.json');
      await writeFile(file, JSON.stringify(complete.map((command) => ({ command_string: command }))));
      const { stdout, stderr } = await run(
        'gcloud',
        ['meta', 'lint-gcloud-commands', `--commands-file=${file}`],
        {
          env: { CLOUDSDK_CONFIG: directory, CLOUDSDK_CORE_DISABLE_PROMPTS: '1' },
        },
      );
      const results = JSON.parse(stdout || '[]') as {
        command_string: string;
        success: boolean;
        error_message: string;
      }[];
      expect(results, stderr).to.have.lengthOf(complete.length);
      expect(
        results.filter(({ success }) => !success).map((r) => `${r.command_string}: ${r.error_message}`),
      ).to.deep.equal([]);
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});

describe("the module's README", () => {
  it('lists the inputs and outputs as the .tf files have them', async () => {
    const path = join(root, 'terraform/README.md');
    const readme = await readFile(path, 'utf8');
    const written = readme.replace(/(?<=test:deploy -->\n).*(?=<!-- end -->)/s, await describeModule());
    // Formatting is not ours to change in passing: only where a person asks for it.
    if (process.env['UPDATE_README']) await writeFile(path, written);
    else expect(readme, 'UPDATE_README=1 npm run test:deploy writes it').to.equal(written);
  });
});

async function describeModule(): Promise<string> {
  const variables = (await read('terraform/variables.tf')) + (await read('terraform/variables-alerts.tf'));
  const inputs = blocksOf('variable', variables).map(({ name, body }) => {
    const fallback = /^ {2}default\s+= (.+)$/m.exec(body)?.[1];
    return `| \`${name}\` | ${descriptionOf(body)} | \`${typeOf(body)}\` | ${fallback === undefined ? '**required**' : `\`${fallback}\``} |`;
  });
  const outputs = blocksOf('output', await read('terraform/outputs.tf')).map(
    ({ name, body }) => `| \`${name}\` | ${descriptionOf(body)} |`,
  );
  return [
    '## Inputs\n',
    '| name | description | type | default |\n|---|---|---|---|',
    ...inputs.toSorted((a, b) => Number(b.includes('**required**')) - Number(a.includes('**required**'))),
    '\n## Outputs\n',
    '| name | description |\n|---|---|',
    ...outputs,
    '',
  ].join('\n');
}

function blocksOf(kind: string, text: string): { name: string; body: string }[] {
  const blocks = text.matchAll(new RegExp(`^${kind} "(\\w+)" \\{\n(.+?)^\\}`, 'gms'));
  return [...blocks].map(([, name = '', body = '']) => ({ name, body }));
}

function descriptionOf(body: string): string {
  const [, description] = /^ {2}description\s+= "(.+)"$/m.exec(body) ?? [];
  if (!description) throw new Error(`no description in ${body}`);
  return description.replaceAll('\\"', '"').replaceAll('|', '\\|');
}

function typeOf(body: string): string {
  const [, type = ''] = /^ {2}type\s+= (.+)$/m.exec(body) ?? [];
  return type.replace(/\(\{$/, '(…)').replace(/\(object\(…\)$/, '(object(…))');
}
