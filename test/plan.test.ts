import { expect } from 'chai';
import * as v from 'valibot';
import { planSchema } from '../src/plan.ts';

const repair = {
  projectId: 'p',
  zone: 'us-central1-a',
  instanceName: 'gke-1',
  instanceId: '17',
  node: { name: 'gke-1', uid: 'u' },
  isMultiHost: false,
  why: 'the named node',
};
const restart = {
  outcome: 'restart',
  jobSet: { namespace: 'default', name: 'train', uid: 'u' },
  attempt: 3,
  job: { name: 'train-workers-0', uid: 'j', replicatedJob: 'workers' },
  way: 'job_deadline',
};

describe('planSchema', () => {
  it('takes a plan as this version writes it', () => {
    const plan = { claimId: 'one', lastUncordon: 'a/b', restart, repair };
    expect(v.parse(planSchema, plan)).to.deep.equal(plan);
  });

  it('takes a plan of version 0.1.0, which called the claim an attempt', () => {
    expect(v.parse(planSchema, { attempt: 'one', restart, repair })).to.deep.equal({
      claimId: 'one',
      restart,
      repair,
    });
    expect(v.parse(planSchema, { attempt: 'one' })).to.deep.equal({ claimId: 'one' });
  });

  for (const [what, broken] of [
    ['is empty', {}],
    ['names no instance', { claimId: 'one', repair: { ...repair, instanceName: undefined } }],
    ['has a number for an instance id', { claimId: 'one', repair: { ...repair, instanceId: 17 } }],
    ['restarts in an unknown way', { claimId: 'one', restart: { ...restart, way: 'reboot' } }],
    ['has a text for the attempt', { claimId: 'one', restart: { ...restart, attempt: '3' } }],
  ] as const) {
    it(`takes no plan that ${what}`, () => {
      expect(v.is(planSchema, broken)).to.equal(false);
    });
  }
});
