import { findJobSet, keepOwn, listJobs, readPods } from '../gke/jobset.ts';
import type { ChildJob, JobPod, JobSet } from '../gke/jobset.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { listPool, toAllNodes } from '../gke/nodes.ts';
import type { NodeRef } from '../gke/nodes.ts';
import type { LeaseState } from '../state/lease-format.ts';
import { readMarkLease } from '../state/restart-mark.ts';
import type { Snapshot } from './snapshot.ts';

/** Names a JobSet. */
interface Named {
  namespace: string;
  jobSetName: string;
}

/** What is known of a run beside its JobSet. */
export interface Run {
  /** The Lease of the JobSet's last restart. */
  markLease: LeaseState | undefined;
  /** Of all JobSets of its name. */
  jobs: ChildJob[];
  pods: JobPod[];
}

/** What a restart is decided from. */
export interface RestartFacts {
  markLease: LeaseState | undefined;
  /** Undefined if there is none. */
  jobSet: JobSet | undefined;
  jobs: ChildJob[];
  pods: JobPod[];
  /** The nodes of the pool. */
  nodes: NodeRef[];
}

/**
 * Reads a run, all at once. The mark may so be newer than the JobSet, or older: before anything is deleted, both are read again,
 * the mark first.
 */
export async function readRunOf(kubernetes: Kubernetes, { namespace, jobSetName }: Named): Promise<Run> {
  const [markLease, jobs, pods] = await Promise.all([
    readMarkLease(kubernetes, { namespace, name: jobSetName }),
    listJobs(kubernetes, { namespace, name: jobSetName }),
    readPods(kubernetes, namespace, jobSetName),
  ]);
  return { markLease, jobs, pods };
}

/** Reads what a restart is decided from. What is known already is not read again. */
export async function readRestartFacts(
  kubernetes: Kubernetes,
  named: Named & { nodePool: string },
  known: { run?: Promise<Run> | undefined; snapshot?: Snapshot } = {},
): Promise<RestartFacts> {
  const { snapshot } = known;
  const [{ markLease, jobs, pods }, jobSet, nodes] = await Promise.all([
    known.run ?? readRunOf(kubernetes, named),
    snapshot ? snapshot.jobSet : findJobSet(kubernetes, named.namespace, named.jobSetName),
    snapshot ? toAllNodes(snapshot.nodes) : listPool(kubernetes, named.nodePool),
  ]);
  return { markLease, jobSet, jobs: jobSet ? keepOwn(jobSet, jobs) : [], pods, nodes };
}
