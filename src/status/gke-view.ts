import type { GkeWork } from '../gke/gke-work.ts';
import { toTime, withoutAbsent } from './action-view.ts';

/** What GKE itself does to a pool, as `/status` shows it. */
export interface GkeView {
  /** What GKE says of the pool, unless it is `RUNNING`. */
  gke_status?: string;
  /** What is under way; absent if nothing is known. */
  operations?: { type: string; since?: string; node?: string; name?: string }[];
}

/** Adds to a cluster's status what GKE itself is doing, and what could not be asked. */
export function addGkeWork(
  status: { pools: (GkeView & { name: string })[]; warnings?: string[] },
  work: GkeWork,
): void {
  for (const pool of status.pools) Object.assign(pool, showGkeWork(pool.name, work));
  if (work.unread.length > 0) status.warnings = work.unread;
}

function showGkeWork(name: string, work: GkeWork): GkeView {
  const gkeStatus = work.pools?.get(name)?.status;
  const operations = (work.operations ?? [])
    .filter(({ pool }) => pool === name)
    .map(({ type, since, node, name: operation }) =>
      withoutAbsent({
        type,
        since: since === undefined ? undefined : toTime(since),
        node,
        name: operation || undefined,
      }),
    );
  return withoutAbsent({
    gke_status: gkeStatus === 'RUNNING' ? undefined : gkeStatus,
    operations: operations.length === 0 ? undefined : operations,
  });
}
