import { expect } from 'chai';
import { access, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseLoggingQuery } from './logging-query.ts';
import { needs, root, run } from './run.ts';

const pages = [
  'README.md',
  'docs/alerts.md',
  'docs/api.md',
  'docs/configuration.md',
  'docs/deploy.md',
  'docs/runbook.md',
  'deploy/examples/kind/README.md',
  'terraform/README.md',
];
const read = (path: string) => readFile(join(root, path), 'utf8');

/** Every source of the function, whichever folder it is in. */
async function readSources(): Promise<string> {
  const names = await readdir(join(root, 'src'), { recursive: true });
  const texts = names.filter((name) => name.endsWith('.ts')).map((name) => read(`src/${name}`));
  return (await Promise.all(texts)).join('\n');
}

for (const name of ['runbook', 'api']) {
  describe(`the page docs/${name}.md`, () => {
    it('explains every code that the function answers', async () => {
      const page = await read(`docs/${name}.md`);
      const [, statuses = ''] = /const statusOfCode = \{(.+?)\}/s.exec(await readSources()) ?? [];
      const codes = [...statuses.matchAll(/^ {2}(\w+): (\d+)/gm)];
      expect(codes).to.have.lengthOf.at.least(20);
      expect(codes.filter(([, code]) => !page.includes(`\`${code}\``))).to.deep.equal([]);
    });
  });
}

describe('the page docs/api.md', () => {
  it('gives each code its status', async () => {
    const page = await read('docs/api.md');
    const [, statuses = ''] = /const statusOfCode = \{(.+?)\}/s.exec(await readSources()) ?? [];
    for (const [, code = '', status = ''] of statuses.matchAll(/^ {2}(\w+): (\d+)/gm)) {
      expect(page, code).to.match(new RegExp(`^\\| ${status} \\|[^|]*\`${code}\``, 'm'));
    }
  });
});

describe('the runbook', () => {
  it('has queries that Logs Explorer can parse', async () => {
    const page = await read('docs/runbook.md');
    const blocks = page.matchAll(/^( *)```(\w*)\n(.*?)\n\1```$/gms);
    const queries = [...blocks].flatMap(([, , language, text = '']) => (language === '' ? [text] : []));
    expect(queries).to.have.lengthOf.at.least(10);
    for (const query of queries) expect(() => parseLoggingQuery(query), query).not.to.throw();
  });

  it('uses only fields that the function writes', async () => {
    const page = await read('docs/runbook.md');
    const source = await readSources();
    const fields = new Set([...page.matchAll(/jsonPayload\.([a-z_]+)/g)].map(([, field]) => field ?? ''));
    expect(fields.size).to.be.at.least(8);
    for (const field of fields) expect(source, field).to.match(new RegExp(`\\b${field}\\b`));
  });

  it('uses only annotations and labels that the function reads or writes', async () => {
    const page = await read('docs/runbook.md');
    const used = new Set(
      [...page.matchAll(/autometric-failover\/([a-z-]+[a-z])/g)].map(([, key]) => key ?? ''),
    );
    expect([...used]).to.include.members(['override-until', 'paused', 'kind', 'phase', 'cordoned-for']);
    const source = await readSources();
    for (const key of used) expect(source, key).to.include(`\${prefix}${key}\``);
  });
});

describe('the pages', function () {
  this.timeout(60_000);

  it('name only files that exist', async () => {
    const missing: string[] = [];
    for (const page of pages) {
      const text = await read(page);
      // What a link leads to is looked at in test/documentation.test.ts.
      const named = [
        ...text
          .replaceAll(/\]\([^)]*\)/g, ']')
          .matchAll(/\b((?:deploy|docs|terraform|test)\/[\w./-]+\.\w+)/g),
      ];
      for (const [, path = ''] of named) {
        await access(join(root, path)).catch(() => missing.push(`${page}: ${path}`));
      }
    }
    expect(missing).to.deep.equal([]);
  });

  it('have gcloud commands that gcloud can parse', async function () {
    needs(this, 'gcloud');
    const commands: string[] = [];
    for (const page of pages) {
      // A line that ends with a backslash continues.
      const text = (await read(page)).replaceAll(/ *\\\n */g, ' ');
      const found = text.matchAll(/^ *(?:\w+=\$\((gcloud .+)\)|(gcloud .+?))(?: +#.*)?$|`(gcloud [^`]+)`/gm);
      commands.push(...[...found].map(([, assigned, line, inline]) => assigned ?? line ?? inline ?? ''));
    }
    const complete = [...new Set(commands)]
      .filter((command) => command.includes(' --'))
      .map((command) => command.replace("'QUERY'", '"severity=ERROR"').replaceAll('PROJECT', 'my-project'));
    expect(complete).to.have.lengthOf.at.least(12);
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
  const blocks = blocksOf('variable', variables);
  const inputs = blocks.map(({ name, body }) => {
    const fallback = /^ {2}default\s+= (.+)$/m.exec(body)?.[1];
    const type = `\`${typeOf(body)}\``;
    const linked = hasFields(body) ? `[${type}](#${name})` : type;
    return `| \`${name}\` | ${descriptionOf(body)} | ${linked} | ${fallback === undefined ? '**required**' : `\`${fallback}\``} |`;
  });
  const outputs = blocksOf('output', await read('terraform/outputs.tf')).map(
    ({ name, body }) => `| \`${name}\` | ${descriptionOf(body)} |`,
  );
  return [
    '## Inputs\n',
    '| name | description | type | default |\n|---|---|---|---|',
    ...inputs.toSorted((a, b) => Number(b.includes('**required**')) - Number(a.includes('**required**'))),
    ...blocks.filter(({ body }) => hasFields(body)).flatMap((block) => describeFields(block)),
    '\n## Outputs\n',
    '| name | description |\n|---|---|',
    ...outputs,
    '',
  ].join('\n');
}

const hasFields = (body: string) => /^ {2}type\s+= .*\(\{$/m.test(body);

/** The fields of an object, with the comment before each of them. */
function describeFields({ name, body }: { name: string; body: string }): string[] {
  const [, text = ''] = /^ {2}type\s+= .*\(\{\n([^]*?)^ {2}\}\)+$/m.exec(body) ?? [];
  const rows: string[] = [];
  const within: string[] = [];
  let comment: string[] = [];
  for (const line of text.split('\n').map((each) => each.trim())) {
    const [, field = '', type = ''] = /^(\w+)\s+= (.+)$/.exec(line) ?? [];
    if (line.startsWith('#')) comment.push(line.slice(1).trim());
    else if (line.startsWith('}')) within.pop();
    else if (field !== '') {
      const [, isOptional, plain = type, fallback] = /^(optional\()(.+?)(?:, (.+))?\)$/.exec(type) ?? [];
      const isList = type.endsWith('list(object({');
      const opens = type.endsWith('({');
      const written = opens ? (isList ? 'list of objects' : 'object') : `\`${plain}\``;
      const given =
        isOptional || type.startsWith('optional(') ? (fallback ? `\`${fallback}\`` : '') : '**required**';
      rows.push(`| \`${[...within, field].join('.')}\` | ${comment.join(' ')} | ${written} | ${given} |`);
      if (opens) within.push(isList ? `${field}[]` : field);
      comment = [];
    }
  }
  return [`\n### ${name}\n`, '| field | description | type | default |\n|---|---|---|---|', ...rows];
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
