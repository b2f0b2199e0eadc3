import * as v from 'valibot';
import type { Config } from '../config.ts';
import type { ChildJob, JobSet } from '../gke/jobset.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { prefix } from '../names.ts';
import { createLease, deleteLease, replaceLease, toLeaseName } from './lease.ts';
import type { LeaseState } from './lease.ts';
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
  /** By the API server's clock. */
  at: timeSchema,
});

const markKey = `${prefix}restart`;

/** Names the Lease of a JobSet's last restart. */
export function toMarkName(namespace: string, name: string): string {
  return toLeaseName('jobset', `${namespace}/${name}`);
}

/** Reads the mark that a Lease holds; undefined where it holds none that can be read. */
export function readRestartMark(lease: LeaseState | undefined): RestartMark | undefined {
  const stored = lease && parseStored(restartMarkSchema, lease.annotations, markKey);
  return stored === 'broken' ? undefined : stored?.value;
}

/**
 * Says whether a mark's restart is still the one under way. A mark does not count once its attempt is still current after
 * the deadline of an action and its Job is not failing, because then its restart came to nothing.
 */
export function isStillUnderWay(
  mark: RestartMark,
  now: { jobSet: JobSet; attempt: number; jobs: ChildJob[]; config: Config; serverNow: number },
): boolean {
  if (mark.jobSetUid !== now.jobSet.metadata.uid || mark.attempt !== now.attempt) return false;
  if (now.jobs.some((job) => job.uid === mark.jobUid && job.isFailing)) return true;
  return now.serverNow - Date.parse(mark.at) <= now.config.actionDeadlineSeconds * 1000;
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
  const annotations = {
    ...lease?.annotations,
    [markKey]: JSON.stringify(mark),
    [`${prefix}jobset`]: `${namespace}/${name}`,
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

/** Restores what was there before a mark was written. */
export async function restoreRestartMark(
  kubernetes: Kubernetes,
  written: LeaseState,
  before: LeaseState | undefined,
): Promise<void> {
  if (before) await replaceLease(kubernetes, { ...before, resourceVersion: written.resourceVersion });
  else await deleteLease(kubernetes, written);
}
