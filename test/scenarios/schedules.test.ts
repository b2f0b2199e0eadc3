import { explore } from '../simulation/explore.ts';
import type { Bounds } from '../simulation/explore.ts';
import { fixChance } from '../simulation/fixed-chance.ts';
import { runSchedule } from '../simulation/run-schedule.ts';
import type { Situation } from '../simulation/run-schedule.ts';
import {
  allBounds,
  deepBounds,
  situations,
  smallBounds,
  smallSituations,
} from '../simulation/schedule-situations.ts';
import { parseLine } from '../simulation/schedule.ts';

const part = process.env['SCHEDULES'] ?? 'small';
const isAll = part === 'all' || part === 'deep';
const boundsOf: Record<string, Bounds[]> = {
  all: allBounds,
  deep: deepBounds,
  told: smallBounds,
  small: smallBounds,
};
/** Runs this schedule of each situation alone, and tells its story. */
const line = process.env['SCHEDULE'];

describe(`every schedule of two actors (${isAll ? 'all' : 'the smaller part'})`, () => {
  let bringChanceBack = (): void => undefined;
  before(() => {
    bringChanceBack = fixChance();
  });
  after(() => {
    bringChanceBack();
  });

  const only = process.env['SCHEDULES_OF'];
  const isChosen = ({ name }: Situation) =>
    only === undefined ? isAll || smallSituations.includes(name) : only === name;
  for (const situation of situations.filter((each) => isChosen(each))) {
    it(situation.name, async function () {
      this.timeout(0);
      if (line !== undefined) {
        const { story, violations } = await runSchedule(situation, parseLine(line));
        throw new Error([...story, ...violations].join('\n'));
      }
      const before = process.cpuUsage();
      let complete = 0;
      let left = 0;
      for (const bounds of boundsOf[part] ?? []) {
        const { broken, ...counts } = await explore(situation, bounds);
        complete += counts.complete;
        left += counts.left;
        if (broken.length > 0) {
          throw new Error(
            broken.map((each) => `SCHEDULE='${each.line}'\n${each.violations.join('\n')}`).join('\n'),
          );
        }
      }
      const { user, system } = process.cpuUsage(before);
      const seconds = ((user + system) / 1e6).toFixed(1);
      const isTold = isAll || part === 'told';
      if (isTold) {
        console.log(`      ${complete} run to their end, ${left} left as known, ${seconds} s of CPU`);
      }
      if (complete < 4) throw new Error(`only ${complete} schedules were run`);
    });
  }
});
