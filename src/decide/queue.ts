import type { JobSet } from '../gke/jobset.ts';
import type { RestartPlan } from '../plan.ts';

const kueue = 'kueue.x-k8s.io/';

/**
 * Says which of Kueue's queues a JobSet is in, and whether its Workload is admitted: Kueue suspends the JobSet until then, so
 * this needs no right to read Workloads. Undefined where Kueue does not manage it.
 */
export function findQueue({ metadata, spec }: JobSet): RestartPlan['queue'] {
  const name = metadata.labels?.[`${kueue}queue-name`] ?? metadata.annotations?.[`${kueue}queue-name`];
  // An annotation may have anything in it.
  if (name === undefined || !isLabelValue(name)) return undefined;
  return { name, isAdmitted: spec.suspend !== true };
}

/** Says what is to be done about a JobSet that is suspended. */
export function describeSuspension(jobSet: JobSet): string {
  const queue = findQueue(jobSet);
  if (!queue) return 'is suspended; resume it first';
  return (
    `is suspended: Kueue has not admitted its Workload in queue ${queue.name}, or has evicted it, and starts it once it is admitted; ` +
    'cordon the pool (cordon_nodepool), so that it does not come back there'
  );
}

/** The step's field: what a restart does to the Workload. */
export function describeQueue({ name, isAdmitted }: NonNullable<RestartPlan['queue']>): {
  name: string;
  admitted: boolean;
  workload: string;
} {
  const workload =
    'a restart leaves the Workload as it is: it stays admitted, with the same quota, flavors and topology. Kueue evicts it only where ' +
    'it waits for pods to be ready (waitForPodsReady) and they are not in time';
  return { name, admitted: isAdmitted, workload };
}

/**
 * The lines that evict the Workload of a JobSet and queue it again, so that Kueue assigns it anew. Kueue labels a Workload
 * with the uid of its owner.
 */
export function toEvictionLines({ metadata }: JobSet): string {
  const { namespace, uid, labels } = metadata;
  const prebuilt = labels?.[`${kueue}prebuilt-workload-name`];
  const workloads = `workloads.kueue.x-k8s.io`;
  const found =
    prebuilt === undefined || !isLabelValue(prebuilt)
      ? `$(kubectl get ${workloads} -n ${namespace} -l ${kueue}job-uid=${uid} -o name)`
      : `${workloads}/${prebuilt}`;
  const patch = (isActive: boolean) =>
    `kubectl patch -n ${namespace} "$W" --type merge -p '{"spec":{"active":${isActive}}}'`;
  return (
    `W=${found}; ${patch(false)} && ` +
    `kubectl wait -n ${namespace} "$W" --for=condition=QuotaReserved=false --timeout=15m && ${patch(true)}`
  );
}

function isLabelValue(text: string): boolean {
  return /^[A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?$/.test(text);
}
