// Draws the picture for the README again, from results.json and without measuring: `node test/bench/draw.ts`.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { drawChart } from './chart.ts';
import type { Result } from './result.ts';

const results = JSON.parse(readFileSync(join(import.meta.dirname, 'results.json'), 'utf8')) as Result[];
writeFileSync(join(import.meta.dirname, 'results.svg'), drawChart(results));
