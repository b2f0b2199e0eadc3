import type { Kubernetes } from '../gke/kubernetes.ts';
import { listPoolHealth } from '../gke/nodes.ts';
import type { NodeHealth } from '../gke/nodes.ts';
import type { Action } from '../request/action.ts';
import type { LeaseState } from '../state/lease-format.ts';
import { readMarkLease } from '../state/restart-mark.ts';
import { readRestartFacts, readRunOf } from './restart-facts.ts';
import type { RestartFacts, Run } from './restart-facts.ts';
import type { Snapshot } from './snapshot.ts';

/** What only some decisions need, if it is being read already. */
export interface DecideReads {
  health?: Promise<NodeHealth[]>;
  run?: Promise<Run>;
}

/** What is read once, and only when somebody asks for it. */
export interface Reads {
  readHealth: () => Promise<NodeHealth[]>;
  /** The Lease of the JobSet's last restart. */
  readMarkLease: () => Promise<LeaseState | undefined>;
  readFacts: () => Promise<RestartFacts>;
}

/** The named node has been read already. */
export function toReads(
  action: Pick<Action, 'namespace' | 'jobSetName'>,
  snapshot: Snapshot,
  { kubernetes, reads = {} }: { kubernetes: Kubernetes; reads?: DecideReads },
): Reads {
  const { namespace, jobSetName = '' } = action;
  const { namedNode, nodePool } = snapshot;
  let { health, run } = reads;
  let markLease: Promise<LeaseState | undefined> | undefined;
  const readRun = () => (run ??= readRunOf(kubernetes, { namespace, jobSetName }));
  return {
    readHealth: () =>
      (health ??= namedNode ? Promise.resolve([namedNode]) : listPoolHealth(kubernetes, nodePool)),
    readMarkLease: () =>
      run
        ? run.then((known) => known.markLease)
        : (markLease ??= readMarkLease(kubernetes, { namespace, name: jobSetName })),
    readFacts: () =>
      readRestartFacts(kubernetes, { namespace, jobSetName, nodePool }, { run: readRun(), snapshot }),
  };
}
