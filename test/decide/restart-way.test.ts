import { expect } from 'chai';
import { assertOthersRestart } from '../../src/decide/restart-policy.ts';
import { chooseRestartWay, failsByALostPod } from '../../src/decide/restart-way.ts';
import type { ChildJob, JobSet } from '../../src/gke/jobset.ts';
import { refusalOf } from '../fixtures/refusal-of.ts';

function jobSet(failurePolicy: JobSet['spec']['failurePolicy']): JobSet {
  return {
    metadata: { namespace: 'default', name: 'train', uid: 'u' },
    spec: { ...(failurePolicy && { failurePolicy }) },
    status: { restarts: 1 },
  };
}

function job(changes: Partial<ChildJob> = {}): ChildJob {
  return {
    name: 'train-workers-0',
    uid: 'w',
    attempt: 1,
    replicatedJob: 'workers',
    failureReasons: ['BackoffLimitExceeded'],
    backoffLimit: 0,
    isIndexed: true,
    isComplete: false,
    hasPodFailurePolicy: false,
    podReplacementPolicy: undefined,
    ...changes,
  } as ChildJob;
}

describe('the way of a restart', () => {
  it('is no lost pod where a Job waits for the end of a pod before it makes another', () => {
    expect(failsByALostPod(job())).to.equal(true);
    expect(failsByALostPod(job({ podReplacementPolicy: 'TerminatingOrFailed' }))).to.equal(true);
    expect(failsByALostPod(job({ podReplacementPolicy: 'Failed' }))).to.equal(false);
  });

  it('has a thousand Jobs made anew, and no more', async () => {
    const jobs = Array.from({ length: 1001 }, (_, index) => job({ name: `j${index}`, uid: `u${index}` }));
    const ofAnother = job({ uid: 'old', attempt: 0 });
    const choose = async (some: ChildJob[]) => chooseRestartWay(jobSet(undefined), some, job(), undefined);
    expect(await choose([...jobs.slice(0, 1000), ofAnother]))
      .to.have.property('jobs')
      .with.length(1000);
    expect(await refusalOf(choose(jobs))).to.include({ code: 'restart_refused' });
  });

  it('asks no rule about the Jobs of another attempt', () => {
    const rules = [{ name: 'r', action: 'FailJobSet', targetReplicatedJobs: ['leader'] }];
    const policy = jobSet({ maxRestarts: 3, rules });
    const leader = job({ name: 'train-leader-0', uid: 'l', replicatedJob: 'leader' });
    expect(() => assertOthersRestart(policy, [job(), leader], job())).to.throw(/train-leader-0 fails first/);
    assertOthersRestart(policy, [job(), { ...leader, attempt: 0 }], job());
  });
});
