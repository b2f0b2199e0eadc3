import * as v from 'valibot';
import type { Config } from '../config.ts';
import { FailoverError } from '../errors.ts';
import { failoverNamespace, prefix } from '../names.ts';
import { mapOf, parseStored, timeSchema } from './stored.ts';
import { describeOverride } from './switches.ts';
import type { ClusterSwitches } from './switches.ts';

/** The mark that an effect leaves on its pool's Lease before anything is deleted. */
export type CooldownMark = v.InferOutput<typeof markSchema>;

const markSchema = v.object({
  /** The action's id. */
  action: v.string(),
  /** When, by the API server's clock. */
  at: timeSchema,
  /** When this action was about to do it for the first time, if it has been resumed since. */
  firstAt: v.optional(v.string()),
  /** The machine that was repaired. */
  instanceId: v.optional(v.string()),
});

const marksSchema = mapOf(markSchema);

/** An effect that has a cooldown: the repair of the pool, or the restart of this JobSet from it. */
export type Effect = 'repair' | `restart ${string}/${string}`;

const marksKey = `${prefix}effects`;
const keepMarksMs = 7 * 24 * 3_600_000;

type Annotations = Readonly<Record<string, string>>;

/** Reads when an effect was last done to a pool. */
export function readMark(annotations: Annotations, effect: Effect): CooldownMark | undefined {
  return readMarks(annotations)[effect];
}

/** Adds an effect's mark, and drops marks that are a week old. */
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

/** Takes an effect's mark back, and restores the one that was there before it. */
export function withoutMark(
  annotations: Annotations,
  effect: Effect,
  before: CooldownMark | undefined,
): Record<string, string> {
  const { [effect]: _, ...others } = readMarks(annotations);
  return { ...annotations, [marksKey]: JSON.stringify(before ? { ...others, [effect]: before } : others) };
}

/**
 * Refuses an effect that was done to the pool within the cooldown, unless this very action did it.
 *
 * @throws {FailoverError} `rate_limited`, also where the marks cannot be read
 */
export function assertNotCoolingDown(
  annotations: Annotations,
  effect: Effect,
  {
    config,
    id,
    nodePool,
    switches,
    isAlert,
  }: { config: Config; id: string; nodePool: string; switches: ClusterSwitches; isAlert: boolean },
): void {
  assertReadable(annotations, nodePool, config);
  const mark = readMark(annotations, effect);
  if (!mark || mark.action === id) return;
  const leftMs = Date.parse(mark.at) + config.cooldownSeconds * 1000 - switches.serverNow;
  if (leftMs <= 0) return;
  const retryAfterSeconds = Math.ceil(leftMs / 1000);
  throw new FailoverError(
    'rate_limited',
    `action is currently rate limited: ${effect} of node pool ${nodePool} was done at ${mark.at} by action ${mark.action}, ` +
      `again possible in ${retryAfterSeconds} s.${describeOverride(switches, { isAlert })}`,
    { headers: { 'Retry-After': String(retryAfterSeconds) } },
  );
}

/** Marks that cannot be read count as recent ones, because a second deletion costs more than a person's look. */
function assertReadable(annotations: Annotations, nodePool: string, config: Config): void {
  if (parseStored(marksSchema, annotations, marksKey) !== 'broken') return;
  const lease = `pool-${nodePool}`;
  throw new FailoverError(
    'rate_limited',
    `action is currently rate limited: annotation ${marksKey} of Lease ${lease} is broken, so it is unknown what was done to ` +
      `the pool; check the pool, then: kubectl annotate lease ${lease} -n ${failoverNamespace} ${marksKey}-`,
    { headers: { 'Retry-After': String(Math.max(1, config.cooldownSeconds)) } },
  );
}

function readMarks(annotations: Annotations): Record<string, CooldownMark> {
  // Where one mark is broken, the others still count.
  const stored = parseStored(mapOf(v.unknown()), annotations, marksKey);
  const entries = stored === undefined || stored === 'broken' ? [] : Object.entries(stored.value);
  return Object.fromEntries(
    entries.flatMap(([effect, mark]) => (v.is(markSchema, mark) ? [[effect, mark] as const] : [])),
  );
}
