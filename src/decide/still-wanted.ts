import { effectsOf } from '../action-type.ts';
import type { Action } from '../request/action.ts';
import type { Config } from '../config.ts';
import { readMark } from '../state/cooldown.ts';
import { Ignored } from '../ignored.ts';
import type { Incident } from '../request/incident.ts';
import { attemptOf, readJobs, readJobSet } from '../gke/jobset.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { instanceIdAnnotation, isHealthy, rankByHealth, readNodeHealth } from '../gke/nodes.ts';
import type { NodeHealth } from '../gke/nodes.ts';
import type { RepairPlan } from '../plan.ts';
import { isMultiHost } from '../gke/slice.ts';
import type { Snapshot } from './snapshot.ts';

/** What it takes to say whether an alert is still to be acted on. */
export interface StillWantedTools {
  kubernetes: Kubernetes;
  config: Config;
  /** The pool's marks. */
  poolAnnotations: Readonly<Record<string, string>>;
  /** The node that was named, or all of the pool; read when it is called. */
  readHealth: () => Promise<NodeHealth[]>;
}

/**
 * Holds back an alert that has been dealt with, by another action or by the world itself: what it is about ended when
 * the machine was replaced, when the node became Ready again, or when the JobSet restarted by itself.
 *
 * @throws {Ignored} saying what is newer than the incident
 */
export async function assertStillWanted(
  action: Action,
  snapshot: Snapshot,
  tools: StillWantedTools,
): Promise<void> {
  const { incident, type } = action;
  if (!incident || incident.isClosed) return;
  const { restart, repair } = effectsOf(type);
  if (repair) {
    const health = await tools.readHealth();
    assertNotHandled(snapshot, health, tools);
    assertNotRecovered(incident, health);
  }
  const isOfJobSet = incident.subject?.kind === 'jobset';
  const isBackAgain =
    restart && snapshot.namedNode !== undefined && hasRecovered(snapshot.namedNode, incident);
  if (isOfJobSet || isBackAgain) await assertAttemptOlder(action, incident, tools.kubernetes);
}

/**
 * Holds back the rest of an action that stopped half-way, once the machine that it was to repair is another one or well
 * again: what would be left is to cordon the replacement.
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

/** Sixteen nodes of one slice are sixteen incidents, and one repair is for all of them. */
function assertNotHandled(
  { nodePool, nodes }: Snapshot,
  health: NodeHealth[],
  { kubernetes, config, poolAnnotations }: StillWantedTools,
): void {
  const mark = readMark(poolAnnotations, 'repair');
  if (!mark) return;
  const windowMs = Math.max(config.cooldownSeconds, config.maxAlertAgeSeconds) * 1000;
  if (kubernetes.serverNow() - Date.parse(mark.at) > windowMs) return;
  const all = [...nodes.schedulable, ...nodes.cordoned];
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
 * The machine that would be repaired is the named one, or the least healthy of the pool. Where nothing is wrong with any
 * node of a slice, one that has come back is what the incident was about.
 */
function assertNotRecovered(incident: Incident, health: NodeHealth[]): void {
  const [worst, ...others] = rankByHealth(health);
  if (!worst) return;
  const isSlice = health.every((node) => isMultiHost(node));
  // Of independent nodes only one that is not Ready can be singled out, and otherwise the repair is refused.
  if (others.length > 0 && !isSlice && worst.isReady) return;
  const candidates = isHealthy(worst) ? [worst, ...others] : [worst];
  const node = candidates.find((candidate) => hasRecovered(candidate, incident));
  if (!node) return;
  const how =
    node.createdAt > incident.startedAt
      ? `was created at ${toTime(node.createdAt)}`
      : `is Ready since ${toTime(node.readyChangedAt)}`;
  throw new Ignored(
    `recovered: node ${node.name} ${how}, after the incident began at ${toTime(incident.startedAt)}`,
    { isOver: true },
  );
}

function hasRecovered(node: NodeHealth, { startedAt }: Incident): boolean {
  return node.createdAt > startedAt || (node.isReady && (node.readyChangedAt ?? 0) > startedAt);
}

/** A run that began after the incident is not what it was about. */
async function assertAttemptOlder(action: Action, incident: Incident, kubernetes: Kubernetes): Promise<void> {
  const { namespace, jobSetName = '' } = action;
  const jobSet = await readJobSet(kubernetes, namespace, jobSetName);
  const attempt = attemptOf(jobSet);
  const jobs = (await readJobs(kubernetes, jobSet)).filter((job) => job.attempt === attempt);
  if (!jobs.every((job) => (job.createdAt ?? 0) > incident.startedAt)) return;
  throw new Ignored(
    `recovered: JobSet ${namespace}/${jobSetName} has restarted (attempt ${attempt}) after the incident began at ` +
      toTime(incident.startedAt),
    { isOver: true },
  );
}

function toTime(ms: number | undefined): string {
  return new Date(ms ?? 0).toISOString().replace('.000Z', 'Z');
}
