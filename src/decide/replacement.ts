import { describeTime } from '../clock.ts';
import type { Config } from '../config.ts';
import { unlessForbidden } from '../gke/compute.ts';
import type { AskMachine } from '../gke/compute.ts';
import type { NodeHealth } from '../gke/nodes.ts';
import { Ignored } from '../ignored.ts';
import type { RepairPlan } from '../plan.ts';
import type { Action } from '../request/action.ts';
import { repairRefused } from './repair-plan.ts';

/** What is needed to tell whether a machine is the bad one or already its replacement. */
export interface ReplacementTools {
  config: Pick<Config, 'repairTimeoutSeconds'>;
  /** Asks which machine has the planned name now. */
  askMachine: AskMachine;
  serverNow: number;
}

/**
 * Leaves a machine alone that has just replaced the bad one, and still boots: GKE repairs by itself, the Node object may
 * survive with the replacement's id, and until the kubelet reports, it looks as dead as before. Only a node that is not Ready
 * may have such a machine, so Compute is asked for those only.
 *
 * @param node whose machine is planned to be repaired
 * @returns a warning where Compute may not be asked
 * @throws {Ignored} for an alert
 * @throws {FailoverError} `repair_refused` for a caller
 */
export async function assertNotReplacement(
  { incident }: Action,
  plan: RepairPlan,
  node: NodeHealth,
  { config, askMachine, serverNow }: ReplacementTools,
): Promise<string | undefined> {
  // Where the node does not say the id of its machine, Compute is asked for it before the deletion anyway.
  if (node.isReady || plan.instanceId === undefined) return undefined;
  // An older role may not let the function ask. The deletion by id is as safe as it was then.
  const asked = await unlessForbidden(askMachine(plan), ({ message }) => {
    return `whether the machine is a replacement that still boots is not known, because ${message}`;
  });
  if (typeof asked === 'string') return asked;
  // There is no machine to delete, which its deletion will tell.
  if (!asked) return undefined;
  const { id, createdAt } = asked;
  const isOther = id !== plan.instanceId;
  const notReadySince = node.readyChangedAt ?? node.createdAt;
  const machine = `machine ${plan.instanceName} (id ${id}) of node ${node.name}`;
  const was =
    createdAt === undefined
      ? 'has another id than the node says'
      : `was created at ${describeTime(createdAt)}`;
  if (incident && createdAt !== undefined && createdAt > incident.startedAt) {
    throw new Ignored(
      `recovered: ${machine} ${was}, after the incident began at ${describeTime(incident.startedAt)}`,
      { isOver: true },
    );
  }
  if (!isOther && (createdAt === undefined || createdAt <= notReadySince)) return undefined;
  const bootsUntil = (createdAt ?? serverNow) + config.repairTimeoutSeconds * 1000;
  // It has had its time, so it is broken itself.
  if (serverNow >= bootsUntil) return undefined;
  const after = isOther
    ? `and the node still says ${plan.instanceId}`
    : `after the node had stopped being Ready at ${describeTime(notReadySince)}`;
  const replacement = `${machine} ${was}, ${after}, so it is the replacement, which still boots`;
  if (incident) throw new Ignored(`handled: ${replacement}`);
  const { instanceName, zone, projectId } = plan;
  const where = `${instanceName} --zone ${zone} --project ${projectId}`;
  throw repairRefused(
    `${replacement}; nothing was deleted. If the node is not Ready by ${describeTime(bootsUntil)} (REPAIR_TIMEOUT_SECONDS), send this ` +
      `again. Look at it: gcloud compute instances describe ${where}`,
  );
}
