import { expect } from 'chai';
import type { Stage } from './conformance-target.ts';
import { eventually } from './eventually.ts';
import {
  attemptOf,
  deleteLeader,
  deletePod,
  failureOf,
  isUnschedulable,
  jobCondition,
  nodeCount,
  patchJob,
  podPath,
  poolsOf,
  prefix,
  readCounts,
  readJob,
  readJobSet,
  setDeadline,
  startRun,
  suspend,
} from './jobset-run.ts';
import type { Run, RunOptions } from './jobset-run.ts';
import { expectStatus } from './expect-status.ts';
import { patchTypes } from './kubernetes-client.ts';
import type { Answer, JobSet } from './kubernetes-client.ts';
import { defaultLimit, disruption, movedRun, restartRows, twoJobs } from './restart-rows.ts';
import type { Expected } from './restart-rows.ts';
import { jobSetsPath } from './world.ts';
import type { World } from './world.ts';

/** What restarts a JobSet, and what does not. */
export function describeRestarts(stage: () => Stage): void {
  let runs = 0;
  let world: World;
  const start = (options: RunOptions = {}): Promise<Run> =>
    startRun(stage(), world, `run-${(runs += 1)}`, options);

  describe('restarts', function () {
    before(function () {
      if (!stage().can.runJobSets) this.skip();
      world = stage().createWorld();
    });
    afterEach(() => world.removeAll());

    for (const row of restartRows) {
      it(`${row.title}: ${describeOutcome(row.expected)}`, async () => {
        const run = await start(row);
        await row.trigger(run);
        await outcomes[row.expected.outcome](run, row.expected);
        expect(await readCounts(run)).to.deep.equal({
          restarts: row.expected.restarts,
          counted: row.expected.counted,
        });
      });
    }

    it('keep the names of the Jobs, change their uids, and take the spec from the template', async () => {
      const run = await start({ spec: defaultLimit });
      const before = await readJob(run);
      await setDeadline(run);
      await outcomes.moved(run, movedRun);
      const after = await readJob(run);
      expect(after.metadata.name).to.equal(before.metadata.name);
      expect(after.metadata.uid).not.to.equal(before.metadata.uid);
      expect(after.spec).not.to.have.property('activeDeadlineSeconds');
      expect(after.spec.backoffLimit).to.equal(6);
      expect(after.metadata.labels).to.include({ [`${prefix}/restart-attempt`]: '1' });
    });

    it('label Jobs and pods with the JobSet, the Job and the attempt', async () => {
      const run = await start({ spec: twoJobs });
      const { metadata } = await readJobSet(run);
      const job = await readJob(run);
      // Not `jobset-uid`: JobSet 0.8 does not set it, and the function does not read it.
      const expected = {
        [`${prefix}/jobset-name`]: run.name,
        [`${prefix}/replicatedjob-name`]: 'a',
        [`${prefix}/replicatedjob-replicas`]: '1',
        [`${prefix}/global-replicas`]: '2',
        [`${prefix}/job-index`]: '0',
        [`${prefix}/job-global-index`]: '0',
        [`${prefix}/restart-attempt`]: '0',
      };
      expect(job.metadata.name).to.equal(`${run.name}-a-0`);
      expect(job.metadata.labels).to.include(expected);
      expect(job.metadata.annotations).to.include(expected);
      expect(job.metadata.ownerReferences?.map(({ kind, uid }) => ({ kind, uid }))).to.deep.equal([
        { kind: 'JobSet', uid: metadata.uid },
      ]);
      expect(run.leader.metadata.labels).to.include({
        ...expected,
        'batch.kubernetes.io/job-name': job.metadata.name,
        'batch.kubernetes.io/job-completion-index': '0',
      });
      expect(run.leader.metadata.annotations).to.include({
        ...expected,
        'alpha.jobset.sigs.k8s.io/exclusive-topology': 'cloud.google.com/gke-nodepool',
        'batch.kubernetes.io/job-completion-index': '0',
      });
      expect(run.leader.metadata.ownerReferences?.map(({ kind, uid }) => ({ kind, uid }))).to.deep.equal([
        { kind: 'Job', uid: job.metadata.uid },
      ]);
      expect(run.leader.metadata.finalizers).to.deep.equal(['batch.kubernetes.io/job-tracking']);
    });

    it('replace only the leader, on another pool, if the Job is not exclusive and backoffLimit is 6', async () => {
      const run = await start({ spec: { ...defaultLimit, exclusive: false } });
      await deleteLeader(run);
      await eventually(
        'the leader runs on another pool, the others do where they did',
        async () => {
          const pools = poolsOf(run, await run.world.runningPods(run.name));
          return (
            pools.length === nodeCount && pools.filter((pool) => pool === run.pool).length === nodeCount - 1
          );
        },
        { timeoutMs: 60_000, advance: stage().advance },
      );
      expect(await readCounts(run)).to.deep.equal({ restarts: 0, counted: 0 });
    });

    it('leave one of two exclusive Jobs pending if only one slice is left', async () => {
      const run = await start({ spec: twoJobs, freeSlices: 0 });
      await deleteLeader(run);
      await eventually(
        'one Job runs and the leader of the other is unschedulable',
        async () => {
          const pods = (await run.world.pods(run.name)).filter((pod) => attemptOf(pod) === '1');
          const running = pods.filter(({ status }) => status.phase === 'Running');
          return running.length === nodeCount && pods.some(isUnschedulable);
        },
        { timeoutMs: 60_000, advance: stage().advance },
      );
      expect(await readCounts(run)).to.deep.equal({ restarts: 1, counted: 1 });
    });

    it('do not happen while the JobSet is suspended; its deadline takes effect once it is resumed', async () => {
      const run = await start({ spec: defaultLimit });
      await suspend(run, true);
      await setDeadline(run);
      stage().advance?.();
      expect(failureOf(await readJob(run))).to.equal(undefined);
      expect(await readCounts(run)).to.deep.equal({ restarts: 0, counted: 0 });
      await suspend(run, false);
      await outcomes.moved(run, movedRun);
      expect(await readCounts(run)).to.deep.equal({ restarts: 1, counted: 1 });
    });

    it('refuse a deadline for a Job with another uid, and accept it with the right one', async () => {
      const run = await start();
      const other = await patchJob(run, {
        metadata: { uid: 'other' },
        spec: { activeDeadlineSeconds: 1000 },
      });
      expect(other.status).to.equal(422);
      const { metadata } = await readJob(run);
      const right = await patchJob(run, {
        metadata: { uid: metadata.uid },
        spec: { activeDeadlineSeconds: 1000 },
      });
      expect(right.status).to.equal(200);
    });

    it('give each Job a slice of its own when only the template of its replicatedJob asks for it', async () => {
      // 2 Jobs with 2 pods each: without exclusive placement, the first slice has room for both.
      const pools = ['template-0', 'template-1'];
      const poolOfNode = new Map<string, string>();
      for (const pool of pools) {
        for (const node of await world.addTpuSlice(pool, { nodes: nodeCount })) poolOfNode.set(node, pool);
      }
      const spec = {
        job: { parallelism: 2, completions: 2 },
        parallelism: nodeCount,
        exclusive: 'template' as const,
      };
      await world.addJobSet({ name: 'template', ...twoJobs, ...spec });
      const running = await eventually(
        'all pods run',
        async () => {
          const pods = await world.runningPods('template');
          return pods.length === 4 && pods;
        },
        { timeoutMs: 60_000, advance: stage().advance },
      );
      const poolsOfJob = (name: string): (string | undefined)[] =>
        running
          .filter(({ metadata }) => metadata.labels?.[`${prefix}/replicatedjob-name`] === name)
          .map(({ spec: { nodeName = '' } }) => poolOfNode.get(nodeName));
      const [a, b] = [poolsOfJob('a'), poolsOfJob('b')];
      expect([new Set(a).size, new Set(b).size]).to.deep.equal([1, 1]);
      expect([a[0], b[0]]).to.have.members(pools);
      for (const { metadata } of running) {
        expect(metadata.annotations).to.include({
          'alpha.jobset.sigs.k8s.io/exclusive-topology': 'cloud.google.com/gke-nodepool',
        });
      }
    });

    describe('and JobSet policies', () => {
      const change = async (name: string, spec: object): Promise<Answer<JobSet>> =>
        stage().client.request('PATCH', `${jobSetsPath('default')}/${name}`, {
          body: { spec },
          contentType: patchTypes.merge,
        });
      const suspended = { suspend: true, parallelism: nodeCount };

      it('cannot change failurePolicy', async () => {
        await world.addJobSet({ name: 'policies', ...suspended });
        const rules = [{ name: 'rule', action: 'FailJobSet' }];
        for (const failurePolicy of [
          { maxRestarts: 60 },
          { restartStrategy: 'BlockingRecreate' },
          { rules },
        ]) {
          expectStatus(await change('policies', { failurePolicy }), {
            status: 422,
            reason: 'Invalid',
            message:
              /^JobSet\.jobset\.x-k8s\.io "policies" is invalid: spec\.failurePolicy: Invalid value: ("object": )?Value is immutable$/,
          });
        }
        const { spec } = await stage().client.get<JobSet>(`${jobSetsPath('default')}/policies`);
        expect(spec.failurePolicy).to.deep.equal({ maxRestarts: 3, restartStrategy: 'Recreate' });
      });

      it('cannot change successPolicy', async () => {
        await world.addJobSet({ name: 'policies', ...suspended });
        expectStatus(await change('policies', { successPolicy: { operator: 'Any' } }), {
          status: 422,
          reason: 'Invalid',
          message:
            /^JobSet\.jobset\.x-k8s\.io "policies" is invalid: spec\.successPolicy: Invalid value: ("object": )?Value is immutable$/,
        });
      });

      it('accept the policies that it has, together with other changes', async () => {
        await world.addJobSet({ name: 'policies', ...suspended });
        const same = { failurePolicy: { maxRestarts: 3 }, successPolicy: { operator: 'All' } };
        expect((await change('policies', { ...same, suspend: false })).status).to.equal(200);
      });

      it('accept a failurePolicy if there is none, and accept its removal', async () => {
        await world.addJobSet({ name: 'policies', ...suspended, failurePolicy: null });
        const added = await change('policies', { failurePolicy: { maxRestarts: 3 } });
        expect(added.status, added.text).to.equal(200);
        expect(added.body?.spec.failurePolicy).to.include({ maxRestarts: 3 });
        const removed = await change('policies', { failurePolicy: null });
        expect(removed.status, removed.text).to.equal(200);
        expect(removed.body?.spec).not.to.have.property('failurePolicy');
      });
    });

    it('cannot be forced with the condition Failed alone', async () => {
      const run = await start();
      const answer = await patchJob(run, { status: { conditions: [jobCondition('Failed')] } }, '/status');
      expect(answer.status).to.equal(422);
    });

    it('do not follow the condition DisruptionTarget alone', async () => {
      const run = await start({ spec: disruption('FailJob') });
      await run.stage.client.request('PATCH', `${podPath(run.leader)}/status`, {
        body: { status: { conditions: [{ type: 'DisruptionTarget', status: 'True', reason: 'Tested' }] } },
        contentType: patchTypes.strategic,
      });
      // Once the controllers have handled a later change, they have also handled this one.
      await run.stage.client.patch(run.job, { metadata: { labels: { seen: 'later' } } });
      await deletePod(run, run.follower);
      await outcomes.moved(run, movedRun);
      expect(await readCounts(run)).to.deep.equal({ restarts: 1, counted: 1 });
    });
  });
}

const outcomes: Record<Expected['outcome'], (run: Run, expected: Expected) => Promise<void>> = {
  async moved(run, { restarts }) {
    const {
      world,
      stage: { advance },
    } = run;
    const count = run.jobs * nodeCount;
    await eventually(
      `all pods of attempt ${restarts} run on another pool`,
      async () => {
        const pods = (await world.runningPods(run.name)).filter((pod) => attemptOf(pod) === String(restarts));
        if (pods.length !== count || pods.some(({ metadata }) => metadata.uid === run.leader.metadata.uid)) {
          return false;
        }
        return !poolsOf(run, pods).includes(run.pool);
      },
      { timeoutMs: 120_000, advance },
    );
  },

  async failed(run, { reason }) {
    const failed = await eventually(
      'the JobSet has failed',
      async () =>
        (await readJobSet(run)).status?.conditions?.find(
          ({ type, status }) => type === 'Failed' && status === 'True',
        ),
      { timeoutMs: 60_000, advance: run.stage.advance },
    );
    expect(failed.reason).to.equal(reason);
    expect((await readJobSet(run)).status?.terminalState).to.equal('Failed');
  },

  async pending(run) {
    const {
      world,
      stage: { advance },
    } = run;
    await eventually(
      'the new leader is unschedulable and the others run',
      async () => {
        const pods = await world.pods(run.name);
        const [waiting] = pods.filter(({ status }) => status.phase === 'Pending');
        const running = pods.filter(({ status }) => status.phase === 'Running');
        return waiting !== undefined && isUnschedulable(waiting) && running.length === nodeCount - 1;
      },
      { timeoutMs: 60_000, advance },
    );
  },

  async waiting(run, expected) {
    const {
      world,
      stage: { advance },
    } = run;
    const stuck = await eventually(
      'the Job is to fail, and only the pod on the dead machine is left',
      async () => {
        const isToFail = (await readJob(run)).status.conditions?.some(
          ({ type, status }) => type === 'FailureTarget' && status === 'True',
        );
        const [pod, ...others] = await world.pods(run.name);
        return isToFail === true && others.length === 0 && pod?.spec.nodeName === run.dead && pod;
      },
      { timeoutMs: 60_000, advance },
    );
    advance?.();
    expect(failureOf(await readJob(run))).to.equal(undefined);
    expect(await readCounts(run)).to.deep.equal({ restarts: 0, counted: 0 });
    await deletePod(run, stuck);
    await outcomes.moved(run, expected);
  },

  async stuck(run, expected) {
    const { advance } = run.stage;
    const { status } = await eventually(
      'the Job has seen that its leader is terminating',
      async () => {
        const job = await readJob(run);
        return job.status.terminating === 1 && job;
      },
      { advance },
    );
    expect(status.conditions ?? []).to.deep.equal([]);
    expect(await run.world.runningPods(run.name)).to.have.length(nodeCount - 1);
    await setDeadline(run);
    await outcomes.moved(run, expected);
  },
};

function describeOutcome({ outcome, restarts, counted, reason }: Expected): string {
  if (outcome === 'failed') return `the JobSet fails (${reason})`;
  if (outcome === 'pending') return 'its successor stays pending';
  if (outcome === 'waiting') return 'the restart waits until the pod on the dead machine is deleted too';
  if (outcome === 'stuck') return 'nothing happens until the Job gets a deadline';
  return `it moves, ${restarts} restarts, ${counted} of them counted`;
}
