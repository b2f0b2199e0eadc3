import { expect } from 'chai';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');

/** The paths from the root that a page has between backticks; those with a wildcard are left out. */
function pathsIn(page: string): string[] {
  const text = readFileSync(join(root, page), 'utf8');
  return [...text.matchAll(/`((?:src|test|deploy|terraform|docs)\/[\w./-]+)`/g)].map(([, path = '']) => path);
}

for (const page of ['docs/code-map.md', 'docs/design.md', 'CONTRIBUTING.md']) {
  describe(page, () => {
    it('names paths that exist', () => {
      const paths = pathsIn(page);
      expect(paths).not.to.deep.equal([]);
      expect(paths.filter((path) => !existsSync(join(root, path)))).to.deep.equal([]);
    });
  });
}

describe('docs/code-map.md', () => {
  it('names every folder of src/', () => {
    const entries = readdirSync(join(root, 'src'), { withFileTypes: true });
    const folders = entries.filter((entry) => entry.isDirectory()).map(({ name }) => `src/${name}`);
    const named = pathsIn('docs/code-map.md');
    expect(folders.filter((folder) => !named.includes(folder))).to.deep.equal([]);
  });
});
