import { expect } from 'chai';
import { failoverNamespace } from '../../src/names.ts';
import { countEffects } from '../fixtures/count-writes.ts';
import { expectBroken } from '../fixtures/promise-watch.ts';
import { annotateCluster, deletedMachines, leader, podUids, restarts } from '../fixtures/train-run.ts';
import { countCordoned, nodeNames, whereTrainRuns } from '../fixtures/train-world.ts';
import { VirtualFailover } from '../fixtures/virtual-failover.ts';

// Lines of docs/failures.md about cooldown, budget and the ownership of cordons, in virtual time.

const cordon = { id: 'a', type: 'cordon_nodepool', node_pool: 'slice-a' };
const restart = { ...cordon, type: 'cordon_nodepool_and_restart_jobset', jobset_name: 'train' };
const repair = { ...cordon, type: 'cordon_and_repair_nodepool' };
const three = ['slice-a', 'slice-b', 'slice-c'];
const nodePatch = /^PATCH .*\/nodes\//;

function outcomes(steps: { step: string; outcome?: unknown }[]): unknown[] {
  return steps.map(({ step, outcome }) => outcome ?? step);
}

describe('a JobSet', () => {
  // F-19: the JobSet restarts itself onto pool B before the alert for pool A arrives: its new leader lives.
  it('that has moved by itself is left alone', async () => {
    const world = new VirtualFailover();
    for (const name of nodeNames(world.cluster, 'slice-a')) world.cluster.cordonAs('somebody', name, true);
    world.cluster.finishPod('default', leader(world).metadata.name, 'Failed');
    await world.pass(180);
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #1']);
    const before = podUids(world);
    const { steps } = await world.send(restart);
    expect(outcomes(steps)).to.deep.equal(['cordon', 'not_on_pool']);
    await world.pass(5);
    expect(podUids(world)).to.deep.equal(before);
  });

  // F-25: one fault alerts on four slices of one JobSet: four cordons, one restart.
  it('on four slices that all turn bad is restarted once', async () => {
    const pools = ['slice-a', 'slice-b', 'slice-c', 'slice-d'];
    const world = new VirtualFailover({
      slices: [...pools, 'slice-e', 'slice-f', 'slice-g', 'slice-h'],
      jobs: [{ replicas: 4 }],
      environment: { MAX_POOLS_PER_HOUR: '4' },
    });
    expect(whereTrainRuns(world.cluster)).to.have.length(4);
    const sent = pools.map((pool) =>
      world.begin({ ...restart, id: pool, node_pool: pool }, world.newInstance()),
    );
    const found: unknown[] = [];
    for (const each of sent) found.push((await world.answerOf(each)).steps.at(-1)?.['outcome']);
    expect(found.filter((outcome) => outcome === 'restarted')).to.have.length(1);
    for (const outcome of found) {
      expect(outcome).to.be.oneOf(['restarted', 'already_restarted', 'already_restarting']);
    }
    await world.pass(5);
    expect(restarts(world)).to.equal(1);
    for (const pool of pools) expect(countCordoned(world.cluster, pool)).to.equal(4);
    expect(whereTrainRuns(world.cluster)).to.deep.equal([
      'slice-e #1',
      'slice-f #1',
      'slice-g #1',
      'slice-h #1',
    ]);
  });

  // F-37: the JobSet moved to pool B, and now pool B is bad: restarted again, not rate limited.
  it('whose next pool turns bad too is restarted again, but not from the first pool within the cooldown', async () => {
    const world = new VirtualFailover({ slices: three });
    await world.send(restart);
    await world.pass(1200);
    const second = await world.send({ ...restart, id: 'b', node_pool: 'slice-b' });
    expect(second.steps.at(-1)).to.include({ outcome: 'restarted', attempt: 1 });
    await world.pass(5);
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-c #2']);
    const third = await world.send({ ...restart, id: 'c' });
    expect(third).to.include({ status: 429, code: 'rate_limited' });
  });

  // F-32: another pod of the attempt sits on a dead node: the restart does not hang.
  it('with a follower on a dead node moves', async () => {
    const world = new VirtualFailover();
    const follower = world.cluster
      .pods('default')
      .find(({ metadata }) => metadata.uid !== leader(world).metadata.uid);
    world.cluster.killNode(follower?.spec.nodeName ?? '');
    await world.pass(60);
    const { steps } = await world.send(restart);
    expect(steps.at(-1)).to.deep.include({ deleted_on_dead_nodes: [follower?.metadata.name] });
    await world.pass(5);
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #1']);
  });

  // F-34: a terminating leader on a dead node is no proof of a restart.
  it('whose leader has been terminating on a dead node for minutes moves', async () => {
    for (const job of [{}, { podReplacementPolicy: 'Failed' as const }]) {
      const world = new VirtualFailover({ jobs: [job] });
      world.cluster.killNode(leader(world).spec.nodeName ?? '');
      await world.pass(330);
      const { metadata } = leader(world);
      expect(metadata.deletionTimestamp).not.to.equal(undefined);
      expect(restarts(world)).to.equal(0);
      const { steps } = await world.send(restart);
      expect(steps.at(-1)).to.deep.include({ deleted_on_dead_nodes: [metadata.name] });
      await world.pass(5);
      expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #1']);
    }
  });

  it('that begins another attempt on the pool between the decision and the cordon is restarted all the same', async () => {
    const world = new VirtualFailover();
    world.once(/^POST .*\/events$/, () => {
      world.cluster.finishPod('default', leader(world).metadata.name, 'Failed');
      world.emulator.settle();
      expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-a #1']);
    });
    const { steps } = await world.send(restart);
    expect(steps.at(-1)).to.include({ outcome: 'restarted', attempt: 1 });
    await world.pass(5);
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #2']);
    expect((await world.send(restart)).isReplay).to.equal(true);
  });

  // F-13: a failed attempt used up the hour, and the corrected request was refused.
  it('whose restart was refused is restarted as soon as it may be', async () => {
    const world = new VirtualFailover({
      jobSet: { failurePolicy: { maxRestarts: 3, restartStrategy: 'InPlaceRestart' } },
    });
    expect((await world.send(restart)).code).to.equal('restart_refused');
    world.cluster.change('jobsets', 'default', 'train', ({ spec }) => {
      spec.failurePolicy = { maxRestarts: 3 };
    });
    const answer = await world.send({ ...restart, id: 'b' });
    expect(answer.steps.at(-1)).to.include({ outcome: 'restarted' });
  });

  it('is told apart by namespace: what was restarted in one is not limited in the other', async () => {
    const world = new VirtualFailover({
      slices: ['slice-a'],
      jobSet: { exclusiveTopology: '' },
      environment: { ALLOWED_NAMESPACES: 'default,research' },
    });
    world.cluster.addNamespace('research');
    // It runs beside the other on slice-a, and might run on a slice that does not exist yet.
    const tolerations = [{ key: 'google.com/tpu', operator: 'Exists' as const }];
    const values = ['slice-a', 'slice-z'];
    const affinity = {
      nodeAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: {
          nodeSelectorTerms: [
            { matchExpressions: [{ key: 'cloud.google.com/gke-nodepool', operator: 'In', values }] },
          ],
        },
      },
    };
    world.cluster.addJobSet({
      name: 'train',
      namespace: 'research',
      replicatedJobs: [
        { name: 'workers', parallelism: 2, backoffLimit: 0, resources: {}, tolerations, affinity },
      ],
    });
    world.emulator.settle();
    await world.send(restart);
    const other = await world.send({ ...restart, id: 'b', namespace: 'research' });
    expect(other.steps.at(-1)).to.include({ outcome: 'restarted', target: 'research/train' });
  });
});

describe('limits', () => {
  // F-12: pool B was refused while pool A was limited.
  it('of one pool do not apply to another', async () => {
    const world = new VirtualFailover();
    await world.send(repair);
    expect((await world.send({ ...repair, id: 'b' })).code).to.equal('rate_limited');
    expect((await world.send({ ...repair, id: 'c', node_pool: 'slice-b' })).status).to.equal(200);
    expect(deletedMachines(world)).to.have.length(2);
  });

  // F-28: every pool turns bad at once because the metric broke: the budget holds.
  it('stop what would take the whole cluster out of service', async () => {
    const pools = ['slice-a', 'slice-b', 'slice-c', 'slice-d', 'slice-e'];
    const world = new VirtualFailover({ slices: pools });
    const sent = pools.map((pool) =>
      world.begin({ ...repair, id: pool, node_pool: pool }, world.newInstance()),
    );
    const answers = [];
    for (const each of sent) answers.push(await world.answerOf(each));
    expect(answers.filter(({ status }) => status === 200)).to.have.length(2);
    const refused = answers.filter(({ status }) => status !== 200);
    for (const { status, code, error } of refused) {
      expect({ status, code }).to.deep.equal({ status: 429, code: 'budget_exceeded' });
      expect(error).to.match(/2 node pools were acted on within the hour \(slice-., slice-.\)/);
    }
    expect(deletedMachines(world)).to.have.length(2);
    expect(pools.filter((pool) => countCordoned(world.cluster, pool) > 0)).to.have.length(2);
    await world.pass(3605);
    expect((await world.send({ ...repair, id: 'later', node_pool: 'slice-e' })).status).to.equal(200);
  });

  // F-15: a dry run used up the rate limit, or the rate limit refused it.
  it('neither count a dry run nor refuse one', async () => {
    const world = new VirtualFailover({ environment: { MAX_POOLS_PER_HOUR: '1' } });
    for (const pool of ['slice-a', 'slice-b']) {
      expect((await world.send({ ...repair, node_pool: pool, dry_run: true })).status).to.equal(200);
    }
    expect((await world.send(repair)).status).to.equal(200);
    const again = await world.send({ ...repair, id: 'b', dry_run: true });
    expect(again.status).to.equal(200);
    expect(again.steps[0]).to.include({ step: 'limits', outcome: 'would_refuse', code: 'rate_limited' });
  });

  it('count no uncordon', async () => {
    const world = new VirtualFailover({ environment: { MAX_POOLS_PER_HOUR: '1' } });
    await world.send({ ...cordon, type: 'uncordon_nodepool', id: 'u', node_pool: 'slice-b' });
    expect((await world.send(cordon)).status).to.equal(200);
    const undo = { ...cordon, type: 'uncordon_nodepool', id: 'v', node_pool: 'slice-b' };
    expect((await world.send(undo)).status).to.equal(200);
  });

  it('can be lifted by a person for at most one hour', async () => {
    // A person insists.
    expectBroken('one-repair-a-cooldown');
    expectBroken('budget-holds');
    const world = new VirtualFailover({ environment: { MAX_POOLS_PER_HOUR: '1' } });
    await world.send(repair);
    await world.pass(200);
    const lift = (seconds: number) =>
      annotateCluster(world, 'override-until', new Date(world.time.now + seconds * 1000).toISOString());
    lift(3700);
    expect((await world.send({ ...repair, id: 'b' })).code).to.equal('rate_limited');
    lift(1800);
    expect((await world.send({ ...repair, id: 'c' })).status).to.equal(200);
    expect((await world.send({ ...repair, id: 'd', node_pool: 'slice-b' })).status).to.equal(200);
    await world.pass(1801);
    expect((await world.send({ ...repair, id: 'e' })).code).to.equal('rate_limited');
  });

  it('stop an action that is paused between its cordon and its deletion', async () => {
    for (const body of [restart, repair]) {
      const world = new VirtualFailover();
      world.once(nodePatch, () => annotateCluster(world, 'paused', 'wait for me'));
      const answer = await world.send(body);
      expect(answer).to.include({ status: 409, code: 'paused' });
      expect(answer.error).to.include('wait for me');
      expect(deletedMachines(world)).to.deep.equal([]);
      expect(restarts(world)).to.equal(0);
      world.cluster.change('leases', failoverNamespace, 'cluster', ({ metadata }) => {
        delete metadata.annotations?.['autometric-failover/paused'];
      });
      expect((await world.send(body)).status).to.equal(200);
    }
  });
});

describe('a cordon', () => {
  // F-45: a person uncordoned while the action was running; it went on and deleted the machine.
  it('that a person removes while the action is running stops the action, and stays removed', async () => {
    for (const body of [restart, repair]) {
      const world = new VirtualFailover();
      const name = nodeNames(world.cluster, 'slice-a')[0] ?? '';
      const lift = () => world.cluster.cordonAs('kubectl', name, false);
      world.once(body === restart ? /^GET .*\/leases\/jobset-/ : /^GET .*\/leases\/cluster/, () => {
        if (body === restart) world.once(/^GET .*\/leases\/cluster/, lift);
        else world.once(/^GET .*\/leases\/cluster/, lift);
      });
      const answer = await world.send(body);
      expect(world.isAllDone).to.equal(true);
      expect(answer).to.include({ status: 409, code: 'target_changed' });
      expect(answer.error).to.include(name);
      expect(deletedMachines(world)).to.deep.equal([]);
      expect(restarts(world)).to.equal(0);
      // Also when it is sent again.
      expect((await world.send(body)).code).to.equal('target_changed');
      expect(countCordoned(world.cluster, 'slice-a')).to.equal(3);
      expect(deletedMachines(world)).to.deep.equal([]);
      expect((await world.send({ ...body, id: 'still-wanted' })).status).to.equal(200);
    }
  });

  // F-47: a late retry cordoned the pool again after the clean-up.
  it('that was undone is not set again by a late retry of a done action', async () => {
    const world = new VirtualFailover();
    await world.send(repair);
    await world.pass(300);
    await world.send({ ...cordon, id: 'undo', type: 'uncordon_nodepool' });
    await world.pass(3600);
    world.newWrites();
    expect(await world.send(repair)).to.include({ status: 200, isReplay: true });
    expect(world.newWrites()).to.deep.equal([]);
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(0);
  });

  it('that was undone is not set again by a late retry of an unfinished action, which deletes nothing either', async () => {
    for (const body of [cordon, restart, repair]) {
      const world = new VirtualFailover();
      const path = new RegExp(`/nodes/${nodeNames(world.cluster, 'slice-a')[3]}`);
      world.emulator.faults.add({ method: 'PATCH', path, times: 5, effect: { status: 500 } });
      expect((await world.send(body)).status).to.equal(502);
      expect(countCordoned(world.cluster, 'slice-a')).to.equal(3);
      await world.pass(60);
      await world.send({ ...cordon, id: 'undo', type: 'uncordon_nodepool' });
      expect(countCordoned(world.cluster, 'slice-a')).to.equal(0);
      await world.pass(60);
      world.newWrites();
      const late = await world.send(body);
      expect(late).to.include({ status: 409, code: 'target_changed' });
      expect(late.error).to.equal(
        'node pool slice-a was uncordoned by action undo after this action began; ' +
          'nothing was deleted and nothing is cordoned again: send it with a new id if it is still wanted',
      );
      expect(countEffects(world.newWrites())).to.deep.equal({});
      expect(countCordoned(world.cluster, 'slice-a')).to.equal(0);
      expect((await world.send({ ...body, id: 'anew' })).status).to.equal(200);
    }
  });

  // F-31: a person cordons between list and patch, or uncordons ours and cordons again: both are theirs.
  it('of a person survives the uncordon, whichever came first', async () => {
    const world = new VirtualFailover();
    const [before = '', between = '', again = ''] = nodeNames(world.cluster, 'slice-a');
    world.cluster.cordonAs('kubectl', before, true);
    world.once(nodePatch, () => world.cluster.cordonAs('kubectl', between, true));
    await world.send(cordon);
    world.cluster.cordonAs('kubectl', again, false);
    world.cluster.cordonAs('kubectl', again, true);
    const { steps } = await world.send({ ...cordon, id: 'undo', type: 'uncordon_nodepool' });
    expect(steps[0]).to.include({ uncordoned: 1, kept: 3, kept_nodes: [before, between, again].join(', ') });
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(3);
  });
});
