import { expect } from 'chai';
import { failoverNamespace } from '../../src/names.ts';
import { readMark } from '../../src/state/cooldown.ts';
import type { Effect } from '../../src/state/cooldown.ts';
import { AlertWorld } from '../fixtures/alert-world.ts';
import { countEffects } from '../fixtures/count-writes.ts';
import { createNotification } from '../fixtures/notification.ts';
import { deletedMachines, restarts } from '../fixtures/train-run.ts';
import { nodeNames, whereTrainRuns } from '../fixtures/train-world.ts';
import { VirtualFailover } from '../fixtures/virtual-failover.ts';
import type { Sent } from '../fixtures/virtual-failover.ts';

// A mark is written before its deletion. Until the deletion was accepted, it is no deed.

const cordon = { id: 'a', type: 'cordon_nodepool', node_pool: 'slice-a' };
const restart = { ...cordon, type: 'cordon_nodepool_and_restart_jobset', jobset_name: 'train' };
const repair = { ...cordon, type: 'cordon_and_repair_nodepool' };
const onBoth = { slices: ['slice-a', 'slice-b', 'slice-c'], jobs: [{ name: 'x' }, { name: 'y' }] };
const podDeletion = { method: 'DELETE', path: /\/pods\// };
const machineDeletion = { api: 'compute', method: 'DELETE' } as const;
const toRepair = { failover_action: 'cordon_and_repair_nodepool' };
const stays = { slices: ['slice-a', 'slice-b'], slice: { repairDelaySeconds: 7200 } };

/** The mark of an effect on a pool's Lease. */
function markOn({ cluster }: Pick<VirtualFailover, 'cluster'>, pool: string, effect: Effect) {
  const lease = cluster.get('leases', failoverNamespace, `pool-${pool}`);
  return readMark(lease?.metadata.annotations ?? {}, effect);
}

/** The mark on the JobSet's Lease. */
function markOnJobSet({ cluster }: VirtualFailover): Record<string, unknown> | undefined {
  const lease = cluster
    .leases(failoverNamespace)
    .find(({ metadata }) => metadata.name.startsWith('jobset-') && metadata.annotations);
  const text = lease?.metadata.annotations?.['autometric-failover/restart'];
  return text === undefined ? undefined : (JSON.parse(text) as Record<string, unknown>);
}

// F-80: Compute answered 503, and the next incident of the slice was acknowledged as handled.
describe('a repair that was begun and not accepted', () => {
  const alert = (id: string, node: string) => ({ id, resource: { node_name: node }, labels: toRepair });

  async function failToRepair(world: AlertWorld, id: string, node: string): Promise<void> {
    const lift = world.emulator.faults.add({ ...machineDeletion, times: Infinity, effect: { status: 503 } });
    expect((await world.notify(alert(id, node))).status).to.equal(502);
    lift();
    world.effects();
  }

  it('handles no other incident of the slice: that one is delivered again, and repairs it', async () => {
    const world = new AlertWorld();
    const [first = '', , third = ''] = nodeNames(world.cluster, 'slice-a');
    await failToRepair(world, '0.first', third);
    const delivery = world.publish(
      createNotification({ ...alert('0.second', first), startedAt: world.time.now }),
    );
    await world.pass(2);
    expect(delivery.answer).to.include({ status: 409 });
    expect(delivery.answer?.body).to.include({ code: 'action_in_progress' });
    expect(delivery.answer?.body.error).to.include('by action 0.first');
    expect(world.effects()).to.deep.equal({});
    await world.deliverAll([delivery]);
    expect(delivery.answer?.body.ignored).to.equal(undefined);
    // The machine that the first one chose, so that there is one deletion whatever became of its own.
    expect(delivery.answer?.body.steps?.at(-1)).to.include({ target: third, outcome: 'deletion_accepted' });
    expect(delivery.answer?.body.steps?.at(-1)?.['why']).to.include('0.first');
    expect(world.emulator.fleet.deletions.map(({ instance }) => instance.name)).to.deep.equal([third]);
    expect(world.effects()).to.deep.equal({ 'DELETE instances': 1 });
  });

  it('says when it can be sent again, and how to finish what was begun', async () => {
    const world = new AlertWorld();
    const [node = ''] = nodeNames(world.cluster, 'slice-a');
    await failToRepair(world, '0.first', node);
    await world.pass(100);
    const { headers, body } = await world.notify(alert('0.second', node));
    expect(Number(headers['Retry-After'])).to.be.within(130, 140);
    expect(body.error).to.include('send 0.first again to finish it');
  });

  it('is finished by the same action, and handles other incidents from then on', async () => {
    const world = new AlertWorld();
    const [first = '', second = ''] = nodeNames(world.cluster, 'slice-a');
    await failToRepair(world, '0.first', first);
    expect((await world.notify(alert('0.first', first))).body.steps?.at(-1)).to.include({
      outcome: 'deletion_accepted',
    });
    expect(markOn(world, 'slice-a', 'repair')).to.include({ action: '0.first', state: 'accepted' });
    expect((await world.notify(alert('0.second', second))).body.ignored).to.match(/^handled: /);
    expect(world.emulator.fleet.deletions).to.have.length(1);
  });

  it('whose answer was lost is repeated by another action, and no second machine is deleted', async () => {
    for (const seconds of [245, 900]) {
      const world = new VirtualFailover(stays);
      const [, chosen = '', other = ''] = nodeNames(world.cluster, 'slice-a');
      const lift = world.emulator.faults.add({ ...machineDeletion, times: Infinity, effect: 'reset_after' });
      expect(await world.send({ ...repair, node_name: chosen })).to.include({ status: 502 });
      lift();
      expect(deletedMachines(world)).to.deep.equal([chosen]);
      await world.pass(seconds);
      const answer = await world.send({ ...repair, id: 'b', node_name: other });
      expect(answer.steps.at(-1), `after ${seconds} s`).to.include({
        target: chosen,
        outcome: 'already_gone',
      });
      expect(deletedMachines(world)).to.deep.equal([chosen]);
    }
  });

  it('limits the pool once the machine has been replaced', async () => {
    const world = new VirtualFailover();
    const [chosen = '', other = ''] = nodeNames(world.cluster, 'slice-a');
    const lift = world.emulator.faults.add({ ...machineDeletion, times: Infinity, effect: 'reset_after' });
    await world.send({ ...repair, node_name: chosen });
    lift();
    await world.pass(600);
    world.newWrites();
    const answer = await world.send({ ...repair, id: 'b', node_name: other });
    expect(answer).to.include({ status: 429, code: 'rate_limited' });
    expect(answer.error).to.include('the machine has been replaced since');
    expect(countEffects(world.newWrites())).to.deep.equal({});
    await world.pass(3000);
    expect(await world.send({ ...repair, id: 'b', node_name: other })).to.include({ status: 200 });
  });

  // F-83: an instance died between its mark and the answer: no second machine, and nothing is held back for ever.
  it('keeps another machine of a pool of independent nodes until the cooldown is over, and not longer', async () => {
    const world = new VirtualFailover();
    world.cluster.addPool('gpus', { gpu: true, nodes: 3 });
    world.emulator.settle();
    const [bad = '', other = ''] = nodeNames(world.cluster, 'gpus');
    const onGpus = { ...repair, node_pool: 'gpus' };
    const lift = world.emulator.faults.add({ ...machineDeletion, times: Infinity, effect: { status: 503 } });
    expect(await world.send({ ...onGpus, node_name: bad })).to.include({ status: 502 });
    lift();
    world.newWrites();
    await world.pass(300);
    const dry = await world.send({ ...onGpus, id: 'dry', node_name: other, dry_run: true });
    expect(dry.steps[0]).to.include({ step: 'limits', code: 'action_in_progress' });
    const kept = await world.send({ ...onGpus, id: 'b', node_name: other });
    expect(kept).to.include({ status: 409, code: 'action_in_progress' });
    expect(Number(kept.retryAfter)).to.be.within(3200, 3300);
    expect(countEffects(world.newWrites())).to.deep.equal({});
    // The same machine may be deleted, whoever asks: that is the same deletion.
    const same = await world.send({ ...onGpus, id: 'c', node_name: bad });
    expect(same.steps.at(-1)).to.include({ outcome: 'deletion_accepted' });
    expect(deletedMachines(world)).to.deep.equal([bad]);
    await world.pass(3700);
    expect(await world.send({ ...onGpus, id: 'b', node_name: other })).to.include({ status: 200 });
  });

  it('keeps a resume from another machine, too', async () => {
    const world = new VirtualFailover();
    world.cluster.addPool('gpus', { gpu: true, nodes: 3 });
    world.emulator.settle();
    const [bad = '', other = ''] = nodeNames(world.cluster, 'gpus');
    const onGpus = { ...repair, node_pool: 'gpus' };
    const allow = world.cluster.deny({ verb: 'patch', resource: 'nodes' });
    expect(await world.send({ ...onGpus, id: 'planned', node_name: other })).to.include({ status: 502 });
    allow();
    const lift = world.emulator.faults.add({ ...machineDeletion, times: Infinity, effect: { status: 503 } });
    expect(await world.send({ ...onGpus, node_name: bad })).to.include({ status: 502 });
    lift();
    await world.pass(300);
    world.newWrites();
    const resumed = await world.send({ ...onGpus, id: 'planned', node_name: other });
    expect(resumed).to.include({ status: 409, code: 'action_in_progress' });
    expect(countEffects(world.newWrites())).to.deep.equal({});
    expect(deletedMachines(world)).to.deep.equal([]);
  });

  it('counts as accepted where version 0.1.0 wrote the mark', async () => {
    const world = new AlertWorld();
    const [first = '', second = ''] = nodeNames(world.cluster, 'slice-a');
    await world.notify(alert('0.first', first));
    world.cluster.change('leases', failoverNamespace, 'pool-slice-a', ({ metadata }) => {
      const key = 'autometric-failover/effects';
      metadata.annotations = {
        ...metadata.annotations,
        [key]: (metadata.annotations?.[key] ?? '').replace(/,"state":"accepted"/, ''),
      };
    });
    expect(markOn(world, 'slice-a', 'repair')).to.deep.include({ action: '0.first' });
    expect(markOn(world, 'slice-a', 'repair')).not.to.have.property('state');
    expect((await world.notify(alert('0.second', second))).body.ignored).to.match(/^handled: /);
  });
});

// F-81: the deletion of the leader failed, and another slice's action was answered that the JobSet had been restarted.
describe('a restart that was begun and not accepted', () => {
  async function failToRestart(world: VirtualFailover): Promise<void> {
    const lift = world.emulator.faults.add({ ...podDeletion, times: Infinity, effect: { status: 500 } });
    expect(await world.send(restart)).to.include({ status: 502 });
    lift();
    world.newWrites();
  }

  it('is not taken for done by another pool, which restarts the JobSet once that cannot come any more', async () => {
    const world = new VirtualFailover(onBoth);
    await failToRestart(world);
    const onB = { ...restart, id: 'b', node_pool: 'slice-b' };
    const first = await world.send(onB);
    expect(first).to.include({ status: 409, code: 'action_in_progress' });
    expect(first.error).to.include('by action a,');
    expect(Number(first.retryAfter)).to.be.within(200, 240);
    // The pool is bad, so it is cordoned all the same.
    expect(countEffects(world.newWrites())).to.deep.equal({ 'PATCH nodes': 4 });
    expect(markOn(world, 'slice-b', 'restart default/train')).to.equal(undefined);
    await world.pass(250);
    expect((await world.send(onB)).steps.at(-1)).to.include({ outcome: 'restarted' });
    expect(countEffects(world.newWrites())).to.deep.equal({ 'DELETE pods': 1 });
    await world.pass(5);
    expect(restarts(world)).to.equal(1);
    // The first one finds nothing left to do.
    expect((await world.send(restart)).steps.at(-1)).to.include({ outcome: 'already_restarting' });
    await world.pass(5);
    expect(restarts(world)).to.equal(1);
  });

  it('is waited for while its answer may come any moment: four cordons, one restart', async () => {
    const world = new VirtualFailover(onBoth);
    const slow = world.newInstance();
    let other: Sent = {};
    world.once(/^DELETE .*\/pods\//, () => {
      slow.freeze(6_000);
      other = world.begin({ ...restart, id: 'b', node_pool: 'slice-b' });
    });
    const first = world.begin(restart, slow);
    await world.pass(5);
    const second = await world.answerOf(other);
    expect(second).to.include({ status: 200 });
    expect(second.steps.at(-1)?.['outcome']).to.be.oneOf(['already_restarted', 'already_restarting']);
    expect(await world.answerOf(first)).to.include({ status: 200 });
    await world.pass(5);
    expect(restarts(world)).to.equal(1);
    expect(countEffects(world.newWrites())).to.deep.equal({ 'PATCH nodes': 8, 'DELETE pods': 1 });
  });

  it('stops another action on the same pool before it touches anything, and not for ever', async () => {
    const world = new VirtualFailover();
    await failToRestart(world);
    const other = { ...restart, id: 'b' };
    expect(await world.send(other)).to.include({ status: 409, code: 'action_in_progress' });
    expect(countEffects(world.newWrites())).to.deep.equal({});
    await world.pass(241);
    expect((await world.send(other)).steps.at(-1)).to.include({ outcome: 'restarted' });
    await world.pass(5);
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #1']);
  });

  it('whose answer was lost is not followed by a second one from the same pool within the cooldown', async () => {
    const world = new VirtualFailover({ slices: ['slice-a'] });
    const doomed = world.newInstance();
    world.once(/^DELETE .*\/pods\//, () => doomed.crash());
    world.begin(restart, doomed);
    await world.pass(100);
    expect(restarts(world)).to.equal(1);
    await world.send({ ...cordon, id: 'undo', type: 'uncordon_nodepool' });
    await world.pass(200);
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-a #1']);
    world.newWrites();
    const answer = await world.send({ ...restart, id: 'b' });
    expect(answer).to.include({ status: 429, code: 'rate_limited' });
    expect(answer.error).to.include('the JobSet has restarted since');
    expect(countEffects(world.newWrites())).to.deep.equal({});
  });

  it('is accepted with its answer, on the pool and on the JobSet', async () => {
    const world = new VirtualFailover();
    await world.send(restart);
    expect(markOn(world, 'slice-a', 'restart default/train')).to.include({ action: 'a', state: 'accepted' });
    expect(markOnJobSet(world)).to.include({ action: 'a', state: 'accepted' });
  });
});

// F-82: the mark on the JobSet could not be written, and the pool was rate limited for a restart that nobody had sent.
describe('a mark whose deletion was not sent', () => {
  const newMark = {
    method: 'POST',
    path: /\/leases$/,
    match: ({ body }: { body?: unknown }) => JSON.stringify(body).includes('autometric-failover/restart"'),
  };

  for (const [what, effect] of Object.entries({
    'is refused': { status: 403 },
    fails: { status: 500 },
    'fails although it was carried out': 'reset_after',
    'is not answered': 'hang_after',
  } as const)) {
    it(`is taken back where the write of the second one ${what}`, async () => {
      const world = new VirtualFailover();
      const lift = world.emulator.faults.add({ ...newMark, times: 5, effect });
      const first = await world.send(restart);
      if (first.status !== 200) {
        lift();
        expect(first.status).to.be.oneOf([502, 504]);
        expect(countEffects(world.newWrites())).to.deep.equal({ 'PATCH nodes': 4 });
        expect(markOn(world, 'slice-a', 'restart default/train')).to.equal(undefined);
        expect(markOnJobSet(world)).to.equal(undefined);
        const second = await world.send({ ...restart, id: 'b' });
        expect(second.steps.at(-1), second.error).to.include({ outcome: 'restarted' });
      }
      await world.pass(5);
      expect(restarts(world)).to.equal(1);
    });
  }

  for (const [what, body, effect] of [
    ['restart', restart, 'restart default/train'],
    ['repair', repair, 'repair'],
  ] as const) {
    it(`is taken back where the ${what} runs out of time before it is sent`, async () => {
      const world = new VirtualFailover(stays);
      // The mark is written, and its answer takes until the deadline.
      world.once(/^PUT .*\/leases\/pool-/, () => world.instance.freeze(35_000));
      const first = await world.send(body, world.instance, { ACTION_DEADLINE_SECONDS: '30' });
      expect(first).to.include({ status: 504, code: 'upstream_timeout' });
      expect(countEffects(world.newWrites())).to.deep.equal({ 'PATCH nodes': 4 });
      expect(markOn(world, 'slice-a', effect)).to.equal(undefined);
      expect(await world.send({ ...body, id: 'b' })).to.include({ status: 200 });
    });

    it(`is kept, as begun, where nobody knows what came of the ${what}`, async () => {
      const world = new VirtualFailover(stays);
      const deletion = what === 'repair' ? machineDeletion : podDeletion;
      world.emulator.faults.add({ ...deletion, effect: 'reset_after' });
      world.emulator.faults.add({ ...deletion, times: Infinity, effect: { status: 403 } });
      expect(await world.send(body)).to.include({ status: 502 });
      expect(markOn(world, 'slice-a', effect)).to.include({ action: 'a', state: 'begun' });
    });
  }
});
