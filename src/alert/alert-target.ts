import { regionOf, resolveCluster } from '../cluster-name.ts';
import type { ClusterName } from '../cluster-name.ts';
import { FailoverError, invalidAction } from '../errors.ts';
import { Ignored } from '../ignored.ts';
import type { AlertSubject } from '../request/incident.ts';
import type { NotifiedIncident } from './notification.ts';
import type { PolicyLabels } from './policy-labels.ts';
import { quote } from '../request/printable-text.ts';

/** The place where an action is carried out, as far as the alert names it. */
interface Place {
  /** The configured clusters that it may be in. */
  clusters: ClusterName[];
  namespace?: string | undefined;
  jobSetName?: string | undefined;
  nodePool?: string;
  nodeName?: string;
  /** Set if the node or the pool must be looked up in the cluster. */
  subject?: AlertSubject;
}

/**
 * Finds the place that an alert means, from the resource labels of its incident and the labels of its policy.
 *
 * @throws {Ignored} instead of any error, for a close that has nothing to undo
 * @throws {FailoverError} `invalid_action`, `forbidden`, `target_not_found` or `target_mismatch`
 */
export function locateOrIgnoreClose(
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

function locate(incident: NotifiedIncident, policy: PolicyLabels, clusters: ClusterName[]): Place {
  const type = parseResourceType(incident.resourceType);
  const labels = requireLabels(incident, requiredLabels[type]);
  return type === 'gce_instance'
    ? locateMachine(labels, policy, clusters)
    : locateInCluster(type, labels, policy, clusters);
}

const clusterLabels = ['project_id', 'location', 'cluster_name'];

/** The resource types that name something to act on, and the resource labels that each must have. */
const requiredLabels = {
  k8s_node: [...clusterLabels, 'node_name'],
  k8s_node_pool: [...clusterLabels, 'node_pool_name'],
  k8s_pod: [...clusterLabels, 'namespace_name', 'pod_name'],
  k8s_container: [...clusterLabels, 'namespace_name', 'pod_name'],
  k8s_entity: [...clusterLabels, 'entity_type', 'entity_namespace', 'entity_name'],
  k8s_cluster: clusterLabels,
  gce_instance: ['instance_id', 'project_id', 'zone'],
};

type ResourceType = keyof typeof requiredLabels;

type Labels = Record<string, string>;

function parseResourceType(text: string): ResourceType {
  if (Object.hasOwn(requiredLabels, text)) return text as ResourceType;
  const known = Object.keys(requiredLabels).join(', ');
  if (text === 'prometheus_target') {
    throw invalidAction(
      'resource type "prometheus_target" of a PromQL condition does not name a node, node pool or JobSet, and the labels ' +
        `of its by clause are not read: use a condition with a filter on a metric of ${known}`,
    );
  }
  throw invalidAction(
    `resource type ${quote(text)} does not name a node, node pool or JobSet; known types: ${known}`,
  );
}

/** @throws {FailoverError} `invalid_action`, which says what the policy's aggregation dropped, and how to keep it */
function requireLabels(
  { resourceType, resourceLabels, conditionName }: NotifiedIncident,
  names: string[],
): Labels {
  const missing = names.filter((name) => !Object.hasOwn(resourceLabels, name) || !resourceLabels[name]);
  if (missing.length === 0) {
    return Object.fromEntries(names.map((name) => [name, resourceLabels[name] ?? '']));
  }
  const fields = missing.map((name) => `resource.label.${name}`).join(', ');
  throw invalidAction(
    `the ${resourceType} has no resource label ${missing.join(', ')}: add ${fields} to groupByFields of condition ` +
      `${quote(conditionName)}, because the condition aggregates it away; a PromQL condition cannot keep it, so use one ` +
      'with a filter',
  );
}

function locateMachine(labels: Labels, policy: PolicyLabels, clusters: ClusterName[]): Place {
  const { instance_id: instanceId = '', zone = '' } = labels;
  if (!/^[1-9]\d{0,19}$/.test(instanceId)) {
    throw invalidAction('resource label instance_id must be a number');
  }
  return {
    clusters: findClustersOfZone(labels, policy, clusters),
    namespace: policy.namespace,
    jobSetName: policy.jobSetName,
    subject: { kind: 'instance', instanceId, zone },
  };
}

/** A machine's labels name no cluster: it may belong to each configured cluster of its project and region. */
function findClustersOfZone(
  { project_id: projectId = '', zone = '' }: Labels,
  { clusterName }: PolicyLabels,
  clusters: ClusterName[],
): ClusterName[] {
  const candidates = clusters.filter(
    (cluster) => cluster.projectId === projectId && regionOf(cluster.location) === regionOf(zone),
  );
  const where = `project ${quote(projectId)} and the region of zone ${quote(zone)}`;
  if (candidates.length === 0) {
    throw new FailoverError('forbidden', `none of the configured clusters (CLUSTERS) is in ${where}`);
  }
  if (clusterName === undefined) return candidates;
  const named = candidates.filter(({ name }) => name === clusterName);
  if (named.length > 0) return named;
  resolveCluster(clusterName, clusters);
  throw new FailoverError(
    'target_mismatch',
    `label failover_cluster says ${quote(clusterName)}, which is not in ${where}, where the machine is`,
  );
}

function locateInCluster(
  type: Exclude<ResourceType, 'gce_instance'>,
  labels: Labels,
  policy: PolicyLabels,
  clusters: ClusterName[],
): Place {
  const { namespace_name: podNamespace, entity_namespace: entityNamespace, entity_name: entityName } = labels;
  const namespace = podNamespace ?? entityNamespace;
  const place = {
    clusters: [findNamedCluster(labels, policy, clusters)],
    namespace: agree('failover_namespace', policy.namespace, 'namespace', namespace),
    jobSetName: agree('failover_jobset', policy.jobSetName, 'JobSet', entityName),
  };
  switch (type) {
    case 'k8s_node':
      return { ...place, nodeName: labels['node_name'] ?? '' };
    case 'k8s_node_pool':
      return { ...place, nodePool: labels['node_pool_name'] ?? '' };
    case 'k8s_pod':
    case 'k8s_container':
      return { ...place, subject: toPod(podNamespace ?? '', labels['pod_name'] ?? '') };
    case 'k8s_entity':
      assertIsJobSet(labels['entity_type'] ?? '');
      return { ...place, subject: { kind: 'jobset' } };
    case 'k8s_cluster':
      assertNamesJobSet(policy);
      return { ...place, subject: { kind: 'jobset' } };
    default:
      return type satisfies never;
  }
}

/** Finds the cluster that the resource names. The policy's label must not contradict it. */
function findNamedCluster(
  { project_id: projectId = '', location = '', cluster_name: name = '' }: Labels,
  { clusterName }: PolicyLabels,
  clusters: ClusterName[],
): ClusterName {
  agree('failover_cluster', clusterName, 'cluster', name);
  const fullName = `projects/${projectId}/locations/${location}/clusters/${name}`;
  if (!/^[a-z0-9.:/-]{1,200}$/.test(fullName)) {
    throw invalidAction('resource labels project_id, location and cluster_name do not name a cluster');
  }
  return resolveCluster(fullName, clusters);
}

/**
 * Returns what the label or the resource says.
 *
 * @throws {FailoverError} `target_mismatch` if they disagree, as after somebody copied a policy
 */
function agree(
  label: string,
  labelSays: string | undefined,
  what: string,
  resourceSays: string | undefined,
): string | undefined {
  if (labelSays === undefined || resourceSays === undefined || labelSays === resourceSays) {
    return labelSays ?? resourceSays;
  }
  throw new FailoverError(
    'target_mismatch',
    `label ${label} of the alert policy says ${quote(labelSays)}, but the ${what} of the incident is ${quote(resourceSays)}`,
  );
}

function toPod(namespace: string, podName: string): AlertSubject {
  if (!/^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/.test(podName)) {
    throw invalidAction('resource label pod_name must be the name of one pod');
  }
  return { kind: 'pod', namespace, podName };
}

function assertIsJobSet(entityType: string): void {
  if (entityType === 'jobset') return;
  throw invalidAction(`entity_type ${quote(entityType)} is not known; it must be jobset`);
}

function assertNamesJobSet({ jobSetName }: PolicyLabels): void {
  if (jobSetName !== undefined) return;
  throw invalidAction(
    'resource type k8s_cluster does not name a target; name the JobSet with the label failover_jobset',
  );
}
