/**
 * What the function relies on in Kubernetes, as one suite that runs against anything that claims to be it. Where the
 * emulator and a real API server differ, the emulator is wrong.
 */
import { describeCordons } from './conformance-cordons.ts';
import { describeDeletions } from './conformance-deletions.ts';
import { describeEvents } from './conformance-events.ts';
import { describeLeases } from './conformance-leases.ts';
import { describeMachines } from './conformance-machines.ts';
import { describeReads } from './conformance-reads.ts';
import { describeRefusals } from './conformance-refusals.ts';
import { describeRepairLabels } from './conformance-repair-labels.ts';
import { describeRestarts } from './conformance-restarts.ts';
import { describeScheduling } from './conformance-scheduling.ts';
import { describeWrites } from './conformance-writes.ts';
import type { ConformanceTarget, Stage } from './conformance-target.ts';

/**
 * Registers the suite. `start` is called once before it; where it answers a sentence instead of a target, that is said
 * and nothing is run.
 */
export function describeConformance(name: string, start: () => Promise<ConformanceTarget | string>): void {
  describe(`conformance of ${name}`, function () {
    let stage: Stage | undefined;
    const current = (): Stage => {
      if (stage === undefined) throw new Error('the target is not started');
      return stage;
    };

    before(async function () {
      this.timeout(0); // It may have to be built.
      const target = await start();
      if (typeof target === 'string') {
        console.log(`  not run: conformance of ${name}: ${target}`);
        this.skip();
      }
      const world = target.createWorld();
      stage = { ...target, world, nodes: await world.addTpuSlice('conformance', { nodes: 8 }) };
    });
    after(async function () {
      await stage?.world.removeAll();
      await stage?.stop();
    });

    describeReads(current);
    describeRefusals(current);
    describeWrites(current);
    describeLeases(current);
    describeEvents(current);
    describeCordons(current);
    describeRepairLabels(current);
    describeDeletions(current);
    describeMachines(current);
    describeScheduling(current);
    describeRestarts(current);
  });
}
