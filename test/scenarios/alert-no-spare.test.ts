import { expect } from 'chai';
import { AlertWorld } from '../fixtures/alert-world.ts';
import { countCordoned, nodeNames, whereTrainRuns } from '../fixtures/train-world.ts';
import { isOpen, jsonOf, noteOf } from '../fixtures/verdicts.ts';

const restart = { failover_action: 'cordon_nodepool_and_restart_jobset', failover_jobset: 'train' };
const inPlace = { ...restart, failover_when_no_spare: 'repair' };

/** A world that is a minute old, whose only slice has a bad node. */
async function createWorld(slices = ['slice-a']): Promise<AlertWorld & { node: string }> {
  const world = new AlertWorld({ slices, slice: { nodeObject: 'survives' } });
  await world.pass(60);
  return Object.assign(world, { node: nodeNames(world.cluster, 'slice-a')[0] ?? '' });
}

async function minutes(world: AlertWorld, count: number): Promise<void> {
  for (let minute = 0; minute < count; minute++) {
    await world.pass(60);
    await world.reconcile();
  }
}

describe('an alert with failover_when_no_spare repair', () => {
  it('has the slice repaired in place, and the run comes back to it', async () => {
    const world = await createWorld();
    const answer = await world.notify({ id: '0.one', resource: { node_name: world.node }, labels: inPlace });
    expect(answer.status, answer.body.error).to.equal(200);
    expect(world.effects()).to.deep.equal({ 'PATCH nodes': 4, 'DELETE pods': 1, 'DELETE instances': 1 });
    await minutes(world, 12);
    expect(jsonOf(world, '0.one', 'verdict')).to.include({ verdict: 'recovered' });
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-a #1']);
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(0);
  });

  // F-303: the incident closed because the run's pods were gone, and the slice of the ended run was never repaired.
  it('goes on to the repair once the run is ended, although its incident has closed', async () => {
    const world = await createWorld();
    const lift = world.emulator.faults.add({
      api: 'compute',
      method: 'DELETE',
      path: /instances/,
      times: Infinity,
      effect: { status: 500 },
    });
    const startedAt = world.time.now;
    const incident = { id: '0.one', startedAt, resource: { node_name: world.node }, labels: inPlace };
    expect((await world.notify(incident)).status).to.equal(502);
    expect(world.effects()).to.include({ 'DELETE pods': 1 });
    expect((await world.notify({ ...incident, state: 'closed' })).body.ignored).to.match(/^closed/);
    lift();
    await minutes(world, 14);
    expect(world.emulator.fleet.deletions).to.have.length(1);
    expect(jsonOf(world, '0.one', 'verdict')).to.include({ verdict: 'recovered' });
    expect(isOpen(world, '0.one')).to.equal(false);
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(0);
  });

  it('leaves everything alone once the machine is back', async () => {
    const world = await createWorld();
    const startedAt = world.time.now;
    world.cluster.killNode(world.node);
    await world.pass(10);
    world.cluster.reviveNode(world.node);
    await world.pass(10);
    world.effects();
    const answer = await world.notify({
      id: '0.one',
      startedAt,
      resource: { node_name: world.node },
      labels: inPlace,
    });
    expect(answer.body.ignored).to.match(/^recovered: /);
    expect(world.effects()).to.deep.equal({});
  });

  it('needs cordon_and_repair_nodepool and uncordon_nodepool in ALERT_ACTIONS', async () => {
    const world = await createWorld();
    for (const left of ['cordon_and_repair_nodepool', 'uncordon_nodepool']) {
      const allowed = [restart.failover_action, left].join(',');
      const answer = await world.notify(
        { id: '0.one', resource: { node_name: world.node }, labels: inPlace },
        { ALERT_ACTIONS: allowed },
      );
      expect(answer.body).to.include({ code: 'forbidden' });
    }
    expect(world.effects()).to.deep.equal({});
  });
});

describe('the labels failover_spare_capacity and failover_when_no_spare', () => {
  it('refuse a restart without spare capacity', async () => {
    for (const [labels, code] of [
      [{ failover_spare_capacity: 'true' }, 'preflight_refused'],
      [{ failover_when_no_spare: 'refuse' }, 'restart_refused'],
    ] as const) {
      const world = await createWorld();
      const answer = await world.notify({
        id: '0.one',
        resource: { node_name: world.node },
        labels: { ...restart, ...labels },
      });
      expect(answer.body).to.include({ code });
      expect(world.effects()).to.deep.equal({});
      expect(noteOf(world, '0.one', 'phase')).to.equal(undefined);
    }
  });

  it('are refused where they are misspelt, and let a close be', async () => {
    const world = await createWorld(['slice-a', 'slice-b']);
    const send = (labels: Record<string, string>, state = 'open') =>
      world.notify({
        id: '0.one',
        state,
        resource: { node_name: world.node },
        labels: { ...restart, ...labels },
      });
    expect((await send({ failover_when_no_spare: 'repiar' })).body.error).to.match(
      /unknown when_no_spare: repiar, did you mean repair/,
    );
    expect((await send({ failover_spare_capacity: 'yes' })).body.error).to.match(/must be true or false/);
    expect((await send({ failover_when_no_spear: 'repair' })).body.error).to.match(
      /did you mean "failover_when_no_spare"/,
    );
    expect(world.effects()).to.deep.equal({});
    const closing = { failover_spare_capacity: 'true', failover_on_close: 'uncordon_nodepool' };
    expect((await send(closing, 'closed')).body.ignored).to.match(/^closed/);
  });
});
