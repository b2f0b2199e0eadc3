import { expect } from 'chai';
import { hashPlan } from '../src/plan-hash.ts';
import type { Plan } from '../src/plan.ts';

const action = { id: 'a', hash: 'h', nodePool: 'slice-a' };
const restart: NonNullable<Plan['restart']> = {
  outcome: 'restart',
  jobSet: { namespace: 'default', name: 'train', uid: 'u1' },
  attempt: 0,
  job: { name: 'train-0', uid: 'u2', replicatedJob: 'workers' },
  leader: { name: 'train-0-0', uid: 'u3' },
  way: 'leader_pod',
};
const repair: NonNullable<Plan['repair']> = {
  projectId: 'p',
  zone: 'z',
  instanceName: 'i',
  instanceId: '1',
  node: { name: 'n', uid: 'u4' },
  isMultiHost: true,
  why: 'the least healthy',
  runsHere: { 'default/train': 16 },
};
const plan: Plan = { claimId: 'c', restart, repair };
const hash = hashPlan(action, plan);

describe('the hash of a plan', () => {
  it('has 64 hexadecimal digits, whatever the order of its fields', () => {
    expect(hash).to.match(/^[0-9a-f]{64}$/);
    const turned = Object.fromEntries(Object.entries(repair).toReversed()) as typeof repair;
    expect(hashPlan(action, { repair: turned, restart, claimId: 'c' })).to.equal(hash);
  });

  const same: Record<string, Plan> = {
    'another claim': { ...plan, claimId: 'd' },
    'another wording': { ...plan, repair: { ...repair, why: 'it is not Ready', warning: 'w', poolSize: 3 } },
    'more pods of the same run': { ...plan, repair: { ...repair, runsHere: { 'default/train': 15 } } },
    'other room elsewhere': {
      ...plan,
      restart: { ...restart, spare: { slices: 2, needed: 1 }, lacksSpare: 'l', schedulableElsewhere: 9 },
    },
    'what GKE said before': { ...plan, repair: { ...repair, before: { bootId: 'b', status: 's' } } },
  };
  for (const [what, each] of Object.entries(same)) {
    it(`is the same for ${what}`, () => expect(hashPlan(action, each)).to.equal(hash));
  }

  const other: Record<string, Plan> = {
    'another machine': { ...plan, repair: { ...repair, instanceId: '2' } },
    'another node of the name': { ...plan, repair: { ...repair, node: { name: 'n', uid: 'u9' } } },
    'another run on the machine': { ...plan, repair: { ...repair, runsHere: { 'default/other': 16 } } },
    'a label instead of a deletion': { ...plan, repair: { ...repair, way: 'reboot' } },
    'what GKE does itself': {
      ...plan,
      repair: { ...repair, leftTo: { outcome: 'gke_is_repairing', why: 'w' } },
    },
    'a newer attempt': { ...plan, restart: { ...restart, attempt: 1 } },
    'another leader': { ...plan, restart: { ...restart, leader: { name: 'train-0-0', uid: 'u8' } } },
    'another way': { ...plan, restart: { ...restart, way: 'job_deadline' } },
    'fewer seconds to end': { ...plan, restart: { ...restart, graceSeconds: 0 } },
    'a repair in place': { ...plan, restart: { ...restart, inPlace: true } },
    'an uncordon since': { ...plan, lastUncordon: 'u/1' },
    'no repair': { claimId: 'c', restart },
  };
  for (const [what, each] of Object.entries(other)) {
    it(`is another one for ${what}`, () => expect(hashPlan(action, each)).to.not.equal(hash));
  }

  it('belongs to its action and its pool', () => {
    for (const changed of [{ id: 'b' }, { hash: 'g' }, { nodePool: 'slice-b' }]) {
      expect(hashPlan({ ...action, ...changed }, plan)).to.not.equal(hash);
    }
  });
});
