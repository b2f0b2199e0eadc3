import type { ClusterName } from '../cluster-name.ts';
import type { Config } from '../config.ts';
import {
  displayedNodeName,
  findAmongAll,
  hasMachine,
  instanceNotFound,
  listMachines,
  requireMachine,
  resolveJobSet,
} from '../decide/alert-subject.ts';
import { FailoverError } from '../errors.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { readNodeHealth } from '../gke/nodes.ts';
import type { NodeHealth } from '../gke/nodes.ts';
import type { Action } from '../request/action.ts';
import type { Incident } from '../request/incident.ts';
import { isDoneByAnother, listMarks, toCooldownLeftMs } from '../state/cooldown.ts';
import { listLeaseNames, readLease } from '../state/lease.ts';
import { kindLabel, toRecordName } from '../state/record-format.ts';
import type { Crowd } from './crowd.ts';

type AlertAction = Action & { incident: Incident };

/** Above this number of records and closed incidents, a list of them costs more than it saves. */
const mostListed = 100;

/** Whether there is a record, or a note that an incident has closed. In a storm, one list tells it of many alerts. */
export async function isKnown(
  name: string,
  { cluster }: Action,
  { kubernetes, crowd }: { kubernetes: Kubernetes; crowd: Crowd },
): Promise<boolean> {
  const names = await crowd.recall(`${cluster.fullName} names`, () =>
    listLeaseNames(kubernetes, `${kindLabel} in (action, incident)`, mostListed),
  );
  return names ? names.has(name) : (await readLease(kubernetes, name)) !== undefined;
}

/** Lists the machines of a zone, or recalls them as they were some seconds ago. */
export function recallMachines({ fullName }: ClusterName, crowd: Crowd): typeof listMachines {
  return (kubernetes, zone) =>
    crowd.lookUp(`${fullName} machines ${zone}`, () => listMachines(kubernetes, zone));
}

/**
 * Reads the node that an alert names, or that its machine has.
 *
 * @returns undefined where the claim must find it, or it is gone; the refusal where no node has the machine
 * @throws {Ignored} where the machine has been replaced since the alert
 */
export async function findNamedNode(
  action: AlertAction,
  { kubernetes, crowd }: { kubernetes: Kubernetes; crowd: Crowd },
): Promise<NodeHealth | FailoverError | undefined> {
  const { id, cluster, incident } = action;
  const { subject } = incident;
  if (subject?.kind !== 'instance') {
    return action.nodeName === undefined ? undefined : readNodeHealth(kubernetes, action.nodeName);
  }
  const displayed = displayedNodeName(incident);
  const namesake = displayed === undefined ? undefined : await readNodeHealth(kubernetes, displayed);
  if (namesake && hasMachine(namesake, subject)) return namesake;
  // What this very action has done to the machine is in its record.
  if (await isKnown(toRecordName(id), action, { kubernetes, crowd })) return undefined;
  const found = await findAmongAll(kubernetes, subject, namesake, recallMachines(cluster, crowd));
  if (!found) return instanceNotFound(subject, cluster.fullName);
  const node = await readNodeHealth(kubernetes, requireMachine(found));
  return node && hasMachine(node, subject) ? node : undefined;
}

/**
 * Names the JobSet of an alert that names none, where another action has restarted one from the pool within the cooldown. Else the
 * claim must find it, and the action is returned as it is.
 *
 * @returns the refusal where there is none, or several
 */
export async function nameJobSet(
  action: AlertAction,
  nodePool: string,
  tools: {
    kubernetes: Kubernetes;
    config: Config;
    crowd: Crowd;
    poolAnnotations: Readonly<Record<string, string>>;
    serverNow: number;
  },
): Promise<AlertAction | FailoverError> {
  const { kubernetes, config, crowd, poolAnnotations, serverNow } = tools;
  const isRestarted = listMarks(poolAnnotations).some(
    ([effect, mark]) =>
      effect.startsWith('restart ') &&
      isDoneByAnother(mark, action.id) &&
      toCooldownLeftMs(mark, config, serverNow) > 0,
  );
  if (!action.effects.restart || action.jobSetName !== undefined || !isRestarted) return action;
  const where = `${action.cluster.fullName} JobSet on ${nodePool} in ${action.incident.namespace}`;
  const found = await crowd.lookUp(where, () =>
    resolveJobSet(kubernetes, action, nodePool, config).catch((error: unknown) => {
      if (error instanceof FailoverError && error.code === 'target_ambiguous') return error;
      throw error;
    }),
  );
  return found instanceof FailoverError
    ? found
    : { ...action, namespace: found.namespace, jobSetName: found.jobSetName };
}
