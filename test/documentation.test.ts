import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { expect } from 'chai';

const root = join(import.meta.dirname, '..');
const notOurs = new Set(['.git', 'node_modules', 'dist', '.terraform', 'mutations']);

/** Every file of the tree, by its path from the root. */
const files = readdirSync(root, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => relative(root, join(entry.parentPath, entry.name)))
  .filter((path) => !path.split('/').some((part) => notOurs.has(part)))
  .toSorted();

const pages = files.filter((path) =>
  /^(?:[^/]+|(?:docs|deploy|terraform|test|\.github)\/.+)\.md$/.test(path),
);

const read = (path: string) => readFileSync(join(root, path), 'utf8');

/** A page's text without its code, in which brackets and hashes mean something else. */
function withoutCode(text: string): string {
  return text
    .replaceAll(/^ *```[\s\S]*?^ *```$/gm, '')
    .replaceAll(/`[^`\n]*`/g, (code) => 'x'.repeat(code.length));
}

/** The anchors of a page's headings, as GitHub makes them. */
function anchorsOf(path: string): Set<string> {
  const headings = read(path)
    .replaceAll(/^ *```[\s\S]*?^ *```$/gm, '')
    .matchAll(/^#{1,6} +(.+?) *$/gm);
  const anchors = new Set<string>();
  for (const [, heading = ''] of headings) {
    const text = heading.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase();
    const anchor = text.replaceAll(/[^\p{L}\p{N}\s_-]/gu, '').replaceAll(/\s/g, '-');
    for (let count = 0; ; count++) {
      const candidate = count === 0 ? anchor : `${anchor}-${count}`;
      if (anchors.has(candidate)) continue;
      anchors.add(candidate);
      break;
    }
  }
  return anchors;
}

/** What is wrong with a link; undefined where it resolves. */
function findFault(page: string, link: string): string | undefined {
  const [path = '', anchor] = link.split('#', 2);
  const target = path === '' ? page : join(dirname(page), path);
  if (target.startsWith('..')) return `${link} leaves the repository`;
  if (!existsSync(join(root, target))) return `${link}: there is no ${target}`;
  if (anchor === undefined || statSync(join(root, target)).isDirectory()) return undefined;
  return anchorsOf(target).has(anchor) ? undefined : `${link}: ${target} has no heading for #${anchor}`;
}

describe('the documentation', () => {
  it('has the pages that readers look for', () => {
    expect(pages).to.include.members([
      'README.md',
      'docs/api.md',
      'docs/alerts.md',
      'docs/configuration.md',
      'docs/runbook.md',
      'deploy/examples/kind/README.md',
      'terraform/README.md',
      'test/bench/README.md',
    ]);
  });

  it('links only to files and headings that are there', () => {
    const faults: string[] = [];
    let count = 0;
    for (const page of pages) {
      for (const [, link = ''] of withoutCode(read(page)).matchAll(/\]\(([^()\s]+)\)/g)) {
        if (/^[a-z]+:/.test(link)) continue;
        count++;
        const fault = findFault(page, link);
        if (fault !== undefined) faults.push(`${page}: ${fault}`);
      }
    }
    expect(count).to.be.at.least(50);
    expect(faults).to.deep.equal([]);
  });

  it('is linked from the README, page by page', () => {
    const links = [...read('README.md').matchAll(/\]\(([\w./-]+)/g)].map(([, link]) => link ?? '');
    const unlinked = pages.filter(
      (page) => page.startsWith('docs/') && !links.some((link) => page.startsWith(link)),
    );
    expect(unlinked).to.deep.equal([]);
  });

  // The end of a path is enough where the tree has such a file: a reader can find it.
  it('cites no document outside the repository', () => {
    const texts = files.filter((path) => /\.(?:md|ts|cjs|tf|hcl|sh|ya?ml|json|svg)$|^\.ci\//.test(path));
    expect(texts).to.have.length.above(150);
    const missing: string[] = [];
    for (const path of texts) {
      if (path === 'package-lock.json') continue;
      const cited = read(path).matchAll(/(?<![\w/.:*-])((?:\.{0,2}\/)?[\w-][\w./-]*\.md)\b(?!\.)/g);
      for (const [, name = ''] of cited) {
        const isThere =
          existsSync(join(root, dirname(path), name)) ||
          files.some((file) => file === name || file.endsWith(`/${name}`));
        if (!isThere) missing.push(`${path}: ${name}`);
      }
    }
    expect([...new Set(missing)]).to.deep.equal([]);
  });
});
