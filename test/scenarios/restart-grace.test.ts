import { expect } from 'chai';
import { failoverNamespace } from '../../src/names.ts';
import type { RecordedRequest } from '../emulator/emulator.ts';
import type { Job, Pod } from '../emulator/objects.ts';
import { AlertWorld } from '../fixtures/alert-world.ts';
import { countEffects } from '../fixtures/count-writes.ts';
import { annotateCluster, restarts } from '../fixtures/train-run.ts';
import { whereTrainRuns } from '../fixtures/train-world.ts';
import type { TrainWorldOptions } from '../fixtures/train-world.ts';
import { VirtualFailover } from '../fixtures/virtual-failover.ts';

const slow = { usesItsGrace: true, terminationGracePeriodSeconds: 30 };
const slices = ['slice-a', 'slice-b', 'slice-c', 'slice-d'];
const restart = {
  id: 'a',
  type: 'cordon_nodepool_and_restart_jobset',
  node_pool: 'slice-a',
  jobset_name: 'train',
};
const atOnce = { ...restart, restart_grace_seconds: 0 };
const podPath = /\/pods\/([^/?]+)$/;

interface Deletion {
  gracePeriodSeconds: number;
  preconditions: { uid: string };
}

/** The run has been up for a minute, so that a deadline of one second is over at once. */
async function runFor60Seconds(options: TrainWorldOptions): Promise<VirtualFailover> {
  const world = new VirtualFailover(options);
  const settle = () => {
    world.emulator.settle();
    world.time.after(500, settle);
  };
  settle();
  await world.pass(60);
  return world;
}

/** The deletions of pods that the function has sent. */
function podDeletions({ emulator }: Pick<VirtualFailover, 'emulator'>): Deletion[] {
  return emulator
    .writes()
    .filter(({ method, path }) => method === 'DELETE' && podPath.test(path))
    .map(({ body }) => body as Deletion);
}

function uidsOf(pods: Pod[]): string[] {
  return pods.map(({ metadata }) => metadata.uid).toSorted();
}

function podsOf({ cluster }: VirtualFailover, job?: string): Pod[] {
  return cluster.pods('default').filter(({ metadata }) => job === undefined || metadata.name.startsWith(job));
}

function isEnding({ metadata, status }: Job): boolean {
  const { conditions = [] } = status;
  const fails = conditions.some(({ type, status: is }) => type === 'FailureTarget' && is === 'True');
  return metadata.deletionTimestamp !== undefined || fails;
}

/** Notes for each deletion of a pod whether its Job was certain to end when it arrived. */
function watchJobs(world: VirtualFailover): boolean[] {
  const seen: boolean[] = [];
  const watch = () => {
    world.once(/^DELETE .*\/pods\//, ({ path }) => {
      const [, name = ''] = podPath.exec(path) ?? [];
      const pod = world.cluster.get('pods', 'default', name);
      const job = world.cluster.jobs('default').find(({ metadata: { uid } }) => {
        return pod?.metadata.ownerReferences?.some((owner) => owner.uid === uid) === true;
      });
      seen.push(job !== undefined && isEnding(job));
      watch();
    });
  };
  watch();
  return seen;
}

describe('restart_grace_seconds', () => {
  // F-340: the run was back only after the 30 s that the pods without a leader had left.
  it('absent: the pods keep their own grace, and the answer says how long that is', async () => {
    const world = await runFor60Seconds({ jobs: [slow] });
    const { steps } = await world.send(restart);
    expect(steps.at(-1)).to.include({ outcome: 'restarted', terminates_within_seconds: 30 });
    expect(steps.at(-1)).not.to.have.any.keys('restart_grace_seconds', 'ended_sooner');
    expect(countEffects(world.newWrites())).to.deep.equal({ 'PATCH nodes': 4, 'DELETE pods': 1 });
    await world.pass(20);
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-a #0']);
    await world.pass(60);
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #1']);
  });

  it('0: every pod of the attempt is deleted with grace 0 beside the leader, by its uid', async () => {
    const world = await runFor60Seconds({ jobs: [slow] });
    const before = uidsOf(podsOf(world));
    const seen = watchJobs(world);
    const { steps } = await world.send(atOnce);
    // It waits for nobody: the Job has lost its leader, and fails.
    expect(seen).to.deep.equal([false, false, false, false]);
    expect(steps.at(-1)).to.include({
      outcome: 'restarted',
      way: 'leader_pod',
      restart_grace_seconds: 0,
      terminates_within_seconds: 0,
      ended_sooner: 3,
    });
    const sent = podDeletions(world);
    expect(sent.map(({ preconditions }) => preconditions.uid).toSorted()).to.deep.equal(before);
    expect(sent.map(({ gracePeriodSeconds }) => gracePeriodSeconds)).to.deep.equal([0, 0, 0, 0]);
    await world.pass(5);
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #1']);
    expect(restarts(world)).to.equal(1);
  });

  it('deletes no pod before the plan is written, the pool cordoned and the restart marked', async () => {
    const world = await runFor60Seconds({ jobs: [slow] });
    await world.send(atOnce);
    const writes = world.emulator.writes();
    const first = writes.findIndex(({ method, path }) => method === 'DELETE' && podPath.test(path));
    const before = writes.slice(0, first);
    const isPlan = ({ method, path, body }: RecordedRequest) =>
      method === 'PUT' && path.includes('/action-') && JSON.stringify(body).includes('graceSeconds');
    expect(before.filter((write) => isPlan(write))).to.have.lengthOf(1);
    expect(countEffects(before)).to.deep.equal({ 'PATCH nodes': 4 });
    expect(before.map(({ body }) => JSON.stringify(body)).join()).to.include('leaderUid');
  });

  for (const [grace, podGrace, within, deleted] of [
    [5, 30, 5, 3],
    [30, 30, 30, 0],
    [60, 30, 30, 0],
    [0, 0, 0, 0],
  ] as const) {
    it(`${grace} never prolongs: pods with ${podGrace} s of their own end within ${within} s`, async () => {
      const jobs = [{ ...slow, terminationGracePeriodSeconds: podGrace }];
      const world = await runFor60Seconds({ jobs });
      const { steps } = await world.send({ ...restart, restart_grace_seconds: grace });
      expect(steps.at(-1)).to.include({ restart_grace_seconds: grace, terminates_within_seconds: within });
      expect(steps.at(-1)?.['ended_sooner'] ?? 0).to.equal(deleted);
      const [leader, ...others] = podDeletions(world).map(({ gracePeriodSeconds }) => gracePeriodSeconds);
      expect(leader).to.equal(0);
      expect(others).to.deep.equal(Array.from({ length: deleted }, () => grace));
      await world.pass(90);
      expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #1']);
    });
  }

  // F-341: the Job replaced the deleted pods in the same attempt, and the new ones had to end as well.
  it('waits until a Job that would replace its pods has begun to fail', async () => {
    const world = await runFor60Seconds({ jobs: [{ ...slow, backoffLimit: 6 }] });
    const seen = watchJobs(world);
    const { steps } = await world.send(atOnce);
    expect(steps.at(-1)).to.include({ way: 'job_deadline', ended_sooner: 4, terminates_within_seconds: 0 });
    expect(seen).to.deep.equal([true, true, true, true]);
    await world.pass(5);
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #1']);
    expect(restarts(world)).to.equal(1);
  });

  it('is given to the pods of the Jobs that are deleted, where the policy would end the run', async () => {
    const world = await runFor60Seconds({ jobSet: { failurePolicy: null }, jobs: [slow] });
    const seen = watchJobs(world);
    const { steps } = await world.send(atOnce);
    expect(steps.at(-1)).to.include({ way: 'jobs_recreated', ended_sooner: 4, terminates_within_seconds: 0 });
    expect(seen).to.deep.equal([true, true, true, true]);
    await world.pass(5);
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #0']);
    expect(restarts(world)).to.equal(0);
  });

  describe('with two Jobs', () => {
    const two = [
      { ...slow, name: 'a' },
      { ...slow, name: 'b' },
    ];

    it('absent: says the time of both, because the second is deleted once the first has failed', async () => {
      const world = await runFor60Seconds({ slices, jobs: two });
      const { steps } = await world.send(restart);
      expect(steps.at(-1)).to.include({ terminates_within_seconds: 60 });
    });

    it('deletes the pods of both at once where each fails by a lost pod, and counts one restart', async () => {
      const world = await runFor60Seconds({ slices, jobs: two });
      const before = uidsOf(podsOf(world));
      const { steps } = await world.send(atOnce);
      expect(steps.at(-1)).to.include({ way: 'leader_pod', ended_sooner: 7, terminates_within_seconds: 0 });
      const sent = podDeletions(world).map(({ preconditions }) => preconditions.uid);
      expect(sent.toSorted()).to.deep.equal(before);
      await world.pass(10);
      expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #1', 'slice-c #1']);
      expect(restarts(world)).to.equal(1);
    });

    it('waits for JobSet to delete the other where that would replace its pods', async () => {
      const jobs = two.map((job) => ({ ...job, backoffLimit: 6 }));
      const world = await runFor60Seconds({ slices, jobs });
      const seen = watchJobs(world);
      const { steps } = await world.send({ ...restart, restart_grace_seconds: 2 });
      expect(steps.at(-1)).to.include({ ended_sooner: 8, terminates_within_seconds: 4 });
      expect(steps.at(-1)).not.to.have.property('warning');
      expect(seen).to.deep.equal(Array.from({ length: 8 }, () => true));
      await world.pass(10);
      expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #1', 'slice-c #1']);
      expect(restarts(world)).to.equal(1);
    });

    it('leaves the other its own grace, and says so, where a pod on a node that has just died holds the first up', async () => {
      const jobs = two.map((job) => ({ ...job, backoffLimit: 6 }));
      const world = await runFor60Seconds({ slices, jobs });
      world.cluster.killNode(podsOf(world, 'train-a-0')[1]?.spec.nodeName ?? '');
      const { steps } = await world.send({ ...restart, restart_grace_seconds: 2 });
      expect(steps.at(-1)).to.include({ outcome: 'restarted', ended_sooner: 4 });
      expect(steps.at(-1)?.['warning']).to.match(/^Jobs train-b-0 had not begun to end .* own grace$/);
      const others = new Set(uidsOf(podsOf(world, 'train-b-0')));
      const sent = podDeletions(world).map(({ preconditions }) => preconditions.uid);
      expect(sent.filter((uid) => others.has(uid))).to.deep.equal([]);
    });
  });

  describe('of an action that is carried on', () => {
    // F-342: an instance died between the leader and the others, and the run waited 30 s all the same.
    for (const backoffLimit of [0, 6]) {
      it(`ends the pods that an instance which died has left (backoffLimit ${backoffLimit})`, async () => {
        const world = await runFor60Seconds({ jobs: [{ ...slow, backoffLimit }] });
        const before = uidsOf(podsOf(world));
        const dying = world.newInstance();
        const trigger = backoffLimit === 0 ? /^DELETE .*\/pods\// : /^PATCH .*\/jobs\//;
        world.once(trigger, () => world.time.after(7, () => dying.crash()));
        world.begin(atOnce, dying);
        await world.pass(1);
        expect(podDeletions(world).length).to.equal(backoffLimit === 0 ? 1 : 0);
        // The lock of the dead instance expires after 70 s; its pods get an hour.
        for (const pod of podsOf(world)) {
          world.cluster.change('pods', 'default', pod.metadata.name, ({ metadata }) => {
            if (metadata.deletionTimestamp === undefined) return;
            metadata.deletionTimestamp = new Date(world.time.now + 3_600_000).toISOString();
            metadata.deletionGracePeriodSeconds = 3600;
          });
        }
        await world.pass(90);
        expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-a #0']);
        await world.reconcile();
        await world.pass(10);
        expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #1']);
        const sent = podDeletions(world);
        expect(new Set(sent.map(({ preconditions }) => preconditions.uid))).to.deep.equal(new Set(before));
        expect(restarts(world)).to.equal(1);
      });
    }

    // F-343: the pods of the next attempt were taken for slow ones of the old attempt.
    for (const failurePolicy of [null, { maxRestarts: 3 }]) {
      const which = failurePolicy === null ? 'the same attempt' : 'the next attempt';
      it(`touches no pod of the run that is back, in ${which}`, async () => {
        const world = await runFor60Seconds({ jobSet: { failurePolicy }, jobs: [slow] });
        const dying = world.newInstance();
        world.begin(atOnce, dying);
        const ended = 4;
        await world.time.run(() => podDeletions(world).length === ended);
        dying.crash();
        await world.pass(90);
        const there = `slice-b #${failurePolicy === null ? 0 : 1}`;
        expect(whereTrainRuns(world.cluster)).to.deep.equal([there]);
        const back = uidsOf(podsOf(world));
        // Somebody ends the new run, too, and its pods take their 30 s.
        world.cluster.ask('DELETE', '/apis/batch/v1/namespaces/default/jobs/train-workers-0', {
          propagationPolicy: 'Foreground',
        });
        await world.pass(1);
        await world.reconcile();
        expect(uidsOf(podsOf(world))).to.deep.equal(back);
        expect(podDeletions(world)).to.have.lengthOf(ended);
      });
    }

    it('stops once somebody pauses failover, and goes on when it is sent again', async () => {
      const world = await runFor60Seconds({ jobs: [slow] });
      world.once(/^DELETE .*\/pods\//, () => annotateCluster(world, 'paused', 'a look first'));
      const first = await world.send(atOnce);
      expect(first.code).to.equal('paused');
      expect(podDeletions(world)).to.have.lengthOf(1);
      world.cluster.change('leases', failoverNamespace, 'cluster', ({ metadata }) => {
        metadata.annotations = {};
      });
      await world.pass(2);
      const second = await world.send(atOnce);
      expect(second.steps.at(-1)).to.include({ outcome: 'already_restarting', ended_sooner: 3 });
      await world.pass(5);
      expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #1']);
    });

    it('stops where a pod may not be deleted, and restarts nothing twice', async () => {
      const world = await runFor60Seconds({ jobs: [slow] });
      const [, follower] = podsOf(world).toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
      const path = new RegExp(follower?.metadata.name ?? '');
      world.emulator.faults.add({ method: 'DELETE', path, times: 20, effect: 'reset_before' });
      const first = await world.send(atOnce);
      expect(first.status).to.equal(502);
      world.emulator.faults.clear();
      await world.send(atOnce);
      await world.pass(5);
      expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #1']);
      expect(restarts(world)).to.equal(1);
    });
  });

  it('is not given to an attempt that was not planned: nothing is deleted of a run that restarts by itself', async () => {
    const world = await runFor60Seconds({ jobs: [slow] });
    const [leader] = podsOf(world).filter(({ metadata }) => metadata.name.startsWith('train-workers-0-0'));
    world.cluster.ask('DELETE', `/api/v1/namespaces/default/pods/${leader?.metadata.name}`, {
      gracePeriodSeconds: 0,
    });
    await world.pass(2);
    const { steps } = await world.send(atOnce);
    expect(steps.at(-1)).to.include({ outcome: 'already_restarting' });
    expect(podDeletions(world)).to.deep.equal([]);
  });

  it('frees a pod on a node that has just died, because 0 asks no kubelet', async () => {
    const world = await runFor60Seconds({ jobs: [slow] });
    world.cluster.killNode(podsOf(world, 'train-workers-0-2')[0]?.spec.nodeName ?? '');
    await world.pass(5);
    const { steps } = await world.send(atOnce);
    expect(steps.at(-1)).to.include({ ended_sooner: 3 }).and.not.have.property('may_hold_up_the_restart');
    await world.pass(5);
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #1']);
  });

  it('is shown by a dry run, which deletes nothing', async () => {
    const world = await runFor60Seconds({ jobs: [slow] });
    const { steps } = await world.send({ ...restart, dry_run: true, restart_grace_seconds: 7 });
    expect(steps.at(-1)).to.include({
      outcome: 'would_restart',
      restart_grace_seconds: 7,
      terminates_within_seconds: 7,
    });
    expect(countEffects(world.newWrites())).to.deep.equal({});
  });

  it('belongs to the action: the same id with another grace is another action', async () => {
    const world = await runFor60Seconds({ jobs: [slow] });
    await world.send(atOnce);
    expect(await world.send(restart)).to.include({ code: 'id_reused' });
    expect(await world.send({ ...restart, restart_grace_seconds: 1 })).to.include({ code: 'id_reused' });
    expect(await world.send(atOnce)).to.include({ status: 200, isReplay: true });
  });

  it('comes with an alert by a label of its policy, and the repair that follows needs none', async () => {
    const world = new AlertWorld({ slices: ['slice-a'], jobs: [slow] });
    const labels = {
      failover_action: restart.type,
      failover_jobset: 'train',
      failover_restart_grace_seconds: '0',
      failover_on_failure: 'cordon_and_repair_nodepool',
    };
    const pool = { type: 'k8s_node_pool', resource: { node_pool_name: 'slice-a' } };
    const { body } = await world.notify({ ...pool, labels, startedAt: world.time.now });
    expect(body.steps?.at(-1)).to.include({ restart_grace_seconds: 0, ended_sooner: 3 });
    await world.pass(1300);
    await world.reconcile();
    expect(world.emulator.fleet.deletions).to.have.lengthOf(1);
  });
});
