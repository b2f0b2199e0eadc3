// What became of an action, as it is stored, logged and answered. The names and values are the API's (docs/api.md).
import * as v from 'valibot';

/** In the order of how well it went. */
export const verdicts = [
  'recovered',
  'repaired',
  'reported',
  'run_ended',
  'not_recovered',
  'not_repaired',
  'report_failed',
  'not_reported',
  'not_accepted',
  'abandoned',
  'expired',
  'rejected',
] as const;

export type VerdictName = (typeof verdicts)[number];

/** The verdict of one action. Times are in RFC 3339. */
export type Verdict = v.InferOutput<typeof verdictSchema>;

export const verdictSchema = v.object({
  verdict: v.picklist(verdicts),
  /** When it was given. */
  at: v.string(),
  /** When the last pod of the run, or the last node of the pool, became Ready. */
  recovered_at: v.exactOptional(v.string()),
  repaired_at: v.exactOptional(v.string()),
  /** When the repaired pool passed the test that the action asked for. */
  accepted_at: v.exactOptional(v.string()),
  /** From the incident's beginning, or from the request, until then, in seconds. */
  seconds: v.exactOptional(v.number()),
  seconds_since_request: v.exactOptional(v.number()),
  /** The JobSet's attempt that runs now. */
  attempt: v.exactOptional(v.number()),
  /** The replacement is on the physical host of the machine that was bad. */
  same_host: v.exactOptional(v.literal(true)),
  why: v.exactOptional(v.string()),
});

/** True if the verdict is what the action was for. */
export function hasHelped({ verdict, same_host: isSameHost }: Verdict): boolean {
  return ['recovered', 'repaired', 'reported'].includes(verdict) && isSameHost !== true;
}

/** True if nobody has to look because of the verdict: it is what the action was for, or a person has rejected the action. */
export function needsNobody(verdict: Verdict): boolean {
  return hasHelped(verdict) || verdict.verdict === 'rejected';
}

/** True if the machines of the pool are whole again, and the bad one is not on the same host. */
export function isWhole(verdict: Verdict): boolean {
  return hasHelped(verdict) && verdict.repaired_at !== undefined;
}

/** The verdict in one sentence, for Events and for the log. */
export function describeVerdict({ verdict, seconds, why, same_host: isSameHost }: Verdict): string {
  const subjects: Partial<Record<VerdictName, string>> = {
    recovered: 'run back',
    repaired: 'machine back',
    reported: 'host reported',
  };
  const subject = subjects[verdict] ?? verdict;
  const after = seconds === undefined ? '' : ` after ${seconds} s`;
  const host = isSameHost === true ? ' on the same physical host, so it will probably break again' : '';
  return `${subject}${after}${host}${why === undefined ? '' : `: ${why}`}`;
}
