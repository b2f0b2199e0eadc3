import { expect } from 'chai';
import { readFileSync } from 'node:fs';
import { isJudged, readJudgements } from './judged.ts';
import type { Mutant } from './report.ts';

const mutant: Mutant = {
  file: 'src/decide/fit.ts',
  operator: 'ConditionalExpression',
  line: 'if (a) return b;',
  lineNumber: 7,
  at: 4,
  was: 'a',
  becomes: 'true',
  status: 'Survived',
  mutated: '',
};
const { file, line, at, was } = mutant;
const judgement = { file, line, at, was, becomes: ['true'], why: 'b is what follows, too' };

describe('the judged mutants', () => {
  it('are each of a line that is still there, and say why', () => {
    for (const { file: of, line: text, at: from, was: part, becomes, why } of readJudgements()) {
      const lines = readFileSync(of, 'utf8').split('\n');
      expect(
        lines.map((each) => each.trim()),
        of,
      ).to.include(text);
      expect(part.startsWith(text.slice(from, from + 1)), text).to.equal(true);
      expect(becomes, text).not.to.include(part);
      expect(why.length, text).to.be.greaterThan(20);
    }
  });

  it('are known again wherever their line is, and no other one of it is', () => {
    expect(isJudged({ ...mutant, lineNumber: 70 }, [judgement])).to.equal(true);
    for (const change of [
      { file: 'src/decide/room.ts' },
      { line: 'if (a) return c;' },
      { was: 'b' },
      { at: 14 },
      { becomes: 'false' },
    ]) {
      expect(isJudged({ ...mutant, ...change }, [judgement]), JSON.stringify(change)).to.equal(false);
    }
  });
});
