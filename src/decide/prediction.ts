import { FailoverError } from '../errors.ts';
import type { ChildJob, JobPod, JobSet } from '../gke/jobset.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { listNodeRooms } from '../gke/node-room.ts';
import { nodePoolLabel } from '../gke/nodes.ts';
import type { NodeRef } from '../gke/nodes.ts';
import { toExpectedNodes } from '../gke/slice.ts';
import { listStayingPods } from '../gke/staying-pods.ts';
import { ignoresCordon, whyUnfitByKind } from './fit.ts';
import { toNextJobs } from './next-attempt.ts';
import type { NextJob } from './next-attempt.ts';
import { hostnameLabel, isPinnedTo, matchesNode, namesOtherPool } from './placement.ts';
import { findQueue, toEvictionLines } from './queue.ts';
import { describeShortage, surveyNode } from './room.ts';
import type { JobGroup, NodeSurvey } from './room.ts';
import { countSpare } from './spare.ts';
import type { Spare } from './spare.ts';

/** What a restart would run into, from fresh reads. */
export interface Facts {
  jobSet: JobSet;
  jobs: ChildJob[];
  pods: JobPod[];
  /** The live pods on the pool. */
  onPool: JobPod[];
  nodePool: string;
  poolNodes: NodeRef[];
  /** The Job that is made to fail. */
  planned: ChildJob;
  /** The namespaces in which pods may be seen. */
  namespaces: string[];
  /** The pool may be repaired in place, so that pods which may run nowhere else come back to it. */
  mayStay: boolean;
}

/** What is left for the next attempt when the pool is cordoned. */
export interface Prediction {
  schedulableElsewhere: number;
  roomWarning?: string;
  /** Absent where it is not known. */
  spare?: Spare;
  /** Why the spare capacity is not enough, or why it is not known. */
  lacksSpare?: string;
  /** The pools whose nodes could take a pod of any Job, by name, up to a bound. */
  mayLandOn: string[];
}

/**
 * Asks for every Job that the restart makes anew where its pods could run once the pool is cordoned.
 *
 * @throws {FailoverError} `restart_refused` where a cordon does not keep pods off the pool, or they may run nowhere else
 */
export async function predictNextAttempt(
  kubernetes: Pick<Kubernetes, 'core' | 'serverNow' | 'within'>,
  facts: Facts,
): Promise<Prediction> {
  const { nodePool, poolNodes, planned, jobSet, mayStay } = facts;
  const jobs = toNextJobs(jobSet, facts.jobs, facts.pods);
  const here = new Set(facts.onPool.map(({ jobUid }) => jobUid));
  const hostnames = new Set(poolNodes.flatMap((node) => node.labels[hostnameLabel] ?? []));
  const bound: FailoverError[] = [];
  for (const job of jobs) {
    const isHere = job.uid !== undefined && here.has(job.uid);
    const refusal = findBound(job, isHere, { ...facts, hostnames });
    if (refusal && !mayStay) throw refusal;
    if (refusal) bound.push(refusal);
    refuseUncordonableHere(job, isHere, facts);
  }
  const groups = toGroups(jobs);
  const { namespace, name } = jobSet.metadata;
  const [surveys, staying] = await Promise.all([
    surveyElsewhere(kubernetes, groups, nodePool),
    listStayingPods(kubernetes, facts.namespaces, { namespace, name }),
    refuseUnkept(kubernetes, jobs, nodePool),
  ]);
  for (const [index, group] of groups.entries()) {
    const isMatched = surveys.some(({ answers }) => answers[index] !== undefined);
    const refusal = isMatched ? undefined : findUnmatched(group, facts);
    if (refusal && !mayStay) throw refusal;
    if (refusal) bound.push(refusal);
  }
  const ofPlanned = groups.findIndex(({ jobs }) => jobs.some(({ name }) => name === planned.name));
  const shortage = describeShortage(groups, surveys);
  const [sliceSize] = poolNodes.map((node) => toExpectedNodes(node));
  const counted = countSpare(groups, surveys, staying.pods, typeof sliceSize === 'number' ? sliceSize : 1);
  return {
    schedulableElsewhere: surveys.filter(({ answers }) => typeof answers[ofPlanned] === 'number').length,
    ...(shortage === undefined ? {} : { roomWarning: `${shortage}, so the JobSet will wait for capacity` }),
    ...judgeSpare(counted, { bound: bound[0]?.message.split(';')[0], shortage, unread: staying.unread }),
    mayLandOn: listPools(surveys),
  };
}

/** What is certain to lack is told first. Where pods cannot be seen, what looks free may be in use. */
function judgeSpare(
  { spare, lack }: ReturnType<typeof countSpare>,
  { bound, shortage, unread }: { bound: string | undefined; shortage: string | undefined; unread: string[] },
): Pick<Prediction, 'spare' | 'lacksSpare'> {
  if (bound !== undefined) return { spare: { ...spare, slices: 0 }, lacksSpare: bound };
  const why = shortage ?? lack;
  if (why !== undefined) return { spare, lacksSpare: why };
  if (unread.length === 0) return { spare };
  return {
    lacksSpare: `what is free is not known, because the pods of namespace ${unread.join(', ')} could not be read`,
  };
}

/** The plan is stored, so its size has a bound. */
const mostPools = 100;

function listPools(surveys: NodeSurvey[]): string[] {
  const fitting = surveys.filter(({ answers }) => answers.some((answer) => typeof answer === 'number'));
  return [...new Set(fitting.flatMap(({ nodePool }) => nodePool ?? []))].toSorted().slice(0, mostPools);
}

/** Finds a Job that is bound to the pool, which is certain without another read. */
function findBound(
  job: NextJob,
  isHere: boolean,
  { jobSet, nodePool, hostnames }: Facts & { hostnames: Set<string> },
): FailoverError | undefined {
  if (isPinnedTo(job.needs, nodePool, hostnames)) {
    return refuse(
      job,
      `may run in node pool ${nodePool} only, which is to be cordoned; repair it instead (cordon_and_repair_nodepool)${describeOtherWay(jobSet)}`,
    );
  }
  if (!isHere || !job.isAssigned) return undefined;
  return refuse(
    job,
    `were assigned to their nodes one by one, as Kueue's topology-aware scheduling does, and a restart keeps the assignment to node pool ${nodePool}, or has Kueue (0.17 or newer) give the run's quota back; cordon it (cordon_nodepool) and evict the Workload (spec.active false, then true), so that Kueue assigns it anew, or repair it instead (cordon_and_repair_nodepool). To evict it: ${toEvictionLines(jobSet)}`,
  );
}

/** Refuses a Job on the pool whose pods no cordon keeps off. */
function refuseUncordonableHere(job: NextJob, isHere: boolean, { nodePool, poolNodes }: Facts): void {
  const { nodeName } = job.needs;
  const isNamed = nodeName !== undefined && poolNodes.some(({ name }) => name === nodeName);
  if (isNamed || (isHere && ignoresCordon(job.needs))) throw refuseUncordonable(job, nodePool);
}

/** Refuses where the pods of a Job that runs elsewhere could come onto the pool although it is cordoned. */
async function refuseUnkept(
  { core }: Pick<Kubernetes, 'core'>,
  jobs: NextJob[],
  nodePool: string,
): Promise<void> {
  const unkept = jobs.filter(({ needs }) => needs.nodeName === undefined && ignoresCordon(needs));
  if (unkept.length === 0) return;
  const fitting = await listNodeRooms({ core }, `${nodePoolLabel}=${nodePool}`, (node) =>
    unkept.find(({ needs }) => matchesNode(needs, node) && whyUnfitByKind(needs, node) === undefined),
  );
  const job = fitting.find((found) => found !== undefined);
  if (job) throw refuseUncordonable(job, nodePool);
}

function refuseUncordonable(job: NextJob, nodePool: string): FailoverError {
  const why =
    job.needs.nodeName === undefined
      ? 'tolerate node.kubernetes.io/unschedulable, or everything'
      : 'name their node (nodeName)';
  return refuse(
    job,
    `${why}, so a cordon does not keep them off node pool ${nodePool}, and a restart would bring them straight back; create the JobSet anew without that, or repair the pool instead (cordon_and_repair_nodepool)`,
  );
}

/** Finds Jobs whose pods the pool's nodes match, and no others. Pods without a selector just lack nodes. */
function findUnmatched(
  { jobs: [job], needs }: JobGroup,
  { jobSet, nodePool, poolNodes }: Facts,
): FailoverError | undefined {
  const asked = describeSelection(needs);
  const isPinned = poolNodes.some((node) => matchesNode(needs, node)) && !namesOtherPool(needs, nodePool);
  if (!job || asked === undefined || !isPinned) return undefined;
  return refuse(
    job,
    `ask for nodes with ${asked}, and no node outside node pool ${nodePool} has it, cordoned or not; give the nodes of another pool what they ask for (a pool without nodes cannot be seen), or repair this pool instead (cordon_and_repair_nodepool)${describeOtherWay(jobSet)}`,
  );
}

/** Kueue may choose another flavor, whose nodes have other labels, for a Workload that it has evicted. */
function describeOtherWay(jobSet: JobSet): string {
  const queue = findQueue(jobSet);
  if (!queue) return '';
  return `. Or cordon it (cordon_nodepool) and have Kueue assign the Workload anew from queue ${queue.name}: ${toEvictionLines(jobSet)}`;
}

/** The Jobs by what their pods ask for. */
function toGroups(jobs: NextJob[]): JobGroup[] {
  const groups = Map.groupBy(jobs, ({ needs }) => JSON.stringify({ ...needs, isPlacedByKueue: false }));
  return [...groups.values()].flatMap((jobs) => (jobs[0] ? [{ needs: jobs[0].needs, jobs }] : []));
}

/** Where each Job has a selector of its own, together they match most nodes, so one list of all costs less. */
const mostLists = 16;

/** Reads the nodes outside the pool that any group's selectors match, by one list for each selector, all at once. */
async function surveyElsewhere(
  kubernetes: Pick<Kubernetes, 'core' | 'serverNow'>,
  groups: JobGroup[],
  nodePool: string,
): Promise<NodeSurvey[]> {
  const selectors = groups.map(({ needs }) =>
    [
      ...Object.entries(needs.nodeSelector).map(([key, value]) => `${key}=${value}`),
      `${nodePoolLabel}!=${nodePool}`,
    ].join(','),
  );
  const distinct = [...new Set(selectors)];
  const lists = await Promise.all(
    (distinct.length > mostLists ? [`${nodePoolLabel}!=${nodePool}`] : distinct).map((selector) =>
      listNodeRooms(kubernetes, selector, (node) => surveyNode(node, groups, kubernetes.serverNow())),
    ),
  );
  // A node that several selectors match was answered for all groups each time.
  return [...new Map(lists.flat().map((survey) => [survey.name, survey])).values()];
}

/** The selectors in the words of a manifest; undefined if there are none. */
function describeSelection({ nodeSelector, terms }: JobGroup['needs']): string | undefined {
  const parts = [
    ...Object.entries(nodeSelector).map(([key, value]) => `${key}=${value}`),
    ...(terms ? ['their required node affinity'] : []),
  ];
  return parts.length === 0 ? undefined : parts.join(' and ');
}

function refuse({ name }: Pick<NextJob, 'name'>, why: string): FailoverError {
  return new FailoverError('restart_refused', `the pods of Job ${name} ${why}`);
}
