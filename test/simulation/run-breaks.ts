// Breaks src in a copy, one promise after the other, and sees which suites notice: `npm run test:breaks [PROMISE …]`. It fails where
// a suite that `breaks.ts` names does not notice, and prints the table of test/README.md.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { breaks, kinds } from './breaks.ts';
import type { Break, Kind } from './breaks.ts';
import { toTable } from './breaks-table.ts';

const root = path.resolve(import.meta.dirname, '../..');
const only = process.argv.slice(2);

const copy = mkdtempSync(path.join(tmpdir(), 'breaks-'));
for (const each of ['src', 'test', 'package.json', 'tsconfig.json']) {
  cpSync(path.join(root, each), path.join(copy, each), { recursive: true });
}
symlinkSync(path.join(root, 'node_modules'), path.join(copy, 'node_modules'));

let isMissed = false;
try {
  for (const each of breaks) if (only.length === 0 || only.includes(each.promise)) tryOut(each);
} finally {
  rmSync(copy, { recursive: true, force: true });
}
console.log(`\n${toTable()}`);
process.exitCode = isMissed ? 1 : 0;

function tryOut(broken: Break): void {
  const file = path.join(copy, broken.file);
  const before = readFileSync(file, 'utf8');
  const count = before.split(broken.text).length - 1;
  if (count !== 1) throw new Error(`${broken.file} has the text of ${broken.promise} ${count} times`);
  writeFileSync(
    file,
    before.replace(broken.text, () => broken.replacement),
  );
  try {
    for (const kind of kinds) {
      if (!broken[kind]) continue;
      const { isNoticed, how } = ask(broken, kind);
      isMissed ||= !isNoticed;
      console.log(`${isNoticed ? 'ok    ' : 'MISSED'} ${broken.promise}, ${kind}: ${how}`);
    }
  } finally {
    writeFileSync(file, before);
  }
}

function ask(
  { promise, random, schedules, scenarios }: Break,
  kind: Kind,
): { isNoticed: boolean; how: string } {
  if (kind === 'scenarios') return askScenarios(promise, scenarios);
  const { situation = '', amount } =
    kind === 'random'
      ? { situation: random?.situation, amount: String(random?.runs) }
      : { situation: schedules?.situation, amount: schedules?.isLarge ? 'large' : 'small' };
  const { output } = run(['test/simulation/notice.ts', kind, situation, promise, amount]);
  const how = output.trim().split('\n').at(-1) ?? '';
  return { isNoticed: how.startsWith('noticed in '), how: how.slice(0, 300) };
}

/** A test that fails for the promise's id, or at all. */
function askScenarios(promise: string, scenarios: Break['scenarios']): { isNoticed: boolean; how: string } {
  const { file, by } = scenarios ?? { file: '', by: 'promise' };
  const mocha = [
    'node_modules/mocha/bin/mocha.js',
    '--no-package',
    '--timeout',
    '600000',
    '--require',
    'test/root-hooks.ts',
  ];
  const { status, output } = run([...mocha, '--spec', `test/scenarios/${file}.test.ts`]);
  const told = output
    .split('\n')
    .find((line) => line.trim().startsWith(`${promise}: `))
    ?.trim();
  const failing = /^\s*(\d+) failing/m.exec(output)?.[1] ?? '0';
  const isNoticed = by === 'promise' ? told !== undefined : status !== 0 && failing !== '0';
  return {
    isNoticed,
    how: `${file}: ${failing} failing${told === undefined ? '' : `, ${told.slice(0, 200)}`}`,
  };
}

function run(parameters: string[]): { status: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, parameters, { cwd: copy, encoding: 'utf8' });
  return { status, output: stdout + stderr };
}
