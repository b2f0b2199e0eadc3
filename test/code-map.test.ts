import { expect } from 'chai';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');
const page = readFileSync(join(root, 'docs/code-map.md'), 'utf8');
const named = [...page.matchAll(/`((?:src|test|deploy)\/[\w./-]+)`/g)].map(([, path = '']) => path);

describe('docs/code-map.md', () => {
  it('names paths that exist', () => {
    expect(named.filter((path) => !existsSync(join(root, path)))).to.deep.equal([]);
  });

  it('names every folder of src/', () => {
    const entries = readdirSync(join(root, 'src'), { withFileTypes: true });
    const folders = entries.filter((entry) => entry.isDirectory()).map(({ name }) => `src/${name}`);
    expect(folders.filter((folder) => !named.includes(folder))).to.deep.equal([]);
  });
});
