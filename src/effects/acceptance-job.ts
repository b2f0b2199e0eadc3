import type {
  V1Affinity,
  V1CronJob,
  V1Job,
  V1JobSpec,
  V1ObjectMeta,
  V1PodAntiAffinity,
  V1PodSpec,
} from '@kubernetes/client-node';
import { createHash } from 'node:crypto';
import { toMs } from '../clock.ts';
import { isUpstreamStatus } from '../errors.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { nodePoolLabel } from '../gke/nodes.ts';
import type { NodeRef } from '../gke/nodes.ts';
import { actionAnnotation, failoverNamespace, prefix } from '../names.ts';

/** What the Job of a test is made for. */
export interface TestJob {
  actionId: string;
  cronJob: string;
  nodePool: string;
  /** The nodes that are tested: all of a slice, or the repaired one. */
  nodes: NodeRef[];
  /** The test covers every node of the pool, so the Job needs no other selector. */
  isWholePool: boolean;
  /** Kubernetes ends the Job then. This function may not delete it. */
  endsWithinSeconds: number;
}

/** The Job of a test as it is now. */
export interface JobState {
  name: string;
  uid: string;
  /** In ms since the epoch, by the API server's clock. */
  createdAt: number;
  /** The action that it was made for. */
  madeFor: string | undefined;
  end: 'Complete' | 'Failed' | undefined;
  /** Why it has failed, or how far it is. */
  why: string;
}

/** Names the Job of an action's test, so that the same action never makes a second one. */
export function toTestJobName(actionId: string): string {
  return `accept-${createHash('sha256').update(actionId).digest('hex').slice(0, 32)}`;
}

/** Reads the Job of an action's test; undefined where there is none. */
export async function findTestJob({ batch }: Kubernetes, actionId: string): Promise<JobState | undefined> {
  try {
    const name = toTestJobName(actionId);
    return toJobState(await batch.readNamespacedJob({ name, namespace: failoverNamespace }));
  } catch (error) {
    if (isUpstreamStatus(error, 404)) return undefined;
    throw error;
  }
}

/**
 * Makes the Job of a test out of its CronJob, or finds the one that an earlier try has made.
 *
 * @param gated the client whose writes pass the lock of the pool
 * @returns undefined where there is no such CronJob
 */
export async function startTestJob(gated: Kubernetes, test: TestJob): Promise<JobState | undefined> {
  let cronJob: V1CronJob;
  try {
    cronJob = await gated.batch.readNamespacedCronJob({ name: test.cronJob, namespace: failoverNamespace });
  } catch (error) {
    if (isUpstreamStatus(error, 404)) return undefined;
    throw error;
  }
  try {
    const made = await gated.batch.createNamespacedJob({
      namespace: failoverNamespace,
      body: toTestJob(cronJob, test),
    });
    return toJobState(made);
  } catch (error) {
    // A create whose answer was lost has made it.
    const found = isUpstreamStatus(error, 409) ? await findTestJob(gated, test.actionId) : undefined;
    if (!found) throw error;
    return found;
  }
}

/** The fields of an object of the API. */
type Fields<T> = { [Key in keyof T]: T[Key] };

const ownLabel = `${prefix}accept`;

const daySeconds = 86_400;

/** The Job stays for a week for whoever reads its pods' logs, and at least for a day, so that its end is seen. */
const keptSeconds = 7 * daySeconds;

/** Makes the Job: the template of the CronJob, bound to the nodes that are tested, and let onto them although they are cordoned. */
export function toTestJob(cronJob: V1CronJob, test: TestJob): V1Job {
  const { actionId, endsWithinSeconds } = test;
  const name = toTestJobName(actionId);
  const given = cronJob.spec?.jobTemplate;
  const spec: Fields<V1JobSpec> = given?.spec ?? { template: {} };
  const own = { ...spec };
  // Kubernetes chooses the selector, and the test begins at once.
  delete own.selector;
  delete own.manualSelector;
  delete own.suspend;
  const spread = own.parallelism === undefined && own.completions === undefined && test.nodes.length > 1;
  const podSpec = own.template.spec ?? { containers: [] };
  const metadata: Fields<V1ObjectMeta> = own.template.metadata ?? {};
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: {
      name,
      namespace: failoverNamespace,
      labels: { ...given?.metadata?.labels, 'app.kubernetes.io/managed-by': 'autometric-failover' },
      annotations: { ...given?.metadata?.annotations, [actionAnnotation]: actionId },
    },
    spec: {
      ...own,
      ...(spread && {
        parallelism: test.nodes.length,
        completions: test.nodes.length,
        completionMode: 'Indexed',
      }),
      activeDeadlineSeconds: Math.min(own.activeDeadlineSeconds ?? endsWithinSeconds, endsWithinSeconds),
      ttlSecondsAfterFinished: Math.max(own.ttlSecondsAfterFinished ?? keptSeconds, daySeconds),
      template: {
        metadata: { ...metadata, labels: { ...metadata.labels, [ownLabel]: name } },
        spec: toPodSpec(podSpec, test, spread ? name : undefined),
      },
    },
  };
}

function toPodSpec(
  given: Fields<V1PodSpec>,
  { nodePool, nodes, isWholePool }: TestJob,
  spreadAs: string | undefined,
): V1PodSpec {
  const [node] = nodes;
  const host = isWholePool || !node ? {} : { [hostnameLabel]: node.labels[hostnameLabel] ?? node.name };
  return {
    ...given,
    nodeSelector: { ...given.nodeSelector, [nodePoolLabel]: nodePool, ...host },
    tolerations: [
      ...(given.tolerations ?? []),
      // The cordon, which keeps everything else away.
      { key: 'node.kubernetes.io/unschedulable', operator: 'Exists', effect: 'NoSchedule' },
      { key: 'google.com/tpu', operator: 'Exists', effect: 'NoSchedule' },
      { key: 'nvidia.com/gpu', operator: 'Exists', effect: 'NoSchedule' },
    ],
    ...(spreadAs !== undefined && { affinity: spread(given.affinity, spreadAs) }),
  };
}

/** One pod a node. */
function spread(given: Fields<V1Affinity> = {}, name: string): V1Affinity {
  const podAntiAffinity: Fields<V1PodAntiAffinity> = given.podAntiAffinity ?? {};
  const required = podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution ?? [];
  const own = { labelSelector: { matchLabels: { [ownLabel]: name } }, topologyKey: hostnameLabel };
  return {
    ...given,
    podAntiAffinity: {
      ...podAntiAffinity,
      requiredDuringSchedulingIgnoredDuringExecution: [...required, own],
    },
  };
}

const hostnameLabel = 'kubernetes.io/hostname';

function toJobState({ metadata, status }: V1Job): JobState {
  const find = (type: string) =>
    status?.conditions?.find((each) => each.type === type && each.status === 'True');
  const failed = find('Failed');
  const end = failed ? 'Failed' : find('Complete') && 'Complete';
  const { active = 0, ready = 0 } = status ?? {};
  return {
    name: metadata?.name ?? '',
    uid: metadata?.uid ?? '',
    createdAt: toMs(metadata?.creationTimestamp) ?? 0,
    madeFor: metadata?.annotations?.[actionAnnotation],
    end,
    why: failed ? (failed.reason ?? 'Failed') : `${ready} of its ${active} active pods are ready`,
  };
}
