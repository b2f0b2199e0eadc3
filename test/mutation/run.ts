// `npm run test:mutations`: changes src/decide, src/effects and src/state in one place at a time, and says which changes no test
// notices. `npm run test:mutations -- decide` takes one wing, and paths take some files.
import { Stryker } from '@stryker-mutator/core';
import { globSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { isJudged, readJudgements } from './judged.ts';
import { forgetSurvivors, readMutants, reportFile, type Mutant } from './report.ts';
import { suitesFor, wings, type Wing } from './suites.ts';

/** Each group begins with a run of all tests; what is done when a run is broken off stays. */
const groupBytes = 40_000;

const noticed = new Set<Mutant['status']>(['Killed', 'Timeout', 'CompileError']);

const filesOf = new Map(wings.map((wing) => [wing, chosenFiles(wing, process.argv.slice(2))]));
if (![...filesOf.values()].some((files) => files.length > 0)) {
  throw new Error('name a wing (decide, effects, state), files of them, or nothing for all');
}
mkdirSync('mutations', { recursive: true });
for (const [wing, files] of filesOf) {
  for (const group of inGroups(files)) {
    forgetSurvivors(group);
    await mutate(wing, group);
  }
}
process.exitCode = report() ? 0 : 1;

function chosenFiles(wing: Wing, chosen: string[]): string[] {
  const files = globSync(`src/${wing}/*.ts`).sort();
  return chosen.length === 0 || chosen.includes(wing) ? files : files.filter((file) => chosen.includes(file));
}

function inGroups(files: string[]): string[][] {
  const groups: string[][] = [];
  let room = 0;
  for (const file of files) {
    const { size } = statSync(file);
    if (size > room) {
      groups.push([]);
      room = groupBytes;
    }
    groups.at(-1)?.push(file);
    room -= size;
  }
  return groups;
}

/** The report keeps what is known of the other files, and Stryker does not try again what neither source nor tests changed. */
async function mutate(wing: Wing, files: string[]): Promise<void> {
  await new Stryker({
    mutate: files,
    unitFiles: suitesFor(wing),
    ownTests: `test/${wing}/`,
    testRunner: 'mocha-12',
    checkers: ['types'],
    plugins: ['mocha-runner', 'type-checker'].map((name) => `${process.cwd()}/test/mutation/${name}.ts`),
    coverageAnalysis: 'perTest',
    ignoreStatic: true,
    mutator: { excludedMutations: ['StringLiteral'] },
    incremental: true,
    incrementalFile: reportFile,
    tempDirName: 'mutations/sandbox',
    ignorePatterns: ['dist', 'docs', 'release', 'terraform', 'mutations'],
    reporters: ['progress-append-only'],
    allowConsoleColors: false,
    concurrency: Number(process.env['MUTATION_JOBS'] ?? 2),
    // A busy machine is no time-out.
    timeoutMS: 15_000,
    timeoutFactor: 2,
    // There is none for Stryker: it asks for a function that TypeScript 7 does not have.
    tsconfigFile: 'none',
    // `unitFiles` and `ownTests` are options of our own.
    warnings: false,
  }).runMutationTest();
}

/** True if each wing has 95 % noticed, and nothing survived that nobody has judged. */
function report(): boolean {
  const judgements = readJudgements();
  const lines: string[] = [];
  let isGood = true;
  for (const [wing, files] of filesOf) {
    if (files.length === 0) continue;
    const all = readMutants(files).filter(({ status }) => status !== 'Ignored');
    const count = (...wanted: Mutant['status'][]) =>
      all.filter(({ status }) => wanted.includes(status)).length;
    const byTypes = count('CompileError');
    const tried = all.length - byTypes;
    const survivors = all.filter(({ status }) => !noticed.has(status));
    const unjudged = survivors.filter((mutant) => !isJudged(mutant, judgements));
    const share = (tried - survivors.length) / tried;
    isGood &&= share >= 0.95 && unjudged.length === 0;
    process.stdout.write(
      `${wing}: ${all.length} mutants, ${byTypes} with a type error; of the others ${(share * 100).toFixed(1)} % noticed: ` +
        `${count('Killed')} by a test that fails, ${count('Timeout')} by one that does not end; ` +
        `${survivors.length - unjudged.length} survivors judged, ${unjudged.length} new\n`,
    );
    for (const [index, mutant] of unjudged.entries()) lines.push(describe(mutant, unjudged[index - 1]));
  }
  writeFileSync('mutations/survivors.txt', lines.join('\n'));
  process.stdout.write(`${lines.join('\n')}\n`);
  return isGood;
}

/** Each line of the source is written once, above its mutants. */
function describe(mutant: Mutant, before: Mutant | undefined): string {
  const { file, lineNumber, line, was, becomes, status } = mutant;
  const isSameLine = before?.file === file && before.lineNumber === lineNumber;
  const what = `    ${was}  =>  ${becomes}${status === 'NoCoverage' ? '  (no test comes here)' : ''}`;
  return isSameLine ? what : `${file}:${lineNumber}  ${line}\n${what}`;
}
