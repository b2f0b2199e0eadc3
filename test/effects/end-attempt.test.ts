import { expect } from 'chai';
import { createInMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import { refusalOf } from '../fixtures/refusal-of.ts';
import { carryOut, effects, marks, plan, restart, three } from '../fixtures/restarts.ts';
import type { TrainWorldOptions } from '../fixtures/train-world.ts';

const two = { slices: three, jobs: [{ name: 'a' }, { name: 'b' }] };
const recreated = { ...two, jobSet: { failurePolicy: null } };
const noMarks = { jobSet: null, cooldown: undefined };
const jobPath = /\/jobs\//;

describe('endAttempt, of a Job whose patch is refused', () => {
  const byDeadline = { ...two, jobs: two.jobs.map((job) => ({ ...job, backoffLimit: 6 })) };

  it('has ended it where the Job was made anew between the look and the patch', async () => {
    const world = createInMemoryWorld(byDeadline);
    const step = await restart(world, {
      onRequest({ method }) {
        if (method !== 'PATCH') return;
        world.cluster.change('jobs', 'default', 'train-a-0', ({ metadata }) => (metadata.uid = 'another'));
      },
    });
    expect(step).to.include({ outcome: 'restarted', way: 'job_deadline' });
    expect(effects(world)).to.deep.equal({ 'PATCH jobs': 1 });
    const job = world.cluster.get('jobs', 'default', 'train-a-0');
    expect(job?.spec).not.to.have.property('activeDeadlineSeconds');
  });

  it('fails where the Job is as it was, whatever other Jobs there are', async () => {
    const world = createInMemoryWorld(byDeadline);
    world.emulator.faults.add({ method: 'PATCH', path: jobPath, effect: { status: 422 } });
    expect(await refusalOf(restart(world))).to.include({ code: 'upstream_failed' });
    expect(marks(world)).to.deep.equal(noMarks);
  });
});

describe('endAttempt, once something was deleted', () => {
  for (const [what, options] of [
    ['the leader', two],
    ['every Job', recreated],
  ] as [string, TrainWorldOptions][]) {
    it(`keeps the marks as begun where they cannot be accepted after the deletion of ${what}`, async () => {
      const world = createInMemoryWorld(options);
      let isDeleted = false;
      const work = restart(world, {
        onRequest({ method }) {
          if (isDeleted || method !== 'DELETE') return;
          isDeleted = true;
          const path = /\/leases\/jobset-/;
          world.emulator.faults.add({ method: 'PUT', path, times: Infinity, effect: { status: 500 } });
        },
      });
      expect(await refusalOf(work)).to.include({ code: 'upstream_failed' });
      expect(marks(world).jobSet).to.include({ action: 'a', state: 'begun' });
      expect(marks(world).cooldown).to.include({ action: 'a' });
    });
  }

  it('keeps the marks where one Job was deleted and the deletion of another is forbidden', async () => {
    const world = createInMemoryWorld(recreated);
    world.cluster.deny({ verb: 'delete', resource: 'jobs', name: 'train-b-0' });
    expect((await refusalOf(restart(world))).message).to.include('may not delete jobs');
    expect(marks(world).jobSet).to.include({ action: 'a', state: 'begun' });
    expect(marks(world).cooldown).to.include({ action: 'a', state: 'begun' });
  });

  it('keeps the marks while nobody knows whether any Job was deleted', async () => {
    const world = createInMemoryWorld(recreated);
    world.emulator.faults.add({ method: 'DELETE', path: jobPath, times: Infinity, effect: 'reset_before' });
    expect(await refusalOf(restart(world))).to.include({ code: 'upstream_failed' });
    expect(marks(world).jobSet).to.include({ action: 'a', state: 'begun' });
    expect(marks(world).cooldown).to.include({ action: 'a', state: 'begun' });
  });

  it('is done where the Jobs are gone, or were made anew, by the time their deletions arrive', async () => {
    const world = createInMemoryWorld(recreated);
    const planned = await plan(world);
    let isOver = false;
    const step = await carryOut(world, planned, {
      onRequest({ method }) {
        if (isOver || method !== 'DELETE') return;
        isOver = true;
        world.cluster.remove('jobs', 'default', 'train-a-0');
        world.cluster.change('jobs', 'default', 'train-b-0', ({ metadata }) => (metadata.uid = 'another'));
      },
    });
    expect(step).to.include({ outcome: 'restarted', way: 'jobs_recreated' });
    expect(marks(world).jobSet).to.include({ state: 'accepted' });
    expect(world.cluster.get('jobs', 'default', 'train-b-0')?.metadata).not.to.have.property(
      'deletionTimestamp',
    );
  });
});
