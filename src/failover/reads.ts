import { readCorrelation } from '../decide/correlation.ts';
import type { DecideReads } from '../decide/decide-reads.ts';
import { readRepairFacts } from '../decide/repair-facts.ts';
import type { RepairFacts } from '../decide/repair-facts.ts';
import { readRunOf } from '../decide/restart-facts.ts';
import { readSnapshot } from '../decide/snapshot.ts';
import type { Snapshot } from '../decide/snapshot.ts';
import type { ClusterConnection } from '../gke/cluster.ts';
import type { Deadline } from '../clock.ts';
import { listPoolHealth } from '../gke/nodes.ts';
import type { Action } from '../request/action.ts';
import type { Services } from '../services.ts';
import { readMaxPools } from '../state/budget.ts';
import type { MaxPools } from '../state/budget.ts';
import { readSwitches } from '../state/switches.ts';
import type { ClusterSwitches } from '../state/switches.ts';
import { ahead } from '../ahead.ts';

/** What a decision rests on, while it is being read. */
export interface Reads {
  basics: Promise<
    [
      Snapshot,
      ClusterSwitches,
      MaxPools,
      RepairFacts | undefined,
      Awaited<ReturnType<typeof readCorrelation>>,
    ]
  >;
  /** What only some decisions need. */
  more: DecideReads;
}

/**
 * Begins to read everything that the decision about an action is sure to need, all at once.
 *
 * @param options.isPlanned the action has its plan already
 */
export function beginReads(
  action: Action,
  nodePool: string,
  { kubernetes, name }: Pick<ClusterConnection, 'kubernetes' | 'name'>,
  { config, readGkeWork }: Pick<Services, 'config' | 'readGkeWork'>,
  { deadline, isPlanned }: { deadline: Deadline; isPlanned: boolean },
): Reads {
  const { effects, incident, nodeName, namespace, jobSetName } = action;
  const basics = Promise.all([
    readSnapshot(kubernetes, action, nodePool, isPlanned || incident?.isClosed === true),
    readSwitches(kubernetes),
    readMaxPools(kubernetes, config),
    isPlanned
      ? undefined
      : readRepairFacts(kubernetes, action, config, () => readGkeWork(name, { deadline })),
    readCorrelation(kubernetes, action),
  ]);
  const more: DecideReads = {};
  if (effects.repair && !isPlanned && nodeName === undefined) {
    more.health = ahead(listPoolHealth(kubernetes, nodePool));
  }
  // An alert is often found to be over before its JobSet is looked at.
  if (effects.restart && !isPlanned && !incident && jobSetName !== undefined) {
    more.run = ahead(readRunOf(kubernetes, { namespace, jobSetName }));
  }
  return { basics: ahead(basics), more };
}
