import type { Action } from '../request/action.ts';
import type { Config } from '../config.ts';
import { metadataListOnly, withHeaders } from '../gke/direct-patch.ts';
import { FailoverError } from '../errors.ts';
import { Ignored } from '../ignored.ts';
import type { AlertSubject } from '../request/incident.ts';
import { preferLive } from './hanging-pods.ts';
import { readPods } from '../gke/jobset.ts';
import type { JobPod } from '../gke/jobset.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { listAll } from '../gke/list.ts';
import { instanceIdAnnotation, listPool, readNode, zoneLabel } from '../gke/nodes.ts';

type Core = Pick<Kubernetes, 'core'>;

/**
 * Resolves the node that an alert only describes: the node of its pod or of its machine. An action that names its target is
 * returned as it is.
 *
 * @throws {FailoverError} `target_not_found`
 * @throws {Ignored} where the machine has been replaced since the alert
 */
export async function resolveNode(kubernetes: Core, action: Action): Promise<Action> {
  const { incident } = action;
  const subject = incident?.subject;
  if (subject?.kind === 'pod') return { ...action, nodeName: await findNodeOfPod(kubernetes, subject) };
  if (subject?.kind !== 'instance') return action;
  const found = await findNodeOfInstance(kubernetes, subject, incident?.displayName ?? '');
  if (!found) throw instanceNotFound(subject, action.cluster.fullName);
  if (found.isReplaced) {
    throw new Ignored(`recovered: node ${found.nodeName} has another machine than the incident was about`, {
      isOver: true,
    });
  }
  return { ...action, nodeName: found.nodeName };
}

/**
 * Resolves the JobSet to restart where the alert policy names none: the only one with live pods on the pool. It looks in
 * the namespace that the alert names, or else in all allowed namespaces.
 *
 * @throws {FailoverError} `target_ambiguous` where there is no such JobSet, or several
 */
export async function resolveJobSet(
  kubernetes: Core,
  action: Action,
  nodePool: string,
  { allowedNamespaces }: Config,
): Promise<Action> {
  const { incident, jobSetName } = action;
  if (!incident || jobSetName !== undefined || !action.effects.restart) return action;
  const namespaces = incident.namespace === undefined ? allowedNamespaces : [incident.namespace];
  const nodeNames = new Set((await listPool(kubernetes, nodePool)).map(({ name }) => name));
  const here: (JobPod & { namespace: string })[] = [];
  for (const namespace of namespaces) {
    const pods = await readPods(kubernetes, namespace);
    const onPool = pods.filter(({ nodeName = '' }) => nodeNames.has(nodeName));
    here.push(...onPool.map((pod) => ({ ...pod, namespace })));
  }
  const found = new Map(
    preferLive(here).map(({ namespace, jobSetName }) => [
      `${namespace}/${jobSetName}`,
      { namespace, jobSetName },
    ]),
  );
  const [only, ...others] = found.values();
  if (only && others.length === 0) return { ...action, ...only };
  const what = only
    ? `several JobSets (${[...found.keys()].sort().join(', ')}) have`
    : `no JobSet of namespace ${namespaces.join(', ')} has`;
  throw new FailoverError(
    'target_ambiguous',
    `${what} live pods on node pool ${nodePool}; name the one to restart with the label failover_jobset of the alert policy`,
  );
}

async function findNodeOfPod(
  { core }: Core,
  { namespace, podName }: Extract<AlertSubject, { kind: 'pod' }>,
): Promise<string> {
  const [pod] = await listAll(
    (page) => core.listNamespacedPod({ namespace, fieldSelector: `metadata.name=${podName}`, ...page }),
    ({ spec }) => ({ nodeName: spec?.nodeName }),
  );
  if (pod?.nodeName !== undefined) return pod.nodeName;
  const what = pod ? 'is on no node' : 'is gone';
  throw new FailoverError(
    'target_not_found',
    `pod ${podName} of namespace ${namespace} ${what}, so its node pool is not known`,
  );
}

/**
 * Finds the node of a machine by the machine's numeric id, which GKE writes on the node. A node usually has its machine's
 * name, so the displayed name is looked up first. Only the id decides.
 *
 * @returns undefined where the cluster has no such machine; `isReplaced` where the node of that name has another machine now
 */
export async function findNodeOfInstance(
  kubernetes: Core,
  { instanceId, zone }: Extract<AlertSubject, { kind: 'instance' }>,
  displayName: string,
): Promise<{ nodeName: string; isReplaced: boolean } | undefined> {
  const isName = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(displayName);
  const namesake = isName ? await readNode(kubernetes, displayName) : undefined;
  if (namesake?.annotations[instanceIdAnnotation] === instanceId) {
    return { nodeName: namesake.name, isReplaced: false };
  }
  const nodes = await listAll(
    (page) =>
      kubernetes.core.listNode(
        { labelSelector: `${zoneLabel}=${zone}`, ...page },
        withHeaders({ Accept: metadataListOnly }),
      ),
    ({ metadata }) => ({ name: metadata?.name ?? '', id: metadata?.annotations?.[instanceIdAnnotation] }),
  );
  const node = nodes.find(({ id }) => id === instanceId);
  if (node) return { nodeName: node.name, isReplaced: false };
  // A machine's name is unique in its zone.
  const isSuccessor = namesake?.labels[zoneLabel] === zone;
  return isSuccessor ? { nodeName: namesake.name, isReplaced: true } : undefined;
}

/** No node of the searched clusters has this machine. */
export function instanceNotFound(
  { instanceId, zone }: Extract<AlertSubject, { kind: 'instance' }>,
  where: string,
): FailoverError {
  return new FailoverError(
    'target_not_found',
    `no node of ${where} has the machine ${instanceId} of zone ${zone} (annotation ${instanceIdAnnotation})`,
  );
}
