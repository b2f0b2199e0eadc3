import * as v from 'valibot';
import type { Config } from '../config.ts';
import type { ChildJob, JobSet } from '../gke/jobset.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { prefix } from '../names.ts';
import { withAttempts, withAttemptsOf } from './attempts.ts';
import type { Subject } from './attempts.ts';
import { deedSchema, isAccepted } from './deed.ts';
import {
  createLease,
  deleteLease,
  readLease,
  replaceLease,
  toLeaseName,
  updateAnnotations,
} from './lease.ts';
import type { LeaseState } from './lease-format.ts';
import { parseStored, timeSchema } from './stored.ts';

/** The last restart of a JobSet that this function began, whichever pool it was for. */
export type RestartMark = v.InferOutput<typeof restartMarkSchema>;

const restartMarkSchema = v.object({
  /** The action's id. */
  action: v.string(),
  jobSetUid: v.string(),
  /** The JobSet's restart attempt that was ended. */
  attempt: v.number(),
  jobUid: v.string(),
  leaderUid: v.optional(v.string()),
  /** The Jobs were deleted, so that JobSet makes them anew in the same attempt. */
  isRecreation: v.optional(v.boolean()),
  /** By the API server's clock. */
  at: timeSchema,
  state: v.optional(deedSchema),
});

const markKey = `${prefix}restart`;
const jobSetKey = `${prefix}jobset`;

/** Names the Lease of a JobSet's last restart. */
export function toMarkName(namespace: string, name: string): string {
  return toLeaseName('jobset', `${namespace}/${name}`);
}

/** Reads the Lease of a JobSet's last restart. */
export function readMarkLease(
  kubernetes: Kubernetes,
  { namespace, name }: { namespace: string; name: string },
): Promise<LeaseState | undefined> {
  return readLease(kubernetes, toMarkName(namespace, name));
}

/** The JobSet that a Lease is about, as `<namespace>/<name>`. */
export function readMarkedJobSet(lease: LeaseState): string | undefined {
  return lease.annotations[jobSetKey];
}

/** Reads the mark that a Lease holds; undefined where it holds none that can be read. */
export function readRestartMark(lease: LeaseState | undefined): RestartMark | undefined {
  return lease && parseRestartMark(lease.annotations);
}

function parseRestartMark(annotations: Readonly<Record<string, string>>): RestartMark | undefined {
  const stored = parseStored(restartMarkSchema, annotations, markKey);
  return stored === 'broken' ? undefined : stored?.value;
}

/**
 * Says what a mark of another action means for the attempt that is current now. A mark does not count once its attempt is
 * still current after the deadline of an action and its Job is not failing, because then its restart came to nothing.
 *
 * @returns undefined where the mark does not count; `begun` where it is not known yet whether the deletion was accepted
 */
export function judgeRestartMark(
  mark: RestartMark,
  now: { jobSet: JobSet; attempt: number; jobs: ChildJob[]; config: Config; serverNow: number },
): 'already_restarted' | 'already_restarting' | 'begun' | undefined {
  if (mark.jobSetUid !== now.jobSet.metadata.uid || mark.attempt !== now.attempt) return undefined;
  const marked = now.jobs.find((job) => job.uid === mark.jobUid);
  if (marked?.isEnding) return isAccepted(mark) ? 'already_restarted' : 'already_restarting';
  // Its Jobs have been made anew in the same attempt: that is another run.
  if (!marked && mark.isRecreation && isAccepted(mark)) return undefined;
  if (now.serverNow > restartMarkEndsAt(mark, now.config)) return undefined;
  return isAccepted(mark) ? 'already_restarted' : 'begun';
}

/** Until when a mark counts whose Job is not failing, by the API server's clock. */
export function restartMarkEndsAt(mark: RestartMark, config: Config): number {
  return Date.parse(mark.at) + config.actionDeadlineSeconds * 1000;
}

/**
 * Writes the mark of a restart.
 *
 * @param lease is the mark's Lease as it was read; undefined where there was none
 * @returns the Lease as it is afterwards; undefined when somebody else has written it in between
 */
export async function writeRestartMark(
  kubernetes: Kubernetes,
  { namespace, name }: { namespace: string; name: string },
  mark: RestartMark,
  lease: LeaseState | undefined,
): Promise<LeaseState | undefined> {
  const before = lease?.annotations ?? {};
  const annotations = {
    ...withAttempts(before, asEnded(parseRestartMark(before), mark), mark),
    [markKey]: JSON.stringify(mark),
    [jobSetKey]: `${namespace}/${name}`,
  };
  const changed = { holder: mark.action, renewedAt: Date.parse(mark.at), annotations };
  return lease
    ? replaceLease(kubernetes, { ...lease, ...changed })
    : createLease(kubernetes, {
        name: toMarkName(namespace, name),
        labels: { [`${prefix}kind`]: 'jobset' },
        ...changed,
      });
}

/**
 * A deletion of which it is unknown whether it was accepted counts as accepted once its attempt has ended: otherwise a restart
 * whose answers were all lost would not count as an attempt.
 */
function asEnded(
  mark: RestartMark | undefined,
  now: { jobSetUid: string; attempt: number },
): RestartMark | undefined {
  const hasEnded = mark?.jobSetUid === now.jobSetUid && mark.attempt < now.attempt;
  return hasEnded ? { ...mark, state: 'accepted' } : mark;
}

/**
 * The restarts of a JobSet from any pool, so that another one can be refused.
 *
 * @param attempt is the JobSet's attempt that would be ended, where one would be
 */
export function toRestarts(
  { namespace, name, uid }: { namespace: string; name: string; uid: string },
  lease: LeaseState | undefined,
  attempt = 0,
): Subject {
  return {
    what: `JobSet ${namespace}/${name} was restarted`,
    lease: toMarkName(namespace, name),
    annotations: lease?.annotations ?? {},
    mark: asEnded(readRestartMark(lease), { jobSetUid: uid, attempt }),
    jobSetUid: uid,
  };
}

/**
 * Marks the deletion of an action's mark as accepted, unless another action has written the mark since.
 *
 * @param sent is the mark whose deletion this claim has sent. It is listed as an attempt, whoever has written the mark since
 */
export async function acceptRestartMark(
  kubernetes: Kubernetes,
  { namespace, name }: { namespace: string; name: string },
  actionId: string,
  { known, sent }: { known: LeaseState | undefined; sent: RestartMark | undefined },
): Promise<void> {
  await updateAnnotations(
    kubernetes,
    toMarkName(namespace, name),
    (annotations) => {
      // Somebody has deleted the Lease since.
      if (annotations[jobSetKey] === undefined) return undefined;
      const mark = parseRestartMark(annotations);
      const isOwn = mark?.action === actionId && !isAccepted(mark);
      const accepted = isOwn ? { ...mark, state: 'accepted' as const } : undefined;
      const listed = withAttempts(annotations, sent && { ...sent, state: 'accepted' }, accepted);
      if (accepted) return { ...listed, [markKey]: JSON.stringify(accepted) };
      return listed === annotations ? undefined : listed;
    },
    known,
  );
}

/** Restores what was there before a mark was written. What was listed since stays. */
export async function restoreRestartMark(
  kubernetes: Kubernetes,
  written: LeaseState,
  before: LeaseState | undefined,
): Promise<void> {
  const { resourceVersion, annotations } = written;
  if (before) {
    const restored = withAttemptsOf(before.annotations, annotations);
    await replaceLease(kubernetes, { ...before, annotations: restored, resourceVersion });
  } else await deleteLease(kubernetes, written);
}
