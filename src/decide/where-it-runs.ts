import { FailoverError } from '../errors.ts';
import type { JobPod } from '../gke/jobset.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { listPooledNodes } from '../gke/nodes.ts';
import type { RestartPlan } from '../plan.ts';
import { listLive } from './hanging-pods.ts';

/** A JobSet that has no live pod on the pool that it is to be restarted from. */
export interface Absent {
  namespace: string;
  jobSetName: string;
  nodePool: string;
  /** The JobSet's current restart attempt. */
  attempt: number;
  /** It has been restarted, so it may have moved away. */
  wasRestarted: boolean;
  /** All pods of the JobSet. */
  pods: JobPod[];
  /** No person chose the pool just now, so a wrong one is answered with a warning. */
  isFromAlert: boolean;
}

/**
 * Says where a JobSet runs that is not on the pool. Nothing of it is restarted, so the pool would be cordoned for nothing.
 *
 * @throws {FailoverError} `target_mismatch` where a caller has named a pool that the JobSet has never run on: before its
 *   first restart it cannot have moved away
 */
export async function describeAbsence(
  { core }: Pick<Kubernetes, 'core'>,
  { namespace, jobSetName, nodePool, attempt, wasRestarted, pods, isFromAlert }: Absent,
): Promise<Required<Pick<RestartPlan, 'runsOn' | 'warning'>>> {
  const nodes = await listPooledNodes({ core });
  const poolOf = new Map(nodes.map((node) => [node.name, node.nodePool]));
  const current = listLive(pods).filter((pod) => pod.attempt === attempt);
  const runsOn = listPools(current, poolOf);
  const where =
    runsOn.length === 0
      ? 'no pod of it runs on a node pool'
      : `it runs on ${runsOn.slice(0, most).join(', ')}`;
  const more = runsOn.length > most ? ` and ${runsOn.length - most} more` : '';
  const what = `JobSet ${namespace}/${jobSetName} has no live pod on node pool ${nodePool}; ${where}${more} (attempt ${attempt})`;
  // A pod that has ended has run there, and the pool of a node that is gone is not known.
  const mayHaveRunHere = pods.some(
    ({ nodeName }) => nodeName !== undefined && (poolOf.get(nodeName) ?? nodePool) === nodePool,
  );
  if (isFromAlert || wasRestarted || mayHaveRunHere) {
    return { runsOn, warning: `${what}; nothing of it is restarted, and only ${nodePool} is cordoned` };
  }
  throw new FailoverError(
    'target_mismatch',
    `${what}; nothing was cordoned: name the pool that it runs on, or to cordon ${nodePool} alone, send cordon_nodepool`,
  );
}

const most = 20;

function listPools(pods: JobPod[], poolOf: ReadonlyMap<string, string | undefined>): string[] {
  return [...new Set(pods.flatMap(({ nodeName = '' }) => poolOf.get(nodeName) ?? []))].sort();
}
