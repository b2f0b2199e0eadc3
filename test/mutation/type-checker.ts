// A mutant with a type error is not tried: `npm test` runs the type checker, and nobody can write it by mistake. Stryker's own
// checker asks for functions that TypeScript 7 does not have. Here each mutant becomes a file beside the one that it changes, in a
// copy of src, so that one run of the type checker judges hundreds.
import { CheckStatus, type Checker, type CheckResult } from '@stryker-mutator/api/check';
import type { Mutant } from '@stryker-mutator/api/core';
import { declareClassPlugin, PluginKind } from '@stryker-mutator/api/plugin';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';

const copy = `mutations/types-${process.pid}`;
const atOnce = 500;

/** What is no longer used is no error here: it says that a line is gone, not that anything is wrong without it. */
const settings = {
  extends: '../../tsconfig.json',
  compilerOptions: { noUnusedLocals: false, noUnusedParameters: false },
  include: ['src'],
};

class TypeChecker implements Checker {
  async init(): Promise<void> {}

  async group(mutants: Mutant[]): Promise<string[][]> {
    const groups: string[][] = [];
    for (let from = 0; from < mutants.length; from += atOnce) {
      groups.push(mutants.slice(from, from + atOnce).map(({ id }) => id));
    }
    return groups;
  }

  async check(mutants: Mutant[]): Promise<Record<string, CheckResult>> {
    mkdirSync(copy, { recursive: true });
    cpSync('package.json', join(copy, 'package.json'));
    writeFileSync(join(copy, 'tsconfig.json'), JSON.stringify(settings));
    cpSync('src', join(copy, 'src'), { recursive: true });
    for (const mutant of mutants) writeFileSync(join(copy, nameOf(mutant)), mutate(mutant));
    const errors = findTypeErrors();
    rmSync(copy, { recursive: true });
    return Object.fromEntries(
      mutants.map((mutant) => {
        const reason = errors.get(nameOf(mutant));
        return [
          mutant.id,
          reason === undefined
            ? { status: CheckStatus.Passed }
            : { status: CheckStatus.CompileError, reason },
        ];
      }),
    );
  }
}

/** @returns the first error of each file that has one */
function findTypeErrors(): Map<string, string> {
  const tsc = ['node_modules/typescript/bin/tsc', '--noEmit', '--pretty', 'false', '-p', copy];
  const { stdout } = spawnSync(process.execPath, tsc, { encoding: 'utf8', maxBuffer: 1 << 28 });
  const errors = new Map<string, string>();
  for (const line of stdout.split('\n')) {
    const { file = '', why = '' } = /(?<file>src\/\S+)\(\d+,\d+\): error (?<why>.*)/.exec(line)?.groups ?? {};
    if (file !== '' && !errors.has(file)) errors.set(file, why);
  }
  const others = [...errors].filter(([file]) => !/\.mutant-\d+\.ts$/.test(file));
  if (others.length > 0) throw new Error(`src has type errors without a mutant: ${others.join('\n')}`);
  return errors;
}

function nameOf({ id, fileName }: Mutant): string {
  return relative(process.cwd(), fileName).replace(/\.ts$/, `.mutant-${id}.ts`);
}

/** Lines and columns of a mutant begin with 0, before it is in a report. */
function mutate({ fileName, location: { start, end }, replacement }: Mutant): string {
  const source = readFileSync(fileName, 'utf8');
  const lines = source.split('\n');
  const offsetOf = ({ line, column }: typeof start) =>
    lines.slice(0, line).reduce((sum, each) => sum + each.length + 1, 0) + column;
  return source.slice(0, offsetOf(start)) + replacement + source.slice(offsetOf(end));
}

export const strykerPlugins = [declareClassPlugin(PluginKind.Checker, 'types', TypeChecker)];
