import { toAllNodes } from '../gke/nodes.ts';
import type { Action } from '../request/action.ts';
import type { ClusterConnection } from '../gke/cluster.ts';
import type { Deadline } from '../clock.ts';
import type { Services } from '../services.ts';
import { toAskMachine } from '../gke/compute.ts';
import { planCordon, planUncordon } from '../effects/cordon.ts';
import { decideDryRun } from '../decide/decide.ts';
import { emitStarted } from './events.ts';
import { readPoolMarks } from '../state/pool-lease.ts';
import type { Log } from '../log.ts';
import { describeRepair } from '../decide/repair-plan.ts';
import { warnOfRefusedPools } from '../decide/refused-pools.ts';
import { describeRestart } from '../decide/restart-plan.ts';
import type { Step } from '../step.ts';
import { resolveJobSet, resolveNode } from '../decide/alert-subject.ts';
import type { Config } from '../config.ts';
import type { Plan } from '../plan.ts';
import { assertApprovable, needsApproval } from './submit.ts';
import type { ClusterSwitches } from '../state/switches.ts';
import { resolvePool } from '../decide/targets.ts';
import { warnOfGkeWork } from '../decide/gke-at-work.ts';
import type { Snapshot } from '../decide/snapshot.ts';
import { beginReads } from './reads.ts';

/** Resolves, checks and says what would be done. The Event is its only write: it takes no lock and leaves no record. */
export async function dryRun(
  asked: Action,
  cluster: ClusterConnection,
  services: Pick<Services, 'config' | 'readInstance' | 'readGkeWork'>,
  deadline: Deadline,
  log: Log,
): Promise<Step[]> {
  const { kubernetes } = cluster;
  const { config } = services;
  const named = await resolveNode(kubernetes, asked);
  const nodePool = await resolvePool(kubernetes, named);
  const action = await resolveJobSet(kubernetes, named, nodePool, config);
  const reads = beginReads(action, nodePool, cluster, services, { deadline, isPlanned: false });
  const [poolAnnotations, [snapshot, switches, maxPools, repairFacts, correlation]] = await Promise.all([
    readPoolMarks(kubernetes, nodePool),
    reads.basics,
  ]);
  const { plan, limits } = await decideDryRun(action, snapshot, {
    kubernetes,
    config,
    cluster,
    claimId: '',
    poolAnnotations,
    switches,
    maxPools,
    correlation,
    repairFacts,
    askMachine: toAskMachine(services.readInstance, deadline),
    reads: reads.more,
  });
  if (snapshot.eventTarget) await emitStarted(kubernetes, snapshot.eventTarget, action, log);
  return [
    ...limits,
    ...noteApproval(action, config, nodePool),
    ...describePlan(action, snapshot, plan, switches),
  ];
}

function noteApproval(action: Action, config: Config, target: string): Step[] {
  if (!needsApproval(action, config)) return [];
  assertApprovable(action);
  const notice = 'the live action waits for the approval of its plan by another principal';
  return [{ step: 'notice', target, notice }];
}

/** Says what a plan would do. */
export function describePlan(
  action: Action,
  snapshot: Snapshot,
  plan: Plan,
  switches: ClusterSwitches,
): Step[] {
  return [
    ...(action.effects.uncordon ? [planUncordon(snapshot)] : []),
    ...(action.effects.cordon ? [planCordonStep(snapshot)] : []),
    ...(plan.restart ? [warnOfRefusedPools(describeRestart(plan.restart), plan.restart, switches)] : []),
    ...(plan.repair ? [describeRepair(plan.repair)] : []),
  ];
}

function planCordonStep(snapshot: Snapshot): Step {
  const warning = warnOfGkeWork(toAllNodes(snapshot.nodes));
  return { ...planCordon(snapshot), ...(warning === undefined ? {} : { warning }) };
}
