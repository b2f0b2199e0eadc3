import { regionOf } from '../cluster-name.ts';
import { ConfigError } from '../config.ts';
import type { Config } from '../config.ts';
import { FailoverError } from '../errors.ts';
import { authoriseAction } from '../request/auth.ts';
import { toAlert } from './alert.ts';
import { readNotification } from './notification.ts';

/**
 * Tries each rule of LOG_RULES on an entry of the cluster that it names, or of the first one, so that a misspelt label shows when the function is
 * deployed and not when a machine fails.
 *
 * @throws {ConfigError}
 */
export function checkLogRules(config: Config): void {
  const problems = Object.entries(config.logRules).flatMap(([id, { labels }]) => {
    const problem = tryOut(labels, config);
    return problem === undefined ? [] : [`LOG_RULES ${id}: ${problem}`];
  });
  if (problems.length > 0) throw new ConfigError(problems);
}

function tryOut(policyLabels: Record<string, string>, config: Config): string | undefined {
  const named = config.clusters.find(({ name }) => name === policyLabels['failover_cluster']);
  const { projectId = '', location = '' } = named ?? config.clusters[0] ?? {};
  const labels = { project_id: projectId, zone: `${regionOf(location)}-a`, instance_id: '1' };
  const incident = {
    incident_id: 'try',
    state: 'open',
    started_at: 0,
    policy_name: 'try',
    policy_user_labels: policyLabels,
    summary: 'try',
    resource: { type: 'gce_instance', labels },
  };
  try {
    const { action } = toAlert(
      readNotification({ payload: { incident }, publishedAt: undefined, isPushed: true }),
      config,
      0,
    );
    authoriseAction(action, config);
    return undefined;
  } catch (error) {
    if (error instanceof FailoverError) return error.message;
    throw error;
  }
}
