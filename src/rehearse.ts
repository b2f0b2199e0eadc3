import { effectsOf } from './action-type.ts';
import type { Action } from './action.ts';
import type { ClusterConnection } from './cluster.ts';
import type { Config } from './config.ts';
import { planCordon, planUncordon } from './cordon.ts';
import { rehearseDecision } from './decide.ts';
import { announceTrigger } from './events.ts';
import { readPoolMarks } from './lock.ts';
import type { Log } from './log.ts';
import { describeRepair } from './repair-plan.ts';
import { describeRestart } from './restart-plan.ts';
import type { Step } from './step.ts';
import { nameJobSet, nameNode } from './subject.ts';
import { readSwitches } from './switches.ts';
import { resolvePool } from './targets.ts';
import { readWorld } from './world.ts';

/** Resolves, checks and says what would be done. Its only write is its Event; it takes no lock and is never recorded. */
export async function rehearse(
  asked: Action,
  cluster: ClusterConnection,
  config: Config,
  log: Log,
): Promise<Step[]> {
  const { kubernetes } = cluster;
  const named = await nameNode(kubernetes, asked);
  const nodePool = await resolvePool(kubernetes, named);
  const action = await nameJobSet(kubernetes, named, nodePool, config);
  const world = await readWorld(kubernetes, action, nodePool, false);
  const [marks, switches] = await Promise.all([
    readPoolMarks(kubernetes, nodePool),
    readSwitches(kubernetes),
  ]);
  const { plan, limits } = await rehearseDecision(action, world, {
    kubernetes,
    config,
    cluster,
    attempt: '',
    marks,
    switches,
  });
  if (world.eventTarget) await announceTrigger(kubernetes, world.eventTarget, action, log);
  const effects = effectsOf(action.type);
  return [
    ...limits,
    ...(effects.uncordon ? [planUncordon(world)] : []),
    ...(effects.cordon ? [planCordon(world)] : []),
    ...(plan.restart ? [describeRestart(plan.restart)] : []),
    ...(plan.repair ? [describeRepair(plan.repair)] : []),
  ];
}
