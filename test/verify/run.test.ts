import { expect } from 'chai';
import type { JobSet } from '../../src/gke/jobset.ts';
import type { RunPod } from '../../src/gke/run-pods.ts';
import type { Judgement } from '../../src/verify/judgement.ts';
import { countReasons } from '../../src/verify/judgement.ts';
import { countWantedPods, judgeRun } from '../../src/verify/run.ts';

type ReplicatedJobs = NonNullable<JobSet['spec']['replicatedJobs']>;

const planned = { jobSet: { namespace: 'default', name: 'train', uid: 'u1' }, attempt: 2 };
const noon = Date.parse('2026-11-23T12:00:00Z');

function jobSet(
  restarts: number,
  {
    jobs = [job(2)],
    ...more
  }: { jobs?: ReplicatedJobs; suspend?: boolean; status?: object; uid?: string } = {},
): JobSet {
  const { uid = 'u1', suspend, status } = more;
  return {
    metadata: { name: 'train', namespace: 'default', uid },
    spec: { ...(suspend === undefined ? {} : { suspend }), replicatedJobs: jobs },
    status: { restarts, ...status },
  };
}

function job(parallelism: number, completions?: number, replicas = 1): ReplicatedJobs[number] {
  const spec = { parallelism, ...(completions === undefined ? {} : { completions }) };
  return { name: 'workers', replicas, template: { spec } } as ReplicatedJobs[number];
}

function pod(attempt: number, more: Partial<RunPod> = {}): RunPod {
  const isWell = more.isWell ?? true;
  const trouble = isWell ? 'Running' : 'Pending: not scheduled yet';
  return {
    name: 'p',
    attempt,
    jobUid: undefined,
    nodeName: 'n',
    isTerminating: false,
    isFailed: false,
    isWell,
    since: noon,
    trouble,
    ...more,
  };
}

const nothingCordoned = async (): Promise<Set<string>> => new Set();

function judge(
  found: JobSet | undefined,
  pods: RunPod[],
  cordoned: () => Promise<Set<string>> = nothingCordoned,
): Promise<Judgement> {
  return judgeRun(planned, { jobSet: found, pods }, cordoned);
}

describe('judgeRun', () => {
  it('is recovered with the time of the last pod, and with the attempt that runs now', async () => {
    const late = noon + 30_000;
    expect(await judge(jobSet(3), [pod(3), pod(3, { since: late })])).to.deep.equal({
      verdict: 'recovered',
      attempt: 3,
      at: late,
    });
  });

  it('takes a restart that came for another reason', async () => {
    expect(await judge(jobSet(7), [pod(7), pod(7)])).to.include({ verdict: 'recovered', attempt: 7 });
  });

  it('counts the pods of the attempt that runs now only', async () => {
    const found = await judge(jobSet(4), [pod(3), pod(3), pod(4), pod(4, { isWell: false })]);
    expect(found.verdict).to.equal(undefined);
    expect(found.why).to.equal(
      '1 of 2 pods are Pending: not scheduled yet; 2 pods of earlier attempts are still there',
    );
    expect(found).to.deep.include({ heldUpOn: ['n'] });
  });

  it('leaves pods of an attempt out that the JobSet does not tell of yet', async () => {
    const found = await judge(jobSet(3), [pod(4), pod(4)]);
    expect(found).to.include({ verdict: undefined, why: '2 of 2 pods do not exist' });
  });

  it('does not count pods that terminate', async () => {
    const found = await judge(jobSet(3), [pod(3), pod(3, { isTerminating: true })]);
    expect(found).to.deep.include({ verdict: undefined, heldUpOn: [] });
    expect(found.why).to.equal('1 of 2 pods are terminating');
  });

  // F-432: Kueue evicted a run between the deletion of its leader and the restart, and resumed it elsewhere in the same attempt. Nobody
  // counted it, and the verdict was not_recovered.
  it('is recovered where the run was suspended before it had restarted, and resumed off the cordoned nodes', async () => {
    const cordoned = async () => new Set(['bad']);
    const elsewhere = [pod(2), pod(2, { since: noon + 1000 })];
    const ghost = pod(2, { nodeName: 'bad', isTerminating: true });
    expect(await judge(jobSet(2), [...elsewhere, ghost], cordoned)).to.deep.include({
      verdict: 'recovered',
      attempt: 2,
      at: noon + 1000,
      why: 'JobSet default/train runs elsewhere in the same attempt: it was suspended and resumed before it had restarted, or its Job made the pods anew',
    });
    for (const [pods, found, cordons] of [
      [[pod(2), pod(2, { nodeName: 'bad' })], jobSet(2), cordoned],
      [[pod(2), pod(2, { isWell: false })], jobSet(2), cordoned],
      [[pod(2)], jobSet(2), cordoned],
      [elsewhere, jobSet(2, { suspend: true }), cordoned],
      [elsewhere, jobSet(2), nothingCordoned],
    ] as const) {
      const { verdict, why } = await judge(found, [...pods], cordons);
      expect([verdict, why?.replace(/:.*/, '')]).to.deep.equal([
        undefined,
        'JobSet default/train has not restarted, it is still in attempt 2',
      ]);
    }
  });

  it('says that a JobSet which has not restarted is suspended', async () => {
    expect((await judge(jobSet(2, { suspend: true }), [])).why).to.equal(
      'JobSet default/train has not restarted, it is still in attempt 2; it is suspended, for example by a queue',
    );
  });

  it('says that the JobSet has not restarted, and what is left of the attempt', async () => {
    const found = await judge(jobSet(2), [
      pod(2, { isTerminating: true }),
      pod(2, { isTerminating: true }),
      pod(2),
    ]);
    expect(found).to.deep.equal({
      verdict: undefined,
      attempt: 2,
      heldUpOn: ['n'],
      why:
        'JobSet default/train has not restarted, it is still in attempt 2: 2 of 3 pods are still terminating; ' +
        '1 of 3 pods are still Ready',
    });
    expect(await judge(jobSet(2), [])).to.deep.include({
      heldUpOn: [],
      why: 'JobSet default/train has not restarted, it is still in attempt 2',
    });
  });

  describe('of a JobSet that is suspended', () => {
    it('waits, and says so', async () => {
      const found = await judge(jobSet(3, { suspend: true }), []);
      expect(found).to.include({
        verdict: undefined,
        why: 'JobSet default/train is suspended, for example by a queue; 2 of 2 pods do not exist',
      });
    });

    it('says so although no pod is wanted', async () => {
      const found = await judge(jobSet(3, { suspend: true, jobs: [job(0)] }), []);
      expect(found).to.include({ verdict: undefined });
      expect(found.why).to.match(/is suspended/);
    });
  });

  describe('of a JobSet that has ended', () => {
    const at = '2026-11-23T12:00:00Z';
    const ended = (type: string, message?: string) => ({
      conditions: [
        { type: 'StartupPolicyCompleted', status: 'True' },
        { type, status: 'True', lastTransitionTime: at, ...(message === undefined ? {} : { message }) },
      ],
    });

    it('is recovered where it completed, also in the attempt that was to end', async () => {
      for (const restarts of [2, 3]) {
        const found = await judge(jobSet(restarts, { status: ended('Completed') }), []);
        expect(found).to.deep.equal({
          verdict: 'recovered',
          at: noon,
          attempt: restarts,
          why: 'JobSet default/train completed',
        });
      }
    });

    it('is run_ended where it has failed, with its own words on one line and cut', async () => {
      const message = `jobset failed\ndue to reaching max number of restarts ${'x'.repeat(300)}`;
      const found = await judge(jobSet(3, { status: ended('Failed', message) }), [pod(3), pod(3)]);
      expect(found).to.include({ verdict: 'run_ended', attempt: 3 });
      expect(found.why).to.match(/has failed for good \(jobset failed due to reaching max .*x\)$/);
      expect(found.why).to.have.length.below(260);
    });

    it('believes terminalState where there is no condition', async () => {
      const failed = await judge(jobSet(3, { status: { terminalState: 'Failed' } }), []);
      expect(failed.verdict).to.equal('run_ended');
      const completed = await judge(jobSet(3, { status: { terminalState: 'Completed' } }), []);
      expect(completed).to.include({ verdict: 'recovered', at: undefined });
    });

    it('does not believe a condition that is not true', async () => {
      const status = { conditions: [{ type: 'Failed', status: 'False' }] };
      expect((await judge(jobSet(3, { status }), [pod(3), pod(3)])).verdict).to.equal('recovered');
    });

    it('is run_ended where it is gone, or another one has its name', async () => {
      expect(await judge(undefined, [])).to.deep.equal({
        verdict: 'run_ended',
        why: 'JobSet default/train is gone',
      });
      const anew = await judge(jobSet(0, { uid: 'u2', status: ended('Completed') }), [pod(0), pod(0)]);
      expect(anew).to.deep.equal({
        verdict: 'run_ended',
        why: 'JobSet default/train was deleted, and another one has its name',
      });
    });
  });

  describe('of several replicated Jobs', () => {
    const jobs = [job(1), job(4, 2, 2), job(2, 5)];

    it('wants no more pods than completions, for each replica', () => {
      expect(countWantedPods(jobSet(3, { jobs }))).to.equal(1 + 2 * 2 + 2);
      expect(countWantedPods(jobSet(3, { jobs: [{ name: 'bare' }] }))).to.equal(1);
    });

    it('waits for the pods of all', async () => {
      const pods = Array.from({ length: 6 }, () => pod(3));
      expect(await judge(jobSet(3, { jobs }), pods)).to.include({
        verdict: undefined,
        why: '1 of 7 pods do not exist',
      });
      expect(await judge(jobSet(3, { jobs }), [...pods, pod(3)])).to.include({ verdict: 'recovered' });
    });

    // F-203: those that had succeeded stood for those that were Pending.
    it('is not recovered while one pod is not well, however many have succeeded', async () => {
      const many = [job(2, 6)];
      const pods = [pod(3), pod(3), pod(3, { isWell: false }), pod(3, { isWell: false })];
      expect(await judge(jobSet(3, { jobs: many }), pods)).to.include({
        verdict: undefined,
        why: '2 of 4 pods are Pending: not scheduled yet',
      });
    });

    it('leaves failed pods out that the Job has replaced', async () => {
      const failed = pod(3, { isWell: false, isFailed: true, trouble: 'Failed' });
      expect(await judge(jobSet(3), [failed, pod(3), pod(3)])).to.include({ verdict: 'recovered' });
      expect(await judge(jobSet(3), [failed, pod(3)])).to.include({
        verdict: undefined,
        why: '1 of 2 pods are Failed',
      });
    });
  });

  describe('on cordoned nodes of the pool', () => {
    it('is not recovered', async () => {
      const found = await judge(
        jobSet(3),
        [pod(3, { nodeName: 'bad' }), pod(3)],
        async () => new Set(['bad']),
      );
      expect(found).to.deep.equal({
        verdict: undefined,
        attempt: 3,
        why: '1 of 2 pods run on nodes of the pool that are cordoned',
      });
    });

    it('asks for them only once every pod is well', async () => {
      const mustNot = async (): Promise<Set<string>> => {
        throw new Error('asked too early');
      };
      await judge(jobSet(3), [pod(3)], mustNot);
      await judge(jobSet(2), [pod(2), pod(2, { isTerminating: true })], mustNot);
      await judge(jobSet(3, { status: { terminalState: 'Completed' } }), [], mustNot);
    });
  });
});

describe('countReasons', () => {
  it('has the most frequent first, and equal ones by name', () => {
    expect(countReasons(['b', 'a', 'c', 'c'], '4 pods')).to.equal(
      '2 of 4 pods c; 1 of 4 pods a; 1 of 4 pods b',
    );
  });

  it('says how many more there are', () => {
    expect(countReasons(['a', 'b', 'c', 'd', 'e'], '5 pods')).to.match(/; 2 more reasons$/);
    expect(countReasons(['a', 'b', 'c'], '3 pods')).not.to.match(/more reasons/);
    expect(countReasons(['a', 'b'], '2 pods', 1)).to.equal('1 of 2 pods a; 1 more reasons');
  });

  it('of no reason says nothing', () => {
    expect(countReasons([], '0 pods')).to.equal('');
  });
});
