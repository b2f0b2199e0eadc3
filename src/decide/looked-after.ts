import type { Kubernetes } from '../gke/kubernetes.ts';
import { Ignored } from '../ignored.ts';
import type { RepairPlan } from '../plan.ts';
import { isFromAlert } from '../request/action.ts';
import type { Action } from '../request/action.ts';
import { listOpenRecords } from '../state/open-records.ts';
import type { ActionRecord } from '../state/record-format.ts';

/**
 * Ignores an alert about a machine, or a multi-host slice, that GKE itself repairs while another action waits for the end of
 * that repair. A slice of sixteen nodes raises sixteen incidents, and one verdict serves them all. A mark on the pool tells that of
 * our own repairs; for GKE's there is none, so what is open is listed, only here.
 *
 * @throws {Ignored} saying which action it is
 */
export async function assertNotLookedAfter(
  action: Action,
  nodePool: string,
  plan: RepairPlan,
  kubernetes: Kubernetes,
): Promise<void> {
  if (!isFromAlert(action) || !isGkesRepair(plan)) return;
  const { records } = await listOpenRecords(kubernetes);
  const other = records.find(
    (record) => record.id !== action.id && record.nodePool === nodePool && looksAfter(record, plan),
  );
  if (!other) return;
  throw new Ignored(`handled: ${plan.leftTo?.why}, and action ${other.id} looks what becomes of it`);
}

function looksAfter({ plan, verdict }: ActionRecord, { isMultiHost, instanceId, node }: RepairPlan): boolean {
  const repair = plan?.repair;
  if (!repair || !isGkesRepair(repair) || verdict !== undefined) return false;
  return isMultiHost || (repair.node.uid === node.uid && repair.instanceId === instanceId);
}

function isGkesRepair({ leftTo }: RepairPlan): boolean {
  return leftTo?.outcome === 'gke_is_repairing';
}
