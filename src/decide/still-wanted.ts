import type { Action } from '../request/action.ts';
import type { Config } from '../config.ts';
import { readMark } from '../state/cooldown.ts';
import type { Effect } from '../state/cooldown.ts';
import { isAccepted } from '../state/deed.ts';
import { describeTime } from '../clock.ts';
import { Ignored } from '../ignored.ts';
import {
  assertTargetNotBack,
  describeReturn,
  findTargetBack,
  hasRecovered,
  withCordonsLeft,
} from './come-back.ts';
import type { Incident } from '../request/incident.ts';
import { attemptOf, readJobs, readJobSet } from '../gke/jobset.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { isHealthy, rankByHealth } from '../gke/node-health.ts';
import { instanceIdAnnotation, listPoolHealth, readNodeHealth, toAllNodes } from '../gke/nodes.ts';
import type { NodeHealth } from '../gke/nodes.ts';
import type { Plan, RepairPlan } from '../plan.ts';
import { isMultiHost } from '../gke/slice.ts';
import type { Snapshot } from './snapshot.ts';

/** What the check works with. */
export interface StillWantedTools {
  kubernetes: Kubernetes;
  config: Config;
  /** The annotations of the pool's Lease. */
  poolAnnotations: Readonly<Record<string, string>>;
  /** Reads the health of the named node, or of all nodes of the pool. */
  readHealth: () => Promise<NodeHealth[]>;
}

/**
 * Ignores an alert that has been dealt with: another action is repairing the machine, or the machine was replaced, the node
 * became Ready again, or the JobSet restarted by itself after the incident began.
 *
 * @throws {Ignored} saying what is newer than the incident
 */
export async function assertStillWanted(
  action: Action,
  snapshot: Snapshot,
  tools: StillWantedTools,
): Promise<void> {
  const { incident, effects } = action;
  if (!incident || incident.isClosed) return;
  if (effects.repair) await assertRepairStillWanted(incident, snapshot, tools);
  if (effects.restart || isOfRun(incident)) {
    await assertRunNotRecovered(action, incident, snapshot, tools);
  } else if (isCordonOnly(action)) {
    await assertTargetNotBack(incident, snapshot, tools);
  }
}

/** @throws {Ignored} where the machine is being repaired, was replaced, or is back */
export async function assertRepairStillWanted(
  incident: Incident,
  snapshot: Snapshot,
  tools: StillWantedTools,
): Promise<void> {
  assertNotHandled(snapshot, await tools.readHealth(), tools);
  assertNotRecovered(incident, await tools.readHealth());
}

/**
 * Asks the same of an action that is resumed: what has happened since its plan was made may have dealt with the alert. Only
 * what this action is known to have deleted is its own doing, and is carried on.
 *
 * @throws {Ignored} saying what is newer than the incident
 */
export async function assertResumeStillWanted(
  action: Action,
  snapshot: Snapshot,
  plan: Plan,
  tools: StillWantedTools,
): Promise<void> {
  const { incident } = action;
  if (!incident || incident.isClosed) return;
  try {
    await assertRestStillWanted(action, incident, snapshot, plan, tools);
  } catch (error) {
    throw error instanceof Ignored ? withCordonsLeft(error, action.id, incident, snapshot) : error;
  }
}

async function assertRestStillWanted(
  action: Action,
  incident: Incident,
  snapshot: Snapshot,
  plan: Plan,
  tools: StillWantedTools,
): Promise<void> {
  const findOwn = (effect: Effect) => {
    const mark = readMark(tools.poolAnnotations, effect);
    return mark?.action === action.id ? mark : undefined;
  };
  if (plan.repair) {
    const health = await tools.readHealth();
    if (!findOwn('repair')) assertNotHandled(snapshot, health, tools);
    // An alert about a whole pool is over with the pool, though the planned node may never have been bad.
    if (action.nodeName === undefined) assertNotRecovered(incident, health);
  }
  if (plan.restart) {
    const { namespace, name } = plan.restart.jobSet;
    const own = findOwn(`restart ${namespace}/${name}`);
    if (own && isAccepted(own)) return;
    // What it has only begun may hang, and then it must be finished.
    await assertRunNotRecovered(action, incident, snapshot, { ...tools, mayHang: own !== undefined });
  } else if (isOfRun(incident)) {
    if (!findOwn('repair')) await assertRunNotRecovered(action, incident, snapshot, tools);
  } else if (isCordonOnly(action)) {
    await assertTargetNotBack(incident, snapshot, tools);
  }
}

function isOfRun({ subject }: Incident): boolean {
  return subject?.kind === 'jobset';
}

/** Nothing is deleted, but the pool would stay cordoned. */
function isCordonOnly({ effects }: Action): boolean {
  return effects.cordon && !effects.restart && !effects.repair;
}

/**
 * Asks once more before a newer attempt is ended than the decided one, with facts that are read now: while the pool was being
 * cordoned, the pool may have recovered, and the run with it.
 *
 * @returns what is newer than the incident; undefined where the newer attempt is to be ended
 */
export async function findRecoveredRun(
  { nodeName, incident, ...action }: Action,
  nodePool: string,
  kubernetes: Kubernetes,
): Promise<string | undefined> {
  if (!incident) return undefined;
  const namedNode = nodeName === undefined ? undefined : await readNodeHealth(kubernetes, nodeName);
  // A node that is gone has not come back.
  if (nodeName !== undefined && !namedNode) return undefined;
  const readHealth = () => listPoolHealth(kubernetes, nodePool);
  try {
    await assertRunNotRecovered(action, incident, { namedNode }, { kubernetes, readHealth });
    return undefined;
  } catch (error) {
    if (error instanceof Ignored) return error.message;
    throw error;
  }
}

/**
 * A run is not restarted for an incident once both are newer than it: what the incident named is back, and the current
 * attempt began after it.
 */
async function assertRunNotRecovered(
  action: Pick<Action, 'namespace' | 'jobSetName'>,
  incident: Incident,
  snapshot: Pick<Snapshot, 'namedNode'>,
  tools: Pick<StillWantedTools, 'kubernetes' | 'readHealth'> & { mayHang?: boolean },
): Promise<void> {
  const ofRun = isOfRun(incident);
  const isBack = ofRun || (await findTargetBack(incident, snapshot, tools)) !== undefined;
  // Nobody else tells of a restart that hangs.
  if (isBack) await assertAttemptOlder(action, incident, tools, ofRun || tools.mayHang === true);
}

/**
 * Ignores the rest of an action that stopped half-way once its machine has been replaced or is healthy again, because the
 * rest would only cordon the replacement.
 *
 * @throws {Ignored}
 */
export async function assertStillBroken(
  kubernetes: Kubernetes,
  incident: Incident,
  { node: { name } }: RepairPlan,
): Promise<void> {
  const node = await readNodeHealth(kubernetes, name);
  if (node) assertNotRecovered(incident, [node]);
}

/** A slice of sixteen nodes raises sixteen incidents, and one repair serves them all. */
function assertNotHandled(
  { nodePool, nodes }: Snapshot,
  health: NodeHealth[],
  { kubernetes, config, poolAnnotations }: StillWantedTools,
): void {
  const mark = readMark(poolAnnotations, 'repair');
  // A repair that has only begun handles nothing.
  if (!mark || !isAccepted(mark)) return;
  const windowMs = Math.max(config.cooldownSeconds, config.maxAlertAgeSeconds) * 1000;
  if (kubernetes.serverNow() - Date.parse(mark.at) > windowMs) return;
  const all = toAllNodes(nodes);
  const isSlice = all.length > 0 && all.every((node) => isMultiHost(node));
  const [bad, ...others] = health.length === 1 ? health : health.filter((node) => !node.isReady);
  const isSameMachine =
    mark.instanceId !== undefined &&
    others.length === 0 &&
    bad?.annotations[instanceIdAnnotation] === mark.instanceId;
  if (!isSlice && !isSameMachine) return;
  const what = isSlice ? `the slice of node pool ${nodePool}` : `the machine of node ${bad?.name}`;
  throw new Ignored(`handled: ${what} is being repaired by action ${mark.action} since ${mark.at}`);
}

/**
 * The machine to repair is the named one, or the least healthy of the pool. If every node of a slice looks healthy, a node
 * that recovered after the incident began is taken to be the one that it was about.
 */
function assertNotRecovered(incident: Incident, health: NodeHealth[]): void {
  const [worst, ...others] = rankByHealth(health);
  if (!worst) return;
  const isSlice = health.every((node) => isMultiHost(node));
  // Among independent nodes, only one that is not Ready can be singled out; otherwise the repair is refused.
  if (others.length > 0 && !isSlice && worst.isReady) return;
  const candidates = isHealthy(worst) ? [worst, ...others] : [worst];
  const node = candidates.find((candidate) => hasRecovered(candidate, incident));
  if (!node) return;
  throw new Ignored(`recovered: ${describeReturn(node, incident)}`, { isOver: true });
}

/**
 * A run that began after the incident is not the run that the incident was about.
 *
 * @param mustRun asks for the Jobs of the attempt: until the last pod of the attempt before has ended, there are none
 */
async function assertAttemptOlder(
  action: Pick<Action, 'namespace' | 'jobSetName'>,
  incident: Incident,
  { kubernetes }: Pick<StillWantedTools, 'kubernetes'>,
  mustRun: boolean,
): Promise<void> {
  const { namespace, jobSetName = '' } = action;
  const jobSet = await readJobSet(kubernetes, namespace, jobSetName);
  const attempt = attemptOf(jobSet);
  const all = await readJobs(kubernetes, jobSet);
  const jobs = all.filter((job) => job.attempt === attempt);
  if (mustRun && (jobs.length === 0 || jobs.length < all.length)) return;
  if (!jobs.every((job) => (job.createdAt ?? 0) > incident.startedAt)) return;
  throw new Ignored(
    `recovered: JobSet ${namespace}/${jobSetName} has restarted (attempt ${attempt}) after the incident began at ` +
      describeTime(incident.startedAt),
    { isOver: true },
  );
}
