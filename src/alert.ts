import { parseActionOfAlert } from './action.ts';
import type { Action } from './action.ts';
import { regionOf, resolveCluster } from './cluster-name.ts';
import type { ClusterName } from './cluster-name.ts';
import type { Config } from './config.ts';
import { FailoverError, invalidAction } from './errors.ts';
import { Ignored } from './ignored.ts';
import type { Incident, Subject } from './incident.ts';
import { parseIncident } from './notification.ts';
import type { Notification, NotifiedIncident } from './notification.ts';
import { parsePolicyLabels } from './policy-labels.ts';
import type { PolicyLabels } from './policy-labels.ts';
import { quote, toProse } from './prose.ts';
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

  const place = locateFor(state, incident, policy, config.clusters);
  const action = parseActionOfAlert(
    {
      type: state === 'open' ? policy.action : (policy.onClose ?? policy.action),
      requestor: toProse(incident.policyName, 256) || 'an alert policy without a name',
      reason: toProse(incident.summary, 1024) || 'an incident without a summary',
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

/** Where an action is to be carried out. */
interface Place {
  clusters: ClusterName[];
  namespace?: string | undefined;
  jobSetName?: string | undefined;
  nodePool?: string;
  nodeName?: string;
  subject?: Subject;
}

/** A close that nothing is to be done on is no error, whatever it names. */
function locateFor(
  state: 'open' | 'closed',
  incident: NotifiedIncident,
  policy: PolicyLabels,
  clusters: ClusterName[],
): Place {
  try {
    return locate(incident, policy, clusters);
  } catch (error) {
    if (state === 'closed' && policy.onClose === undefined) throw new Ignored('closed', { cause: error });
    throw error;
  }
}

/** The resource types that name something to act on, and the labels that it takes. */
const resourceTypes: Record<string, string[]> = {
  k8s_node: ['node_name'],
  k8s_node_pool: ['node_pool_name'],
  k8s_pod: ['namespace_name', 'pod_name'],
  k8s_container: ['namespace_name', 'pod_name'],
  k8s_entity: ['entity_type', 'entity_namespace', 'entity_name'],
  k8s_cluster: [],
  gce_instance: ['instance_id', 'project_id', 'zone'],
};
const clusterLabels = ['project_id', 'location', 'cluster_name'];

function locate(incident: NotifiedIncident, policy: PolicyLabels, clusters: ClusterName[]): Place {
  const { resourceType: type } = incident;
  const own = Object.hasOwn(resourceTypes, type) ? resourceTypes[type] : undefined;
  if (!own) {
    throw invalidAction(
      `resource type ${quote(type)} names no node, node pool or JobSet; known are ${Object.keys(resourceTypes).join(', ')}`,
    );
  }
  const labels = requireLabels(incident, type === 'gce_instance' ? own : [...clusterLabels, ...own]);
  if (type === 'gce_instance') {
    const { instance_id: instanceId = '', zone = '' } = labels;
    if (!/^[1-9]\d{0,19}$/.test(instanceId))
      throw invalidAction('resource label instance_id must be a number');
    return {
      clusters: findClustersOfZone(labels, policy, clusters),
      namespace: policy.namespace,
      jobSetName: policy.jobSetName,
      subject: { kind: 'instance', instanceId, zone },
    };
  }
  const { namespace_name: namespace, entity_namespace: entityNamespace, entity_name: entityName } = labels;
  const place = {
    clusters: [findNamedCluster(labels, policy, clusters)],
    namespace: agree('failover_namespace', policy.namespace, 'namespace', namespace ?? entityNamespace),
    jobSetName: agree('failover_jobset', policy.jobSetName, 'JobSet', entityName),
  };
  switch (type) {
    case 'k8s_node':
      return { ...place, nodeName: labels['node_name'] ?? '' };
    case 'k8s_node_pool':
      return { ...place, nodePool: labels['node_pool_name'] ?? '' };
    case 'k8s_entity':
      if (labels['entity_type'] !== 'jobset')
        throw invalidAction(
          `entity_type ${quote(labels['entity_type'] ?? '')} is not known; it must be jobset`,
        );
      return { ...place, subject: { kind: 'jobset' } };
    case 'k8s_cluster':
      if (policy.jobSetName === undefined)
        throw invalidAction(
          'resource type k8s_cluster names no target; name the JobSet with the label failover_jobset',
        );
      return { ...place, subject: { kind: 'jobset' } };
    default:
      return { ...place, subject: toPod(namespace ?? '', labels['pod_name'] ?? '') };
  }
}

function toPod(namespace: string, podName: string): Subject {
  if (!/^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/.test(podName))
    throw invalidAction('resource label pod_name must be the name of one pod');
  return { kind: 'pod', namespace, podName };
}

/** @throws {FailoverError} `invalid_action` naming what the policy's aggregation has reduced away, and how to keep it */
function requireLabels(
  { resourceType, resourceLabels, conditionName }: NotifiedIncident,
  names: string[],
): Record<string, string> {
  const missing = names.filter((name) => !Object.hasOwn(resourceLabels, name) || !resourceLabels[name]);
  if (missing.length === 0)
    return Object.fromEntries(names.map((name) => [name, resourceLabels[name] ?? '']));
  const fields = missing.map((name) => `resource.label.${name}`).join(', ');
  throw invalidAction(
    `the ${resourceType} has no resource label ${missing.join(', ')}: add ${fields} to groupByFields of condition ` +
      `${quote(conditionName)} (in PromQL, to its by clause), for what it aggregates away cannot be acted on`,
  );
}

/** The resource names its cluster; the policy's label may only say the same. */
function findNamedCluster(
  { project_id: projectId = '', location = '', cluster_name: name = '' }: Record<string, string>,
  { clusterName }: PolicyLabels,
  clusters: ClusterName[],
): ClusterName {
  agree('failover_cluster', clusterName, 'cluster', name);
  const fullName = `projects/${projectId}/locations/${location}/clusters/${name}`;
  if (!/^[a-z0-9.:/-]{1,200}$/.test(fullName))
    throw invalidAction('resource labels project_id, location and cluster_name name no cluster');
  return resolveCluster(fullName, clusters);
}

/** A machine names no cluster: it may be in each configured one of its project and region. */
function findClustersOfZone(
  { project_id: projectId = '', zone = '' }: Record<string, string>,
  { clusterName }: PolicyLabels,
  clusters: ClusterName[],
): ClusterName[] {
  const candidates = clusters.filter(
    (cluster) => cluster.projectId === projectId && regionOf(cluster.location) === regionOf(zone),
  );
  const where = `project ${quote(projectId)} and the region of zone ${quote(zone)}`;
  if (candidates.length === 0)
    throw new FailoverError('forbidden', `none of the configured clusters (CLUSTERS) is in ${where}`);
  if (clusterName === undefined) return candidates;
  const named = candidates.filter(({ name }) => name === clusterName);
  if (named.length > 0) return named;
  resolveCluster(clusterName, clusters);
  throw new FailoverError(
    'target_mismatch',
    `label failover_cluster says ${quote(clusterName)}, which is not in ${where}, where the machine is`,
  );
}

/** @throws {FailoverError} `target_mismatch` where label and resource disagree, as after a policy was copied elsewhere */
function agree(
  label: string,
  said: string | undefined,
  what: string,
  named: string | undefined,
): string | undefined {
  if (said === undefined || named === undefined || said === named) return said ?? named;
  throw new FailoverError(
    'target_mismatch',
    `label ${label} of the alert policy says ${quote(said)}, but the ${what} of the incident is ${quote(named)}`,
  );
}
