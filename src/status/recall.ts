import type { Clock } from '../clock.ts';

/** Two people who watch cost the API server no more than one. */
const keepMs = 3_000;

/** Reads something, or gives what was read under the same key less than 3 s ago. A failure is not kept. */
export type Recall = <Read>(key: string, read: () => Promise<Read>) => Promise<Read>;

/** Creates a memory of what was just read. It holds nothing that is older. */
export function createRecall(clock: Clock): Recall {
  const kept = new Map<string, { at: number; read: Promise<unknown> }>();
  return <Read>(key: string, read: () => Promise<Read>) => {
    const now = clock.now();
    for (const [other, { at }] of kept) if (now - at >= keepMs) kept.delete(other);
    const known = kept.get(key);
    if (known) return known.read as Promise<Read>;
    const reading = read();
    kept.set(key, { at: now, read: reading });
    reading.catch(() => kept.delete(key));
    return reading;
  };
}
