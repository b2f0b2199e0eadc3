// The mutants that no test can notice, or none needs to, with why. They are found again by the text of their line, so that a line
// that moves keeps its judgement, and a line that changes is judged anew.
import { readFileSync } from 'node:fs';
import type { Mutant } from './report.ts';

export interface Judgement {
  file: string;
  line: string;
  /** Where in the line it begins: a line may have the same text twice. */
  at: number;
  was: string;
  becomes: string[];
  why: string;
}

export function readJudgements(): Judgement[] {
  return JSON.parse(readFileSync('test/mutation/judged.json', 'utf8')) as Judgement[];
}

export function isJudged(mutant: Mutant, judgements: Judgement[]): boolean {
  return judgements.some(
    ({ file, line, at, was, becomes }) =>
      file === mutant.file &&
      line === mutant.line &&
      at === mutant.at &&
      was === mutant.was &&
      becomes.includes(mutant.becomes),
  );
}
