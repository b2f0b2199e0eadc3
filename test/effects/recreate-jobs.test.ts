import { expect } from 'chai';
import { createInMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import type { InMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import { refusalOf } from '../fixtures/refusal-of.ts';
import {
  carryOut,
  cordon,
  effects,
  leaderOn,
  marks,
  plan,
  podsOn,
  restart,
  restarts,
  three,
} from '../fixtures/restarts.ts';
import { whereTrainRuns } from '../fixtures/train-world.ts';

const noPolicy = { failurePolicy: null };
const two = { slices: three, jobs: [{ name: 'a' }, { name: 'b' }], jobSet: noPolicy };

function jobUids({ cluster }: InMemoryWorld): Record<string, string> {
  return Object.fromEntries(cluster.jobs('default').map(({ metadata }) => [metadata.name, metadata.uid]));
}

function hasFailed({ cluster }: InMemoryWorld): boolean {
  const { conditions = [] } = cluster.get('jobsets', 'default', 'train')?.status ?? {};
  return conditions.some(({ type }) => type === 'Failed');
}

function deletions({ emulator }: InMemoryWorld) {
  return emulator.writes().filter(({ method, path }) => method === 'DELETE' && path.includes('/jobs/'));
}

describe('a restart of a JobSet whose own policy would end it', () => {
  for (const [what, failurePolicy] of [
    ['no failurePolicy', null],
    ['no restarts left', { maxRestarts: 0 }],
    ['a rule FailJobSet', { maxRestarts: 3, rules: [{ name: 'r', action: 'FailJobSet' as const }] }],
  ] as const) {
    for (const backoffLimit of [0, 6]) {
      it(`deletes the Job, and the run moves in the same attempt (${what}, backoffLimit ${backoffLimit})`, async () => {
        const world = createInMemoryWorld({
          jobSet: { failurePolicy: failurePolicy as null },
          jobs: [{ backoffLimit }],
        });
        cordon(world, 'slice-a');
        const uid = jobUids(world)['train-workers-0'];
        const step = await restart(world);
        expect(step).to.include({ outcome: 'restarted', way: 'jobs_recreated', jobs: 1, attempt: 0 });
        expect(step).not.to.have.any.keys('leader_pod', 'restarts_left');
        expect(effects(world)).to.deep.equal({ 'DELETE jobs': 1 });
        expect(deletions(world)[0]?.body).to.deep.equal({
          propagationPolicy: 'Foreground',
          preconditions: { uid },
        });
        world.emulator.settle();
        expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #0']);
        expect({ restarts: restarts(world), hasFailed: hasFailed(world) }).to.deep.equal({
          restarts: 0,
          hasFailed: false,
        });
      });
    }
  }

  it('deletes every Job of the attempt', async () => {
    const world = createInMemoryWorld({ ...two, slices: [...three, 'slice-d'] });
    cordon(world, 'slice-a');
    const before = jobUids(world);
    expect(await restart(world)).to.include({ way: 'jobs_recreated', jobs: 2 });
    expect(
      deletions(world).map(({ body }) => (body as { preconditions: object }).preconditions),
    ).to.deep.equal(Object.values(before).map((uid) => ({ uid })));
    world.emulator.settle();
    const after = jobUids(world);
    expect(Object.keys(after)).to.deep.equal(Object.keys(before));
    expect(Object.values(after)).not.to.include.members(Object.values(before));
    expect(hasFailed(world)).to.equal(false);
  });

  it('writes both marks before the first deletion, and accepts them after the last', async () => {
    const world = createInMemoryWorld(two);
    const seen: unknown[] = [];
    await restart(world, {
      onRequest({ method, url }) {
        if (method === 'DELETE' && url.includes('/jobs/')) seen.push(marks(world).jobSet?.['state']);
      },
    });
    expect(seen).to.deep.equal(['begun', 'begun']);
    expect(marks(world).jobSet).to.include({ state: 'accepted', isRecreation: true, attempt: 0 });
    expect(marks(world).cooldown).to.include({ state: 'accepted', attempt: 0 });
  });

  it('takes its marks back where no deletion is allowed, as with the rights of an earlier version', async () => {
    const world = createInMemoryWorld(two);
    const before = jobUids(world);
    world.emulator.faults.add({
      method: 'DELETE',
      path: /\/jobs\//,
      times: 10,
      effect: { status: 403, body: { kind: 'Status', reason: 'Forbidden', message: 'cannot delete jobs' } },
    });
    const { message } = await refusalOf(restart(world));
    expect(message).to.match(/answered 403 Forbidden/);
    expect(jobUids(world)).to.deep.equal(before);
    expect(marks(world)).to.deep.equal({ jobSet: null, cooldown: undefined });
  });

  for (const effect of ['reset_before', 'reset_after'] as const) {
    it(`is carried on where one deletion failed (${effect}): the other Job is not deleted again`, async () => {
      const world = createInMemoryWorld(two);
      cordon(world, 'slice-a');
      const planned = await plan(world);
      const before = jobUids(world);
      world.emulator.faults.add({ method: 'DELETE', path: /\/train-b-0/, times: 20, effect });
      await refusalOf(carryOut(world, planned));
      expect(marks(world).jobSet).to.include({ state: 'begun' });
      world.emulator.faults.clear();
      world.emulator.settle();
      // The first Job has been made anew by now.
      const between = jobUids(world);
      expect(between['train-a-0']).not.to.equal(before['train-a-0']);
      const sent = deletions(world).length;
      await carryOut(world, planned);
      const resumed = deletions(world)
        .slice(sent)
        .map(({ path }) => path.split('/').at(-1));
      expect(resumed).to.deep.equal(effect === 'reset_before' ? ['train-b-0'] : []);
      world.emulator.settle();
      expect(jobUids(world)['train-a-0']).to.equal(between['train-a-0']);
      expect(jobUids(world)['train-b-0']).not.to.equal(before['train-b-0']);
      expect(hasFailed(world)).to.equal(false);
    });
  }

  it('does nothing the second time, whichever action asks, also once the run is back in the same attempt', async () => {
    const world = createInMemoryWorld({ jobSet: noPolicy });
    cordon(world, 'slice-a');
    const planned = await plan(world);
    await carryOut(world, planned);
    expect(await carryOut(world, planned, { id: 'b' })).to.include({ outcome: 'already_restarting' });
    world.emulator.settle();
    expect(await carryOut(world, planned)).to.include({ outcome: 'already_restarting' });
    expect(await carryOut(world, planned, { id: 'b' })).to.include({ outcome: 'already_restarting' });
    expect(effects(world)).to.deep.equal({ 'DELETE jobs': 1 });
  });

  it('is already under way while the deleted Job still has pods', async () => {
    const world = createInMemoryWorld({ jobSet: noPolicy });
    cordon(world, 'slice-a');
    world.cluster.killNode(podsOn(world, 'slice-a')[1]?.spec.nodeName ?? '');
    await restart(world);
    world.emulator.settle();
    expect(await plan(world)).to.include({ outcome: 'already_restarting' });
  });

  // F-271: the first Job was deleted again.
  it('waits for what another action has begun, rather than delete the Jobs that were made anew', async () => {
    const world = createInMemoryWorld(two);
    cordon(world, 'slice-a');
    const planned = await plan(world);
    world.emulator.faults.add({ method: 'DELETE', path: /\/train-b-0/, times: 20, effect: 'reset_before' });
    await refusalOf(carryOut(world, planned));
    world.emulator.faults.clear();
    world.emulator.settle();
    const sent = deletions(world).length;
    const other = await plan(world, { nodePool: 'slice-b' });
    const refusal = await refusalOf(carryOut(world, other, { id: 'b', nodePool: 'slice-b' }));
    expect(refusal.code).to.equal('action_in_progress');
    expect(deletions(world)).to.have.lengthOf(sent);
  });

  it('can be done again for another fault, in the same attempt', async () => {
    const world = createInMemoryWorld({ slices: three, jobSet: noPolicy });
    cordon(world, 'slice-a');
    await restart(world);
    world.emulator.settle();
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #0']);
    cordon(world, 'slice-b');
    const again = { id: 'b', nodePool: 'slice-b' };
    expect(await restart(world, again)).to.include({ outcome: 'restarted', way: 'jobs_recreated' });
    world.emulator.settle();
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-c #0']);
  });

  // F-270: the new run's pods were freed, too.
  it('frees the pods of the deleted Jobs on dead nodes, and no pod of a Job that was made anew', async () => {
    const world = createInMemoryWorld({ slices: three, jobSet: noPolicy });
    cordon(world, 'slice-a');
    const planned = await plan(world);
    const follower = podsOn(world, 'slice-a')[2];
    world.cluster.killNode(follower?.spec.nodeName ?? '');
    world.clock.advance(120_000);
    world.emulator.settle();
    const step = await carryOut(world, planned);
    expect(step.deleted_on_dead_nodes).to.deep.equal([follower?.metadata.name]);
    world.emulator.settle();
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #0']);
    // The new run loses a node, too. A resume of the old action must not touch it.
    const leader = leaderOn(world, 'slice-b');
    world.cluster.killNode(leader.spec.nodeName ?? '');
    world.clock.advance(120_000);
    world.emulator.settle();
    const before = effects(world);
    expect(await carryOut(world, planned)).not.to.have.property('deleted_on_dead_nodes');
    expect(effects(world)).to.deep.equal(before);
  });

  it('does not delete a Job that was made anew after the decision', async () => {
    const world = createInMemoryWorld({ jobSet: noPolicy });
    cordon(world, 'slice-a');
    const planned = await plan(world);
    const path = '/apis/batch/v1/namespaces/default/jobs/train-workers-0';
    world.cluster.ask('DELETE', path, { propagationPolicy: 'Foreground' });
    world.emulator.settle();
    const before = jobUids(world);
    expect(await carryOut(world, planned)).to.include({ outcome: 'already_restarting' });
    world.emulator.settle();
    expect(jobUids(world)).to.deep.equal(before);
  });

  it('is refused where it has more Jobs than a plan can hold', async () => {
    const world = createInMemoryWorld({
      jobSet: { ...noPolicy, exclusiveTopology: '' },
      jobs: [{ parallelism: 1 }, { name: 'many', replicas: 1000, parallelism: 1, resources: {} }],
    });
    expect((await refusalOf(plan(world))).message).to.match(/has no failurePolicy/);
  });
});
