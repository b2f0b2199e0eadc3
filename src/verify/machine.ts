import { instanceIdAnnotation } from '../gke/nodes.ts';
import { describeNames } from '../names.ts';
import type { NodeHealth } from '../gke/nodes.ts';
import { latest } from '../gke/run-pods.ts';
import { whyNotReportable } from '../gke/repair-labels.ts';
import { hostLabel, toExpectedNodes } from '../gke/slice.ts';
import type { RepairPlan } from '../plan.ts';
import { countReasons } from './judgement.ts';
import type { Judgement } from './judgement.ts';

/**
 * Judges a repair: is the machine another one, and is its pool whole? A node that is Ready proves nothing by itself: its
 * machine must have changed, and its accelerators must be allocatable.
 *
 * @param instanceId the machine that was deleted; undefined if neither the node nor Compute said it
 * @param nodes of the pool
 * @param operation Compute's, by which it accepted the deletion
 */
export function judgeMachine(
  plan: RepairPlan,
  instanceId: string | undefined,
  nodes: NodeHealth[],
  operation?: string,
): Judgement {
  const old = nodes.find((node) => isOldMachine(node, plan, instanceId));
  if (old) {
    const still = `the old machine is still there: node ${old.name} runs on it`;
    return { verdict: undefined, why: `${still}${operation === undefined ? '' : toHint(plan, operation)}` };
  }
  const lack = describeLack(nodes, plan.poolSize);
  if (lack !== undefined) return { verdict: undefined, why: lack };
  const sameHost = plan.host === undefined ? [] : nodes.filter((node) => isReplacementOn(node, plan));
  return {
    verdict: 'repaired',
    at: latest(nodes.map((node) => node.readyChangedAt)),
    ...(sameHost.length > 0
      ? {
          isSameHost: true,
          why: `${describeNames(sameHost.map(({ name }) => name))} is on host ${plan.host}, whose machine was bad${adviseReport(sameHost[0], plan)}`,
        }
      : {}),
  };
}

/**
 * Says what a pool lacks: nodes, or some that are well.
 *
 * @param poolSize how many nodes it had; a slice has as many as its topology says
 * @returns undefined if it is whole
 */
export function describeLack(nodes: NodeHealth[], poolSize = 1): string | undefined {
  const [first] = nodes;
  const ofSlice = first && toExpectedNodes(first);
  const expected = typeof ofSlice === 'number' ? ofSlice : poolSize;
  const troubles = nodes.flatMap((node) => describeTrouble(node));
  const missing = expected - nodes.length;
  if (missing <= 0 && troubles.length === 0) return undefined;
  return [
    ...(missing > 0 ? [`${nodes.length} of ${expected} nodes are back`] : []),
    ...(troubles.length > 0 ? [countReasons(troubles, `${nodes.length} nodes`)] : []),
  ].join('; ');
}

/** What takes a host out of service, where GKE can do it. */
function adviseReport(node: NodeHealth | undefined, { isMultiHost }: RepairPlan): string {
  if (!node || isMultiHost || whyNotReportable(node) !== undefined) return '';
  return '; have the host reported: repair report_faulty_host';
}

/** An operation can fail after Compute has accepted it. The function has no right to read operations; a person has. */
function toHint({ zone, projectId }: RepairPlan, operation: string): string {
  return (
    ', although Compute accepted its deletion. Its error, if it failed: ' +
    `gcloud compute operations describe ${operation} --zone ${zone} --project ${projectId}`
  );
}

/** A node that registers may say its machine's id only later. Until it says another one, it may be the old machine. */
function isOldMachine(node: NodeHealth, plan: RepairPlan, instanceId: string | undefined): boolean {
  const isSameObject = node.uid === plan.node.uid;
  // GKE had begun before the decision, and may have replaced the machine by then. A Node that was made since tells its own id.
  const { since } = plan.leftTo ?? {};
  if (isSameObject && since !== undefined && node.createdAt > Date.parse(since)) return false;
  // Until the kubelet of another machine has reported, all that the Node says of its health is of the old one.
  const isSameSystem = node.systemUuid === plan.node.systemUuid;
  if (isSameSystem && node.systemUuid !== undefined) return true;
  const shown = node.annotations[instanceIdAnnotation];
  if (instanceId !== undefined && shown !== undefined) return shown === instanceId;
  return node.name === plan.node.name && isSameObject && isSameSystem;
}

function describeTrouble({ isReady, lacksAccelerators }: NodeHealth): string[] {
  if (!isReady) return ['are not Ready'];
  return lacksAccelerators ? ['are Ready, but not all of their accelerators are allocatable'] : [];
}

function isReplacementOn({ labels, annotations }: NodeHealth, { host, instanceId }: RepairPlan): boolean {
  return labels[hostLabel] === host && annotations[instanceIdAnnotation] !== instanceId;
}
