import { expect } from 'chai';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const folder = join(import.meta.dirname, '../../src/page');
const sources = readdirSync(folder).map((name) => ({ name, text: readFileSync(join(folder, name), 'utf8') }));

describe('the templates of the page', () => {
  it('are there', () => expect(sources).to.have.length.above(8));

  it('have quotes around the value of every attribute', () => {
    const bare = sources.flatMap(({ name, text }) =>
      [...text.matchAll(/[\w-]+=\$\{/g)].map(([found]) => `${name}: ${found}`),
    );
    expect(bare).to.deep.equal([]);
  });

  it('let nothing past the escaping but the style and the script', () => {
    const uses = sources.flatMap(({ name, text }) =>
      [...text.matchAll(/(?<!function )\btrusted\([^\n]*/g)].map(([found]) => `${name}: ${found}`),
    );
    expect(uses).to.deep.equal([
      'layout.ts: trusted(`<style>${style}</style>`)}',
      'layout.ts: trusted(`<script>${script}</script>`)}',
    ]);
    const raws = sources.filter(({ text }) => /\braw\(|hono/.test(text)).map(({ name }) => name);
    expect(raws).to.deep.equal(['html.ts']);
  });

  it('have no handler and no style in an attribute, because the policy forbids both', () => {
    for (const { name, text } of sources) expect(text, name).not.to.match(/\s(?:on[a-z]+|style)="/);
  });
});
