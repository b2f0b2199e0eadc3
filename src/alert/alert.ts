import { parseActionOfAlert } from '../request/action.ts';
import type { Action } from '../request/action.ts';
import { locateOrIgnoreClose } from './alert-target.ts';
import type { ClusterName } from '../cluster-name.ts';
import type { Config } from '../config.ts';
import { invalidAction } from '../errors.ts';
import { Ignored } from '../ignored.ts';
import { minRecordRetentionMs } from '../names.ts';
import type { Incident } from '../request/incident.ts';
import { parseIncident } from './notification.ts';
import type { Notification, NotifiedIncident } from './notification.ts';
import { parsePolicyLabels } from './policy-labels.ts';
import { quote, toPrintableText } from '../request/printable-text.ts';

/** What an alert asks for. */
export interface Alert {
  /** The action. `incident.subject` says which part of the target must still be looked up in the cluster. */
  action: Action & { incident: Incident };
  /** The configured clusters that may have the target: one, or for a machine all those of its project and region. */
  clusters: ClusterName[];
}

/**
 * Converts a notification to what it asks for. The labels of the policy say what to do; the resource labels of the
 * incident say where. It calls no API, and a target outside the configured clusters is an error.
 *
 * @param now in ms since the epoch
 * @throws {Ignored} if the alert needs no action
 * @throws {FailoverError} `invalid_action`, `forbidden`, `target_not_found` or `target_mismatch` if the notification does
 *   not say clearly what to do, or where
 */
export function toAlert(notification: Notification, config: Config, now: number): Alert {
  if (notification.isTest) throw new Ignored('a test notification; the channel works');
  const policy = parsePolicyLabels(notification.policyLabels);
  if (policy.action === undefined) throw new Ignored('its alert policy has no user label failover_action');
  const incident = parseIncident(notification);
  const { state } = incident;
  if (state !== 'open' && state !== 'closed') {
    throw new Ignored(`its state is ${quote(state)}, neither open nor closed`);
  }
  if (state === 'open') assertFresh(notification, incident, config, now);
  else if (policy.isDryRun) throw new Ignored('closed; a dry run has nothing to undo');

  const place = locateOrIgnoreClose(state, incident, policy, config.clusters);
  const action = parseActionOfAlert(
    {
      type: state === 'open' ? policy.action : (policy.onClose ?? policy.action),
      requestor: toPrintableText(incident.policyName, 256) || 'an alert policy without a name',
      reason: toPrintableText(incident.summary, 1024) || 'an incident without a summary',
      dry_run: policy.isDryRun,
      namespace: place.namespace,
      jobset_name: place.jobSetName,
      node_pool: place.nodePool,
      node_name: place.nodeName,
      ...(state === 'open'
        ? {
            on_failure: policy.onFailure,
            uncordon_when_repaired: policy.uncordonsWhenRepaired,
            accept: policy.accept,
            approval: policy.approval,
            repair: policy.repair,
            fault: policy.fault,
            restart_grace_seconds: policy.restartGraceSeconds,
            when_no_spare: policy.whenNoSpare,
          }
        : {}),
      preflight_checks: {
        expected_node_counts: policy.expectsNodeCounts,
        spare_capacity: state === 'open' && policy.requiresSpare,
      },
      cluster: place.clusters[0]?.fullName,
    },
    config.clusters,
    state === 'open' ? incident.id : `${incident.id}.closed`,
  );
  return {
    action: {
      ...action,
      incident: {
        id: incident.id,
        startedAt: incident.startedAt,
        isRenotification: incident.isRenotification,
        isClosed: state === 'closed',
        uncordonsOnClose: policy.onClose !== undefined,
        subject: place.subject,
        displayName: incident.displayName,
        namespace: place.namespace,
      },
    },
    clusters: place.clusters,
  };
}

/**
 * Refuses a notification that is too old, because the cluster has changed since. A renotification always comes long after
 * the incident began. It may act as long as the record of its incident's first action still exists: at least 24 h after
 * the incident began.
 *
 * @throws {Ignored} `stale: …`
 * @throws {FailoverError} `invalid_action` if the incident begins in the future
 */
function assertFresh(
  { publishedAt }: Notification,
  { startedAt, isRenotification }: NotifiedIncident,
  { maxAlertAgeSeconds }: Config,
  now: number,
): void {
  if (startedAt - now > maxAlertAgeSeconds * 1000) {
    throw invalidAction(
      'incident.started_at is in the future, so it is unknown whether the cluster has changed since',
    );
  }
  const bornAt = publishedAt ?? (isRenotification ? now : startedAt);
  const ageSeconds = Math.round((now - bornAt) / 1000);
  if (ageSeconds > maxAlertAgeSeconds) {
    const since = publishedAt === undefined ? 'its incident began' : 'it was published';
    throw new Ignored(
      `stale: ${since} ${ageSeconds} s ago, more than MAX_ALERT_AGE_SECONDS ${maxAlertAgeSeconds}`,
    );
  }
  if (isRenotification && now - startedAt >= minRecordRetentionMs) {
    throw new Ignored(
      'stale: renotified after more than 24 h, when the record of what was done for it may be deleted',
    );
  }
}
