import type { Kubernetes } from '../gke/kubernetes.ts';
import { listPooledNodes } from '../gke/nodes.ts';
import { attemptOf } from '../gke/jobset.ts';
import type { ActionRecord } from '../state/record-format.ts';
import { countWantedPods } from '../verify/run.ts';
import { withTest } from '../verify/acceptance.ts';
import { createReader, judge } from '../verify/verify.ts';
import { withoutAbsent } from './action-view.ts';

/** What the cluster says right now about an action, whether or not a reconcile has been by. */
export interface Observed {
  /** What the verdict would be now; absent while there is none. */
  verdict?: string;
  why?: string;
  run?: {
    attempt?: number;
    /** The JobSet is gone, or another one has its name. */
    gone?: true;
    pods_ready: number;
    pods_wanted: number;
    /** By node pool, the pods of the current attempt. */
    pools: Record<string, number>;
  };
  nodes: { total: number; ready: number; cordoned: number };
}

/** Looks at the pool of an action and, if it restarted one, at its JobSet. It only reads. */
export async function observe(record: ActionRecord, kubernetes: Kubernetes): Promise<Observed> {
  const reader = createReader(kubernetes);
  const { plan, nodePool } = record;
  const [nodes, cordoned, run] = await Promise.all([
    reader.pool(nodePool),
    reader.cordoned(nodePool),
    plan?.restart && observeRun(plan.restart.jobSet, reader, kubernetes),
  ]);
  const judged = plan?.restart || plan?.repair ? await judge(record, reader) : undefined;
  const judgement = judged && withTest(record, judged);
  return withoutAbsent({
    verdict: judgement?.verdict,
    why: judgement?.why,
    run,
    nodes: {
      total: nodes.length,
      ready: nodes.filter(({ isReady }) => isReady).length,
      cordoned: cordoned.size,
    },
  });
}

async function observeRun(
  jobSet: { namespace: string; name: string; uid: string },
  reader: ReturnType<typeof createReader>,
  kubernetes: Kubernetes,
): Promise<NonNullable<Observed['run']>> {
  const [{ jobSet: found, pods }, nodes] = await Promise.all([
    reader.run(jobSet),
    listPooledNodes(kubernetes),
  ]);
  if (found?.metadata.uid !== jobSet.uid) return { gone: true, pods_ready: 0, pods_wanted: 0, pools: {} };
  const attempt = attemptOf(found);
  const current = pods.filter((pod) => pod.attempt === attempt && !pod.isTerminating);
  const poolOf = new Map(nodes.map(({ name, nodePool }) => [name, nodePool]));
  const pools: Record<string, number> = {};
  for (const { nodeName } of current) {
    if (nodeName === undefined) continue;
    const pool = poolOf.get(nodeName) ?? 'no node pool';
    pools[pool] = (pools[pool] ?? 0) + 1;
  }
  const ready = current.filter(({ isWell }) => isWell).length;
  return { attempt, pods_ready: ready, pods_wanted: countWantedPods(found), pools };
}
