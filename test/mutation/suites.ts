// Which tests try a mutant: those of its wing first, then the others in memory and in virtual time. No sockets, no processes, and
// nothing random: a random run would notice a mutant at one time and not at another.
import { globSync } from 'node:fs';

export const wings = ['decide', 'effects', 'state'] as const;
export type Wing = (typeof wings)[number];

/** These listen, start processes, draw, or read the text of src. */
const unfit = [
  'alert-entry-points alert-fuzz alert-gcloud alert-policies breaks broken-record damaged-answers door-fuzz failover-http',
  'faults-act faults-claim faults-google interleavings lies loopback page proxy reconcile-http replayed-interleavings',
  'schedules status status-complete status-gke status-veto',
];

/** Few tests that take a second or more each, and a mutant that no test notices runs all that reach it. */
const slow = [
  'acceptance-crashes alert-storm approval-crashes failover-crashes faults-cordon reconcile-crashes reconcile-faults same-host',
  'slice-storm',
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
