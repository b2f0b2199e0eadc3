import type { Action } from '../request/action.ts';
import type { Alert } from '../alert/alert.ts';
import { authoriseAction } from '../request/auth.ts';
import type { Deadline } from '../clock.ts';
import { rememberClosed } from '../state/closed-incidents.ts';
import type { ClusterName } from '../cluster-name.ts';
import { crowdOf, pacedBy } from './crowd.ts';
import { recallMachines } from './early-names.ts';
import { failover } from './failover.ts';
import type { Outcome } from './failover.ts';
import { Ignored } from '../ignored.ts';
import type { Log } from '../log.ts';
import { readRecord } from '../state/record.ts';
import { searchClusters } from './search-clusters.ts';
import type { Services } from '../services.ts';
import { findNodeOfInstance, instanceNotFound } from '../decide/alert-subject.ts';
import { findPoolHeldFor } from '../state/cordon-holds.ts';

/**
 * Carries an alert out like an action that somebody has sent. Before that it finds the cluster, and for a close, the pool
 * whose cordon the incident holds.
 *
 * @throws {Ignored} where nothing is to be done
 * @throws {FailoverError} every refusal and failure
 */
export async function actOnAlert(
  { action, clusters }: Alert,
  deadline: Deadline,
  services: Services,
  log: Log,
): Promise<Outcome> {
  authoriseAction(action, services.config);
  if (action.incident.isClosed) return close({ action, clusters }, deadline, services, log);
  const cluster = await chooseCluster({ action, clusters }, deadline, services);
  const outcome = await failover({ ...action, cluster }, deadline, services, log);
  if (outcome.isReplay && action.incident.isRenotification) {
    throw new Ignored('renotified: it was dealt with when the incident was first told of');
  }
  return outcome;
}

/** Records the close first, so that an open that comes later, or that is being carried out, can see it. */
async function close(
  { action, clusters }: Alert,
  deadline: Deadline,
  services: Services,
  log: Log,
): Promise<Outcome> {
  const { incident } = action;
  const found = await searchClusters(clusters, deadline, services, async ({ kubernetes }) => {
    await rememberClosed(kubernetes, incident.id);
    return incident.uncordonsOnClose ? findPoolHeldFor(kubernetes, incident.id) : undefined;
  });
  if (!incident.uncordonsOnClose) throw new Ignored('closed, and its policy has no label failover_on_close');
  if (!found) throw new Ignored('closed, and no node pool is cordoned for it');
  const { cluster, result: nodePool } = found;
  return failover(toUncordon(action, cluster, nodePool), deadline, services, log);
}

/** The pool is known, so the rest of the incident does not matter: its node may have been replaced by now. */
function toUncordon(action: Alert['action'], cluster: ClusterName, nodePool: string): Action {
  const incident = { ...action.incident, subject: undefined };
  return { ...action, cluster, nodePool, nodeName: undefined, jobSetName: undefined, incident };
}

/** A machine may belong to any cluster of its region. Finds the cluster that has it, or that knows the action already. */
async function chooseCluster(
  { action, clusters }: Alert,
  deadline: Deadline,
  services: Services,
): Promise<ClusterName> {
  const { id, incident } = action;
  const { subject, displayName } = incident;
  if (clusters.length === 1 || subject?.kind !== 'instance') return action.cluster;
  const crowd = crowdOf(services);
  const found = await searchClusters(clusters, deadline, services, async (connection) => {
    const { kubernetes, name } = action.isRedelivered === true ? pacedBy(crowd, connection) : connection;
    const record = await readRecord(kubernetes, id);
    return (
      record ?? (await findNodeOfInstance(kubernetes, subject, displayName, recallMachines(name, crowd)))
    );
  });
  if (found) return found.cluster;
  throw instanceNotFound(subject, clusters.map(({ fullName }) => fullName).join(' or '));
}
