import { expect } from 'chai';
import type { FailurePolicyRule } from '../emulator/objects.ts';
import type { ReplicatedJobOptions } from '../emulator/world.ts';
import { countEffects } from '../fixtures/count-writes.ts';
import { VirtualFailover } from '../fixtures/virtual-failover.ts';

const restart = {
  id: 'a',
  type: 'cordon_nodepool_and_restart_jobset',
  node_pool: 'slice-a',
  jobset_name: 'train',
};
const podFailurePolicy: NonNullable<ReplicatedJobOptions['podFailurePolicy']> = {
  rules: [{ action: 'FailJob', onPodConditions: [{ type: 'DisruptionTarget' }] }],
};
const endsLeader: FailurePolicyRule = { name: 'r', action: 'FailJobSet', targetReplicatedJobs: ['leader'] };

/** The workers run on slice-a, and their leader on a CPU pool. */
async function build(
  rules: FailurePolicyRule[],
  leader: Partial<ReplicatedJobOptions> = {},
  maxRestarts = 3,
): Promise<VirtualFailover> {
  const world = new VirtualFailover({
    jobSet: { exclusiveTopology: '', failurePolicy: { maxRestarts, rules } },
    jobs: [
      {},
      {
        name: 'leader',
        parallelism: 1,
        resources: {},
        nodeSelector: { 'cloud.google.com/gke-nodepool': 'cpu' },
        ...leader,
      },
    ],
  });
  world.cluster.addPool('cpu');
  await world.pass(1);
  return world;
}

function leaderPod({ cluster }: VirtualFailover): string {
  const found = cluster.pods('default').find(({ metadata }) => metadata.name.startsWith('train-leader'));
  return found?.metadata.name ?? '';
}

function failure({ cluster }: VirtualFailover): string | undefined {
  const { conditions = [] } = cluster.get('jobsets', 'default', 'train')?.status ?? {};
  return conditions.find(({ type }) => type === 'Failed')?.reason;
}

// F-185: a rule that fails the JobSet with its leader was not asked: the leader lost its workers and crashed first.
describe('a restart while another Job of the attempt may fail first', () => {
  const ending: { what: string; rules: FailurePolicyRule[]; leader?: object; max?: number; why: RegExp }[] = [
    {
      what: 'and a rule fails the JobSet with it',
      rules: [endsLeader],
      why: /^JobSet default\/train may fail for good if Job train-leader-0 fails first \(BackoffLimitExceeded\), as a Job that has lost its peers does: rule r of its failurePolicy says FailJobSet$/,
    },
    {
      what: 'and a rule fails the JobSet for its pod failure policy',
      rules: [{ ...endsLeader, onJobFailureReasons: ['PodFailurePolicy'] }],
      leader: { podFailurePolicy },
      why: /train-leader-0 fails first \(PodFailurePolicy\)/,
    },
    {
      what: 'and a rule fails the JobSet for its deadline',
      rules: [{ ...endsLeader, onJobFailureReasons: ['DeadlineExceeded'] }],
      leader: { activeDeadlineSeconds: 3600 },
      why: /train-leader-0 fails first \(DeadlineExceeded\)/,
    },
    {
      what: 'and a rule with a condition that is not known may match it',
      rules: [{ ...endsLeader, onJobFailureMessagePatterns: ['x'] }],
      why: /train-leader-0 fails first/,
    },
    {
      what: 'and the rule behind one with a condition that is not known fails the JobSet with it',
      rules: [{ ...endsLeader, action: 'RestartJobSet', onJobFailureMessagePatterns: ['x'] }, endsLeader],
      why: /train-leader-0 fails first/,
    },
    {
      what: 'and an action that is not known here answers it',
      rules: [{ ...endsLeader, action: 'Shrug' as 'FailJobSet' }],
      why: /rule r of its failurePolicy says Shrug$/,
    },
    {
      what: 'and no restart is left for that',
      rules: [
        {
          name: 'r',
          action: 'RestartJobSetAndIgnoreMaxRestarts',
          targetReplicatedJobs: ['workers'],
        },
      ],
      max: 0,
      why: /train-leader-0 fails first \(BackoffLimitExceeded\), .*: it has used up its restarts$/,
    },
  ];
  for (const { what, rules, leader = {}, max, why } of ending) {
    it(`deletes every Job instead ${what}`, async () => {
      const world = await build(rules, leader, max);
      for (const body of [{ ...restart, dry_run: true }, restart]) {
        const step = (await world.send(body)).steps.at(-1);
        expect(step).to.include({ way: 'jobs_recreated', jobs: 2 });
        expect(step?.['why']).to.match(why);
      }
      expect(countEffects(world.newWrites())).to.deep.equal({ 'PATCH nodes': 4, 'DELETE jobs': 2 });
      await world.pass(60);
      expect(failure(world)).to.equal(undefined);
    });
  }

  const accepted: { what: string; rules: FailurePolicyRule[]; leader?: object; max?: number }[] = [
    { what: 'that restarts the JobSet by default', rules: [] },
    {
      what: 'for a reason that the rule does not name',
      rules: [{ ...endsLeader, onJobFailureReasons: ['PodFailurePolicy', 'DeadlineExceeded'] }],
    },
    { what: 'for which another rule is first', rules: [{ name: 'f', action: 'RestartJobSet' }, endsLeader] },
    {
      what: 'that is restarted alone',
      rules: [{ name: 'r', action: 'RestartJob', targetReplicatedJobs: ['leader'] }],
    },
    {
      what: 'and restarts that do not count',
      rules: [{ name: 'r', action: 'RestartJobSetAndIgnoreMaxRestarts' }],
      max: 0,
    },
  ];
  for (const { what, rules, leader = {}, max } of accepted) {
    it(`goes on beside a Job ${what}`, async () => {
      const world = await build(rules, leader, max);
      expect((await world.send(restart)).steps.at(-1)).to.include({ outcome: 'restarted' });
      world.cluster.finishPod('default', leaderPod(world), 'Failed');
      await world.pass(60);
      expect(failure(world)).to.equal(undefined);
    });
  }

  it('goes on beside a Job that is complete, which never fails', async () => {
    const world = await build([endsLeader]);
    world.cluster.change('jobsets', 'default', 'train', ({ spec }) => {
      spec.successPolicy = { operator: 'All', targetReplicatedJobs: ['workers'] };
    });
    world.cluster.finishPod('default', leaderPod(world), 'Succeeded');
    await world.pass(1);
    expect((await world.send(restart)).steps.at(-1)).to.include({ outcome: 'restarted' });
    await world.pass(60);
    expect(failure(world)).to.equal(undefined);
  });

  it('is asked again directly before the deletion', async () => {
    const world = await build([{ ...endsLeader, onJobFailureReasons: ['DeadlineExceeded'] }]);
    world.once(/^PATCH .*\/nodes\//, () => {
      world.cluster.change('jobs', 'default', 'train-leader-0', ({ spec }) => {
        spec.activeDeadlineSeconds = 3600;
      });
    });
    const { code, error } = await world.send(restart);
    expect(world.isAllDone).to.equal(true);
    expect(code).to.equal('restart_refused');
    expect(error).to.match(/train-leader-0 fails first \(DeadlineExceeded\)/);
    expect(countEffects(world.newWrites())).to.deep.equal({ 'PATCH nodes': 4 });
  });
});
