import { createHash } from 'node:crypto';
import type { Config } from '../config.ts';
import type { ChildJob, JobSet } from '../gke/jobset.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { createLease, deleteLease, parseAnnotation, replaceLease } from './lease.ts';
import type { LeaseState } from './lease.ts';
import { prefix } from '../names.ts';

/** The last restart of a JobSet that this function brought about, whichever pool it was for. */
export interface RestartMark {
  action: string;
  jobSetUid: string;
  attempt: number;
  jobUid: string;
  leaderUid: string | undefined;
  /** RFC 3339, by the API server's clock. */
  at: string;
}

const markKey = `${prefix}restart`;

/** Names the Lease of a JobSet's last restart. */
export function toMarkName(namespace: string, name: string): string {
  return `jobset-${createHash('sha256').update(`${namespace}/${name}`).digest('hex').slice(0, 32)}`;
}

/** Reads the mark that a Lease holds; undefined where it holds none. */
export function readRestartMark(lease: LeaseState | undefined): RestartMark | undefined {
  return lease && (parseAnnotation(lease.annotations, markKey) as RestartMark | undefined);
}

/**
 * Says whether a mark's restart is still the one under way. One whose attempt is still current after the deadline of an
 * action, with its Job alive, came to nothing and doesn't count.
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
 * @returns the Lease as it is afterwards; undefined when somebody else has written it meanwhile
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

/** Puts in the place of a mark what was there before it was written. */
export async function restoreRestartMark(
  kubernetes: Kubernetes,
  written: LeaseState,
  before: LeaseState | undefined,
): Promise<void> {
  if (before) await replaceLease(kubernetes, { ...before, resourceVersion: written.resourceVersion });
  else await deleteLease(kubernetes, written);
}
