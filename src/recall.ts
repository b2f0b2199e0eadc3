import type { Clock } from './clock.ts';

/** Reads something, or gives what was read under the same key a moment ago. A failure is not kept. */
export type Recall = <Read>(key: string, read: () => Promise<Read>) => Promise<Read>;

/** Two people who watch cost the API server no more than one. */
export const keepForWatchersMs = 3_000;

/** Creates a memory of what was read within `keepMs`. It holds nothing that is older. */
export function createRecall(clock: Clock, keepMs: number): Recall {
  const kept = new Map<string, { at: number; read: Promise<unknown> }>();
  return <Read>(key: string, read: () => Promise<Read>) => {
    const now = clock.now();
    for (const [other, { at }] of kept) if (now - at >= keepMs) kept.delete(other);
    const known = kept.get(key);
    if (known) return known.read as Promise<Read>;
    const reading = read();
    const fresh = { at: now, read: reading };
    kept.set(key, fresh);
    reading.catch(() => kept.get(key) === fresh && kept.delete(key));
    return reading;
  };
}
