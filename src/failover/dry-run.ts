import { effectsOf } from '../action-type.ts';
import type { Action } from '../request/action.ts';
import type { ClusterConnection } from '../gke/cluster.ts';
import type { Config } from '../config.ts';
import { planCordon, planUncordon } from '../effects/cordon.ts';
import { rehearseDecision } from '../decide/decide.ts';
import { announceTrigger } from './events.ts';
import { readPoolMarks } from '../state/lock.ts';
import type { Log } from '../log.ts';
import { describeRepair } from '../decide/repair-plan.ts';
import { describeRestart } from '../decide/restart-plan.ts';
import type { Step } from '../step.ts';
import { nameJobSet, nameNode } from '../decide/alert-subject.ts';
import { readSwitches } from '../state/switches.ts';
import { resolvePool } from '../decide/targets.ts';
import { readWorld } from '../decide/snapshot.ts';

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
