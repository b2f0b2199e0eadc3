import * as v from 'valibot';
import { labelWays } from '../action-type.ts';
import type { Config } from '../config.ts';
import { FailoverError } from '../errors.ts';
import type { ShownMachine } from '../gke/shown-machine.ts';
import { failoverNamespace, prefix } from '../names.ts';
import { withAttempts } from './attempts.ts';
import type { Subject } from './attempts.ts';
import { deedSchema, isAccepted, refuseBegun } from './deed.ts';
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
  /** Which label asked for the repair. Absent for a deletion. */
  way: v.optional(v.picklist(labelWays)),
  /** The run that was restarted, and its restart attempt that was to end. */
  jobSetUid: v.optional(v.string()),
  attempt: v.optional(v.number()),
  /** One of the Jobs that were deleted, where JobSet makes them anew in the same attempt. */
  jobUid: v.optional(v.string()),
  state: v.optional(deedSchema),
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

/** Lists the marks on a pool's Lease that can be read, by effect. */
export function listMarks(annotations: Annotations): [string, CooldownMark][] {
  return Object.entries(readMarks(annotations));
}

/**
 * Lists the effects that an action has begun on this pool, and says of which the deletion, or the label, was accepted.
 *
 * @returns undefined if the marks cannot be read
 */
export function listOwnEffects(
  annotations: Annotations,
  actionId: string,
): { effect: string; way: CooldownMark['way']; isAccepted: boolean }[] | undefined {
  if (parseStored(marksSchema, annotations, marksKey) === 'broken') return undefined;
  return listMarks(annotations)
    .filter(([, mark]) => mark.action === actionId)
    .map(([effect, mark]) => ({ effect, way: mark.way, isAccepted: isAccepted(mark) }));
}

/** Says whether a deletion of this action was accepted on this pool. */
export function hasOwnMark(annotations: Annotations, actionId: string): boolean {
  return Object.values(readMarks(annotations)).some((mark) => mark.action === actionId && isAccepted(mark));
}

/**
 * Adds an effect's mark, and drops marks that are a week old. An accepted repair is listed as an attempt, too.
 *
 * @param shown are the machines of the pool, by which the mark that is overwritten is judged
 */
export function withMark(
  annotations: Annotations,
  effect: Effect,
  mark: CooldownMark,
  shown?: ShownMachine[],
): Record<string, string> {
  const marks = readMarks(annotations);
  const kept = Object.entries(marks).filter(
    ([, { at }]) => Date.parse(mark.at) - Date.parse(at) < keepMarksMs,
  );
  const listed =
    effect === 'repair' ? withAttempts(annotations, asEnded(marks[effect], shown), mark) : annotations;
  return { ...listed, [marksKey]: JSON.stringify({ ...Object.fromEntries(kept), [effect]: mark }) };
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
 * A repair of which it is unknown whether it was accepted counts as accepted once no node has its machine any more, or once the
 * node says that its label was set: otherwise a repair whose answers were all lost would not count as an attempt. It also counts
 * where nobody knows its machine.
 */
function asEnded(
  mark: CooldownMark | undefined,
  shown: ShownMachine[] | undefined,
): CooldownMark | undefined {
  if (!mark || !shown || isAccepted(mark)) return mark;
  const machine = shown.find(({ instanceId }) => instanceId !== undefined && instanceId === mark.instanceId);
  const isLeft = machine !== undefined && (mark.way === undefined || machine.repairedBy !== mark.action);
  return isLeft ? mark : { ...mark, state: 'accepted' };
}

/**
 * The repairs of a pool, so that another one can be refused.
 *
 * @param shown are the machines that the nodes of the pool say they have
 */
export function toRepairs(nodePool: string, annotations: Annotations, shown?: ShownMachine[]): Subject {
  const what = `node pool ${nodePool} was repaired`;
  const mark = asEnded(readMark(annotations, 'repair'), shown);
  return { what, lease: `pool-${nodePool}`, annotations, mark };
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
  if (!isDoneByAnother(mark, id)) return;
  const leftMs = toCooldownLeftMs(mark, config, switches.serverNow);
  if (leftMs <= 0) return;
  const what = `${effect} of node pool ${nodePool} was done at ${mark.at} by action ${mark.action}`;
  throw refuseCoolingDown(what, leftMs, { switches, isAlert });
}

/** True if another action has done it. What was only begun is judged once it is known what this action would delete. */
export function isDoneByAnother(mark: CooldownMark | undefined, id: string): mark is CooldownMark {
  return mark !== undefined && mark.action !== id && isAccepted(mark);
}

/**
 * How long the cooldown of a mark lasts, in ms; 0 or less when it is over. It is at most the cooldown: the API server's time
 * is known to a second, so a mark may seem to be of the future.
 */
export function toCooldownLeftMs(
  { at }: CooldownMark,
  { cooldownSeconds }: Config,
  serverNow: number,
): number {
  const wholeMs = cooldownSeconds * 1000;
  return Math.min(wholeMs, Date.parse(at) + wholeMs - serverNow);
}

/** Refuses what was done within the cooldown. */
export function refuseCoolingDown(
  what: string,
  leftMs: number,
  { switches, isAlert }: { switches: ClusterSwitches; isAlert: boolean },
): FailoverError {
  const retryAfterSeconds = Math.ceil(leftMs / 1000);
  return new FailoverError(
    'rate_limited',
    `action is currently rate limited: ${what}, ` +
      `again possible in ${retryAfterSeconds} s.${describeOverride(switches, { isAlert })}`,
    { headers: { 'Retry-After': String(retryAfterSeconds) } },
  );
}

/**
 * Refuses an effect that another action has begun, for as long as that action may take. A person's override does not lift
 * this.
 *
 * @throws {FailoverError} `action_in_progress`
 */
export function assertNotBegun(
  annotations: Annotations,
  effect: Effect,
  { config, id, nodePool, serverNow }: { config: Config; id: string; nodePool: string; serverNow: number },
): void {
  const mark = readMark(annotations, effect);
  if (!mark || mark.action === id || isAccepted(mark)) return;
  const leftMs = Date.parse(mark.at) + config.actionDeadlineSeconds * 1000 - serverNow;
  if (leftMs >= 0) throw refuseBegun(`${effect} of node pool ${nodePool}`, mark, leftMs);
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
