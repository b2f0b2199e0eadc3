import { expect } from 'chai';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

const page = readFileSync(new URL('../docs/failures.md', import.meta.url), 'utf8');
const lines = [...page.matchAll(/^- \*\*(F-\d+)\*\*( \*later:\*)?/gm)].map(([, id = '', later]) => ({
  id,
  isLater: later !== undefined,
}));
const known = new Set(lines.map(({ id }) => id));

/** Each line of docs/failures.md that a comment in test/ cites, with the files that cite it. */
const citations = new Map<string, Set<string>>();
const folder = import.meta.dirname;
for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
  if (!name.endsWith('.ts')) continue;
  for (const [id] of readFileSync(join(folder, name), 'utf8').matchAll(/(?<=\/\/ )F-\d+(?=:)/g)) {
    citations.set(id, (citations.get(id) ?? new Set()).add(name));
  }
}

describe('docs/failures.md', () => {
  it('has no id twice', () => {
    expect(lines.map(({ id }) => id)).to.deep.equal([...known]);
  });

  it('has each line that the tests cite', () => {
    const dangling = [...citations].filter(([id]) => !known.has(id));
    expect(dangling.map(([id, names]) => `${id} in ${[...names].join(', ')}`)).to.deep.equal([]);
  });

  it('has a test for each line that is not marked as later', () => {
    const due = lines.filter(({ isLater }) => !isLater).map(({ id }) => id);
    expect(due.filter((id) => !citations.has(id))).to.deep.equal([]);
  });
});
