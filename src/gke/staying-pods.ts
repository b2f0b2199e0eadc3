import type { V1Pod } from '@kubernetes/client-node';
import { FailoverError } from '../errors.ts';
import type { Kubernetes } from './kubernetes.ts';
import { listPods } from './list-reduced.ts';
import { jobSetNameLabel } from './jobset.ts';
import { devicesOf, toPodNeeds } from './pod-needs.ts';

/** A pod that has its node, or a part of it, whatever becomes of the JobSet that restarts. */
export interface StayingPod {
  nodeName: string;
  /** `JobSet <namespace>/<name>`, or `pod <namespace>/<name>`. */
  what: string;
  /** JobSet's exclusive placement keeps pods of all other Jobs out of its domain. */
  isOfJobSet: boolean;
}

/** The pods that stay, as far as the namespaces could be read. */
export interface StayingPods {
  pods: StayingPod[];
  /** Namespaces whose pods could not be read, with the reason. */
  unread: string[];
}

/** What is free is told if it can be. It must not hold a restart up. */
const patienceMs = 5_000;

/**
 * Lists the pods that keep devices, or a node of a JobSet, in these namespaces. Pods that have ended or are terminating do not
 * stay. Pods of other namespaces cannot be seen: the function has no right to.
 *
 * @param jobSet is the one that restarts; its own pods go
 */
export async function listStayingPods(
  kubernetes: Pick<Kubernetes, 'core' | 'within'>,
  namespaces: string[],
  jobSet: { namespace: string; name: string },
): Promise<StayingPods> {
  const patient = kubernetes.within(patienceMs);
  const all = [...new Set([jobSet.namespace, ...namespaces])];
  const found = await Promise.all(
    all.map((namespace) =>
      listIn(patient, namespace, namespace === jobSet.namespace ? jobSet.name : undefined),
    ),
  );
  return {
    pods: found.flatMap((each) => ('pods' in each ? each.pods : [])),
    unread: found.flatMap((each) => ('unread' in each ? [each.unread] : [])),
  };
}

async function listIn(
  kubernetes: Pick<Kubernetes, 'core'>,
  namespace: string,
  without: string | undefined,
): Promise<{ pods: StayingPod[] } | { unread: string }> {
  const fieldSelector = 'status.phase!=Succeeded,status.phase!=Failed';
  const labelSelector = without === undefined ? {} : { labelSelector: `${jobSetNameLabel}!=${without}` };
  try {
    const pods = await listPods(kubernetes, { namespace, fieldSelector, ...labelSelector }, (pod) =>
      toStayingPod(pod, namespace),
    );
    return { pods: pods.filter((pod) => pod !== undefined) };
  } catch (error) {
    if (!(error instanceof FailoverError)) throw error;
    return { unread: `${namespace} (${error.message})` };
  }
}

function toStayingPod({ metadata, spec }: V1Pod, namespace: string): StayingPod | undefined {
  const nodeName = spec?.nodeName;
  if (nodeName === undefined || metadata?.deletionTimestamp !== undefined) return undefined;
  const jobSet = metadata?.labels?.[jobSetNameLabel];
  if (jobSet !== undefined) return { nodeName, what: `JobSet ${namespace}/${jobSet}`, isOfJobSet: true };
  if (devicesOf(toPodNeeds({ ...(spec && { spec }) })).length === 0) return undefined;
  return { nodeName, what: `pod ${namespace}/${metadata?.name ?? ''}`, isOfJobSet: false };
}
