import type { Config } from './config.ts';
import { FailoverError } from './errors.ts';
import { parseAnnotation, prefix } from './lease.ts';
import { describeOverride } from './limits.ts';

/** The mark that an effect leaves on its pool's Lease before anything is deleted. */
export interface CooldownMark {
  /** The action's id. */
  action: string;
  /** When, by the API server's clock, in RFC 3339. */
  at: string;
  /** The machine that was repaired. */
  instanceId?: string | undefined;
}

/** An effect that has a cooldown: the repair of the pool, or the restart of this JobSet from it. */
export type Effect = 'repair' | `restart ${string}/${string}`;

const marksKey = `${prefix}effects`;
const keepMs = 7 * 24 * 3_600_000;

type Annotations = Readonly<Record<string, string>>;

/** Reads when an effect was last had from a pool. */
export function readMark(annotations: Annotations, effect: Effect): CooldownMark | undefined {
  return readMarks(annotations)[effect];
}

/** Adds an effect's mark, and forgets marks that are a week old. */
export function withMark(
  annotations: Annotations,
  effect: Effect,
  mark: CooldownMark,
): Record<string, string> {
  const kept = Object.entries(readMarks(annotations)).filter(
    ([, { at }]) => Date.parse(mark.at) - Date.parse(at) < keepMs,
  );
  return { ...annotations, [marksKey]: JSON.stringify({ ...Object.fromEntries(kept), [effect]: mark }) };
}

/** Takes an effect's mark back, putting in its place what was there before. */
export function withoutMark(
  annotations: Annotations,
  effect: Effect,
  before: CooldownMark | undefined,
): Record<string, string> {
  const { [effect]: _, ...others } = readMarks(annotations);
  return { ...annotations, [marksKey]: JSON.stringify(before ? { ...others, [effect]: before } : others) };
}

/**
 * Refuses an effect that the pool has had within the cooldown, unless this very action is what had it.
 *
 * @throws {FailoverError} `rate_limited`
 */
export function assertNotCoolingDown(
  annotations: Annotations,
  effect: Effect,
  { config, id, nodePool, serverNow }: { config: Config; id: string; nodePool: string; serverNow: number },
): void {
  const mark = readMark(annotations, effect);
  if (!mark || mark.action === id) return;
  const leftMs = Date.parse(mark.at) + config.cooldownSeconds * 1000 - serverNow;
  // A mark that cannot be read counts: a second deletion costs more than a person's look.
  if (leftMs <= 0) return;
  const retryAfterSeconds = Number.isFinite(leftMs) ? Math.ceil(leftMs / 1000) : config.cooldownSeconds;
  throw new FailoverError(
    'rate_limited',
    `action is currently rate limited: ${effect} of node pool ${nodePool} was done at ${mark.at} by action ${mark.action}, ` +
      `again possible in ${retryAfterSeconds} s. ${describeOverride(serverNow)}`,
    { headers: { 'Retry-After': String(retryAfterSeconds) } },
  );
}

function readMarks(annotations: Annotations): Record<string, CooldownMark> {
  return (parseAnnotation(annotations, marksKey) as Record<string, CooldownMark> | undefined) ?? {};
}
