import { expect } from 'chai';
import { FailoverError } from '../../src/errors.ts';
import { createInMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import { refusalOf } from '../fixtures/refusal-of.ts';
import {
  carryOut,
  cordon,
  effects,
  leaderOn,
  marks,
  plan,
  restart,
  restarts,
  three,
} from '../fixtures/restarts.ts';
import { nodeNames, whereTrainRuns } from '../fixtures/train-world.ts';
import type { TrainWorldOptions } from '../fixtures/train-world.ts';

describe('restartJobSet', () => {
  it('deletes the leader at once and by its uid, and the JobSet moves', async () => {
    const world = createInMemoryWorld();
    cordon(world, 'slice-a');
    const { metadata } = leaderOn(world, 'slice-a');
    const step = await restart(world);
    expect(step).to.deep.equal({
      step: 'restart',
      target: 'default/train',
      outcome: 'restarted',
      attempt: 0,
      job: 'train-workers-0',
      way: 'leader_pod',
      leader_pod: metadata.name,
      terminates_within_seconds: 30,
      restarts_left: 3,
      schedulable_elsewhere: 4,
      spare: { slices: 1, needed: 1 },
    });
    expect(effects(world)).to.deep.equal({ 'DELETE pods': 1 });
    const [deletion] = world.emulator.writes().filter(({ method }) => method === 'DELETE');
    expect(deletion?.body).to.deep.equal({ gracePeriodSeconds: 0, preconditions: { uid: metadata.uid } });
    world.emulator.settle();
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #1']);
  });

  // F-56: the pod of such a Job was replaced, and the JobSet never restarted.
  // F-57: with exclusive placement the successor of such a Job's leader stays Pending for ever.
  for (const [what, job] of [
    ['backoffLimit 6, the default', { backoffLimit: 6 }],
    ['backoffLimit 1', { backoffLimit: 1 }],
    ['podReplacementPolicy Failed', { podReplacementPolicy: 'Failed' }],
    [
      'a podFailurePolicy',
      {
        podFailurePolicy: {
          rules: [{ action: 'Ignore', onPodConditions: [{ type: 'DisruptionTarget', status: 'True' }] }],
        },
      },
    ],
  ] as const) {
    it(`fails a Job with ${what} by setting its deadline, and the JobSet moves`, async () => {
      const world = createInMemoryWorld({ jobs: [job as object] });
      cordon(world, 'slice-a');
      const uid = world.cluster.get('jobs', 'default', 'train-workers-0')?.metadata.uid;
      const step = await restart(world);
      expect(step).to.include({ outcome: 'restarted', way: 'job_deadline', job: 'train-workers-0' });
      expect(step).not.to.have.property('leader_pod');
      expect(effects(world)).to.deep.equal({ 'PATCH jobs': 1 });
      const [patch] = world.emulator.writes().filter(({ method }) => method === 'PATCH');
      expect(patch?.body).to.deep.equal({ metadata: { uid }, spec: { activeDeadlineSeconds: 1 } });
      world.clock.advance(2_000);
      world.emulator.settle();
      expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #1']);
      expect(world.cluster.get('jobs', 'default', 'train-workers-0')?.spec).not.to.have.property(
        'activeDeadlineSeconds',
      );
    });
  }

  it('fails a Job whose pods have no index by setting its deadline', async () => {
    const jobs = [{ completionMode: 'NonIndexed' as const }];
    const world = createInMemoryWorld({ slices: ['slice-a'], jobSet: { exclusiveTopology: '' }, jobs });
    expect(await restart(world)).to.include({ outcome: 'restarted', way: 'job_deadline' });
    expect(effects(world)).to.deep.equal({ 'PATCH jobs': 1 });
  });

  // F-54: a finished leader was "deleted", with no effect.
  it('fails a Job whose leader has succeeded by setting its deadline', async () => {
    const world = createInMemoryWorld();
    world.cluster.finishPod('default', leaderOn(world, 'slice-a').metadata.name, 'Succeeded');
    world.emulator.settle();
    expect(await restart(world)).to.include({ outcome: 'restarted', way: 'job_deadline' });
    expect(effects(world)).to.deep.equal({ 'PATCH jobs': 1 });
  });

  it('restarts every Job of the JobSet with one deletion', async () => {
    const world = createInMemoryWorld({ slices: three, jobs: [{ name: 'a' }, { name: 'b' }] });
    cordon(world, 'slice-b');
    await restart(world, { nodePool: 'slice-b' });
    world.emulator.settle();
    expect(effects(world)).to.deep.equal({ 'DELETE pods': 1 });
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-a #1', 'slice-c #1']);
  });

  it('writes both marks before it deletes', async () => {
    const world = createInMemoryWorld();
    const leader = leaderOn(world, 'slice-a');
    let seen: ReturnType<typeof marks> | undefined;
    await restart(world, {
      onRequest({ method }) {
        if (method === 'DELETE') seen = marks(world);
      },
    });
    expect(seen?.jobSet).to.deep.include({ action: 'a', attempt: 0, leaderUid: leader.metadata.uid });
    expect(seen?.jobSet).to.include({ state: 'begun' });
    expect(seen?.cooldown).to.deep.include({ action: 'a', at: '2026-11-23T03:00:00.000Z', state: 'begun' });
  });

  it('does nothing the second time, whichever action asks', async () => {
    const world = createInMemoryWorld();
    cordon(world, 'slice-a');
    const planned = await plan(world);
    await carryOut(world, planned);
    world.emulator.settle();
    expect(await carryOut(world, planned)).to.include({ outcome: 'already_restarting' });
    expect(await carryOut(world, planned, { id: 'b' })).to.include({ outcome: 'already_restarting' });
    expect(effects(world)).to.deep.equal({ 'DELETE pods': 1 });
    expect(restarts(world)).to.equal(1);
  });

  // F-20: a crash after the deletion and before the record: the retry chooses nothing else.
  it('leaves the new attempt’s leader alone when it is resumed', async () => {
    const world = createInMemoryWorld();
    const planned = await plan(world);
    await carryOut(world, planned);
    world.clock.advance(80_000);
    world.emulator.settle();
    expect(restarts(world)).to.equal(1);
    const before = world.cluster.pods('default').map(({ metadata }) => metadata.uid);
    await carryOut(world, planned);
    world.emulator.settle();
    expect(world.cluster.pods('default').map(({ metadata }) => metadata.uid)).to.deep.equal(before);
  });

  it('deletes the recorded leader when it resumes before the deletion was sent', async () => {
    const world = createInMemoryWorld();
    cordon(world, 'slice-a');
    const planned = await plan(world);
    world.emulator.faults.add({ method: 'DELETE', times: 5, effect: 'reset_before' });
    await refusalOf(carryOut(world, planned));
    expect(restarts(world)).to.equal(0);
    expect(await carryOut(world, planned)).to.include({ outcome: 'restarted' });
    world.emulator.settle();
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #1']);
  });

  it('is done when the leader was deleted meanwhile', async () => {
    const world = createInMemoryWorld();
    const planned = await plan(world);
    world.cluster.remove('pods', 'default', planned.leader?.name ?? '');
    expect((await carryOut(world, planned)).outcome).to.equal('restarted');
  });

  it('leaves a Job alone that was re-created meanwhile', async () => {
    const world = createInMemoryWorld({ jobs: [{ backoffLimit: 6 }] });
    const planned = await plan(world);
    world.cluster.change('jobs', 'default', 'train-workers-0', ({ metadata }) => (metadata.uid = 'another'));
    expect((await carryOut(world, planned)).outcome).to.equal('already_restarting');
    expect(effects(world)).to.deep.equal({});
  });

  it('leaves a Job alone that has begun to fail since it was planned', async () => {
    const world = createInMemoryWorld();
    const planned = await plan(world);
    world.cluster.change('jobs', 'default', 'train-workers-0', ({ status }) => {
      const now = '2026-11-23T03:00:00Z';
      const condition = { status: 'True', lastTransitionTime: now, reason: 'PodFailurePolicy' } as const;
      status.conditions = [{ type: 'FailureTarget', ...condition }];
    });
    expect((await carryOut(world, planned)).outcome).to.equal('already_restarting');
    expect(effects(world)).to.deep.equal({});
  });

  it('leaves a JobSet alone that was deleted or re-created meanwhile, and also its pods on dead nodes', async () => {
    for (const recreate of [true, false]) {
      const world = createInMemoryWorld();
      const planned = await plan(world);
      const jobSet = world.cluster.get('jobsets', 'default', 'train');
      world.cluster.remove('jobsets', 'default', 'train');
      if (recreate && jobSet) {
        world.cluster.put('jobsets', { ...jobSet, metadata: { ...jobSet.metadata, uid: 'another' } });
      }
      world.cluster.killNode(leaderOn(world, 'slice-a').spec.nodeName ?? '');
      world.clock.advance(120_000);
      expect((await carryOut(world, planned)).outcome).to.equal('jobset_gone');
      expect(effects(world)).to.deep.equal({});
    }
  });

  it('stops when the JobSet was suspended, or lost its last restart, since it was planned', async () => {
    for (const [change, why] of [
      [(spec: { suspend?: boolean }) => (spec.suspend = true), /is suspended/],
      [
        (spec: { failurePolicy?: object }) => (spec.failurePolicy = { maxRestarts: 0 }),
        /has used up its restarts/,
      ],
    ] as const) {
      const world = createInMemoryWorld();
      const planned = await plan(world);
      world.cluster.change('jobsets', 'default', 'train', ({ spec }) => void change(spec));
      const refusal = await refusalOf(carryOut(world, planned));
      expect(refusal.code).to.equal('restart_refused');
      expect(refusal.message).to.match(why);
      expect(effects(world)).to.deep.equal({});
      expect(marks(world)).to.deep.equal({ jobSet: null, cooldown: undefined });
    }
  });

  it('deletes nothing and marks nothing when beforeDeletion stops it', async () => {
    const world = createInMemoryWorld();
    const stop = new FailoverError('paused', 'paused');
    const refusal = await refusalOf(restart(world, { beforeDeletion: () => Promise.reject(stop) }));
    expect(refusal).to.equal(stop);
    expect(effects(world)).to.deep.equal({});
    expect(marks(world)).to.deep.equal({ jobSet: null, cooldown: undefined });
  });

  it('deletes nothing when the marks cannot be written', async () => {
    for (const path of [/leases\/pool-/, /leases$/]) {
      const world = createInMemoryWorld();
      const planned = await plan(world);
      const fail = () =>
        world.emulator.faults.add({
          path,
          method: path.source.endsWith('$') ? 'POST' : 'PUT',
          times: 5,
          effect: { status: 500 },
        });
      await refusalOf(carryOut(world, planned, { beforeDeletion: async () => void fail() }));
      expect(effects(world)).to.deep.equal({});
      world.emulator.settle();
      expect(restarts(world)).to.equal(0);
    }
  });
});

// F-25: one fault alerts on four slices of one JobSet: four cordons, one restart.
describe('restartJobSet for one attempt', () => {
  const onBoth: TrainWorldOptions = { slices: three, jobs: [{ name: 'a' }, { name: 'b' }] };

  it('restarts once, whichever pools ask', async () => {
    const world = createInMemoryWorld(onBoth);
    const [first, second] = [await plan(world), await plan(world, { nodePool: 'slice-b' })];
    expect((await carryOut(world, first, { id: 'a' })).outcome).to.equal('restarted');
    expect(await carryOut(world, second, { id: 'b', nodePool: 'slice-b' })).to.include({
      outcome: 'already_restarted',
      job: 'train-b-0',
    });
    expect(await plan(world, { nodePool: 'slice-b' })).to.include({ outcome: 'already_restarted' });
    expect(effects(world)).to.deep.equal({ 'DELETE pods': 1 });
    expect(marks(world, 'slice-b').cooldown).to.equal(undefined);
  });

  it('restarts once when another action writes its mark between this action’s read and its mark', async () => {
    const world = createInMemoryWorld(onBoth);
    const [first, second] = [await plan(world), await plan(world, { nodePool: 'slice-b' })];
    const step = await carryOut(world, first, {
      id: 'slow',
      async beforeDeletion() {
        await carryOut(world, second, { id: 'quick', nodePool: 'slice-b' });
      },
    });
    expect(step.outcome).to.equal('already_restarted');
    expect(effects(world)).to.deep.equal({ 'DELETE pods': 1 });
    expect(marks(world).jobSet).to.include({ action: 'quick' });
    expect(marks(world).cooldown).to.equal(undefined);
    expect(marks(world, 'slice-b').cooldown).to.include({ action: 'quick' });
  });

  // F-38: the mark of a restart was written, then the instance died: not already_restarted for ever.
  it('ignores the mark of a restart without effect once the deadline of an action has passed, not sooner', async () => {
    const world = createInMemoryWorld(onBoth);
    const first = await plan(world);
    const died = new Error('the instance died');
    await carryOut(world, first, {
      onRequest({ method, url }) {
        if (method === 'DELETE' && url.includes('/pods/')) throw died;
      },
    }).catch(() => undefined);
    expect(marks(world).jobSet).to.include({ action: 'a' });
    world.clock.ms = Date.parse(String(marks(world).jobSet?.['at'])) + 240_000;
    const second = await plan(world, { nodePool: 'slice-b' });
    expect(second.outcome).to.equal('restart');
    const atOnce = world.clock.ms;
    world.clock.ms -= 10_000;
    const refusal = await refusalOf(carryOut(world, second, { id: 'b', nodePool: 'slice-b' }));
    expect(refusal).to.include({ code: 'action_in_progress' });
    world.clock.ms = atOnce + 1_000;
    expect((await carryOut(world, second, { id: 'b', nodePool: 'slice-b' })).outcome).to.equal('restarted');
  });

  it('never repeats a restart whose Job is failing', async () => {
    const world = createInMemoryWorld(onBoth);
    for (const name of nodeNames(world.cluster, 'slice-a').slice(1)) world.cluster.killNode(name);
    await restart(world);
    world.emulator.settle();
    world.clock.advance(250_000);
    expect((await plan(world, { nodePool: 'slice-b' })).outcome).to.equal('already_restarted');
  });

  // F-37: the JobSet moved to pool B, and now pool B is bad: restarted again, not rate limited.
  it('restarts the next attempt', async () => {
    const world = createInMemoryWorld({ slices: three });
    cordon(world, 'slice-a');
    await restart(world);
    world.emulator.settle();
    cordon(world, 'slice-b');
    expect((await restart(world, { id: 'b', nodePool: 'slice-b' })).outcome).to.equal('restarted');
    world.emulator.settle();
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-c #2']);
  });

  it('ignores the mark of an earlier JobSet of the same name', async () => {
    const world = createInMemoryWorld();
    await restart(world);
    const mark = marks(world).jobSet;
    world.cluster.change('jobsets', 'default', 'train', ({ metadata }) => (metadata.uid = 'another'));
    world.cluster.change('jobs', 'default', 'train-workers-0', ({ metadata }) => {
      const [owner] = metadata.ownerReferences ?? [];
      if (owner) owner.uid = 'another';
    });
    expect(mark).to.include({ attempt: 0 });
    expect((await plan(world)).outcome).to.equal('restart');
  });
});

describe('restartJobSet when it is refused', () => {
  // F-13: a failed attempt used up the hour, and the corrected request was refused.
  for (const [what, job, resource] of [
    ['deletion of the leader', {}, { verb: 'delete', resource: 'pods' }],
    ['patch of the Job', { backoffLimit: 6 }, { verb: 'patch', resource: 'jobs' }],
  ] as const) {
    it(`removes both marks after the ${what} was forbidden`, async () => {
      const world = createInMemoryWorld({ jobs: [job] });
      const allow = world.cluster.deny(resource);
      const refusal = await refusalOf(restart(world));
      expect(refusal).to.include({ code: 'upstream_failed' });
      expect(refusal.message).to.include(
        `the function's service account may not ${resource.verb} ${resource.resource} in namespace default`,
      );
      expect(marks(world)).to.deep.equal({ jobSet: null, cooldown: undefined });
      allow();
      expect((await restart(world, { id: 'b' })).outcome).to.equal('restarted');
    });
  }

  it('restores the marks that were there before', async () => {
    const world = createInMemoryWorld({ slices: three });
    cordon(world, 'slice-a');
    await restart(world);
    world.emulator.settle();
    const { jobSet: before } = marks(world);
    world.cluster.deny({ verb: 'delete', resource: 'pods' });
    await refusalOf(restart(world, { id: 'b', nodePool: 'slice-b' }));
    expect(marks(world).jobSet).to.deep.equal(before);
    expect(marks(world, 'slice-b').cooldown).to.equal(undefined);
  });

  it('keeps both marks while nobody knows whether the leader was deleted', async () => {
    for (const effect of ['reset_after', 'hang_after'] as const) {
      const world = createInMemoryWorld();
      world.emulator.faults.add({ method: 'DELETE', path: /\/pods\//, effect });
      world.emulator.faults.add({
        method: 'DELETE',
        path: /\/pods\//,
        times: Infinity,
        effect: { status: 403 },
      });
      await refusalOf(restart(world));
      expect(marks(world).jobSet).to.include({ action: 'a' });
      expect(marks(world).cooldown).to.include({ action: 'a' });
    }
  });

  it('does not report a restart when the API server ignores the patch of the Job, and removes both marks', async () => {
    for (const status of [409, 422]) {
      const world = createInMemoryWorld({ jobs: [{ backoffLimit: 6 }] });
      world.emulator.faults.add({ method: 'PATCH', path: /\/jobs\//, effect: { status } });
      const refusal = await refusalOf(restart(world));
      expect(refusal.code).to.equal('upstream_failed');
      expect(marks(world)).to.deep.equal({ jobSet: null, cooldown: undefined });
      expect((await restart(world, { id: 'b' })).outcome).to.equal('restarted');
    }
  });
});
