import type { ClusterName } from '../cluster-name.ts';
import type { ActionRecord } from '../state/record-format.ts';
import type { RecordedAction } from '../state/recorded-action.ts';
import { withoutAbsent } from './action-view.ts';

/**
 * The body that carries an action on when it is sent again: the fields that its caller sent, because the id belongs to
 * these. Undefined for an alert's action and for what follows a verdict: nobody can send those.
 */
export function toResendable(
  { id, type, requestor, reason, action }: ActionRecord,
  cluster: ClusterName,
): object | undefined {
  if (!action || action.incident || action.followUpOf) return undefined;
  return withoutAbsent({
    id,
    type,
    requestor,
    reason,
    namespace: action.namespace,
    jobset_name: action.jobSetName,
    node_pool: action.nodePool,
    node_name: action.nodeName,
    preflight_checks: toPreflightChecks(action),
    when_no_spare: action.whenNoSpare,
    on_failure: action.onFailure,
    repair: action.repair,
    fault: action.fault,
    approval: action.approval,
    uncordon_when_repaired: action.uncordonWhenRepaired === true ? true : undefined,
    accept: action.accept,
    restart_grace_seconds: action.restartGraceSeconds,
    cluster: cluster.fullName,
  });
}

function toPreflightChecks({
  expectedNodeCounts,
  requiresSpare = false,
}: RecordedAction): object | undefined {
  if (!expectedNodeCounts && !requiresSpare) return undefined;
  return {
    ...(expectedNodeCounts && { expected_node_counts: true }),
    ...(requiresSpare && { spare_capacity: true }),
  };
}
