import { expect } from 'chai';
import { attemptOf, findJobSet, readJobs, readJobSet, readPods } from '../../src/gke/jobset.ts';
import { createInMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import type { InMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import { refusalOf } from '../fixtures/refusal-of.ts';
import { nodeNames } from '../fixtures/train-world.ts';

function leaderName({ cluster }: InMemoryWorld): string {
  const leader = cluster
    .pods('default')
    .find(({ metadata }) => metadata.labels?.['batch.kubernetes.io/job-completion-index'] === '0');
  if (!leader) throw new Error('there is no leader');
  return leader.metadata.name;
}

describe('readJobSet', () => {
  it('reads a JobSet with what restarting it depends on', async () => {
    const { kubernetes } = createInMemoryWorld();
    const jobSet = await readJobSet(kubernetes, 'default', 'train');
    expect(jobSet.metadata).to.include({ name: 'train', namespace: 'default' });
    expect(jobSet.spec.failurePolicy).to.deep.include({ maxRestarts: 3 });
    expect(attemptOf(jobSet)).to.equal(0);
  });

  it('refuses one that does not exist', async () => {
    const { kubernetes } = createInMemoryWorld();
    expect(await refusalOf(readJobSet(kubernetes, 'default', 'x'))).to.include({
      code: 'target_not_found',
      message: 'there is no JobSet x in namespace default',
    });
  });

  it('does not read an answer without a JobSet as a JobSet', async () => {
    const { kubernetes, emulator } = createInMemoryWorld();
    for (const body of ['{}', '{"kind":"Status","status":"Success"}', '{"kind":"JobSet","metadata":{}}']) {
      emulator.faults.add({ path: /\/jobsets\//, times: Infinity, effect: { status: 200, body } });
      const refusal = await refusalOf(findJobSet(kubernetes, 'default', 'train'));
      expect(refusal).to.include({ code: 'upstream_failed', status: 502 });
      expect(refusal.message).to.match(/^the Kubernetes API answered 200 with/);
      emulator.faults.clear();
    }
    expect(await findJobSet(kubernetes, 'default', 'x')).to.equal(undefined);
  });

  it('names the missing permission', async () => {
    const { kubernetes, cluster } = createInMemoryWorld();
    cluster.deny({ verb: 'get', resource: 'jobsets' });
    expect((await refusalOf(readJobSet(kubernetes, 'default', 'train'))).message).to.include(
      "the function's service account may not get jobsets in namespace default",
    );
  });
});

describe('readJobs', () => {
  it('has each child Job, sorted by global index, with the fields that decide how it fails', async () => {
    const world = createInMemoryWorld({
      slices: ['slice-a', 'slice-b', 'slice-c'],
      jobs: [
        { name: 'b', replicas: 2 },
        { name: 'a', backoffLimit: 6, podReplacementPolicy: 'Failed' },
      ],
    });
    const jobs = await readJobs(world.kubernetes, await readJobSet(world.kubernetes, 'default', 'train'));
    expect(jobs.map(({ name }) => name)).to.deep.equal(['train-b-0', 'train-b-1', 'train-a-0']);
    expect(jobs[0]).to.deep.include({
      replicatedJob: 'b',
      globalIndex: 0,
      attempt: 0,
      isEnding: false,
      backoffLimit: 0,
      hasPodFailurePolicy: false,
      isIndexed: true,
    });
    expect(jobs[2]).to.include({ backoffLimit: 6, podReplacementPolicy: 'Failed', globalIndex: 2 });
  });

  it('marks a Job as failing while its last pods end', async () => {
    const world = createInMemoryWorld();
    for (const name of nodeNames(world.cluster, 'slice-a').slice(1)) world.cluster.killNode(name);
    world.cluster.finishPod('default', leaderName(world), 'Failed');
    world.emulator.settle();
    const [job] = await readJobs(world.kubernetes, await readJobSet(world.kubernetes, 'default', 'train'));
    expect(job).to.include({ isEnding: true, attempt: 0 });
  });

  it('does not treat a false condition, or another condition, as a failure', async () => {
    const world = createInMemoryWorld();
    world.cluster.change('jobs', 'default', 'train-workers-0', ({ status }) => {
      status.conditions = [
        { type: 'Failed', status: 'False' },
        { type: 'Complete', status: 'True' },
      ];
    });
    const [job] = await readJobs(world.kubernetes, await readJobSet(world.kubernetes, 'default', 'train'));
    expect(job?.isEnding).to.equal(false);
  });

  it('leaves out the Jobs of an earlier JobSet of the same name', async () => {
    const world = createInMemoryWorld();
    const jobSet = await readJobSet(world.kubernetes, 'default', 'train');
    expect(await readJobs(world.kubernetes, jobSet)).to.have.length(1);
    const recreated = { ...jobSet, metadata: { ...jobSet.metadata, uid: 'another' } };
    expect(await readJobs(world.kubernetes, recreated)).to.deep.equal([]);
  });

  it('takes Kubernetes’ default of six for a Job that names no backoffLimit', async () => {
    const world = createInMemoryWorld({ jobSet: null });
    world.cluster.addJobSet({ name: 'train', replicatedJobs: [{ name: 'workers' }] });
    world.emulator.settle();
    const [job] = await readJobs(world.kubernetes, await readJobSet(world.kubernetes, 'default', 'train'));
    expect(job?.backoffLimit).to.equal(6);
  });
});

describe('readPods', () => {
  it('has each pod with its place in the JobSet', async () => {
    const world = createInMemoryWorld();
    world.cluster.addJobSet({ name: 'other', replicatedJobs: [{ name: 'workers', resources: {} }] });
    world.emulator.settle();
    const pods = await readPods(world.kubernetes, 'default', 'train');
    expect(pods.map(({ completionIndex }) => completionIndex)).to.have.members([0, 1, 2, 3]);
    const jobUid = world.cluster.get('jobs', 'default', 'train-workers-0')?.metadata.uid;
    for (const pod of pods) {
      expect(pod).to.deep.include({ jobUid, attempt: 0, isLive: true, isTerminating: false, isReady: true });
      expect(nodeNames(world.cluster, 'slice-a')).to.include(pod.nodeName);
    }
  });

  it('reads the index from the annotation when there is no label', async () => {
    const world = createInMemoryWorld();
    const name = leaderName(world);
    world.cluster.change('pods', 'default', name, ({ metadata }) => {
      delete metadata.labels?.['batch.kubernetes.io/job-completion-index'];
    });
    const pods = await readPods(world.kubernetes, 'default', 'train');
    expect(pods.find((pod) => pod.name === name)?.completionIndex).to.equal(0);
  });

  it('counts a pod as live until its phase says otherwise, terminating or not', async () => {
    const world = createInMemoryWorld();
    const leader = leaderName(world);
    const pod = async () =>
      (await readPods(world.kubernetes, 'default', 'train')).find(({ name }) => name === leader);
    for (const name of nodeNames(world.cluster, 'slice-a')) world.cluster.killNode(name);
    expect(await pod()).to.include({ isLive: true, isTerminating: false, isReady: false });
    world.cluster.ask('DELETE', `/api/v1/namespaces/default/pods/${leader}`);
    expect(await pod()).to.include({ isLive: true, isTerminating: true });
    world.cluster.finishPod('default', leader, 'Failed');
    expect(await pod()).to.include({ isLive: false });
    world.cluster.change('pods', 'default', leader, ({ status }) => (status.phase = 'Succeeded'));
    expect(await pod()).to.include({ isLive: false });
  });
});
