import { expect } from 'chai';
import type { RestartWay } from '../../src/plan.ts';
import { mostWaitSeconds, toTermination } from '../../src/decide/termination.ts';
import type { ChildJob, JobPod } from '../../src/gke/jobset.ts';

const job = (uid: string, change: Partial<ChildJob> = {}) =>
  ({ uid, attempt: 1, isIndexed: true, backoffLimit: 0, hasPodFailurePolicy: false, ...change }) as ChildJob;
const pod = (jobUid: string, graceSeconds: number, change: Partial<JobPod> = {}) =>
  ({ uid: `${jobUid} ${graceSeconds}`, jobUid, graceSeconds, isLive: true, ...change }) as JobPod;

const planned = job('planned');
const other = job('other');
const pods = [pod('planned', 30), pod('other', 40), pod('stranger', 500)];

interface Case {
  way?: RestartWay;
  grace?: number | undefined;
  jobs?: ChildJob[];
  all?: JobPod[];
  leader?: JobPod | undefined;
}

function seconds({
  way = 'leader_pod',
  grace,
  jobs = [planned, other],
  all = pods,
  leader,
}: Case): number | undefined {
  const first = jobs[0] ?? planned;
  const found = toTermination({ jobs, pods: all, attempt: 1, planned: first, leader }, way, grace);
  expect(found.graceSeconds).to.equal(grace);
  if (grace === undefined) expect(found).not.to.have.property('graceSeconds');
  return found.terminatesWithinSeconds;
}

describe('toTermination', () => {
  it('adds up what the planned Job takes, and then the others', () => {
    expect(seconds({})).to.equal(70);
    expect(seconds({ way: 'job_deadline' })).to.equal(70);
  });

  it('takes the longest where all are deleted at once', () => {
    expect(seconds({ way: 'jobs_recreated' })).to.equal(40);
    expect(seconds({ way: 'jobs_recreated', all: [pod('planned', 90), pod('other', 40)] })).to.equal(90);
    expect(seconds({ way: 'jobs_recreated', grace: 10 })).to.equal(10);
  });

  it('counts live pods of this attempt only, and the longest of each Job', () => {
    const gone = { isLive: false };
    expect(seconds({ all: [...pods, pod('planned', 100, gone), pod('other', 100, gone)] })).to.equal(70);
    expect(seconds({ all: [...pods, pod('planned', 50), pod('other', 20)] })).to.equal(90);
    expect(seconds({ jobs: [planned, job('other', { attempt: 0 })] })).to.equal(30);
    expect(seconds({ jobs: [planned] })).to.equal(30);
    expect(seconds({ all: [] })).to.equal(0);
  });

  it('does not wait for the leader, which is deleted with grace 0, where it is what is deleted', () => {
    const leader = pod('planned', 200);
    expect(seconds({ all: [...pods, leader], leader })).to.equal(70);
    expect(seconds({ all: [...pods, leader], leader, way: 'job_deadline' })).to.equal(240);
    expect(seconds({ all: [...pods, leader] })).to.equal(240);
  });

  it('gives all pods the shorter time at once, where each Job fails by a lost pod', () => {
    expect(seconds({ grace: 35 })).to.equal(35);
    expect(seconds({ grace: 5 })).to.equal(5);
    for (const change of [{ backoffLimit: 1 }, { isIndexed: false }, { hasPodFailurePolicy: true }]) {
      expect(seconds({ grace: 5, jobs: [planned, job('other', change)] }), JSON.stringify(change)).to.equal(
        10,
      );
      expect(seconds({ grace: 5, jobs: [job('planned', change), other] }), JSON.stringify(change)).to.equal(
        10,
      );
    }
    expect(seconds({ grace: 5, way: 'job_deadline' })).to.equal(10);
  });

  it('never prolongs, and leaves the others their own time where it would wait for them too long', () => {
    const long = [pod('planned', 300), pod('other', 300)];
    const patched: Case = { way: 'job_deadline', all: long };
    expect(seconds({ ...patched, grace: 400 })).to.equal(600);
    expect(seconds({ ...patched, grace: mostWaitSeconds })).to.equal(mostWaitSeconds + 300);
    expect(seconds({ ...patched, grace: mostWaitSeconds - 1 })).to.equal(2 * (mostWaitSeconds - 1));
    expect(seconds(patched)).to.equal(600);
  });
});
