import type { NodeHealth } from '../gke/nodes.ts';
import { whyNotReportable } from '../gke/repair-labels.ts';
import type { RepairPlan } from '../plan.ts';
import type { HostRepair } from '../state/host-memory.ts';

/** A text that lists more repairs of a host is too long to read. */
const maxListed = 3;

/**
 * Says how often machines on the host of a plan were repaired before, and what takes the host out of service. Undefined where it
 * was not.
 *
 * @param memory the repairs of the last 30 days by host; `unread` where they could not be read
 */
export function describeHistory(
  { host, way }: Pick<RepairPlan, 'host' | 'way'>,
  node: NodeHealth,
  memory: ReadonlyMap<string, HostRepair[]> | 'unread' | undefined,
): string | undefined {
  if (host === undefined || memory === undefined) return undefined;
  const unread = `whether host ${host} was repaired before is not known, because its Leases cannot be read`;
  if (memory === 'unread') return unread;
  const repairs = memory.get(host) ?? [];
  if (repairs.length === 0) return undefined;
  const listed = repairs
    .slice(-maxListed)
    .map(({ way: how, action, at }) => `${how} by action ${action} at ${at}`);
  const before = repairs.length > listed.length ? `${repairs.length - listed.length} before; ` : '';
  const times = repairs.length === 1 ? 'once' : `${repairs.length} times`;
  const what = `this is fault ${repairs.length + 1} of host ${host}, whose machine was repaired ${times} within 30 days (${before}${listed.join('; ')})`;
  return way === 'report_faulty_host' ? what : `${what}: ${adviseReport(node)}`;
}

/** Says how a host is taken out of service. */
function adviseReport(node: NodeHealth): string {
  const why = whyNotReportable(node);
  const advice =
    why === undefined
      ? 'so have it reported: repair report_faulty_host'
      : `and ${why}, so tell Google about the host`;
  return `a deletion may draw the host again, ${advice}`;
}
