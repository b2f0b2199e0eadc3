import { readPods } from './jobset.ts';
import type { Kubernetes } from './kubernetes.ts';

/** On which node a pod of a JobSet is. */
export interface PlacedPod {
  /** `<namespace>/<JobSet>` */
  jobSet: string;
  nodeName: string;
}

/** Lists on which nodes the JobSets of a namespace run: their live pods, without those that are terminating. */
export async function listPlacedPods(
  kubernetes: Pick<Kubernetes, 'core'>,
  namespace: string,
): Promise<PlacedPod[]> {
  const pods = await readPods(kubernetes, namespace);
  return pods.flatMap(({ jobSetName, nodeName, isLive, isTerminating }) =>
    nodeName !== undefined && isLive && !isTerminating
      ? [{ jobSet: `${namespace}/${jobSetName}`, nodeName }]
      : [],
  );
}
