import { expect } from 'chai';
import { AlertWorld } from '../fixtures/alert-world.ts';
import { countEffects } from '../fixtures/count-writes.ts';
import { annotateCluster, deletedMachines, machineIds } from '../fixtures/train-run.ts';
import { nodeNames } from '../fixtures/train-world.ts';
import { jsonOf, noteOf, restartOfTrain } from '../fixtures/verdicts.ts';
import { VirtualFailover } from '../fixtures/virtual-failover.ts';

const four = ['slice-a', 'slice-b', 'slice-c', 'slice-d'];
const environment = { MAX_POOLS_PER_HOUR: '10', REPAIR_TIMEOUT_SECONDS: '300' };

/** Machines that do not come back: their repairs fail. */
const stayAway = { nodeObject: 'survives', repairDelaySeconds: 7200, stopSeconds: 7200 } as const;

const repairOf = (nodePool: string) => ({
  id: `r-${nodePool}`,
  type: 'repair_nodepool',
  node_pool: nodePool,
});

/** A world without a run, in which the repairs of these pools have just failed. */
async function afterFailed(failed: string[], options: object = {}): Promise<VirtualFailover> {
  const world = new VirtualFailover({ slices: four, jobSet: null, slice: stayAway, environment, ...options });
  for (const pool of failed) {
    expect((await world.send(repairOf(pool))).status, pool).to.equal(200);
    await world.pass(320);
    await world.reconcile();
    expect(jsonOf(world, `r-${pool}`, 'verdict')).to.include({ verdict: 'not_repaired' });
  }
  world.newWrites();
  return world;
}

async function expectRefused(
  world: VirtualFailover,
  body: Record<string, unknown>,
  why: RegExp,
): Promise<void> {
  const dryRun = await world.send({ ...body, dry_run: true });
  expect(dryRun.steps[0]).to.include({ step: 'limits', code: 'correlated_failure' });
  const answer = await world.send(body);
  expect(answer).to.include({ status: 429, code: 'correlated_failure' });
  expect(Number(answer.retryAfter)).to.be.within(1, 3600);
  expect(answer.error).to.match(why);
  expect(countEffects(world.newWrites())).to.deep.equal({});
  expect(noteOf(world, String(body['id']), 'phase')).to.equal(undefined);
}

// F-305: a zone's network failed. Pool after pool was repaired, each repair ended a run, and none helped.
describe('one more repair where others in its zone have just failed to help', () => {
  it('is refused after two of different pools, with what was seen', async () => {
    const world = await afterFailed(['slice-a', 'slice-b']);
    await expectRefused(
      world,
      repairOf('slice-c'),
      /^2 restarts or repairs in zone us-central1-a have failed to help within the hour \(r-slice-b on slice-b not_repaired at .*; r-slice-a on slice-a not_repaired at .*\), so one more/,
    );
  });

  it('is refused for a restart, too', async () => {
    const world = await afterFailed(['slice-b', 'slice-c'], { jobSet: {} });
    await expectRefused(world, restartOfTrain, /in zone us-central1-a/);
  });

  it('is done after one', async () => {
    const world = await afterFailed(['slice-a']);
    expect((await world.send(repairOf('slice-b'))).status).to.equal(200);
  });

  it('is done an hour later', async () => {
    const slice = { repairDelaySeconds: 600 };
    const world = await afterFailed(['slice-a', 'slice-b'], { slice });
    await world.pass(3300);
    expect((await world.send(repairOf('slice-c'))).status).to.equal(200);
  });

  it('is done in another zone', async () => {
    const world = await afterFailed(['slice-a', 'slice-b']);
    world.cluster.addTpuSlice('slice-e', { topology: '4x4', zone: 'us-central1-b' });
    world.emulator.settle();
    expect((await world.send(repairOf('slice-e'))).status).to.equal(200);
  });

  it('is done where as many have helped', async () => {
    const world = await afterFailed(['slice-a', 'slice-b']);
    for (const pool of ['slice-e', 'slice-f']) {
      world.cluster.addTpuSlice(pool, { topology: '4x4', stopSeconds: 1, repairDelaySeconds: 10 });
      world.emulator.settle();
      annotateCluster(world, 'override-until', new Date(world.time.now + 600_000).toISOString());
      expect((await world.send(repairOf(pool))).status).to.equal(200);
      await world.pass(120);
      await world.reconcile();
      expect(jsonOf(world, `r-${pool}`, 'verdict')).to.include({ verdict: 'repaired' });
    }
    await world.pass(600);
    expect((await world.send(repairOf('slice-c'))).status).to.equal(200);
  });

  it('is done with a person’s override', async () => {
    const world = await afterFailed(['slice-a', 'slice-b']);
    annotateCluster(world, 'override-until', new Date(world.time.now + 600_000).toISOString());
    expect((await world.send(repairOf('slice-c'))).status).to.equal(200);
  });

  it('does not keep a pool from being cordoned or uncordoned', async () => {
    const world = await afterFailed(['slice-a', 'slice-b']);
    for (const type of ['cordon_nodepool', 'uncordon_nodepool']) {
      expect((await world.send({ id: type, type, node_pool: 'slice-c' })).status).to.equal(200);
    }
  });

  it('is carried on where it was begun before the others failed', async () => {
    const world = new VirtualFailover({ slices: four, jobSet: null, slice: stayAway, environment });
    const path = new RegExp(machineIds(world, 'slice-c').join('|'));
    const effect = { status: 500 };
    const lift = world.emulator.faults.add({
      api: 'compute',
      method: 'DELETE',
      path,
      times: Infinity,
      effect,
    });
    expect((await world.send(repairOf('slice-c'))).status).to.equal(502);
    for (const pool of ['slice-a', 'slice-b']) {
      expect((await world.send(repairOf(pool))).status).to.equal(200);
      await world.pass(310);
      await world.reconcile();
    }
    expect(deletedMachines(world)).to.have.length(2);
    lift();
    await world.reconcile();
    expect(deletedMachines(world)).to.have.length(3);
  });
});

describe('one more restart of a JobSet whose restarts have just failed to help', () => {
  it('is refused after two, from whichever pool', async () => {
    const world = new VirtualFailover({
      slices: ['slice-a', 'slice-b', 'slice-c'],
      environment: { MAX_POOLS_PER_HOUR: '10', RECOVERY_TIMEOUT_SECONDS: '300', COOLDOWN_SECONDS: '0' },
    });
    // In other zones: only the JobSet is the same.
    for (const [index, pool] of ['slice-a', 'slice-b', 'slice-c'].entries()) {
      for (const name of nodeNames(world.cluster, pool)) {
        world.cluster.change('nodes', undefined, name, ({ metadata }) => {
          metadata.labels = {
            ...metadata.labels,
            'topology.kubernetes.io/zone': `us-central1-${'abc'[index]}`,
          };
        });
      }
    }
    const stop = world.cluster.switches.failImagePulls(() => true);
    await world.send({ ...restartOfTrain, id: 'one' });
    await world.pass(330);
    await world.reconcile();
    expect(jsonOf(world, 'one', 'verdict')).to.include({ verdict: 'not_recovered' });
    expect((await world.send({ ...restartOfTrain, id: 'two', node_pool: 'slice-b' })).status).to.equal(200);
    await world.pass(330);
    await world.reconcile();
    expect(jsonOf(world, 'two', 'verdict')).to.include({ verdict: 'not_recovered' });
    world.newWrites();
    await expectRefused(
      world,
      { ...restartOfTrain, id: 'three', node_pool: 'slice-c' },
      /^2 restarts or repairs of JobSet default\/train have failed to help/,
    );
    stop();
  });
});

// F-306: a third of a zone's machines failed at once, and the alerts had them repaired one pool after the other.
describe('a repair while many accelerator nodes of its zone are bad', () => {
  function kill(world: VirtualFailover, pool: string, count = 4): void {
    for (const name of nodeNames(world.cluster, pool).slice(0, count)) world.cluster.killNode(name);
  }

  it('is refused above a third, with how many in which pools', async () => {
    const world = new VirtualFailover({ slices: four, jobSet: null, environment });
    kill(world, 'slice-a');
    kill(world, 'slice-b', 2);
    await world.pass(5);
    world.newWrites();
    await expectRefused(
      world,
      repairOf('slice-a'),
      /^6 of 16 accelerator nodes in zone us-central1-a are not Ready or lack their accelerators \(slice-a 4, slice-b 2\), so one more/,
    );
  });

  it('is done up to a third', async () => {
    const world = new VirtualFailover({ slices: four, jobSet: null, environment });
    kill(world, 'slice-a');
    kill(world, 'slice-b', 1);
    await world.pass(5);
    expect((await world.send(repairOf('slice-a'))).status).to.equal(200);
  });

  it('is done where only another slice is bad', async () => {
    const world = new VirtualFailover({ slices: ['slice-a', 'slice-b'], jobSet: null, environment });
    kill(world, 'slice-b');
    await world.pass(5);
    expect((await world.send(repairOf('slice-a'))).status).to.equal(200);
  });

  it('is done where only its own slice is bad, however small the zone', async () => {
    const world = new VirtualFailover({ slices: ['slice-a', 'slice-b'], jobSet: null, environment });
    kill(world, 'slice-a');
    await world.pass(5);
    expect((await world.send(repairOf('slice-a'))).status).to.equal(200);
  });
});

describe('an alert that is refused for a correlated failure', () => {
  it('is told as an error, which pages, and the override does not count for it', async () => {
    const world = new AlertWorld({ slices: four, jobSet: null, environment });
    await world.pass(60);
    for (const pool of ['slice-a', 'slice-b']) {
      for (const name of nodeNames(world.cluster, pool)) world.cluster.killNode(name);
    }
    await world.pass(10);
    world.cluster.change('leases', 'autometric-failover-system', 'cluster', ({ metadata }) => {
      const until = new Date(world.time.now + 600_000).toISOString();
      metadata.annotations = { ...metadata.annotations, 'autometric-failover/override-until': until };
    });
    const answer = await world.notify({
      id: '0.one',
      startedAt: world.time.now - 20_000,
      resource: { node_name: nodeNames(world.cluster, 'slice-a')[0] ?? '' },
      labels: { failover_action: 'cordon_and_repair_nodepool' },
    });
    expect(answer.body).to.include({ code: 'correlated_failure' });
    expect(answer.body.error).not.to.match(/To lift/);
    expect(world.effects()).to.deep.equal({});
    expect(world.lastLine).to.include({ severity: 'ERROR', outcome: 'refused', code: 'correlated_failure' });
  });
});
