import type { Config } from '../config.ts';
import { FailoverError } from '../errors.ts';
import { parseAnnotation } from './lease.ts';
import { failoverNamespace, prefix } from '../names.ts';
import { describeOverride } from './switches.ts';

/** The mark that an effect leaves on its pool's Lease before anything is deleted. */
export interface CooldownMark {
  /** The action's id. */
  action: string;
  /** When, by the API server's clock, in RFC 3339. */
  at: string;
  /** When this action was about to have it for the first time, if it was resumed since. */
  firstAt?: string | undefined;
  /** The machine that was repaired. */
  instanceId?: string | undefined;
}

/** An effect that has a cooldown: the repair of the pool, or the restart of this JobSet from it. */
export type Effect = 'repair' | `restart ${string}/${string}`;

const marksKey = `${prefix}effects`;
const keepMarksMs = 7 * 24 * 3_600_000;

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
    ([, { at }]) => Date.parse(mark.at) - Date.parse(at) < keepMarksMs,
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
 * @throws {FailoverError} `rate_limited`, also where the marks cannot be read
 */
export function assertNotCoolingDown(
  annotations: Annotations,
  effect: Effect,
  { config, id, nodePool, serverNow }: { config: Config; id: string; nodePool: string; serverNow: number },
): void {
  assertReadable(annotations, nodePool, config);
  const mark = readMark(annotations, effect);
  if (!mark || mark.action === id) return;
  const leftMs = Date.parse(mark.at) + config.cooldownSeconds * 1000 - serverNow;
  if (leftMs <= 0) return;
  const retryAfterSeconds = Math.ceil(leftMs / 1000);
  throw new FailoverError(
    'rate_limited',
    `action is currently rate limited: ${effect} of node pool ${nodePool} was done at ${mark.at} by action ${mark.action}, ` +
      `again possible in ${retryAfterSeconds} s. ${describeOverride(serverNow)}`,
    { headers: { 'Retry-After': String(retryAfterSeconds) } },
  );
}

/** A mark that cannot be read counts as one: a second deletion costs more than a person's look. */
function assertReadable(annotations: Annotations, nodePool: string, config: Config): void {
  if (annotations[marksKey] === undefined) return;
  const marks = parseAnnotation(annotations, marksKey);
  if (isObject(marks) && Object.values(marks).every((mark) => isMark(mark))) return;
  const lease = `pool-${nodePool}`;
  throw new FailoverError(
    'rate_limited',
    `action is currently rate limited: annotation ${marksKey} of Lease ${lease} is broken, so nobody knows what the ` +
      `pool has had; look, then: kubectl annotate lease ${lease} -n ${failoverNamespace} ${marksKey}-`,
    { headers: { 'Retry-After': String(Math.max(1, config.cooldownSeconds)) } },
  );
}

function readMarks(annotations: Annotations): Record<string, CooldownMark> {
  const marks = parseAnnotation(annotations, marksKey);
  const entries = isObject(marks) ? Object.entries(marks) : [];
  return Object.fromEntries(
    entries.flatMap(([effect, mark]) => (isMark(mark) ? [[effect, mark] as const] : [])),
  );
}

function isMark(value: unknown): value is CooldownMark {
  return (
    isObject(value) &&
    typeof value['action'] === 'string' &&
    typeof value['at'] === 'string' &&
    Number.isFinite(Date.parse(value['at']))
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
