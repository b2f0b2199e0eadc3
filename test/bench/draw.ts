// Draws the pictures again, from results.json and soak.json and without measuring: `node test/bench/draw.ts`.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { drawChart } from './chart.ts';
import type { Result } from './result.ts';
import { drawSoak } from './soak-chart.ts';
import type { SoakResult } from './soak-judgement.ts';

const read = (name: string): unknown => JSON.parse(readFileSync(join(import.meta.dirname, name), 'utf8'));
const write = (name: string, drawn: string): void => writeFileSync(join(import.meta.dirname, name), drawn);

write('results.svg', drawChart(read('results.json') as Result[]));
write('soak.svg', drawSoak(read('soak.json') as SoakResult));
