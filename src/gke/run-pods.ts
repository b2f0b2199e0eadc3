import type { V1Pod } from '@kubernetes/client-node';
import { toMs } from '../clock.ts';
import type { Kubernetes } from './kubernetes.ts';
import { jobSetNameLabel } from './jobset.ts';
import { listPods } from './list-reduced.ts';

const label = 'jobset.sigs.k8s.io/';

/** How a pod of a JobSet is doing. */
export interface RunPod {
  name: string;
  /** The JobSet's restart attempt that the pod belongs to, from 0. */
  attempt: number;
  jobUid: string | undefined;
  nodeName: string | undefined;
  isTerminating: boolean;
  /** It has failed and will not run again. */
  isFailed: boolean;
  /** It is Ready, or it has succeeded. */
  isWell: boolean;
  /** Since when it is as it is, in ms since the epoch by the cluster's clock. */
  since: number | undefined;
  /** Why it is not well, in Kubernetes' own words where it has some. */
  trouble: string;
}

/** Lists the pods of a JobSet, of all attempts. */
export function listRunPods(
  kubernetes: Pick<Kubernetes, 'core'>,
  namespace: string,
  name: string,
): Promise<RunPod[]> {
  return listPods(kubernetes, { namespace, labelSelector: `${jobSetNameLabel}=${name}` }, toRunPod);
}

function toRunPod(pod: V1Pod): RunPod {
  const { metadata, spec, status } = pod;
  const phase = status?.phase ?? 'Pending';
  const ready = status?.conditions?.find(({ type }) => type === 'Ready');
  const isReady = ready?.status === 'True';
  const finishedAt = status?.containerStatuses?.map(({ state }) => toMs(state?.terminated?.finishedAt));
  return {
    name: metadata?.name ?? '',
    attempt: Number(metadata?.labels?.[`${label}restart-attempt`] ?? 0),
    jobUid: metadata?.ownerReferences?.find(({ kind }) => kind === 'Job')?.uid,
    nodeName: spec?.nodeName,
    isTerminating: metadata?.deletionTimestamp !== undefined,
    isFailed: phase === 'Failed',
    isWell: phase === 'Succeeded' || (phase === 'Running' && isReady),
    since: latest([toMs(ready?.lastTransitionTime), ...(phase === 'Succeeded' ? (finishedAt ?? []) : [])]),
    trouble: describeTrouble(phase, pod),
  };
}

function describeTrouble(phase: string, { spec, status }: V1Pod): string {
  const scheduled = status?.conditions?.find(({ type }) => type === 'PodScheduled');
  if (scheduled?.status === 'False' && scheduled.message) {
    return `${phase}: ${clip(withoutPreemption(scheduled.message))}`;
  }
  const [gate] = spec?.schedulingGates ?? [];
  if (gate) return `${phase}: held back by the scheduling gate ${gate.name}`;
  const statuses = [...(status?.initContainerStatuses ?? []), ...(status?.containerStatuses ?? [])];
  const waiting = statuses.map(({ state }) => state?.waiting).find((state) => state?.reason !== undefined);
  if (waiting?.reason) return `${phase}: ${clip(waiting.reason)}`;
  if (spec?.nodeName === undefined) return `${phase}: not scheduled yet`;
  return phase === 'Running' ? 'Running, but not Ready' : phase;
}

/** The scheduler goes on with claims and preemption, which say nothing about what a node lacks. */
function withoutPreemption(message: string): string {
  return message.replace(/[,.;]?\s+(?:no new claims|preemption:)[^]*$/, '').replace(/[.\s]+$/, '');
}

const mostCharacters = 300;

/** Other people's words go into logs and Events. They are cut after a reason, or after a word. */
function clip(text: string): string {
  const plain = text.replaceAll(/\s+/g, ' ').trim();
  if (plain.length <= mostCharacters) return plain;
  const head = plain.slice(0, mostCharacters + 1);
  const ends = [Math.max(...[', ', '. ', '; '].map((end) => head.lastIndexOf(end))), head.lastIndexOf(' ')];
  const end = ends.find((each) => each > mostCharacters / 2) ?? mostCharacters;
  return `${head.slice(0, end)} …`;
}

/** The latest of the times that are known. */
export function latest(times: (number | undefined)[]): number | undefined {
  const known = times.filter((time) => time !== undefined);
  return known.length === 0 ? undefined : known.reduce((a, b) => Math.max(a, b));
}
