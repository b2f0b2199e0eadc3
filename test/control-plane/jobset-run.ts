/** A JobSet that runs on a slice which was just cordoned: what a test does to it, and what it sees. */
import { expect } from 'chai';
import type { Stage } from './conformance-target.ts';
import { eventually } from './eventually.ts';
import { patchTypes } from './kubernetes-client.ts';
import type { Answer, Condition, Job, JobSet, KubernetesList, Pod } from './kubernetes-client.ts';
import { jobSetsPath } from './world.ts';
import type { JobSetSpec, World } from './world.ts';

/** The prefix of the labels that JobSet gives to Jobs and pods. */
export const prefix = 'jobset.sigs.k8s.io';
/** The nodes of each slice, and so the pods of each Job. */
export const nodeCount = 4;

export interface Run {
  name: string;
  stage: Stage;
  world: World;
  /** The cordoned one. */
  pool: string;
  poolOfNode: Map<string, string>;
  /** How many Jobs it has, and the path of the first, which is the leader's. */
  jobs: number;
  job: string;
  leader: Pod;
  follower: Pod;
  /** The node whose machine is dead. */
  dead: string | undefined;
}

export interface RunOptions {
  spec?: Partial<JobSetSpec>;
  /** Slices that are free, besides the ones that the JobSet runs on: one. */
  freeSlices?: number;
  /** Whose machine dies after the cordon. */
  dead?: 'leader' | 'follower' | undefined;
}

/** Answers once all pods run, the leader's slice is cordoned, and free slices are there. */
export async function startRun(stage: Stage, world: World, name: string, options: RunOptions): Promise<Run> {
  const { advance, client } = stage;
  const spec = { ...options.spec, name, parallelism: nodeCount };
  const jobs = spec.replicatedJobs?.length ?? 1;
  const poolOfNode = new Map<string, string>();
  const addSlice = async (pool: string): Promise<void> => {
    for (const node of await world.addTpuSlice(pool, { nodes: nodeCount })) poolOfNode.set(node, pool);
  };
  for (let index = 0; index < jobs; index += 1) await addSlice(`${name}-first-${index}`);
  await world.addJobSet(spec);
  const pods = await eventually(
    'all pods run',
    async () => {
      const running = await world.runningPods(name);
      return running.length === jobs * nodeCount && running;
    },
    { advance },
  );
  const find = (completionIndex: number): Pod => {
    const pod = pods.find(
      ({ metadata: { labels = {} } }) =>
        labels[`${prefix}/job-global-index`] === '0' &&
        labels['batch.kubernetes.io/job-completion-index'] === String(completionIndex),
    );
    if (pod === undefined) throw new Error(`JobSet ${name} has no pod ${completionIndex}`);
    return pod;
  };
  const [leader, follower] = [find(0), find(2)];
  const pool = poolOfNode.get(leader.spec.nodeName ?? '') ?? '';
  for (let index = 0; index < (options.freeSlices ?? 1); index += 1) await addSlice(`${name}-free-${index}`);
  for (const [node, its] of poolOfNode) {
    if (its === pool) await client.patch(`/api/v1/nodes/${node}`, { spec: { unschedulable: true } });
  }
  const dead = options.dead && (options.dead === 'leader' ? leader : follower).spec.nodeName;
  if (dead !== undefined) await world.killNode(dead);
  const job = `/apis/batch/v1/namespaces/default/jobs/${leader.metadata.labels?.['batch.kubernetes.io/job-name']}`;
  return { name, stage, world, pool, poolOfNode, jobs, job, leader, follower, dead };
}

export async function deleteLeader(run: Run): Promise<void> {
  await deletePod(run, run.leader);
}

export async function deletePod({ stage }: Run, pod: Pod): Promise<void> {
  await stage.client.delete(podPath(pod), {
    gracePeriodSeconds: 0,
    preconditions: { uid: pod.metadata.uid },
  });
}

export async function deleteLeaderGently({ stage, leader }: Run): Promise<void> {
  await stage.client.delete(podPath(leader), { preconditions: { uid: leader.metadata.uid } });
}

export async function setDeadline(run: Run): Promise<void> {
  const { metadata } = await readJob(run);
  const { status, text } = await patchJob(run, {
    metadata: { uid: metadata.uid },
    spec: { activeDeadlineSeconds: 1 },
  });
  expect(status, text).to.equal(200);
}

export async function evictLeader({ stage, leader }: Run): Promise<void> {
  const { name, namespace } = leader.metadata;
  await stage.client.post(`${podPath(leader)}/eviction`, {
    apiVersion: 'policy/v1',
    kind: 'Eviction',
    metadata: { name, namespace },
  });
}

export async function deleteAll(run: Run): Promise<void> {
  await Promise.all((await run.world.pods(run.name)).map((pod) => deletePod(run, pod)));
}

export async function deleteJob({ stage, job }: Run): Promise<void> {
  await stage.client.delete(job, { propagationPolicy: 'Foreground' });
}

/** Deletes every Job of the JobSet in the foreground, at once. */
export async function deleteJobs({ stage, name }: Run): Promise<void> {
  const selector = encodeURIComponent(`${prefix}/jobset-name=${name}`);
  const path = '/apis/batch/v1/namespaces/default/jobs';
  const { items } = await stage.client.get<KubernetesList<Job>>(`${path}?labelSelector=${selector}`);
  const remove = ({ metadata: { name: job, uid } }: Job) =>
    stage.client.delete(`${path}/${job}`, { propagationPolicy: 'Foreground', preconditions: { uid } });
  await Promise.all((items ?? []).map(remove));
}

/** Gives every pod of an attempt 0 s to end, whatever it has. */
export async function hurryPods(run: Run): Promise<void> {
  const attempt = attemptOf(run.leader);
  const pods = (await run.world.pods(run.name)).filter((pod) => attemptOf(pod) === attempt);
  await Promise.all(
    pods.map(({ metadata: { namespace, name, uid } }) =>
      run.stage.client.request('DELETE', `/api/v1/namespaces/${namespace}/pods/${name}`, {
        body: { gracePeriodSeconds: 0, preconditions: { uid } },
      }),
    ),
  );
}

/** Answers once the first Job has begun to fail. */
export async function jobFails(run: Run): Promise<void> {
  const isFailing = async () => {
    const { status } = await readJob(run);
    return (
      status.conditions?.some(({ type, status: is }) => type === 'FailureTarget' && is === 'True') === true
    );
  };
  await eventually('the Job has begun to fail', isFailing, { advance: run.stage.advance });
}

/** Suspends the JobSet and waits until its pods are gone, or resumes it. */
export async function suspend({ stage, world, name }: Run, value: boolean): Promise<void> {
  await stage.client.patch(`${jobSetsPath('default')}/${name}`, { spec: { suspend: value } });
  if (!value) return;
  await eventually('its pods are gone', async () => (await world.pods(name)).length === 0, {
    advance: stage.advance,
  });
}

export async function failJob(run: Run): Promise<void> {
  const { status, text } = await patchJob(
    run,
    { status: { conditions: [jobCondition('FailureTarget')] } },
    '/status',
  );
  expect(status, text).to.equal(200);
}

export async function countRestart({ stage, name }: Run): Promise<void> {
  await stage.client.patch(`${jobSetsPath('default')}/${name}/status`, { status: { restarts: 1 } });
}

export function jobCondition(type: string): object {
  const now = new Date().toISOString().replace(/\.\d+/, '');
  return { type, status: 'True', reason: 'Tested', message: '', lastProbeTime: now, lastTransitionTime: now };
}

export function patchJob({ stage, job }: Run, body: object, subresource = ''): Promise<Answer<Job>> {
  return stage.client.request<Job>('PATCH', `${job}${subresource}`, { body, contentType: patchTypes.merge });
}

export function readJob({ stage, job }: Run): Promise<Job> {
  return stage.client.get<Job>(job);
}

export function readJobSet({ stage, name }: Run): Promise<JobSet> {
  return stage.client.get<JobSet>(`${jobSetsPath('default')}/${name}`);
}

export async function readCounts(run: Run): Promise<{ restarts: number; counted: number }> {
  const { status } = await readJobSet(run);
  return { restarts: status?.restarts ?? 0, counted: status?.restartsCountTowardsMax ?? 0 };
}

export function failureOf({ status }: Job): Condition | undefined {
  return status.conditions?.find((each) => each.type === 'Failed' && each.status === 'True');
}

export function isUnschedulable({ status }: Pod): boolean {
  return (
    status.phase === 'Pending' &&
    status.conditions?.some(({ type, reason }) => type === 'PodScheduled' && reason === 'Unschedulable') ===
      true
  );
}

export function attemptOf({ metadata }: Pod): string | undefined {
  return metadata.labels?.[`${prefix}/restart-attempt`];
}

export function poolsOf({ poolOfNode }: Run, pods: Pod[]): (string | undefined)[] {
  return pods.map(({ spec }) => poolOfNode.get(spec.nodeName ?? ''));
}

export function podPath({ metadata }: Pod): string {
  return `/api/v1/namespaces/${metadata.namespace}/pods/${metadata.name}`;
}
