import { regionOf, resolveCluster } from '../cluster-name.ts';
import type { ClusterName } from '../cluster-name.ts';
import { FailoverError, invalidAction } from '../errors.ts';
import { Ignored } from '../ignored.ts';
import type { AlertSubject } from '../request/incident.ts';
import type { NotifiedIncident } from './notification.ts';
import type { PolicyLabels } from './policy-labels.ts';
import { quote } from './printable-text.ts';

/** Where an action is to be carried out. */
interface Place {
  clusters: ClusterName[];
  namespace?: string | undefined;
  jobSetName?: string | undefined;
  nodePool?: string;
  nodeName?: string;
  subject?: AlertSubject;
}

/** A close that nothing is to be done on is no error, whatever it names. */
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

function toPod(namespace: string, podName: string): AlertSubject {
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
