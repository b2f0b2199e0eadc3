import { expect } from 'chai';
import { describeRestart } from '../../src/decide/restart-plan.ts';
import type { FailurePolicyRule, JobSet } from '../emulator/objects.ts';
import { createInMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import { attemptLabel, plan, restart } from '../fixtures/restarts.ts';

type Rules = FailurePolicyRule[];

const ignoring: Rules = [
  { name: 'free', action: 'RestartJobSetAndIgnoreMaxRestarts', onJobFailureReasons: ['PodFailurePolicy'] },
];

function createWorld(maxRestarts: number, status: Partial<JobSet['status']>, rules?: Rules) {
  const world = createInMemoryWorld({ jobSet: { failurePolicy: { maxRestarts, ...(rules && { rules }) } } });
  world.cluster.change('jobsets', 'default', 'train', (jobSet) => {
    Object.assign(jobSet.status, status);
  });
  // The Jobs and pods are of the attempt that the status says.
  const attempt = String(status.restarts ?? 0);
  for (const plural of ['jobs', 'pods'] as const) {
    const objects = plural === 'jobs' ? world.cluster.jobs('default') : world.cluster.pods('default');
    for (const { metadata } of objects) {
      world.cluster.change(plural, 'default', metadata.name, (object) => {
        object.metadata.labels = { ...object.metadata.labels, [attemptLabel]: attempt };
      });
    }
  }
  return world;
}

describe('the restarts that are left', () => {
  // F-100: JobSet before 0.6 has no restartsCountTowardsMax: the last restart was spent, and the JobSet failed for good.
  it('are none where all restarts are used up and the JobSet does not say how many count', async () => {
    const world = createWorld(3, { restarts: 3 });
    world.cluster.change(
      'jobsets',
      'default',
      'train',
      ({ status }) => delete status.restartsCountTowardsMax,
    );
    const planned = await plan(world);
    expect(planned).to.include({ way: 'jobs_recreated' });
    expect(planned.why).to.match(/has used up its restarts \(3 of maxRestarts 3\)/);
    expect(planned).not.to.have.property('restartsLeft');
  });

  for (const { what, status, rules, left } of [
    { what: 'none has been used', status: {}, left: 3 },
    { what: 'one has been used', status: { restarts: 1, restartsCountTowardsMax: 1 }, left: 2 },
    { what: 'this one is the last', status: { restarts: 2, restartsCountTowardsMax: 2 }, left: 1 },
    { what: 'JobSet does not say how many count', status: { restarts: 2 }, left: 1 },
    { what: 'more count than there were', status: { restarts: 0, restartsCountTowardsMax: 2 }, left: 1 },
    {
      what: 'a rule made some of them free',
      status: { restarts: 5, restartsCountTowardsMax: 1 },
      rules: ignoring,
      left: 2,
    },
    {
      what: 'a rule made all of them free, which JobSet leaves out',
      status: { restarts: 5 },
      rules: ignoring,
      left: 3,
    },
    {
      what: 'this one is free',
      status: { restarts: 5, restartsCountTowardsMax: 3 },
      rules: [{ name: 'free', action: 'RestartJobSetAndIgnoreMaxRestarts' as const }],
      left: undefined,
    },
  ]) {
    it(`are ${left ?? 'not counted'} of 3 where ${what}`, async () => {
      const world = createWorld(3, status, rules);
      if (!('restartsCountTowardsMax' in status)) {
        world.cluster.change(
          'jobsets',
          'default',
          'train',
          ({ status: current }) => delete current.restartsCountTowardsMax,
        );
      }
      const planned = await plan(world);
      expect(planned.outcome).to.equal('restart');
      expect(planned.restartsLeft).to.equal(left);
      expect(describeRestart(planned).restarts_left).to.equal(left);
      expect('restarts_left' in describeRestart(planned)).to.equal(left !== undefined);
    });
  }

  it('are in the answer too, as they were before the restart', async () => {
    expect(await restart(createWorld(3, { restarts: 2, restartsCountTowardsMax: 2 }))).to.include({
      outcome: 'restarted',
      restarts_left: 1,
    });
  });

  // F-101: the refusal advised to raise maxRestarts, which the API server refuses.
  it('cannot be raised, so the text does not say so', async () => {
    const { why } = await plan(createWorld(1, { restarts: 1, restartsCountTowardsMax: 1 }));
    expect(why).to.match(
      /^JobSet default\/train has used up its restarts \(1 of maxRestarts 1\), so another would end it$/,
    );
  });
});

describe('the failurePolicy of an emulated JobSet', () => {
  const path = '/apis/jobset.x-k8s.io/v1alpha2/namespaces/default/jobsets/train';
  const merge = { 'content-type': 'application/merge-patch+json' };

  for (const changed of [{ maxRestarts: 60 }, { restartStrategy: 'BlockingRecreate' }]) {
    it(`does not become ${JSON.stringify(changed)} once it is set`, () => {
      const { cluster } = createInMemoryWorld();
      const { status, body } = cluster.ask('PATCH', path, { spec: { failurePolicy: changed } }, merge);
      expect(status).to.equal(422);
      expect(JSON.stringify(body)).to.match(/spec\.failurePolicy: Invalid value: .*Value is immutable/);
      expect(cluster.get('jobsets', 'default', 'train')?.spec.failurePolicy?.maxRestarts).to.equal(3);
    });
  }

  it('may be sent again as it is, and added where there is none', () => {
    const { cluster } = createInMemoryWorld();
    const same = { spec: { failurePolicy: { maxRestarts: 3 } } };
    expect(cluster.ask('PATCH', path, same, merge).status).to.equal(200);
    const without = createInMemoryWorld({ jobSet: { failurePolicy: null } });
    expect(without.cluster.ask('PATCH', path, same, merge).status).to.equal(200);
  });
});
