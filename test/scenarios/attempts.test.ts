import { expect } from 'chai';
import { failoverNamespace } from '../../src/names.ts';
import { toRecordName } from '../../src/state/record-format.ts';
import { toMarkName } from '../../src/state/restart-mark.ts';
import { AlertWorld } from '../fixtures/alert-world.ts';
import { countEffects, countWrites } from '../fixtures/count-writes.ts';
import { createNotification } from '../fixtures/notification.ts';
import { expectBroken } from '../fixtures/promise-watch.ts';
import { annotateCluster, deletedMachines, restarts } from '../fixtures/train-run.ts';
import { countCordoned, nodeNames, whereTrainRuns } from '../fixtures/train-world.ts';
import { VirtualFailover } from '../fixtures/virtual-failover.ts';
import type { VirtualAnswer } from '../fixtures/virtual-failover.ts';

// What was done three times within a day did not help.

const key = 'autometric-failover/attempts';
const repair = { type: 'repair_nodepool', node_pool: 'slice-a' };
const restart = { type: 'cordon_nodepool_and_restart_jobset', jobset_name: 'train' };
const day = 24 * 3600;
/** Only the attempts are limited. */
const environment = { COOLDOWN_SECONDS: '0', MAX_POOLS_PER_HOUR: '10', MAX_ALERT_AGE_SECONDS: '60' };
const jobSetLease = toMarkName('default', 'train');
const exhausted = { status: 409, code: 'attempts_exhausted' };
const podDeletion = /^DELETE .*\/pods\//;
const machineDeletion = { api: 'compute', method: 'DELETE' } as const;

interface Attempt {
  action: string;
  at: string;
  jobSetUid?: string;
}

/** The list on a Lease, as it is stored. */
function attemptsOn({ cluster }: Pick<VirtualFailover, 'cluster'>, lease: string): Attempt[] | undefined {
  const text = cluster.get('leases', failoverNamespace, lease)?.metadata.annotations?.[key];
  return text === undefined ? undefined : (JSON.parse(text) as Attempt[]);
}

const ids = (attempts: Attempt[] | undefined) => attempts?.map(({ action }) => action);

function annotate({ cluster }: VirtualFailover, lease: string, text: string): void {
  cluster.change('leases', failoverNamespace, lease, ({ metadata }) => {
    metadata.annotations = { ...metadata.annotations, [key]: text };
  });
}

function repairBy(world: VirtualFailover, id: string, settings = {}): Promise<VirtualAnswer> {
  return world.send({ ...repair, id }, world.instance, settings);
}

function restartFrom(world: VirtualFailover, pool: string, id = pool): Promise<VirtualAnswer> {
  return world.send({ ...restart, id, node_pool: pool });
}

/** A world in which slice-a was repaired by r1, r2 and r3, 600 s apart. */
async function createRepaired(): Promise<VirtualFailover> {
  const world = new VirtualFailover({ environment });
  for (const id of ['r1', 'r2', 'r3']) {
    expect((await repairBy(world, id)).steps.at(-1)).to.include({ outcome: 'deletion_accepted' });
    await world.pass(600);
  }
  world.newWrites();
  return world;
}

const slices = ['slice-a', 'slice-b', 'slice-c', 'slice-d', 'slice-e'];

/** A world in which train has moved from slice-a, slice-b and slice-c to slice-d. */
async function createMoved(): Promise<VirtualFailover> {
  const world = new VirtualFailover({ slices, environment, jobSet: { failurePolicy: { maxRestarts: 20 } } });
  for (const pool of slices.slice(0, 3)) {
    expect((await restartFrom(world, pool)).steps.at(-1)).to.include({ outcome: 'restarted' });
    await world.pass(60);
  }
  expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-d #3']);
  world.newWrites();
  return world;
}

describe('the fourth repair of a pool within a day', () => {
  it('is refused, does nothing, and lists the three with their verdicts', async () => {
    const world = new VirtualFailover({ environment });
    await repairBy(world, 'r1');
    await world.pass(600);
    await world.reconcile();
    await repairBy(world, 'r2');
    await world.pass(600);
    await repairBy(world, 'r3');
    await world.pass(600);
    world.cluster.remove('leases', failoverNamespace, toRecordName('r2'));
    world.newWrites();

    const answer = await repairBy(world, 'r4');
    expect(answer).to.include(exhausted);
    expect(countEffects(world.newWrites())).to.deep.equal({});
    expect(deletedMachines(world)).to.have.length(3);
    const [r1, r2, r3] = (attemptsOn(world, 'pool-slice-a') ?? []).map(({ at }) => at);
    expect(r1).to.match(/^2026-11-23T03:00:0/);
    expect(answer.error).to.include(
      'node pool slice-a was repaired 3 times within 24 h, and MAX_ATTEMPTS_PER_DAY is 3: it did not help, so a person must look ' +
        `(action r1 at ${r1}: repaired; action r2 at ${r2}: not known; action r3 at ${r3}: no verdict yet). ` +
        `Again possible at ${r1?.replace('-23T', '-24T')}. To lift cooldown, budget and attempts for 30 minutes: kubectl `,
    );
    expect(answer).not.to.have.property('retryAfter');
    // Nothing was done, so nothing is left of it.
    expect(ids(attemptsOn(world, 'pool-slice-a'))).to.deep.equal(['r1', 'r2', 'r3']);
    expect((await repairBy(world, 'r4')).code).to.equal('attempts_exhausted');
  });

  it('goes once the first is a day old, by the API server’s clock, and then the next is refused again', async () => {
    const world = await createRepaired();
    // The instances' clocks are wrong by more than a day.
    const ahead = world.newInstance(30 * 3_600_000);
    const behind = world.newInstance(-30 * 3_600_000);
    await world.pass(day - 3 * 600 - 60);
    for (const instance of [ahead, behind]) {
      expect(await world.send({ ...repair, id: 'r4' }, instance)).to.include(exhausted);
    }
    await world.pass(120);
    expect((await world.send({ ...repair, id: 'r4' }, behind)).steps.at(-1)).to.include({
      outcome: 'deletion_accepted',
    });
    expect(ids(attemptsOn(world, 'pool-slice-a'))).to.deep.equal(['r2', 'r3', 'r4']);
    await world.pass(60);
    expect(await world.send({ ...repair, id: 'r5' }, ahead)).to.include(exhausted);
  });

  it('is as many as MAX_ATTEMPTS_PER_DAY says', async () => {
    // The bound is set higher for the last one.
    expectBroken('attempts-end');
    const world = await createRepaired();
    expect(await repairBy(world, 'r4', { MAX_ATTEMPTS_PER_DAY: '2' })).to.include(exhausted);
    expect(await repairBy(world, 'r4', { MAX_ATTEMPTS_PER_DAY: '4' })).to.include({ status: 200 });
    const answer = await repairBy(world, 'r5', { MAX_ATTEMPTS_PER_DAY: '4' });
    expect(answer).to.include(exhausted);
    expect(answer.error).to.include('repaired 4 times').and.include('MAX_ATTEMPTS_PER_DAY is 4');
    // A limit that was lowered counts what was done before.
    const lowered = await repairBy(world, 'r5', { MAX_ATTEMPTS_PER_DAY: '1' });
    const last = attemptsOn(world, 'pool-slice-a')?.at(-1)?.at ?? '';
    expect(lowered.error).to.include(`Again possible at ${last.replace('-23T', '-24T')}`);
  });

  it('is no matter of another pool, nor of a cordon or an uncordon', async () => {
    const world = await createRepaired();
    expect(await world.send({ ...repair, id: 'b', node_pool: 'slice-b' })).to.include({ status: 200 });
    for (const type of ['cordon_nodepool', 'uncordon_nodepool']) {
      expect(await world.send({ id: type, type, node_pool: 'slice-a' })).to.include({ status: 200 });
    }
  });

  it('goes under the override of a person, and is counted', async () => {
    // A person insists.
    expectBroken('attempts-end');
    const world = await createRepaired();
    annotateCluster(world, 'override-until', new Date(world.time.now + 600_000).toISOString());
    expect((await repairBy(world, 'r4')).steps.at(-1)).to.include({ outcome: 'deletion_accepted' });
    expect(countEffects(world.newWrites())).to.deep.equal({ 'DELETE instances': 1 });
    await world.pass(700);
    expect(await repairBy(world, 'r5')).to.include(exhausted);
    expect(ids(attemptsOn(world, 'pool-slice-a'))).to.deep.equal(['r1', 'r2', 'r3', 'r4']);
  });

  it('is said by a dry run, which is not counted', async () => {
    const world = new VirtualFailover({ environment });
    for (const id of ['d1', 'd2', 'd3', 'd4']) {
      const { steps } = await world.send({ ...repair, id, dry_run: true });
      expect(steps.map(({ step }) => step)).to.deep.equal(['repair']);
    }
    expect(attemptsOn(world, 'pool-slice-a')).to.equal(undefined);
    for (const id of ['r1', 'r2', 'r3']) {
      await repairBy(world, id);
      await world.pass(600);
    }
    world.newWrites();
    const { steps } = await world.send({ ...repair, id: 'd5', dry_run: true });
    expect(steps[0]).to.include({ step: 'limits', outcome: 'would_refuse', code: 'attempts_exhausted' });
    expect(steps[0]?.['why']).to.include('action r3 at ');
    expect(steps[1]).to.include({ step: 'repair', outcome: 'would_delete' });
    expect(countWrites(world.newWrites())).to.deep.equal({ 'POST events': 1 });
  });

  it('is refused where the list is broken, until somebody has looked', async () => {
    const broken = ['no JSON', '{}', '[{"action":"r1"}]', '[{"action":"r1","at":"yesterday"}]', '[null]'];
    for (const text of broken) {
      const world = new VirtualFailover({ environment });
      await repairBy(world, 'r1');
      await world.pass(600);
      annotate(world, 'pool-slice-a', text);
      world.newWrites();
      const answer = await repairBy(world, 'r2');
      expect(answer, text).to.include(exhausted);
      expect(answer.error).to.include(
        `annotation ${key} of Lease pool-slice-a is broken; look at what was done, then: ` +
          `kubectl annotate lease pool-slice-a -n ${failoverNamespace} ${key}-. To lift`,
      );
      expect(countEffects(world.newWrites())).to.deep.equal({});
      annotateCluster(world, 'override-until', new Date(world.time.now + 600_000).toISOString());
      expect(await repairBy(world, 'r2')).to.include({ status: 200 });
      expect(ids(attemptsOn(world, 'pool-slice-a')), text).to.deep.equal(['r1', 'r2']);
    }
  });

  it('is refused although the verdicts cannot be read', async () => {
    const world = await createRepaired();
    const path = new RegExp(`${toRecordName('r1')}$`);
    world.emulator.faults.add({ method: 'GET', path, times: Infinity, effect: { status: 500 } });
    world.cluster.change('leases', failoverNamespace, toRecordName('r2'), ({ metadata }) => {
      metadata.annotations = { ...metadata.annotations, 'autometric-failover/verdict': 'broken' };
    });
    const answer = await repairBy(world, 'r4');
    expect(answer).to.include(exhausted);
    expect(answer.error).to.match(
      /action r1 at \S+: not known; action r2 at \S+: not known; action r3 at \S+: no verdict yet\)/,
    );
  });
});

describe('a repair', () => {
  it('is counted by the write that marks it as accepted', async () => {
    const world = new VirtualFailover({ environment });
    await repairBy(world, 'r1');
    const lists = world
      .newWrites()
      .filter(({ method, path }) => method === 'PUT' && path.endsWith('/leases/pool-slice-a'))
      .map(
        ({ body }) => (body as { metadata: { annotations?: Record<string, string> } }).metadata.annotations,
      )
      .map((annotations) => [
        /"state":"(\w+)"/.exec(annotations?.['autometric-failover/effects'] ?? '')?.[1],
        ids(JSON.parse(annotations?.[key] ?? '[]') as Attempt[]),
      ]);
    // Begun, accepted, released.
    expect(lists).to.deep.equal([
      ['begun', []],
      ['accepted', ['r1']],
      ['accepted', ['r1']],
    ]);
  });

  it('whose deletion was refused is not counted', async () => {
    const world = new VirtualFailover({ environment });
    const lift = world.emulator.faults.add({ ...machineDeletion, times: Infinity, effect: { status: 403 } });
    for (const id of ['r1', 'r2', 'r3', 'r4']) {
      expect((await repairBy(world, id)).status).to.be.within(409, 502);
    }
    lift();
    expect(attemptsOn(world, 'pool-slice-a')).to.equal(undefined);
    expect(await repairBy(world, 'r5')).to.include({ status: 200 });
  });

  it('whose instance dies between the deletion and its answer is counted once it is resumed, and once only', async () => {
    const world = new VirtualFailover({ environment });
    const doomed = world.newInstance();
    world.once(/^DELETE .*\/instances\//, () => doomed.crash());
    world.begin({ ...repair, id: 'r1' }, doomed);
    await world.pass(100);
    expect(deletedMachines(world)).to.have.length(1);
    expect(attemptsOn(world, 'pool-slice-a')).to.equal(undefined);
    for (let times = 0; times < 3; times++) {
      const answer = await repairBy(world, 'r1');
      expect(answer).to.include({ status: 200, isReplay: times > 0 });
      expect(ids(attemptsOn(world, 'pool-slice-a'))).to.deep.equal(['r1']);
    }
    expect(deletedMachines(world)).to.have.length(1);
  });

  it('that was accepted is finished by its resume, although it was the last that may be', async () => {
    const world = new VirtualFailover({ environment });
    await repairBy(world, 'r1');
    await world.pass(600);
    await repairBy(world, 'r2');
    await world.pass(600);
    const doomed = world.newInstance();
    world.once(/^DELETE .*\/instances\//, () => {
      // The write of the answer comes after that of the mark.
      world.once(/^PUT .*\/leases\/action-/, () => doomed.crash());
    });
    world.begin({ ...repair, id: 'r3' }, doomed);
    await world.pass(100);
    expect(ids(attemptsOn(world, 'pool-slice-a'))).to.deep.equal(['r1', 'r2', 'r3']);
    expect(await repairBy(world, 'r3')).to.include({ status: 200 });
    expect(ids(attemptsOn(world, 'pool-slice-a'))).to.deep.equal(['r1', 'r2', 'r3']);
    expect(await repairBy(world, 'r4')).to.include(exhausted);
  });

  it('that had deleted nothing when it stopped is asked again when it is resumed', async () => {
    const world = new VirtualFailover({ environment });
    const body = { ...repair, type: 'cordon_and_repair_nodepool', id: 'late' };
    const lift = world.emulator.faults.add({
      method: 'PATCH',
      path: /\/nodes\//,
      times: Infinity,
      effect: { status: 500 },
    });
    expect(await world.send(body)).to.include({ status: 502 });
    lift();
    for (const id of ['r1', 'r2', 'r3']) {
      expect(await repairBy(world, id)).to.include({ status: 200 });
      await world.pass(600);
    }
    world.newWrites();
    expect(await world.send(body)).to.include(exhausted);
    expect(countEffects(world.newWrites())).to.deep.equal({});
    annotateCluster(world, 'override-until', new Date(world.time.now + 600_000).toISOString());
    const answer = await world.send(body);
    expect(answer.code).not.to.equal('attempts_exhausted');
  });

  it('of a version without the list counts by its mark', async () => {
    const world = new VirtualFailover({ environment });
    for (const id of ['r1', 'r2', 'r3']) {
      await repairBy(world, id);
      await world.pass(600);
      if (id !== 'r1') continue;
      world.cluster.change('leases', failoverNamespace, 'pool-slice-a', ({ metadata }) => {
        delete metadata.annotations?.[key];
      });
    }
    expect(ids(attemptsOn(world, 'pool-slice-a'))).to.deep.equal(['r1', 'r2', 'r3']);
    world.cluster.change('leases', failoverNamespace, 'pool-slice-a', ({ metadata }) => {
      delete metadata.annotations?.[key];
    });
    const answer = await repairBy(world, 'r4', { MAX_ATTEMPTS_PER_DAY: '1' });
    expect(answer).to.include(exhausted);
    expect(answer.error).to.include('repaired 1 times').and.include('action r3 at ');
  });
});

describe('an alert that meets exhausted attempts', () => {
  const labels = { failover_action: 'cordon_and_repair_nodepool' };

  async function exhaust(world: AlertWorld): Promise<string> {
    for (const id of ['0.one', '0.two', '0.three']) {
      const [node = ''] = nodeNames(world.cluster, 'slice-a');
      const { body } = await world.notify({ id, resource: { node_name: node }, labels });
      expect(body.steps?.at(-1), body.ignored ?? body.error).to.include({ outcome: 'deletion_accepted' });
      await world.pass(600);
    }
    world.effects();
    return nodeNames(world.cluster, 'slice-a')[0] ?? '';
  }

  it('is an ERROR with the code, and the override of a person is not for it', async () => {
    const world = new AlertWorld({ environment });
    const node = await exhaust(world);
    world.cluster.change('leases', failoverNamespace, 'cluster', ({ metadata }) => {
      const until = new Date(world.time.now + 600_000).toISOString();
      metadata.annotations = { ...metadata.annotations, 'autometric-failover/override-until': until };
    });
    const { status, body } = await world.notify({ id: '0.four', resource: { node_name: node }, labels });
    expect({ status, code: body.code }).to.deep.equal(exhausted);
    expect(body.error).to.include('action 0.one at ').and.not.include('To lift');
    expect(world.lastLine).to.include({
      severity: 'ERROR',
      code: 'attempts_exhausted',
      action_id: '0.four',
      status: 409,
    });
    expect(world.lastLine['message']).to.include('action 0.three at ');
    expect(world.effects()).to.deep.equal({});
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(0);
  });

  it('only at the last moment deletes nothing, override or not', async () => {
    const world = new AlertWorld({ slices, environment: { ...environment, MAX_ATTEMPTS_PER_DAY: '2' } });
    const labelsOfRestart = {
      failover_action: 'cordon_nodepool_and_restart_jobset',
      failover_jobset: 'train',
    };
    const alertOn = (id: string, pool: string) =>
      world.notify({
        id,
        resource: { node_name: nodeNames(world.cluster, pool)[0] ?? '' },
        labels: labelsOfRestart,
      });
    expect((await alertOn('0.one', 'slice-a')).body.steps?.at(-1)).to.include({ outcome: 'restarted' });
    await world.pass(60);
    world.cluster.change('leases', failoverNamespace, 'cluster', ({ metadata }) => {
      const until = new Date(world.time.now + 600_000).toISOString();
      metadata.annotations = { ...metadata.annotations, 'autometric-failover/override-until': until };
    });
    let isChanged = false;
    world.emulator.faults.add({
      method: 'PATCH',
      path: /\/nodes\//,
      // Another pool's action restarts the JobSet once the decision is made.
      match: () => {
        if (!isChanged) {
          world.cluster.change('leases', failoverNamespace, jobSetLease, ({ metadata }) => {
            const [first] = JSON.parse(metadata.annotations?.[key] ?? '[]') as Attempt[];
            const both = JSON.stringify([first, { ...first, action: '0.other' }]);
            metadata.annotations = { ...metadata.annotations, [key]: both };
          });
        }
        isChanged = true;
        return false;
      },
      effect: { status: 500 },
    });
    world.effects();
    const { body } = await alertOn('0.two', 'slice-b');
    expect(isChanged).to.equal(true);
    expect(body).to.include({ code: 'attempts_exhausted' });
    expect(body.error).to.include('action 0.other at ').and.not.include('To lift');
    expect(world.effects()).to.deep.equal({ 'PATCH nodes': 4 });
    expect(world.lastLine).to.include({ severity: 'ERROR', code: 'attempts_exhausted' });
  });

  it('is an ERROR, too, where reconcile carries it on', async () => {
    for (const isOfAlert of [true, false]) {
      const world = new VirtualFailover({ environment });
      const body = { ...repair, type: 'cordon_and_repair_nodepool', id: 'late' };
      const patch = { method: 'PATCH', path: /\/nodes\//, times: Infinity };
      const lift = world.emulator.faults.add({ ...patch, effect: { status: 500 } });
      expect(await world.send(body)).to.include({ status: 502 });
      lift();
      const settings = { RESUME_WITHIN_SECONDS: '7200' };
      for (const id of ['r1', 'r2', 'r3']) {
        expect(await repairBy(world, id)).to.include({ status: 200 });
        await world.pass(600);
      }
      world.cluster.change('leases', failoverNamespace, toRecordName('late'), ({ metadata }) => {
        const request = JSON.parse(metadata.annotations?.['autometric-failover/request'] ?? '{}') as object;
        const no = { isRenotification: false, isClosed: false, uncordonsOnClose: false };
        const incident = { id: 'late', startedAt: world.time.now, displayName: '', ...no };
        const text = JSON.stringify(isOfAlert ? { ...request, incident } : request);
        metadata.annotations = { ...metadata.annotations, 'autometric-failover/request': text };
      });
      world.newWrites();
      expect((await world.reconcile(settings)).resumed).to.deep.equal(['late']);
      expect(countEffects(world.newWrites())).to.deep.equal({});
      const line = world.log.find(({ code }) => code === 'attempts_exhausted');
      expect(line).to.include({ severity: isOfAlert ? 'ERROR' : 'WARNING', action_id: 'late' });
    }
  });

  it('is not delivered again', async () => {
    const world = new AlertWorld({ environment });
    const node = await exhaust(world);
    const delivery = world.publish(
      createNotification({
        id: '0.four',
        startedAt: world.time.now,
        resource: { node_name: node },
        labels,
      }),
    );
    await world.deliverAll([delivery]);
    expect(delivery.deliveries).to.equal(1);
    expect(delivery.answer).to.have.nested.property('body.code', 'attempts_exhausted');
    expect(world.lastLine).to.include({ severity: 'ERROR', code: 'attempts_exhausted', channel: 'push' });
  });
});

describe('the fourth restart of a JobSet within a day', () => {
  it('is refused, whichever pool it is from, and cordons nothing', async () => {
    const world = await createMoved();
    const answer = await restartFrom(world, 'slice-d');
    expect(answer).to.include(exhausted);
    expect(answer.error).to.match(
      /^JobSet default\/train was restarted 3 times within 24 h, .* \(action slice-a at \S+: no verdict yet; action slice-b at \S+: .*; action slice-c at \S+: no verdict yet\)/,
    );
    expect(countEffects(world.newWrites())).to.deep.equal({});
    await world.pass(5);
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-d #3']);
    expect(ids(attemptsOn(world, jobSetLease))).to.deep.equal(['slice-a', 'slice-b', 'slice-c']);
    // Where nothing is to be restarted, nothing is refused.
    expect((await restartFrom(world, 'slice-a', 'again')).steps.at(-1)).to.include({
      outcome: 'not_on_pool',
    });
  });

  it('goes after a day, by the API server’s clock', async () => {
    const world = await createMoved();
    await world.pass(day - 300);
    expect(await restartFrom(world, 'slice-d')).to.include(exhausted);
    await world.pass(300);
    const answer = await world.send({ ...restart, id: 'd', node_pool: 'slice-d' }, world.newInstance(-9e7));
    expect(answer.steps.at(-1)).to.include({ outcome: 'restarted' });
  });

  it('goes under the override of a person', async () => {
    // A person insists.
    expectBroken('attempts-end');
    const world = await createMoved();
    annotateCluster(world, 'override-until', new Date(world.time.now + 600_000).toISOString());
    expect((await restartFrom(world, 'slice-d')).steps.at(-1)).to.include({ outcome: 'restarted' });
    expect(countEffects(world.newWrites())).to.deep.equal({ 'PATCH nodes': 4, 'DELETE pods': 1 });
    await world.pass(5);
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-e #4']);
    expect(attemptsOn(world, jobSetLease)).to.have.length(4);
  });

  it('is said by a dry run', async () => {
    const world = await createMoved();
    const { steps } = await world.send({ ...restart, id: 'd', node_pool: 'slice-d', dry_run: true });
    expect(steps.map(({ step, outcome }) => [step, outcome])).to.deep.equal([
      ['limits', 'would_refuse'],
      ['cordon', 'would_cordon'],
      ['restart', 'would_restart'],
    ]);
    expect(steps[0]).to.include({ code: 'attempts_exhausted' });
  });

  it('is refused where the list is broken', async () => {
    const world = await createMoved();
    annotate(world, jobSetLease, '[{"action":5}]');
    const answer = await restartFrom(world, 'slice-d');
    expect(answer).to.include(exhausted);
    expect(answer.error).to.include(`kubectl annotate lease ${jobSetLease} -n ${failoverNamespace} ${key}-`);
    expect(countEffects(world.newWrites())).to.deep.equal({});
  });

  it('is no matter of another run of the same name', async () => {
    // What the Lease says was changed by hand.
    expectBroken('attempts-end');
    const world = await createMoved();
    world.cluster.change('leases', failoverNamespace, jobSetLease, ({ metadata }) => {
      const text = metadata.annotations?.[key] ?? '';
      const all = JSON.parse(text) as Attempt[];
      expect(all.every(({ jobSetUid }) => jobSetUid !== undefined)).to.equal(true);
      const others = JSON.stringify(all.map((each) => ({ ...each, jobSetUid: 'another' })));
      const mark = metadata.annotations?.['autometric-failover/restart'] ?? '';
      const other = mark.replace(/"jobSetUid":"[^"]*"/, '"jobSetUid":"another"');
      metadata.annotations = { ...metadata.annotations, [key]: others, 'autometric-failover/restart': other };
    });
    expect((await restartFrom(world, 'slice-d')).steps.at(-1)).to.include({ outcome: 'restarted' });
  });

  it('is refused at the last moment where another pool’s action was faster, and deletes nothing', async () => {
    const world = new VirtualFailover({
      slices: slices.slice(0, 4),
      jobs: [{ name: 'x' }, { name: 'y' }],
      environment: { ...environment, MAX_ATTEMPTS_PER_DAY: '1' },
    });
    const slow = world.newInstance();
    let other = {};
    world.once(/^POST .*\/events$/, () => {
      slow.freeze(6_000);
      other = world.begin({ ...restart, id: 'a', node_pool: 'slice-a' });
    });
    // The third slice is not to be had, so that the run comes back to slice-b.
    for (const name of nodeNames(world.cluster, 'slice-d')) world.cluster.cordonAs('somebody', name, true);
    const sent = world.begin({ ...restart, id: 'b', node_pool: 'slice-b' }, slow);
    await world.pass(5);
    expect((await world.answerOf(other)).steps.at(-1)).to.include({ outcome: 'restarted' });
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #1', 'slice-c #1']);
    const answer = await world.answerOf(sent);
    expect(answer).to.include(exhausted);
    expect(answer.error).to.include('action a at ');
    expect(countEffects(world.newWrites())).to.deep.equal({ 'PATCH nodes': 8, 'DELETE pods': 1 });
    expect(restarts(world)).to.equal(1);
    expect(ids(attemptsOn(world, jobSetLease))).to.deep.equal(['a']);
  });
});

describe('a restart', () => {
  it('is counted by the write that marks it as accepted, and costs no request', async () => {
    const world = new VirtualFailover({ environment });
    await restartFrom(world, 'slice-a');
    const asked = world.emulator.requests.filter(({ path, body }) =>
      path.includes('/leases/jobset-') ? true : JSON.stringify(body ?? '').includes('"jobset-'),
    );
    expect(asked.map(({ method }) => method)).to.deep.equal(['GET', 'GET', 'POST', 'PUT']);
    const lists = asked.slice(2).map(({ body }) => {
      const { annotations = {} } = (body as { metadata: { annotations?: Record<string, string> } }).metadata;
      return ids(JSON.parse(annotations[key] ?? '[]') as Attempt[]);
    });
    expect(lists).to.deep.equal([[], ['slice-a']]);
  });

  it('whose deletion was refused is not counted', async () => {
    const world = new VirtualFailover({ environment });
    const effect = { status: 403 };
    const lift = world.emulator.faults.add({ method: 'DELETE', path: /\/pods\//, times: Infinity, effect });
    for (const id of ['1', '2', '3', '4']) {
      expect(await restartFrom(world, 'slice-a', id)).to.include({ status: 502 });
    }
    lift();
    expect(attemptsOn(world, jobSetLease)).to.equal(undefined);
    expect((await restartFrom(world, 'slice-a', '5')).steps.at(-1)).to.include({ outcome: 'restarted' });
  });

  it('whose instance dies before the answer is not counted until it is resumed, and then once', async () => {
    const world = new VirtualFailover({
      slices,
      environment,
      jobSet: { failurePolicy: { maxRestarts: 20 } },
    });
    const doomed = world.newInstance();
    world.once(podDeletion, () => doomed.crash());
    world.begin({ ...restart, id: 'a', node_pool: 'slice-a' }, doomed);
    await world.pass(100);
    expect(restarts(world)).to.equal(1);
    expect(attemptsOn(world, jobSetLease)).to.equal(undefined);
    for (let times = 0; times < 3; times++) {
      expect(await restartFrom(world, 'slice-a', 'a')).to.include({ status: 200 });
      expect(ids(attemptsOn(world, jobSetLease))).to.deep.equal(['a']);
    }
    expect(restarts(world)).to.equal(1);
  });

  it('is counted although another action has written its mark since', async () => {
    const world = new VirtualFailover({
      slices: slices.slice(0, 4),
      jobs: [{ name: 'x' }, { name: 'y' }],
      environment,
    });
    for (const name of nodeNames(world.cluster, 'slice-d')) world.cluster.cordonAs('somebody', name, true);
    const slow = world.newInstance();
    // Its deletion is carried out, and its answer takes 6 s.
    world.once(podDeletion, () => slow.freeze(6_000));
    const first = world.begin({ ...restart, id: 'a', node_pool: 'slice-a' }, slow);
    await world.pass(3);
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #1', 'slice-c #1']);
    expect((await restartFrom(world, 'slice-b', 'b')).steps.at(-1)).to.include({ outcome: 'restarted' });
    expect(ids(attemptsOn(world, jobSetLease))?.sort()).to.deep.equal(['a', 'b']);
    expect((await world.answerOf(first)).steps.at(-1)).to.include({ outcome: 'restarted' });
    expect(ids(attemptsOn(world, jobSetLease))?.sort()).to.deep.equal(['a', 'b']);
  });

  it('is no repair of its pool', async () => {
    const world = await createMoved();
    for (const pool of slices.slice(0, 3)) {
      expect(attemptsOn(world, `pool-${pool}`)).to.equal(undefined);
    }
  });

  it('that had deleted nothing when it stopped is asked again when it is resumed, before it cordons', async () => {
    // The bound is set higher for the last one.
    expectBroken('attempts-end');
    const world = await createMoved();
    const patch = { method: 'PATCH', path: /\/nodes\//, times: Infinity };
    const lift = world.emulator.faults.add({ ...patch, effect: { status: 500 } });
    const body = { ...restart, id: 'late', node_pool: 'slice-d' };
    const more = { MAX_ATTEMPTS_PER_DAY: '4' };
    expect(await world.send(body, world.instance, more)).to.include({ status: 502 });
    lift();
    world.newWrites();
    expect(await world.send(body)).to.include(exhausted);
    expect(countEffects(world.newWrites())).to.deep.equal({});
    expect((await world.send(body, world.instance, more)).steps.at(-1)).to.include({ outcome: 'restarted' });
  });
});
