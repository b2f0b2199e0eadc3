import { expect } from 'chai';
import { failoverNamespace } from '../../src/names.ts';
import type { Lease } from '../emulator/objects.ts';
import { countEffects, countWrites } from '../fixtures/count-writes.ts';
import { annotateCluster, restarts } from '../fixtures/train-run.ts';
import { countCordoned, nodeNames, whereTrainRuns } from '../fixtures/train-world.ts';
import { VirtualFailover } from '../fixtures/virtual-failover.ts';

const restart = {
  id: 'a',
  type: 'cordon_nodepool_and_restart_jobset',
  node_pool: 'slice-a',
  jobset_name: 'train',
};
const repair = { id: 'r', type: 'cordon_and_repair_nodepool', node_pool: 'slice-a' };

function recordOf({ cluster }: VirtualFailover, id: string): Lease {
  const found = cluster
    .leases(failoverNamespace)
    .find(({ metadata }) => metadata.annotations?.['autometric-failover/id'] === id);
  if (!found) throw new Error(`action ${id} has no record`);
  return found;
}

function annotation(world: VirtualFailover, id: string, key: string): string | undefined {
  return recordOf(world, id).metadata.annotations?.[`autometric-failover/${key}`];
}

function verdictOf(world: VirtualFailover, id: string): Record<string, unknown> {
  return JSON.parse(annotation(world, id, 'verdict') ?? '{}') as Record<string, unknown>;
}

function eventReasons({ cluster }: VirtualFailover): string[] {
  return cluster
    .events()
    .map(({ reason }) => String(reason))
    .filter((reason) => /^Failover(?!Action)/.test(reason))
    .sort();
}

/** The world has no room for the run but on the pool that is cordoned. */
function createFullWorld(): VirtualFailover {
  return new VirtualFailover({ slices: ['slice-a'] });
}

describe('the verdict of a restart', () => {
  it('is recovered once every pod of the next attempt is Ready, with the time of the last one', async () => {
    const world = new VirtualFailover();
    const sentAt = world.time.now;
    await world.send(restart);
    expect(annotation(world, 'a', 'phase')).to.equal('done');
    await world.pass(5);
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #1']);
    const readyAt = world.time.now;
    await world.pass(300);
    world.newWrites();
    expect(await world.reconcile()).to.deep.include({
      open: 1,
      settled: [{ id: 'a', verdict: 'recovered' }],
      waiting: [],
      errors: [],
    });
    const verdict = verdictOf(world, 'a');
    expect(verdict).to.include({ verdict: 'recovered', attempt: 1 });
    expect(Date.parse(String(verdict['recovered_at']))).to.be.within(sentAt, readyAt);
    expect(verdict['seconds']).to.be.within(0, 6);
    expect(annotation(world, 'a', 'phase')).to.equal('settled');
    expect(recordOf(world, 'a').metadata.labels).not.to.have.property('autometric-failover/open');
    expect(countWrites(world.newWrites())).to.deep.equal({ 'PUT leases': 2, 'POST events': 1 });
    expect(eventReasons(world)).to.deep.equal(['FailoverRecovered']);
    const [line] = world.log.filter(({ event }) => event === 'verdict');
    expect(line).to.include({ severity: 'INFO', action_id: 'a', verdict: 'recovered', node_pool: 'slice-a' });
  });

  it('waits while pods are not Ready, and reads only', async () => {
    const world = createFullWorld();
    await world.send(restart);
    await world.pass(60);
    world.newWrites();
    expect(await world.reconcile()).to.deep.include({ open: 1, settled: [], waiting: ['a'], errors: [] });
    expect(world.newWrites()).to.deep.equal([]);
  });

  it('is not_recovered when time is up, in the words of the scheduler', async () => {
    const world = createFullWorld();
    await world.send(restart);
    await world.pass(1199);
    expect((await world.reconcile()).waiting).to.deep.equal(['a']);
    await world.pass(2);
    expect((await world.reconcile()).settled).to.deep.equal([{ id: 'a', verdict: 'not_recovered' }]);
    expect(verdictOf(world, 'a')['why']).to.match(
      /^not within 1200 s: 1 of 4 pods are Pending.*; 3 of 4 pods do not exist$/,
    );
    expect(verdictOf(world, 'a')).not.to.have.property('seconds');
    expect(eventReasons(world)).to.deep.equal(['FailoverNotRecovered']);
    expect(world.log.find(({ event }) => event === 'verdict')).to.include({ severity: 'ERROR' });
  });

  it('is run_ended where the JobSet is gone, and where another one has its name', async () => {
    for (const isMadeAnew of [false, true]) {
      const world = new VirtualFailover();
      await world.send(restart);
      world.cluster.remove('jobsets', 'default', 'train');
      await world.pass(5);
      if (isMadeAnew) {
        world.cluster.addJobSet({
          name: 'train',
          replicatedJobs: [{ name: 'workers', parallelism: 4, backoffLimit: 0 }],
        });
        await world.pass(5);
      }
      await world.reconcile();
      expect(verdictOf(world, 'a')).to.include({ verdict: 'run_ended' });
      expect(verdictOf(world, 'a')['why']).to.match(isMadeAnew ? /another one has its name/ : /is gone/);
    }
  });

  it('does not count a run that is back on cordoned nodes of the pool', async () => {
    const world = new VirtualFailover();
    await world.send(restart);
    await world.pass(5);
    for (const name of nodeNames(world.cluster, 'slice-b')) {
      world.cluster.change('nodes', undefined, name, (node) => {
        node.metadata.labels = { ...node.metadata.labels, 'cloud.google.com/gke-nodepool': 'slice-a' };
        node.spec.unschedulable = true;
      });
    }
    expect((await world.reconcile()).waiting).to.deep.equal(['a']);
  });

  it('frees what holds the restart up: a pod on a node that had just died when the action ran', async () => {
    const world = new VirtualFailover();
    const pod = world.cluster
      .pods('default')
      .find(({ metadata }) => metadata.labels?.['batch.kubernetes.io/job-completion-index'] === '2');
    world.cluster.killNode(pod?.spec.nodeName ?? '');
    await world.pass(10);
    await world.send(restart);
    await world.pass(20);
    world.newWrites();
    expect((await world.reconcile()).waiting).to.deep.equal(['a']);
    expect(countEffects(world.newWrites())).to.deep.equal({});
    await world.pass(60);
    annotateCluster(world, 'paused', 'a look');
    await world.reconcile();
    expect(countEffects(world.newWrites())).to.deep.equal({});
    world.cluster.change('leases', failoverNamespace, 'cluster', ({ metadata }) => {
      delete metadata.annotations?.['autometric-failover/paused'];
    });
    expect((await world.reconcile()).waiting).to.deep.equal(['a']);
    expect(countEffects(world.newWrites())).to.deep.equal({ 'DELETE pods': 1 });
    await world.pass(5);
    expect((await world.reconcile()).settled).to.deep.equal([{ id: 'a', verdict: 'recovered' }]);
    expect(restarts(world)).to.equal(1);
  });
});

describe('the verdict of a repair', () => {
  it('is repaired once the pool is whole with another machine', async () => {
    const world = new VirtualFailover({ jobSet: null });
    await world.send(repair);
    expect((await world.reconcile()).waiting).to.deep.equal(['r']);
    await world.pass(600);
    expect((await world.reconcile()).settled).to.deep.equal([{ id: 'r', verdict: 'repaired' }]);
    const verdict = verdictOf(world, 'r');
    expect(verdict['seconds']).to.be.within(1, 600);
    expect(eventReasons(world)).to.deep.equal(['FailoverRepaired']);
  });

  it('is not_repaired when time is up, and says what is missing', async () => {
    const world = new VirtualFailover({ jobSet: null });
    await world.send(repair);
    await world.pass(600);
    const [name = ''] = nodeNames(world.cluster, 'slice-a');
    world.cluster.killNode(name);
    await world.pass(1300);
    await world.reconcile();
    expect(verdictOf(world, 'r')).to.include({
      verdict: 'not_repaired',
      why: 'not within 1800 s: 1 of 4 nodes are not Ready',
    });
  });
});

describe('what follows from a verdict', () => {
  it('is the repair that on_failure asks for, once, after a restart that did not help', async () => {
    const world = createFullWorld();
    await world.send({ ...restart, on_failure: 'cordon_and_repair_nodepool' });
    await world.pass(1201);
    world.newWrites();
    expect((await world.reconcile()).settled).to.deep.equal([{ id: 'a', verdict: 'not_recovered' }]);
    expect(countEffects(world.newWrites())).to.deep.equal({ 'DELETE instances': 1 });
    expect(annotation(world, 'a', 'follow-up')).to.contain('"outcome":"done"');
    expect(annotation(world, 'a.on-failure', 'phase')).to.equal('done');
    await world.pass(600);
    expect((await world.reconcile()).settled).to.deep.equal([{ id: 'a.on-failure', verdict: 'repaired' }]);
    world.newWrites();
    await world.reconcile();
    expect(world.newWrites()).to.deep.equal([]);
  });

  it('is not done for a run that came back between the verdict and the repair', async () => {
    const world = createFullWorld();
    await world.send({ ...restart, on_failure: 'repair_nodepool' });
    await world.pass(1201);
    world.newWrites();
    world.once(/POST .*events$/, () => {
      world.cluster.addTpuSlice('slice-c', { topology: '4x4' });
      world.emulator.settle();
    });
    expect((await world.reconcile()).settled).to.deep.equal([{ id: 'a', verdict: 'not_recovered' }]);
    expect(countEffects(world.newWrites())).to.deep.equal({});
    expect(annotation(world, 'a', 'follow-up')).to.contain('not_needed');
  });

  it('is the release of our cordons after a repair that asked for it', async () => {
    const world = new VirtualFailover({ jobSet: null });
    await world.send({ ...repair, uncordon_when_repaired: true });
    await world.pass(600);
    await world.reconcile();
    expect(annotation(world, 'r', 'follow-up')).to.contain('"outcome":"done"');
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(0);
    expect(annotation(world, 'r.uncordon', 'phase')).to.equal('settled');
  });

  it('stays under the limits that any action has, and says so', async () => {
    const world = createFullWorld();
    const settings = { ALLOWED_ACTIONS: 'cordon_nodepool_and_restart_jobset,repair_nodepool' };
    await world.send({ ...restart, on_failure: 'repair_nodepool' }, world.instance, settings);
    await world.pass(1201);
    world.newWrites();
    await world.reconcile({ ALLOWED_ACTIONS: 'cordon_nodepool_and_restart_jobset' });
    expect(countEffects(world.newWrites())).to.deep.equal({});
    expect(annotation(world, 'a', 'follow-up')).to.contain('"code":"forbidden"');
  });
});

describe('a reconcile', () => {
  it('of an idle cluster is one call, and leaves no line in the log', async () => {
    const world = new VirtualFailover();
    const before = world.emulator.requests.length;
    expect(await world.reconcile()).to.deep.include({ open: 0, waiting: [], settled: [], errors: [] });
    expect(world.emulator.requests.length - before).to.equal(1);
    expect(world.log).to.deep.equal([]);
  });

  it('finishes an action whose instance died after its plan', async () => {
    const world = new VirtualFailover();
    const instance = world.newInstance();
    world.once(/PATCH .*nodes/, () => instance.crash());
    world.begin(restart, instance);
    await world.pass(5);
    expect(annotation(world, 'a', 'phase')).to.equal('planned');
    // Its lock has not expired: it may still be alive.
    const other = world.newInstance();
    expect((await world.reconcile({}, other)).waiting).to.deep.equal(['a']);
    await world.pass(75);
    expect((await world.reconcile({}, other)).resumed).to.deep.equal(['a']);
    await world.pass(5);
    expect((await world.reconcile({}, other)).settled).to.deep.equal([{ id: 'a', verdict: 'recovered' }]);
    expect(restarts(world)).to.equal(1);
    expect(annotation(world, 'a', 'resumes')).to.equal('1');
  });

  it('does not carry on what is paused, what was refused, or what is too old; the last it abandons', async () => {
    const world = new VirtualFailover();
    const instance = world.newInstance();
    world.once(/PATCH .*nodes/, () => instance.crash());
    world.begin(restart, instance);
    await world.pass(80);
    world.newWrites();
    annotateCluster(world, 'paused', 'a look');
    expect((await world.reconcile()).waiting).to.deep.equal(['a']);
    await world.pass(900);
    expect((await world.reconcile()).settled).to.deep.equal([{ id: 'a', verdict: 'abandoned' }]);
    expect(countEffects(world.newWrites())).to.deep.equal({});
    expect(verdictOf(world, 'a')['why']).to.match(/nobody has finished it within 900 s/);
    expect(eventReasons(world)).to.deep.equal(['FailoverAbandoned']);
  });

  it('forgets a claim without a plan', async () => {
    const world = new VirtualFailover();
    const instance = world.newInstance();
    world.once(/GET .*nodes/, () => instance.crash());
    world.begin({ ...restart, node_pool: 'slice-a' }, instance);
    await world.pass(10);
    expect(annotation(world, 'a', 'phase')).to.equal('claimed');
    await world.pass(130);
    await world.reconcile();
    expect(() => recordOf(world, 'a')).to.throw(/no record/);
  });
});
