import type { Action } from '../request/action.ts';
import type { Config } from '../config.ts';
import { FailoverError } from '../errors.ts';
import { Ignored } from '../ignored.ts';
import type { AlertSubject } from '../request/incident.ts';
import { preferLive } from './hanging-pods.ts';
import { findPod, readPods } from '../gke/jobset.ts';
import type { JobPod } from '../gke/jobset.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { listNodesMetadata } from '../gke/list-reduced.ts';
import { instanceIdAnnotation, listPool, readNode, zoneLabel } from '../gke/nodes.ts';
import type { NodeRef } from '../gke/nodes.ts';

type Core = Pick<Kubernetes, 'core'>;

type Subject<Kind extends AlertSubject['kind']> = Extract<AlertSubject, { kind: Kind }>;

/** The node of a machine, or the one that has its name and another machine now. */
export interface FoundNode {
  nodeName: string;
  isReplaced: boolean;
}

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
  return { ...action, nodeName: requireMachine(found) };
}

/**
 * Returns the name of the node that has the machine of an alert.
 *
 * @throws {Ignored} where the machine has been replaced since the alert
 */
export function requireMachine(found: FoundNode): string {
  if (!found.isReplaced) return found.nodeName;
  throw new Ignored(`recovered: node ${found.nodeName} has another machine than the incident was about`, {
    isOver: true,
  });
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

async function findNodeOfPod(kubernetes: Core, { namespace, podName }: Subject<'pod'>): Promise<string> {
  const pod = await findPod(kubernetes, namespace, podName);
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
  subject: Subject<'instance'>,
  displayName: string,
  list: typeof listMachines = listMachines,
): Promise<FoundNode | undefined> {
  const name = displayedNodeName({ displayName });
  const namesake = name === undefined ? undefined : await readNode(kubernetes, name);
  if (namesake && hasMachine(namesake, subject)) return { nodeName: namesake.name, isReplaced: false };
  return findAmongAll(kubernetes, subject, namesake, list);
}

/** Whether a node has this machine. Only its id says so. */
export function hasMachine({ annotations }: NodeRef, { instanceId }: Subject<'instance'>): boolean {
  return annotations[instanceIdAnnotation] === instanceId;
}

/**
 * Finds the node of a machine among all nodes of its zone.
 *
 * @param namesake has the machine's name, and another machine
 */
export async function findAmongAll(
  kubernetes: Core,
  { instanceId, zone }: Subject<'instance'>,
  namesake: NodeRef | undefined,
  list: typeof listMachines,
): Promise<FoundNode | undefined> {
  const nodeName = (await list(kubernetes, zone)).get(instanceId);
  if (nodeName !== undefined) return { nodeName, isReplaced: false };
  // A machine's name is unique in its zone.
  const isSuccessor = namesake?.labels[zoneLabel] === zone;
  return isSuccessor ? { nodeName: namesake.name, isReplaced: true } : undefined;
}

/** Lists the machines of a zone: the names of their nodes by their numeric ids. */
export async function listMachines(kubernetes: Core, zone: string): Promise<Map<string, string>> {
  const nodes = await listNodesMetadata(
    kubernetes,
    { labelSelector: `${zoneLabel}=${zone}` },
    ({ metadata }) => [metadata?.annotations?.[instanceIdAnnotation] ?? '', metadata?.name ?? ''] as const,
  );
  return new Map(nodes);
}

/** The name that the node of a machine has if it is that of the machine; undefined if nothing tells the machine's name. */
export function displayedNodeName({ displayName }: { displayName: string }): string | undefined {
  return /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(displayName) ? displayName : undefined;
}

/** No node of the searched clusters has this machine. */
export function instanceNotFound({ instanceId, zone }: Subject<'instance'>, where: string): FailoverError {
  return new FailoverError(
    'target_not_found',
    `no node of ${where} has the machine ${instanceId} of zone ${zone} (annotation ${instanceIdAnnotation})`,
  );
}
