import fc from 'fast-check';
import type { Interleaving } from '../simulation/interleaving.ts';
import { runInterleaving } from '../simulation/run-interleaving.ts';
import { interleavings, situations } from '../simulation/situations.ts';

const runs = Number(process.env['INTERLEAVING_RUNS'] ?? 60);
const only = process.env['INTERLEAVING_SITUATION'];
const drawn = (only === undefined ? undefined : situations[only]?.arbitrary) ?? interleavings;
const seed = Number(process.env['INTERLEAVING_SEED'] ?? Date.now() % 2_147_483_647);

/** Runs this one alone, and tells its story. */
const line = process.env['INTERLEAVING'];

describe('random interleavings of several function instances', () => {
  it(`break no invariant in ${runs} runs (INTERLEAVING_SEED=${seed})`, async function () {
    this.timeout(0);
    if (line !== undefined) {
      const { violations, answers } = await runInterleaving(JSON.parse(line) as Interleaving);
      throw new Error(
        [...answers.map(({ at, actionId, answer }) => `${at} ms ${actionId}: ${answer}`), ...violations].join(
          '\n',
        ),
      );
    }
    await fc.assert(
      fc.asyncProperty(drawn, async (interleaving) => {
        const { violations, answers } = await runInterleaving(interleaving);
        if (violations.length > 0) {
          const story = answers
            .map(({ at, actionId, answer }) => `${at} ms ${actionId}: ${answer}`)
            .join('\n');
          throw new Error(
            `INTERLEAVING='${JSON.stringify(interleaving)}'\n${violations.join('\n')}\n--- answers:\n${story}`,
          );
        }
      }),
      { numRuns: runs, seed, endOnFailure: false, includeErrorInReport: true },
    );
  });
});
