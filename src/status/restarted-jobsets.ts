import { FailoverError } from '../errors.ts';
import { attemptOf, findJobSet } from '../gke/jobset.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import type { LeaseState } from '../state/lease-format.ts';
import { readMarkedJobSet, readRestartMark, toRestarts } from '../state/restart-mark.ts';
import { showAttempts } from './pool-status.ts';
import type { AttemptsView, StatusRules } from './pool-status.ts';

/** A JobSet that this function has restarted within 24 h. */
export interface RestartedJobSet {
  /** `<namespace>/<JobSet>` */
  name: string;
  /** Its restarts, from whichever pool. */
  attempts: AttemptsView;
}

/**
 * Shows the JobSets that were restarted within 24 h. The attempts are those of the run that has the name now, so each of them
 * is read.
 *
 * @param onUnread gets what could not be read, and why
 */
export async function showRestarted(
  kubernetes: Kubernetes,
  leases: LeaseState[],
  rules: StatusRules,
  onUnread: (what: string, error: FailoverError) => void,
): Promise<RestartedJobSet[]> {
  const shown = await Promise.all(
    leases.map(async (lease) => {
      const jobSet = readMarkedJobSet(lease);
      const [namespace = '', name = ''] = jobSet?.split('/') ?? [];
      if (jobSet === undefined || !rules.config.allowedNamespaces.includes(namespace)) return [];
      const attemptsOf = (uid: string, attempt = Infinity) =>
        showAttempts(toRestarts({ namespace, name, uid }, lease, attempt), rules);
      if (!hasRecent(lease, attemptsOf)) return [];
      try {
        const found = await findJobSet(kubernetes, namespace, name);
        return found ? [{ name: jobSet, attempts: attemptsOf(found.metadata.uid, attemptOf(found)) }] : [];
      } catch (error) {
        if (!(error instanceof FailoverError)) throw error;
        onUnread(`JobSet ${jobSet}`, error);
        return [];
      }
    }),
  );
  return shown.flat().sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Only the run that was restarted last can have attempts that count. */
function hasRecent(lease: LeaseState, attemptsOf: (uid: string) => AttemptsView): boolean {
  const { used, broken } = attemptsOf(readRestartMark(lease)?.jobSetUid ?? '');
  return used > 0 || broken === true;
}
