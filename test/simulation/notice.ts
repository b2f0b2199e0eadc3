// Looks for the violation of one promise, and says so by its last line: `node notice.ts random|schedules SITUATION PROMISE RUNS`.
// `run-breaks.ts` runs it in a copy in which the promise does not hold.
import fc from 'fast-check';
import { explore } from './explore.ts';
import { fixChance } from './fixed-chance.ts';
import { runInterleaving } from './run-interleaving.ts';
import { allBounds, situations as schedules, smallBounds } from './schedule-situations.ts';
import { situations } from './situations.ts';

const [kind, name = '', promise = '', amount = ''] = process.argv.slice(2);
const seed = 20_261_128;
const isOf = (what: string) => what.startsWith(`${promise}: `);

console.log(kind === 'random' ? await sample(Number(amount)) : await exploreAll(amount === 'large'));

/** Draws runs until one of them breaks the promise. */
async function sample(runs: number): Promise<string> {
  const situation = situations[name];
  if (!situation) throw new Error(`no situation ${name}`);
  for (const [index, drawn] of fc.sample(situation.arbitrary, { numRuns: runs, seed }).entries()) {
    const { violations } = await runInterleaving(drawn);
    const found = violations.find(isOf);
    if (found !== undefined) return `noticed in run ${index + 1}: ${toLineOne(found)}`;
  }
  return `not noticed in ${runs} runs`;
}

async function exploreAll(isLarge: boolean): Promise<string> {
  const situation = schedules.find((each) => each.name === name);
  if (!situation) throw new Error(`no situation ${name}`);
  fixChance();
  let count = 0;
  for (const bounds of isLarge ? allBounds : smallBounds) {
    const { complete, broken } = await explore(situation, bounds);
    count += complete;
    const found = broken.flatMap(({ line, violations }) =>
      violations.filter(isOf).map((what) => ({ line, what })),
    )[0];
    if (found) return `noticed in schedule ${found.line}: ${toLineOne(found.what)}`;
  }
  return `not noticed in ${count} schedules`;
}

/** Without the stack of an error. */
function toLineOne(what: string): string {
  return what.split('\n')[0] ?? '';
}
