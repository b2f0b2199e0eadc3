import { parseActionOfAlert } from '../request/action.ts';
import type { Action } from '../request/action.ts';
import { locateOrIgnoreClose } from './alert-target.ts';
import type { ClusterName } from '../cluster-name.ts';
import type { Config } from '../config.ts';
import { invalidAction } from '../errors.ts';
import { Ignored } from '../ignored.ts';
import type { Incident } from '../request/incident.ts';
import { parseIncident } from './notification.ts';
import type { Notification, NotifiedIncident } from './notification.ts';
import { parsePolicyLabels } from './policy-labels.ts';
import { quote, toPrintableText } from './printable-text.ts';

/** What an alert asks for. */
export interface Alert {
  /** Its incident says what of the target is still to be looked up. */
  action: Action & { incident: Incident };
  /** The configured clusters that it may be about: one, but for a machine that several of a region may have. */
  clusters: ClusterName[];
}

/**
 * Says what an alert asks for: the policy's labels say what to do, the incident's resource labels say where. No API is
 * asked, and nothing outside of the configuration can be named.
 *
 * @param now in ms since the epoch
 * @throws {Ignored} where nothing is to be done
 * @throws {FailoverError} `invalid_action`, `forbidden`, `target_not_found` or `target_mismatch` where it cannot be told
 *   what is to be done, or where
 */
export function toAlert(notification: Notification, config: Config, now: number): Alert {
  if (notification.isTest) throw new Ignored('a test notification; the channel works');
  const policy = parsePolicyLabels(notification.policyLabels);
  if (policy.action === undefined) throw new Ignored('its alert policy has no user label failover_action');
  const incident = parseIncident(notification);
  const { state } = incident;
  if (state !== 'open' && state !== 'closed')
    throw new Ignored(`its state is ${quote(state)}, neither open nor closed`);
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
      preflight_checks: { expected_node_counts: policy.expectsNodeCounts },
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

/** What was done is remembered for 24 h after it was finished, so for as long after the incident's start at least. */
const rememberedMs = 24 * 3_600_000;

/**
 * Holds back what comes too late: the world has changed since. A renotification is late by nature; it may act for as
 * long as it is known whether its incident has been dealt with.
 *
 * @throws {Ignored}
 */
function assertFresh(
  { publishedAt }: Notification,
  { startedAt, isRenotification }: NotifiedIncident,
  { maxAlertAgeSeconds }: Config,
  now: number,
): void {
  if (startedAt - now > maxAlertAgeSeconds * 1000)
    throw invalidAction(
      'incident.started_at is in the future, so nothing could tell whether the world is newer',
    );
  const bornAt = publishedAt ?? (isRenotification ? now : startedAt);
  const ageSeconds = Math.round((now - bornAt) / 1000);
  if (ageSeconds > maxAlertAgeSeconds) {
    const since = publishedAt === undefined ? 'its incident began' : 'it was published';
    throw new Ignored(
      `stale: ${since} ${ageSeconds} s ago, more than MAX_ALERT_AGE_SECONDS ${maxAlertAgeSeconds}`,
    );
  }
  if (isRenotification && now - startedAt >= rememberedMs)
    throw new Ignored(
      'stale: renotified after more than 24 h, when it is no longer known what was done for it',
    );
}
