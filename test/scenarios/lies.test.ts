import fc from 'fast-check';
import { lieStories } from '../simulation/lie-stories.ts';
import type { LieStory } from '../simulation/lie-stories.ts';
import { runLies } from '../simulation/run-lies.ts';

const runs = Number(process.env['LIES_RUNS'] ?? 150);
const seed = Number(process.env['LIES_SEED'] ?? Date.now() % 2_147_483_647);
/** Runs this story alone, and tells it. */
const line = process.env['LIES'];

describe('recoveries whose signals lie', () => {
  it(`are told as they are in ${runs} runs (LIES_SEED=${seed})`, async function () {
    this.timeout(0);
    if (line !== undefined) {
      const { story, violations } = await runLies(JSON.parse(line) as LieStory);
      throw new Error([...story, ...violations].join('\n'));
    }
    const outcomes = new Map<string, number>();
    await fc.assert(
      fc.asyncProperty(lieStories, async (drawn) => {
        const { violations, story, answer, verdict } = await runLies(drawn);
        const outcome = `${drawn.about}: ${verdict?.verdict ?? answer}`;
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
        if (violations.length === 0) return;
        throw new Error(`LIES='${JSON.stringify(drawn)}'\n${[...violations, ...story].join('\n')}`);
      }),
      { numRuns: runs, seed, endOnFailure: false },
    );
    if (process.env['LIES_RUNS'] !== undefined) {
      for (const [outcome, count] of outcomes) console.log(`      ${outcome} ${count}`);
    }
  });
});
