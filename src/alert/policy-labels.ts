import { invalidAction } from '../errors.ts';
import { nearestName } from '../nearest-name.ts';
import { mostGraceSeconds } from '../request/action.ts';
import { quote } from '../request/printable-text.ts';

/** What the user labels of an alert policy ask for. docs/alerts.md describes each label. */
export interface PolicyLabels {
  action: string | undefined;
  jobSetName: string | undefined;
  namespace: string | undefined;
  clusterName: string | undefined;
  isDryRun: boolean;
  expectsNodeCounts: boolean;
  requiresSpare: boolean;
  whenNoSpare: string | undefined;
  onClose: 'uncordon_nodepool' | undefined;
  onFailure: string | undefined;
  uncordonsWhenRepaired: boolean;
  accept: string | undefined;
  approval: string | undefined;
  repair: string | undefined;
  fault: string | undefined;
  restartGraceSeconds: number | undefined;
}

/**
 * Parses the `failover_` labels of an alert policy. Other labels belong to the policy's owner.
 *
 * @throws {FailoverError} `invalid_action`, also for an unknown label: a misspelt `failover_dry_run` must not run live
 */
export function parsePolicyLabels(labels: Record<string, string>): PolicyLabels {
  const known = policyLabels.map((name) => prefix + name);
  for (const name of Object.keys(labels)) {
    if (!name.startsWith(prefix) || known.includes(name)) continue;
    const nearest = nearestName(name, known);
    const hint = nearest ? `, did you mean ${quote(nearest)}?` : `; known labels: ${known.join(', ')}`;
    throw invalidAction(`unknown label ${quote(name)} of the alert policy${hint}`);
  }
  const text = (name: string) => (Object.hasOwn(labels, prefix + name) && labels[prefix + name]) || undefined;
  const boolean = (name: string) => {
    const value = Object.hasOwn(labels, prefix + name) ? labels[prefix + name] : 'false';
    if (value === 'true' || value === 'false') return value === 'true';
    throw invalidAction(`label ${prefix}${name} of the alert policy must be true or false`);
  };
  const onClose = text('on_close');
  if (onClose !== undefined && onClose !== 'uncordon_nodepool') {
    throw invalidAction(`label ${prefix}on_close of the alert policy can only be uncordon_nodepool`);
  }
  const accept = text('accept');
  if (accept !== undefined && onClose !== undefined) {
    throw invalidAction(
      `the close of an incident would uncordon a pool that is not tested: leave label ${prefix}on_close or ${prefix}accept of the alert ` +
        'policy out',
    );
  }
  return {
    action: text('action'),
    jobSetName: text('jobset'),
    namespace: text('namespace'),
    clusterName: text('cluster'),
    isDryRun: boolean('dry_run'),
    expectsNodeCounts: boolean('expected_node_counts'),
    requiresSpare: boolean('spare_capacity'),
    whenNoSpare: text('when_no_spare'),
    onClose,
    onFailure: text('on_failure'),
    uncordonsWhenRepaired: boolean('uncordon_when_repaired'),
    accept,
    approval: text('approval'),
    repair: text('repair'),
    fault: text('fault'),
    restartGraceSeconds: parseSeconds(text('restart_grace_seconds')),
  };
}

function parseSeconds(given: string | undefined): number | undefined {
  if (given === undefined) return undefined;
  if (/^\d{1,4}$/.test(given) && Number(given) <= mostGraceSeconds) return Number(given);
  throw invalidAction(
    `label ${prefix}restart_grace_seconds of the alert policy must be a whole number of seconds from 0 to ${mostGraceSeconds}`,
  );
}

const prefix = 'failover_';
const policyLabels = [
  'action',
  'jobset',
  'namespace',
  'cluster',
  'dry_run',
  'expected_node_counts',
  'spare_capacity',
  'when_no_spare',
  'on_close',
  'on_failure',
  'uncordon_when_repaired',
  'accept',
  'approval',
  'repair',
  'fault',
  'restart_grace_seconds',
];
