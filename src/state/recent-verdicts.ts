import type { Kubernetes } from '../gke/kubernetes.ts';
import { planSchema } from '../plan.ts';
import { hasHelped, verdictSchema } from '../verdict.ts';
import type { VerdictName } from '../verdict.ts';
import { listLeases } from './lease.ts';
import type { LeaseState } from './lease-format.ts';
import { keys, kindLabel } from './record-format.ts';
import { parseStored } from './stored.ts';
import { hourMs } from './switches.ts';

/** What became of an action within the last hour: whether it helped or not. */
export interface RecentVerdict {
  id: string;
  verdict: VerdictName;
  hasHelped: boolean;
  /** When it was given, in ms since the epoch by the API server's clock. */
  at: number;
  nodePool: string;
  /** `<namespace>/<name>`, if the action restarted one. */
  jobSet: string | undefined;
  /** Of the machine, if the action repaired one. */
  zone: string | undefined;
}

/** They say nothing about whether one more would help: the run was over, or the function did not get through. */
const saysNothing = new Set<VerdictName>(['run_ended', 'abandoned', 'expired', 'rejected']);

/** Lists the verdicts of the last hour, from the records. What cannot be read is left out. */
export async function listRecentVerdicts(kubernetes: Kubernetes): Promise<RecentVerdict[]> {
  const leases = await listLeases(kubernetes, `${kindLabel}=action`);
  const now = kubernetes.serverNow();
  return leases.flatMap((lease) => toRecent(lease, now) ?? []);
}

function toRecent({ annotations, renewedAt = 0 }: LeaseState, now: number): RecentVerdict | undefined {
  // The verdict is one of the last writes of a record, so most records need not be parsed.
  if (now - renewedAt > hourMs) return undefined;
  const stored = parseStored(verdictSchema, annotations, keys.verdict);
  const plan = parseStored(planSchema, annotations, keys.plan);
  if (stored === undefined || stored === 'broken' || plan === undefined || plan === 'broken') {
    return undefined;
  }
  const { verdict, at } = stored.value;
  const time = Date.parse(at);
  if (saysNothing.has(verdict) || !(now - time < hourMs)) return undefined;
  const { restart, repair } = plan.value;
  return {
    id: annotations[keys.id] ?? '',
    verdict,
    hasHelped: hasHelped(stored.value),
    at: time,
    nodePool: annotations[keys.nodePool] ?? '',
    jobSet: restart && `${restart.jobSet.namespace}/${restart.jobSet.name}`,
    zone: repair?.zone,
  };
}
