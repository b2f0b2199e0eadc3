import type { Config } from '../config.ts';
import { cooledEffects } from '../decide/cooled-effects.ts';
import { assertWithinLimits } from '../decide/decide.ts';
import { assertStillWanted } from '../decide/still-wanted.ts';
import { FailoverError } from '../errors.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { listPoolHealth } from '../gke/nodes.ts';
import type { NodeHealth } from '../gke/nodes.ts';
import { Ignored } from '../ignored.ts';
import type { Action } from '../request/action.ts';
import type { Incident } from '../request/incident.ts';
import { assertBudgetLeft, readRefusedPools, toMaxPools } from '../state/budget.ts';
import { toClosedName } from '../state/closed-incidents.ts';
import { isDoneByAnother, readMark, toCooldownLeftMs } from '../state/cooldown.ts';
import { readLease } from '../state/lease.ts';
import type { LeaseState } from '../state/lease-format.ts';
import { toLockName } from '../state/pool-lease.ts';
import { toRecordName } from '../state/record-format.ts';
import { clusterLease, toSwitches } from '../state/switches.ts';
import type { ClusterSwitches } from '../state/switches.ts';
import type { Crowd } from './crowd.ts';
import { findNamedNode, isKnown, nameJobSet } from './early-names.ts';

interface Tools {
  kubernetes: Kubernetes;
  config: Config;
  crowd: Crowd;
}

/** What an early look found. */
export interface EarlyLook {
  /** The pool that the alert means, where a few reads tell it. */
  nodePool?: string;
  /** Why the alert is refused before anybody claims it. */
  refusal?: FailoverError;
  /** Whether it is noted by now that the budget has refused the pool. */
  isNoted?: () => Promise<boolean>;
}

/**
 * Looks whether an alert is dealt with already, or is refused by the budget, by a few reads and without a claim. A slice of a
 * thousand nodes raises a thousand alerts, and under a claim each costs twenty calls, one after the other. It decides nothing
 * that the claim would decide otherwise: it only finds what another action has done already, by the same checks.
 *
 * @returns a refusal, or none where the claim must decide
 * @throws {Ignored} where the alert has been dealt with
 */
export async function lookEarly(action: Action, tools: Tools): Promise<EarlyLook> {
  const { incident, effects } = action;
  // An incident whose close uncordons leaves a hold on the pool, which takes the lock.
  const mayHold = incident?.uncordonsOnClose === true && effects.cordon;
  if (!incident || incident.isClosed || effects.uncordon || mayHold) return {};
  if (incident.subject && incident.subject.kind !== 'instance') return {};
  return look({ ...action, incident }, tools);
}

/** What a few reads tell of an alert's pool. */
interface Seen {
  nodePool: string;
  named: NodeHealth | undefined;
  switches: ClusterSwitches;
  poolAnnotations: Readonly<Record<string, string>>;
  /** The pool is beyond the budget, so nothing was done to it within the cooldown. */
  isUntouched: boolean;
}

async function look(alert: Action & { incident: Incident }, tools: Tools): Promise<EarlyLook> {
  const { kubernetes, config, crowd } = tools;
  const { id, incident } = alert;
  const named = await findNamedNode(alert, tools);
  if (named instanceof FailoverError) return { refusal: named };
  const nodePool = named ? named.nodePool : alert.nodePool;
  const isGone = !named && (alert.nodeName !== undefined || incident.subject !== undefined);
  if (nodePool === undefined || isGone) return {};
  if (alert.nodePool !== undefined && alert.nodePool !== nodePool) return {};

  const lease = await recallLease(clusterLease, alert, tools);
  const switches: ClusterSwitches = { ...toSwitches(lease, kubernetes.serverNow()), lease };
  const { serverNow } = switches;
  const isOver = isOverBudget(switches, nodePool, config);
  // What was done to a pool within the cooldown is in the budget of the hour.
  const isUntouched = isOver && config.cooldownSeconds <= 3600 && config.maxAlertAgeSeconds <= 3600;
  const pool = isUntouched ? undefined : await recallLease(toLockName(nodePool), alert, tools);
  const poolAnnotations = pool?.annotations ?? {};
  const action = await nameJobSet({ ...alert, nodeName: named?.name }, nodePool, {
    ...tools,
    poolAnnotations,
    serverNow,
  });
  if (action instanceof FailoverError) {
    if (await isKnown(toRecordName(id), alert, tools)) return { nodePool };
    if (await isKnown(toClosedName(incident.id), alert, tools)) throw closedAlready();
    return { refusal: action, nodePool };
  }
  if (isOver || isDone(action, poolAnnotations, config, serverNow)) {
    return judge(action, { nodePool, named, switches, poolAnnotations, isUntouched }, tools);
  }
  return crowd.isCrowded(action, nodePool)
    ? { refusal: crowd.refuse(action, nodePool), nodePool }
    : { nodePool };
}

/** Asks what the claim would ask, of an alert whose pool another action has dealt with, or whose budget is used up. */
async function judge(
  action: Action & { incident: Incident },
  { nodePool, named, switches, poolAnnotations, isUntouched }: Seen,
  tools: Tools,
): Promise<EarlyLook> {
  const { kubernetes, config } = tools;
  const { id, incident, effects } = action;
  // A record with a plan has charged the budget for its pool within the hour, unless the repair was left to GKE, or it waits for
  // approval.
  const mayWait = action.approval !== undefined || config.approvalActions.length > 0;
  const isNew = isUntouched && effects.cordon && !mayWait && !incident.isRenotification;
  if (!isNew && (await isKnown(toRecordName(id), action, tools))) return { nodePool };
  const health = named ? [named] : await listPoolHealth(kubernetes, nodePool);
  const snapshot = {
    nodePool,
    nodes: { schedulable: health, cordoned: [] },
    namedNode: named,
    // Neither check below looks at it.
    jobSet: undefined,
    eventTarget: undefined,
  };
  const shared = { kubernetes, config, poolAnnotations };
  await assertStillWanted(action, snapshot, { ...shared, readHealth: async () => health });
  // Beyond the budget, nothing is done either way.
  if (!isUntouched && (await isKnown(toClosedName(incident.id), action, tools))) throw closedAlready();
  try {
    const maxPools = toMaxPools(config.maxPoolsPerHour, 0);
    await assertWithinLimits(action, snapshot, { ...shared, switches, maxPools, correlation: undefined });
    return { nodePool };
  } catch (error) {
    if (!(error instanceof FailoverError)) throw error;
    const isNoted = async () => {
      const current = await recallLease(clusterLease, action, tools);
      return Object.hasOwn(readRefusedPools(current?.annotations ?? {}, switches.serverNow), nodePool);
    };
    return { refusal: error, nodePool, isNoted };
  }
}

function recallLease(
  name: string,
  { cluster }: Action,
  { kubernetes, crowd }: Tools,
): Promise<LeaseState | undefined> {
  return crowd.recall(`${cluster.fullName} ${name}`, () => readLease(kubernetes, name));
}

function closedAlready(): Ignored {
  return new Ignored('its incident has closed already', { isOver: true });
}

/** A share of the pools has to be counted, which the claim does. */
function isOverBudget(switches: ClusterSwitches, nodePool: string, { maxPoolsPerHour }: Config): boolean {
  if (typeof maxPoolsPerHour !== 'number') return false;
  try {
    assertBudgetLeft(switches, nodePool, { isAlert: true, maxPools: toMaxPools(maxPoolsPerHour, 0) });
    return false;
  } catch (error) {
    if (error instanceof FailoverError) return true;
    throw error;
  }
}

/** Another action has done to the pool within the cooldown what this one asks for. */
function isDone(
  action: Action,
  annotations: Readonly<Record<string, string>>,
  config: Config,
  serverNow: number,
): boolean {
  return cooledEffects(action).some((effect) => {
    const mark = readMark(annotations, effect);
    return isDoneByAnother(mark, action.id) && toCooldownLeftMs(mark, config, serverNow) > 0;
  });
}
