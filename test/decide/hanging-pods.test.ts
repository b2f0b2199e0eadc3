import { expect } from 'chai';
import { findEnding, listLive, preferLive } from '../../src/decide/hanging-pods.ts';
import type { ChildJob, JobPod } from '../../src/gke/jobset.ts';

const pod = (change: Partial<JobPod>) =>
  ({ name: 'p', isLive: false, isTerminating: false, ...change }) as JobPod;
const job = (change: Partial<ChildJob>) =>
  ({ uid: 'job', attempt: 1, isEnding: true, ...change }) as ChildJob;

describe('preferLive', () => {
  const live = pod({ isLive: true });
  const hanging = pod({ isTerminating: true });
  const ended = pod({});

  it('takes the live pods, and else those that hang, but none that has ended', () => {
    expect(preferLive([hanging, live, ended])).to.deep.equal([live]);
    expect(preferLive([ended, hanging])).to.deep.equal([hanging]);
    expect(preferLive([ended])).to.deep.equal([]);
  });
});

describe('listLive', () => {
  const at = (name: string, change: Partial<JobPod> = {}) =>
    pod({ name, isLive: true, jobUid: 'job', completionIndex: 0, nodeName: 'node', ...change });
  const ending = at('old', { isTerminating: true });

  it('leaves out a pod that terminates once its Job has another one of its index on a node', () => {
    expect(listLive([ending, at('new')])).to.deep.equal([at('new')]);
  });

  it('keeps it while the other one waits for a node, terminates too, or is of another index or Job', () => {
    const others: Partial<JobPod>[] = [
      { nodeName: undefined },
      { isTerminating: true },
      { completionIndex: 1 },
      { jobUid: 'other' },
    ];
    for (const change of others) {
      const both = [ending, at('new', change)];
      expect(listLive(both), JSON.stringify(change)).to.deep.equal(both);
    }
  });

  it('keeps each pod of a Job without indexes, because another one need not be in its place', () => {
    const both = [ending, at('new')].map((each) => ({ ...each, completionIndex: undefined }));
    expect(listLive(both)).to.deep.equal(both);
  });
});

describe('findEnding', () => {
  const mine = pod({ attempt: 1, jobUid: 'job' });
  const others = pod({ attempt: 1, jobUid: 'other' });

  it('finds the Job of this attempt that is ending and has a pod on the pool', () => {
    expect(findEnding([others, mine], [job({})], 1)).to.deep.equal({ job: job({}) });
  });

  it('finds no Job of another attempt, none that goes on, and none without a pod on the pool', () => {
    expect(findEnding([mine], [job({ attempt: 0 })], 1)).to.equal(undefined);
    expect(findEnding([mine], [job({ isEnding: false })], 1)).to.equal(undefined);
    expect(findEnding([others], [job({})], 1)).to.equal(undefined);
  });

  it('takes a pod of an older attempt for the same', () => {
    expect(findEnding([others, pod({ attempt: 0 })], [], 1)).to.deep.equal({ job: undefined });
    expect(findEnding([], [job({})], 1)).to.equal(undefined);
  });
});
