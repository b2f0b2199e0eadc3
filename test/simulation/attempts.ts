import type { Violate } from './promises.ts';

const dayMs = 24 * 3_600_000;

/** Something that was done to one pool, or to one JobSet. */
export interface Attempt {
  action: string;
  at: number;
}

/** Never is one thing done to one subject more often within a day than the bound allows. */
export function checkAttempts(subject: string, attempts: Attempt[], max: number, violate: Violate): void {
  const first = new Map<string, number>();
  for (const { action, at } of attempts) first.set(action, Math.min(at, first.get(action) ?? Infinity));
  const times = [...first.values()].sort((a, b) => a - b);
  for (const [index, at] of times.entries()) {
    const later = times[index + max];
    if (later === undefined || later - at >= dayMs) continue;
    violate(
      'attempts-end',
      `${subject} more than ${max} times within a day, by ${[...first.keys()].join(', ')}`,
    );
    return;
  }
}
