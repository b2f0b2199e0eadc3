import fc from 'fast-check';
import { runSchedule } from '../simulation/run-schedule.ts';
import { schedules } from '../simulation/schedule.ts';

const runs = Number(process.env['SCHEDULE_RUNS'] ?? 60);
const seed = Number(process.env['SCHEDULE_SEED'] ?? Date.now() % 2_147_483_647);

describe('random schedules of several function instances', () => {
  it(`break no invariant in ${runs} runs (SCHEDULE_SEED=${seed})`, async function () {
    this.timeout(0);
    await fc.assert(
      fc.asyncProperty(schedules, async (schedule) => {
        const { violations, answers } = await runSchedule(schedule);
        if (violations.length > 0) {
          const story = answers
            .map(({ at, actionId, answer }) => `${at} ms ${actionId}: ${answer}`)
            .join('\n');
          throw new Error(`${violations.join('\n')}\n--- answers:\n${story}`);
        }
      }),
      { numRuns: runs, seed, endOnFailure: false },
    );
  });
});
