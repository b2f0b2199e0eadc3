import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { toTable } from '../simulation/breaks-table.ts';
import { breaks, kinds } from '../simulation/breaks.ts';
import { promises } from '../simulation/promises.ts';
import { situations as schedules } from '../simulation/schedule-situations.ts';
import { situations } from '../simulation/situations.ts';

// `npm run test:breaks` tries each break. Here the list is kept from going stale.

function read(file: string): string {
  return readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8');
}

describe('the breaks of src', () => {
  it('are of every promise', () => {
    expect([...new Set(breaks.map(({ promise }) => promise))].sort()).to.deep.equal(
      Object.keys(promises).sort(),
    );
  });

  for (const each of breaks) {
    const { promise, file, text, replacement, random, schedules: exhaustive, scenarios } = each;

    it(`change one place, which is still there: ${promise}`, () => {
      expect(read(file).split(text)).to.have.length(2);
      expect(replacement).not.to.equal(text);
    });

    it(`are noticed by two kinds of suite, which there are: ${promise}`, () => {
      expect(kinds.filter((kind) => each[kind])).to.have.length.of.at.least(2);
      if (random) expect(situations).to.have.property(random.situation);
      if (exhaustive) expect(schedules.map(({ name }) => name)).to.include(exhaustive.situation);
      if (scenarios) expect(read(`test/scenarios/${scenarios.file}.test.ts`)).to.include('describe(');
    });
  }

  it('are in the table of test/README.md', () => {
    expect(read('test/README.md')).to.include(`\n${toTable()}\n`);
  });
});
