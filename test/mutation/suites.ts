// Which tests try a mutant: those of its wing first, then the others in memory and in virtual time. No sockets, no processes, and
// nothing random: a random run would notice a mutant at one time and not at another.
import { globSync } from 'node:fs';

export const wings = ['decide', 'effects', 'state'] as const;
export type Wing = (typeof wings)[number];

/** These listen, or start processes, or draw. */
const unfit = [
  'alert-entry-points alert-fuzz alert-gcloud alert-policies broken-record damaged-answers door-fuzz failover-http',
  'faults-act faults-claim faults-google interleavings lies loopback page proxy reconcile-http replayed-interleavings',
  'schedules status status-complete status-gke status-veto',
];

/** Each of these takes longer than 4 s, and a mutant that no test notices runs all that reach it. */
const slow = [
  'acceptance-crashes alert-storm approval-crashes failover-crashes faults-cordon no-spare reconcile-crashes',
  'reconcile-faults reconcile-races slice-storm throttling',
];
const leftOut = new Set([...unfit, ...slow].flatMap((line) => line.split(' ')));

/** `MUTATION_TESTS=wing` takes the tests of the wing alone: quicker, for somebody who writes one. */
export function suitesFor(wing: Wing): string[] {
  const own = globSync(`test/${wing}/*.test.ts`).sort();
  if (process.env['MUTATION_TESTS'] === 'wing') return own;
  const folders = [...wings.filter((other) => other !== wing), 'verify', 'failover'];
  const scenarios = globSync('test/scenarios/*.test.ts').filter((file) => !leftOut.has(nameOf(file)));
  return [
    ...own,
    ...folders.flatMap((folder) => globSync(`test/${folder}/*.test.ts`).sort()),
    ...scenarios.sort(),
  ];
}

function nameOf(file: string): string {
  return file.replace(/^.*\//, '').replace(/\.test\.ts$/, '');
}
