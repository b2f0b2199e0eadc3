import type { Instance } from '../gke/compute.ts';
import { instanceIdAnnotation } from '../gke/nodes.ts';
import type { NodeHealth } from '../gke/nodes.ts';
import { faultLabel, isReportError, readReport } from '../gke/repair-labels.ts';
import { hostLabel } from '../gke/slice.ts';
import type { RepairPlan } from '../plan.ts';
import type { Judgement } from './judgement.ts';
import { describeLack, judgeMachine } from './machine.ts';

type LabelledPlan = RepairPlan & { way: NonNullable<RepairPlan['way']> };

/**
 * Judges a repair that a label asked for. The Node and the numeric id of its machine stay, so what each way really changes
 * is asked: the boot id, when Compute started the machine, or what GKE says of the report. A node that is Ready proves nothing.
 *
 * @param nodes of the pool
 * @param readMachine asks Compute for the machine; `unknown` where it may not be asked
 */
export async function judgeLabelled(
  plan: LabelledPlan,
  nodes: NodeHealth[],
  readMachine: () => Promise<Instance | 'unknown' | undefined>,
): Promise<Judgement> {
  // A Node object that somebody deleted is registered again by the same machine.
  const { uid, systemUuid } = plan.node;
  const node =
    nodes.find((each) => each.uid === uid) ??
    nodes.find((each) => systemUuid !== undefined && each.systemUuid === systemUuid);
  const shown = node?.annotations[instanceIdAnnotation];
  const isReplaced = shown !== undefined && plan.instanceId !== undefined && shown !== plan.instanceId;
  if (!node || isReplaced) return judgeReplaced(plan, nodes);
  if (plan.way === 'report_faulty_host') return judgeReport(plan, node, nodes);
  return judgeStart(plan, node, nodes, readMachine);
}

/** GKE may have made the machine anew meanwhile, for another reason. */
function judgeReplaced(plan: LabelledPlan, nodes: NodeHealth[]): Judgement {
  const judged = judgeMachine(plan, plan.instanceId, nodes);
  if (judged.verdict === undefined) return judged;
  const why = `another machine runs as node ${plan.node.name}, so GKE has made it anew instead`;
  return { ...judged, why: judged.why === undefined ? why : `${why}; ${judged.why}` };
}

async function judgeStart(
  { way, before = {}, poolSize }: LabelledPlan,
  node: NodeHealth,
  nodes: NodeHealth[],
  readMachine: () => Promise<Instance | 'unknown' | undefined>,
): Promise<Judgement> {
  const isBootKnown = before.bootId !== undefined;
  if (!isBootKnown && (way === 'reboot' || before.startedAt === undefined)) {
    const why = `node ${node.name} did not tell its bootID before, so nobody knows whether it has booted again`;
    return { verdict: undefined, why };
  }
  if (node.bootId === undefined || node.bootId === before.bootId) {
    return { verdict: undefined, why: `node ${node.name} has not booted again: its bootID is the same` };
  }
  let doubt: string | undefined;
  if (way === 'maintenance') {
    const machine = before.startedAt === undefined ? 'unknown' : await readMachine();
    if (machine === undefined) return { verdict: undefined, why: `the machine of node ${node.name} is gone` };
    if (machine === 'unknown' || machine.startedAt === undefined) {
      if (!isBootKnown) {
        const why = `Compute did not say when it started the machine of node ${node.name}`;
        return { verdict: undefined, why };
      }
      doubt = 'by its bootID alone, because Compute did not say when it started the machine';
    } else if (machine.startedAt === before.startedAt) {
      const why = `node ${node.name} has booted again, but Compute has not started its machine anew, so its host was not maintained`;
      return { verdict: undefined, why };
    }
  }
  const lack = describeLack(nodes, poolSize);
  if (lack !== undefined) return { verdict: undefined, why: lack };
  return { verdict: 'repaired', at: node.readyChangedAt, ...(doubt === undefined ? {} : { why: doubt }) };
}

/**
 * GKE keeps the status of an earlier report, so it counts only once it or its operation differs. A report that fails may have no
 * operation, so its status also counts once GKE has taken the label away.
 */
function judgeReport(
  { before = {}, host, allCapacity, poolSize }: LabelledPlan,
  node: NodeHealth,
  nodes: NodeHealth[],
): Judgement {
  const { status, operation } = readReport(node);
  const isLabelled = node.labels[faultLabel] !== undefined;
  const hasFailed = status !== undefined && isReportError(status);
  const isFresh = status !== before.status || operation !== before.operation || (hasFailed && !isLabelled);
  const named = operation === undefined ? '' : `, operation ${operation}`;
  if (!isFresh || status === undefined) {
    return { verdict: undefined, why: `GKE has not said yet that it reports the host of node ${node.name}` };
  }
  if (hasFailed) {
    const why =
      `GKE ended the report of the host of node ${node.name} with ${status}${named}: a requirement is not met, or the reservation's ` +
      'rate limit is reached';
    return { verdict: 'report_failed', why };
  }
  if (status !== 'OperationDone') {
    return { verdict: undefined, why: `GKE says ${status} of node ${node.name}${named}` };
  }
  const reported = `the host of node ${node.name} is reported${named}`;
  if (allCapacity === true) {
    const why = `${reported}; the machine comes back on the same host once that is repaired, which takes 3 to 14 days`;
    return { verdict: 'reported', why };
  }
  const isSameHost = host !== undefined && node.labels[hostLabel] === host;
  const lack = describeLack(nodes, poolSize);
  const hasStarted = before.bootId === undefined || node.bootId !== before.bootId;
  if (!isLabelled && lack === undefined && !isSameHost && hasStarted) {
    return { verdict: 'reported', at: node.readyChangedAt };
  }
  const trouble =
    lack ?? (isSameHost ? `the machine is still on host ${host}` : 'the machine has not started again');
  // What was asked for is done, however long the machine takes.
  return { verdict: undefined, why: `${reported}, and ${trouble}`, onTimeOut: 'reported' };
}
