import type { VerdictName } from '../verdict.ts';

/** What the cluster says about an action at one moment. */
export type Judgement =
  | {
      verdict: VerdictName;
      /** When it came true, in ms since the epoch by the cluster's clock. Undefined where the cluster does not say. */
      at?: number | undefined;
      attempt?: number;
      why?: string;
      isSameHost?: boolean;
      repaired?: Repaired;
    }
  | {
      verdict: undefined;
      /** Why not yet. It becomes the verdict's reason once time is up. */
      why: string;
      attempt?: number;
      /** The verdict once time is up, where it is not the usual one. */
      onTimeOut?: VerdictName;
      /** The nodes of pods that are still there although their attempt has ended. */
      heldUpOn?: string[];
      repaired?: Repaired;
    };

/** The pool of a run that restarts in place, once it is whole. From then on, the run is waited for. */
export interface Repaired {
  /** When, in ms since the epoch; undefined where the cluster does not say. */
  at: number | undefined;
  isSameHost: boolean;
}

/** Counts equal reasons, the most frequent first. */
export function countReasons(reasons: string[], of: string, most = 3): string {
  const counts = new Map<string, number>();
  for (const reason of reasons) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  const sorted = [...counts].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1));
  const more = sorted.length > most ? [`${sorted.length - most} more reasons`] : [];
  return [...sorted.slice(0, most).map(([reason, count]) => `${count} of ${of} ${reason}`), ...more].join(
    '; ',
  );
}
