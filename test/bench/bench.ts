// Measures the built function on the emulator, prints a table, and writes results.json and the picture for the README.
// `npm run bench` measures everything; `npm run bench -- cold warm` only these groups, and keeps the other results.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism, loadavg } from 'node:os';
import { join } from 'node:path';
import { buildFunction } from '../../deploy/build.ts';
import { drawChart } from './chart.ts';
import { startEmulatorProcess } from './emulator-process.ts';
import { measureCold } from './measure-cold.ts';
import { measureCordons, measureFootprint, measureSequential } from './measure-cordon.ts';
import { measureGrowth } from './measure-growth.ts';
import { measureFirstCordon, measureReconcile } from './measure-reconcile.ts';
import { measureRecovery } from './measure-recovery.ts';
import { measureStorm } from './measure-storm.ts';
import { measureThrottled } from './measure-throttled.ts';
import { measureViews } from './measure-views.ts';
import { measureWarm } from './measure-warm.ts';
import { meetsGoal, rounded, toTable } from './result.ts';
import type { Result } from './result.ts';

const root = join(import.meta.dirname, '../..');
const resultsPath = join(import.meta.dirname, 'results.json');
const chartPath = join(import.meta.dirname, 'results.svg');

const groups = {
  cold: measureCold,
  cordon: measureCordons,
  footprint: measureFootprint,
  throttled: measureThrottled,
  warm: measureWarm,
  reconcile: measureReconcile,
  alert: measureFirstCordon,
  sequential: measureSequential,
  views: measureViews,
  recovery: measureRecovery,
  growth: measureGrowth,
  storm: measureStorm,
};

const runs = Number(process.env['BENCH_RUNS'] ?? 9);
const asked = process.argv.slice(2);
const unknown = asked.filter((group) => !(group in groups));
if (unknown.length > 0) {
  throw new Error(`no group ${unknown.join(', ')}; there are ${Object.keys(groups).join(', ')}`);
}

await buildFunction(join(root, 'dist'));
const source = join(root, 'dist/index.mjs');
const [load = 0] = loadavg();
if (load > 0.5) {
  console.warn(
    `the machine is busy (load ${load.toFixed(1)} on ${availableParallelism()} cores): read the ratios`,
  );
}
const emulator = await startEmulatorProcess();
const measured: Result[] = [];
for (const [name, measure] of Object.entries(groups)) {
  if (asked.length > 0 && !asked.includes(name)) continue;
  const startedAt = performance.now();
  measured.push(
    ...(await measure(emulator, source, runs, (run) => process.stderr.write(`\r${name}: run ${run + 1} `))),
  );
  process.stderr.write(`\r${name}: ${Math.round((performance.now() - startedAt) / 1000)} s\n`);
}
emulator.stop();

const before = existsSync(resultsPath) ? (JSON.parse(readFileSync(resultsPath, 'utf8')) as Result[]) : [];
const names = new Set(measured.map(({ name }) => name));
const kept = asked.length > 0 ? before.filter(({ name }) => !names.has(name)) : [];
const results = [...kept, ...measured].map(rounded);
writeFileSync(resultsPath, `${JSON.stringify(results, undefined, 2)}\n`);
writeFileSync(chartPath, drawChart(results));
console.log(toTable(measured));
const missed = measured.filter((result) => !meetsGoal(result));
if (missed.length > 0) {
  console.error(`${missed.length} goals were missed: ${missed.map(({ name }) => name).join(', ')}`);
  process.exitCode = 1;
}
