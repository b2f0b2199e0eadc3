// The mutants of Stryker's report, each with the text that it stands in.
import type { schema } from '@stryker-mutator/api/core';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';

/** What a part of the tests has noticed is kept apart. */
export const reportFile = `mutations/${process.env['MUTATION_TESTS'] ?? 'report'}.json`;

export interface Mutant {
  file: string;
  operator: string;
  /** The line that it changes, or the first of them, without indentation. */
  line: string;
  lineNumber: number;
  /** Where in that line it begins. */
  at: number;
  /** What it replaces, and by what. */
  was: string;
  becomes: string;
  status: schema.MutantStatus;
  /** The whole file with the mutant in it. */
  mutated: string;
}

/** Survivors are tried again in each run: it may try them by other tests than the one before. */
export function forgetSurvivors(files: string[]): void {
  if (!existsSync(reportFile)) return;
  const report = JSON.parse(readFileSync(reportFile, 'utf8')) as schema.MutationTestResult;
  for (const [name, file] of Object.entries(report.files)) {
    if (!files.includes(name)) continue;
    file.mutants = file.mutants.filter(({ status }) => status !== 'Survived' && status !== 'NoCoverage');
  }
  writeFileSync(reportFile, JSON.stringify(report));
}

/** Text (`StringLiteral`) and what is decided once, at the start, is not tried; see test/README.md. */
export function readMutants(files: string[]): Mutant[] {
  const report = JSON.parse(readFileSync(reportFile, 'utf8')) as schema.MutationTestResult;
  return files.flatMap((file) => {
    const result = report.files[file];
    return (result?.mutants ?? []).map((mutant) => toMutant(file, result?.source ?? '', mutant));
  });
}

function toMutant(file: string, source: string, mutant: schema.MutantResult): Mutant {
  const { location, mutatorName, replacement = '', status } = mutant;
  const [from, to] = [offsetOf(source, location.start), offsetOf(source, location.end)];
  const whole = source.split('\n')[location.start.line - 1] ?? '';
  const indent = whole.length - whole.trimStart().length;
  return {
    file,
    operator: mutatorName,
    line: whole.trim(),
    lineNumber: location.start.line,
    at: location.start.column - 1 - indent,
    was: oneLine(source.slice(from, to)),
    becomes: oneLine(replacement),
    status,
    mutated: source.slice(0, from) + replacement + source.slice(to),
  };
}

/** Lines and columns of a report begin with 1. */
function offsetOf(source: string, { line, column }: schema.Position): number {
  const before = source.split('\n').slice(0, line - 1);
  return before.reduce((sum, each) => sum + each.length + 1, 0) + column - 1;
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ');
}
