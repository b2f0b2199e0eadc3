import type { ClusterState } from './cluster-state.ts';
import type { Pod } from './objects.ts';

export const exclusiveTopologyAnnotation = 'alpha.jobset.sigs.k8s.io/exclusive-topology';
/** With it, the Job's own node selector places the pods, and the webhook leaves them alone. */
export const nodeSelectorAnnotation = 'alpha.jobset.sigs.k8s.io/node-selector';
const jobKeyLabel = 'jobset.sigs.k8s.io/job-key';
const indexAnnotation = 'batch.kubernetes.io/job-completion-index';

/**
 * Places a new pod as JobSet's pod webhook does where its JobSet asks for exclusive placement: the leader keeps its
 * Job together and others away, each follower goes where its leader is.
 * @returns false where the webhook refuses: a follower's leader is not scheduled yet, or is another attempt's
 */
export function placeExclusively(state: ClusterState, pod: Pod): boolean {
  const topologyKey = pod.metadata.annotations?.[exclusiveTopologyAnnotation];
  const jobKey = pod.metadata.labels?.[jobKeyLabel];
  if (!topologyKey || !jobKey || pod.metadata.annotations?.[nodeSelectorAnnotation]) return true;
  if (pod.metadata.annotations?.[indexAnnotation] === '0') {
    addLeaderAffinity(pod, topologyKey, jobKey);
    return true;
  }
  const value = findLeaderTopology(state, pod, topologyKey);
  if (value === undefined) return false;
  pod.spec.nodeSelector = { ...pod.spec.nodeSelector, [topologyKey]: value };
  return true;
}

function addLeaderAffinity(pod: Pod, topologyKey: string, jobKey: string): void {
  const affinity = (pod.spec.affinity ??= {});
  const together = { key: jobKeyLabel, operator: 'In', values: [jobKey] };
  const apart = [
    { key: jobKeyLabel, operator: 'Exists' },
    { key: jobKeyLabel, operator: 'NotIn', values: [jobKey] },
  ];
  const podAffinity = (affinity.podAffinity ??= {});
  podAffinity.requiredDuringSchedulingIgnoredDuringExecution = [
    ...(podAffinity.requiredDuringSchedulingIgnoredDuringExecution ?? []),
    { labelSelector: { matchExpressions: [together] }, topologyKey, namespaceSelector: {} },
  ];
  const podAntiAffinity = (affinity.podAntiAffinity ??= {});
  podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution = [
    ...(podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution ?? []),
    { labelSelector: { matchExpressions: apart }, topologyKey, namespaceSelector: {} },
  ];
}

function findLeaderTopology(state: ClusterState, follower: Pod, topologyKey: string): string | undefined {
  const owner = follower.metadata.ownerReferences?.[0]?.uid ?? '';
  const leaders = state.store.lookup('pods', 'leader', owner);
  const [leader, ...others] = leaders;
  // Until a deleted leader has ended there are two, and the webhook refuses to choose.
  if (!leader?.spec.nodeName || others.length > 0) return undefined;
  return state.store.get('nodes', undefined, leader.spec.nodeName)?.metadata.labels?.[topologyKey];
}
