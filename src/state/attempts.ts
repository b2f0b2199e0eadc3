import * as v from 'valibot';
import type { Config } from '../config.ts';
import { FailoverError } from '../errors.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { failoverNamespace, prefix } from '../names.ts';
import { isAccepted } from './deed.ts';
import type { Deed } from './deed.ts';
import { readLease } from './lease.ts';
import { keys, toRecordName } from './record-format.ts';
import { parseStored, timeSchema } from './stored.ts';
import { describeOverride, readSwitches } from './switches.ts';
import type { ClusterSwitches } from './switches.ts';

// A Lease lists the actions that repaired its pool, or restarted its JobSet, within a day. An action is added by the write
// that marks its deletion as accepted, so the list costs no write of its own.

const attemptSchema = v.object({
  /** The action's id. */
  action: v.string(),
  /** By the API server's clock. */
  at: timeSchema,
  /** The run that was restarted. */
  jobSetUid: v.exactOptional(v.string()),
});

type Attempt = v.InferOutput<typeof attemptSchema>;

const attemptsSchema = v.array(attemptSchema);

const attemptsKey = `${prefix}attempts`;
const dayMs = 24 * 3_600_000;

/** `MAX_ATTEMPTS_PER_DAY` is at most this. */
const maxKept = 100;

/** More would make the text of a refusal too long. */
const maxListed = 10;

/** A refusal waits for the verdicts that it lists. */
const verdictPatienceMs = 3_000;

type Annotations = Readonly<Record<string, string>>;

/** The mark of a deletion. Only the mark of a restart has the JobSet's uid. */
type Mark = Deed & { jobSetUid?: string | undefined };

/**
 * Adds those marks whose deletion was accepted, each action once, and drops what is a day older than the newest.
 *
 * @returns the same annotations if nothing is new
 */
export function withAttempts(
  annotations: Record<string, string>,
  ...marks: (Mark | undefined)[]
): Record<string, string> {
  const stored = parseStored(attemptsSchema, annotations, attemptsKey);
  const listed = stored === undefined || stored === 'broken' ? [] : stored.value;
  const all = addTo(listed, marks);
  if (all.length === listed.length) return annotations;
  const newest = Math.max(...all.map(({ at }) => Date.parse(at)));
  const kept = all.filter(({ at }) => newest - Date.parse(at) < dayMs).slice(-maxKept);
  return { ...annotations, [attemptsKey]: JSON.stringify(kept) };
}

/** Returns annotations with the list of other ones. */
export function withAttemptsOf(annotations: Annotations, others: Annotations): Record<string, string> {
  const { [attemptsKey]: list } = others;
  return { ...annotations, ...(list === undefined ? {} : { [attemptsKey]: list }) };
}

function addTo(listed: Attempt[], marks: (Mark | undefined)[]): Attempt[] {
  const all = [...listed];
  for (const mark of marks) {
    if (!mark || !isAccepted(mark) || all.some(({ action }) => action === mark.action)) continue;
    const { action, at, jobSetUid } = mark;
    all.push({ action, at, ...(jobSetUid === undefined ? {} : { jobSetUid }) });
  }
  return all;
}

/** A pool that is to be repaired, or a JobSet that is to be restarted, with what was done to it before. */
export interface Subject {
  /** Such as `node pool slice-a was repaired`. */
  what: string;
  /** The name of its Lease. */
  lease: string;
  annotations: Annotations;
  /** The last mark there. An earlier version wrote no list. */
  mark: Mark | undefined;
  /** Another run of the same name does not count. */
  jobSetUid?: string;
}

/** Who asks, and by which rules. */
export interface Asking {
  config: Config;
  /** The action's id. */
  id: string;
  isAlert: boolean;
  /** Read only if they are needed, if they are not known. */
  switches?: ClusterSwitches;
}

/**
 * Refuses what was done so often within 24 h that it evidently does not help. What this very action has begun is carried on.
 *
 * @throws {FailoverError} `attempts_exhausted`, also where the list cannot be read
 */
export async function assertAttemptsLeft(
  kubernetes: Kubernetes,
  subject: Subject,
  { config, id, isAlert, switches: known }: Asking,
): Promise<void> {
  const { mark } = subject;
  if (mark?.action === id && isOfRun(subject, mark)) return;
  const { recent, isBroken } = listRecent(subject, kubernetes.serverNow());
  if (recent.some(({ action }) => action === id)) return;
  if (!isBroken && recent.length < config.maxAttemptsPerDay) return;
  const switches = known ?? (await readSwitches(kubernetes));
  // A person's override is not meant for alerts.
  if (switches.overrideUntil !== undefined && !isAlert) return;
  const override = describeOverride(switches, { isAlert });
  if (isBroken) throw refuseBroken(subject, override);
  const listed = await Promise.all(
    recent.slice(-maxListed).map(async ({ action, at }) => {
      return `action ${action} at ${at}: ${await describeVerdictOf(kubernetes, action)}`;
    }),
  );
  const before = recent.length - listed.length;
  const earlier = before > 0 ? `${before} before; ` : '';
  throw new FailoverError(
    'attempts_exhausted',
    `${subject.what} ${recent.length} times within 24 h, and MAX_ATTEMPTS_PER_DAY is ${config.maxAttemptsPerDay}: it did not ` +
      `help, so a person must look (${earlier}${listed.join('; ')}). ` +
      `Again possible at ${new Date(againAt(recent, config)).toISOString()}.${override}`,
  );
}

/** How many attempts are left, for those who look. */
export interface AttemptsLeft {
  max: number;
  /** Within 24 h. */
  used: number;
  left: number;
  /** When one more is possible, in ms since the epoch; undefined while any is left. */
  againAt: number | undefined;
  /** The list cannot be read, so everything is refused. */
  isBroken: boolean;
}

/** Counts the attempts that are left, by the rules of {@link assertAttemptsLeft}. */
export function countAttempts(
  subject: Subject,
  config: Pick<Config, 'maxAttemptsPerDay'>,
  now: number,
): AttemptsLeft {
  const { recent, isBroken } = listRecent(subject, now);
  const max = config.maxAttemptsPerDay;
  const left = isBroken ? 0 : Math.max(0, max - recent.length);
  const again = left > 0 || isBroken ? undefined : againAt(recent, config);
  return { max, used: recent.length, left, againAt: again, isBroken };
}

/** When the attempt that is in the way is a day old. */
function againAt(recent: Attempt[], { maxAttemptsPerDay }: Pick<Config, 'maxAttemptsPerDay'>): number {
  return Date.parse(recent.at(-maxAttemptsPerDay)?.at ?? '') + dayMs;
}

/** Lists the attempts of a subject within 24 h, the oldest first. */
function listRecent(subject: Subject, now: number): { recent: Attempt[]; isBroken: boolean } {
  const stored = parseStored(attemptsSchema, subject.annotations, attemptsKey);
  const isBroken = stored === 'broken';
  const recent = addTo(stored === undefined || isBroken ? [] : stored.value, [subject.mark])
    .filter((each) => isOfRun(subject, each) && now - Date.parse(each.at) < dayMs)
    .sort((a, b) => Date.parse(a.at) - Date.parse(b.at));
  return { recent, isBroken };
}

function isOfRun({ jobSetUid }: Subject, each: { jobSetUid?: string | undefined }): boolean {
  return jobSetUid === undefined || each.jobSetUid === jobSetUid;
}

/** What cannot be read counts as exhausted, because one more deletion costs more than a person's look. */
function refuseBroken({ what, lease }: Subject, override: string): FailoverError {
  return new FailoverError(
    'attempts_exhausted',
    `it is unknown how often ${what} within 24 h, because annotation ${attemptsKey} of Lease ${lease} is broken; look at what was ` +
      `done, then: kubectl annotate lease ${lease} -n ${failoverNamespace} ${attemptsKey}-.${override}`,
  );
}

/** The refusal must not depend on it, so whatever fails here is not known. */
async function describeVerdictOf(kubernetes: Kubernetes, actionId: string): Promise<string> {
  try {
    const record = await readLease(kubernetes.within(verdictPatienceMs), toRecordName(actionId));
    if (!record) return 'not known';
    const stored = parseStored(verdictNameSchema, record.annotations, keys.verdict);
    if (stored === undefined) return 'no verdict yet';
    return stored === 'broken' ? 'not known' : stored.value.verdict;
  } catch (error) {
    if (error instanceof FailoverError) return 'not known';
    throw error;
  }
}

const verdictNameSchema = v.object({ verdict: v.pipe(v.string(), v.regex(/^\w{1,64}$/)) });
