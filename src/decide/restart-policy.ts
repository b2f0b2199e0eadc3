import { FailoverError } from '../errors.ts';
import { attemptOf } from '../gke/jobset.ts';
import type { ChildJob, FailurePolicyRule, JobSet } from '../gke/jobset.ts';
import type { RestartWay } from '../plan.ts';
import { describeSuspension } from './queue.ts';

const ownController = 'jobset.sigs.k8s.io/jobset-controller';

/** @throws {FailoverError} `restart_refused` where no failed Job, whichever it is, would restart the JobSet */
export function assertRestartable(jobSet: JobSet): void {
  const { metadata, spec, status } = jobSet;
  const finished =
    status?.terminalState ||
    status?.conditions?.find(
      ({ type, status: is }) => ['Completed', 'Failed'].includes(type) && is === 'True',
    )?.type;
  if (metadata.deletionTimestamp) throw restartRefused(jobSet, 'is being deleted');
  if (finished) throw restartRefused(jobSet, `is finished (${finished})`);
  if (spec.suspend) throw restartRefused(jobSet, describeSuspension(jobSet));
  if (spec.managedBy && spec.managedBy !== ownController) {
    throw restartRefused(jobSet, `is managed by ${spec.managedBy}, not by the JobSet controller`);
  }
  const strategy = spec.failurePolicy?.restartStrategy ?? 'Recreate';
  if (!['Recreate', 'BlockingRecreate'].includes(strategy)) {
    throw restartRefused(
      jobSet,
      `has restartStrategy ${strategy}, which this function does not know how to restart`,
    );
  }
}

/**
 * Asks what the JobSet controller will ask once the Job has failed: the first rule that matches the failure decides. Where
 * no rule matches, the controller restarts the JobSet.
 *
 * @returns how many restarts the JobSet has left, this one included; undefined where the rule ignores `maxRestarts`
 * @throws {FailoverError} `restart_refused` where the failure would end the run
 */
export function assertPolicyRestarts(
  jobSet: JobSet,
  replicatedJob: string,
  way: RestartWay,
): number | undefined {
  const { failurePolicy } = jobSet.spec;
  if (!failurePolicy) {
    throw restartRefused(jobSet, 'has no failurePolicy, so a failed Job would end it');
  }
  const reason = way === 'leader_pod' ? 'BackoffLimitExceeded' : 'DeadlineExceeded';
  const rule = (failurePolicy.rules ?? []).find((candidate) => couldMatch(candidate, reason, replicatedJob));
  if (!rule) return assertRestartsLeft(jobSet);
  const which = `(rule ${rule.name ?? '?'} of its failurePolicy, for ${reason})`;
  if (!isUnderstood(rule)) {
    const unknown = 'a condition that this function does not know';
    throw restartRefused(jobSet, `would not be restarted as a whole: ${unknown} ${which}`);
  }
  switch (rule.action) {
    case 'RestartJobSetAndIgnoreMaxRestarts':
      return undefined;
    case 'RestartJobSet':
      return assertRestartsLeft(jobSet);
    case 'FailJobSet':
      throw restartRefused(jobSet, `would fail for good ${which}`);
    case undefined:
    default:
      throw restartRefused(jobSet, `would not be restarted as a whole: ${rule.action ?? ''} ${which}`);
  }
}

/**
 * Asks what would come of the failure of any other Job of the attempt. A Job that is made to fail has failed only when its
 * pods have ended; until then another Job that has lost its peers may fail first, and then its failure decides.
 *
 * @throws {FailoverError} `restart_refused` where that failure would end the run
 */
export function assertOthersRestart(jobSet: JobSet, jobs: ChildJob[], planned: ChildJob): void {
  const attempt = attemptOf(jobSet);
  const others = jobs.filter((job) => job.attempt === attempt && job.uid !== planned.uid && !job.isComplete);
  for (const { name, replicatedJob, failureReasons } of others) {
    for (const reason of failureReasons) {
      const which = `if Job ${name} fails first (${reason}), as a Job that has lost its peers does`;
      for (const { action = '', name: rule = '?' } of decidingRules(jobSet, replicatedJob, reason)) {
        if (!harmlessActions.has(action)) {
          throw restartRefused(
            jobSet,
            `may fail for good ${which}: rule ${rule} of its failurePolicy says ${action}`,
          );
        }
        const isCounted = !action.endsWith('IgnoreMaxRestarts');
        if (isCounted && countRestarts(jobSet) >= (jobSet.spec.failurePolicy?.maxRestarts ?? 0)) {
          throw restartRefused(jobSet, `may fail for good ${which}: it has used up its restarts`);
        }
      }
    }
  }
}

const harmlessActions = new Set([
  'RestartJobSet',
  'RestartJobSetAndIgnoreMaxRestarts',
  'RestartJob',
  'RestartJobAndIgnoreMaxRestarts',
]);

/** The rules that could decide: one with a condition that is not known may match or not, so the next one counts, too. */
function decidingRules({ spec }: JobSet, replicatedJob: string, reason: string): FailurePolicyRule[] {
  const rules = [...(spec.failurePolicy?.rules ?? []), { name: 'none', action: 'RestartJobSet' }];
  const matching = rules.filter((rule) => couldMatch(rule, reason, replicatedJob));
  return matching.slice(0, matching.findIndex(isUnderstood) + 1);
}

function assertRestartsLeft(jobSet: JobSet): number {
  const maxRestarts = jobSet.spec.failurePolicy?.maxRestarts ?? 0;
  const counted = countRestarts(jobSet);
  if (counted < maxRestarts) return maxRestarts - counted;
  throw restartRefused(
    jobSet,
    `has used up its restarts (${counted} of maxRestarts ${maxRestarts}), so another would end it`,
  );
}

/**
 * Counts the restarts that count towards `maxRestarts`. JobSet before 0.6 has no count of its own for that: every restart
 * counts there, and later too where no rule ignores `maxRestarts`.
 */
function countRestarts({ spec, status }: JobSet): number {
  const counted = status?.restartsCountTowardsMax ?? 0;
  const rules = spec.failurePolicy?.rules ?? [];
  if (rules.some(({ action }) => action?.endsWith('IgnoreMaxRestarts'))) return counted;
  return Math.max(counted, status?.restarts ?? 0);
}

const understoodRuleFields = new Set(['name', 'action', 'onJobFailureReasons', 'targetReplicatedJobs']);

function isUnderstood(rule: FailurePolicyRule): boolean {
  return Object.keys(rule).every((field) => understoodRuleFields.has(field));
}

function couldMatch(rule: FailurePolicyRule, reason: string, replicatedJob: string): boolean {
  const includesOrAny = (list: string[] | undefined, item: string) => !list?.length || list.includes(item);
  return (
    includesOrAny(rule.onJobFailureReasons, reason) && includesOrAny(rule.targetReplicatedJobs, replicatedJob)
  );
}

function restartRefused(jobSet: JobSet, why: string): FailoverError {
  const { namespace, name } = jobSet.metadata;
  return new FailoverError('restart_refused', `JobSet ${namespace}/${name} ${why}`);
}
