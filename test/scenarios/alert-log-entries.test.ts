import { expect } from 'chai';
import { AlertWorld } from '../fixtures/alert-world.ts';
import { createHostErrorEntry, createXidEntry, logRules } from '../fixtures/log-entry.ts';
import type { LogEntryOptions } from '../fixtures/log-entry.ts';
import { toPush } from '../fixtures/notification.ts';
import { countCordoned, nodeNames, whereTrainRuns } from '../fixtures/train-world.ts';

async function createWorld(
  environment: Record<string, string> = {},
  rules: object = logRules,
): Promise<AlertWorld> {
  const world = new AlertWorld({
    hasOneInstance: true,
    environment: { LOG_RULES: JSON.stringify(rules), ...environment },
  });
  await world.pass(60);
  return world;
}

function machineOf({ cluster, time }: AlertWorld, index = 0): LogEntryOptions {
  const node = cluster
    .nodes('slice-a')
    .find(({ metadata }) => metadata.name === nodeNames(cluster, 'slice-a')[index]);
  const { annotations = {}, labels = {} } = node?.metadata ?? {};
  return {
    instanceId: annotations['container.googleapis.com/instance_id'] ?? '',
    zone: labels['topology.kubernetes.io/zone'] ?? '',
    at: time.now,
  };
}

const push = (world: AlertWorld, entry: unknown) =>
  world.send(toPush(entry, { publishedAt: world.time.now }));

describe('a log entry by a log sink and Pub/Sub', () => {
  it('has the machine of its Xid repaired: one deletion, under the id of the entry', async () => {
    const world = await createWorld();
    const { status, body } = await push(world, createXidEntry(machineOf(world)));
    expect(status, JSON.stringify(body)).to.equal(200);
    expect(body.id).to.equal('a1b2c3d4e5');
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(4);
    expect(world.effects()).to.include({ 'DELETE instances': 1 });
    expect(world.lastLine).to.include({ event: 'done', type: 'cordon_and_repair_nodepool' });
    expect(world.lines.find(({ event }) => event === 'received')).to.include({
      requestor: 'log rule xid-79',
    });
  });

  it('moves the run away from a machine with a host error', async () => {
    const world = await createWorld();
    await push(world, createHostErrorEntry(machineOf(world)));
    await world.pass(60);
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #1']);
  });

  it('is answered from its record when Pub/Sub delivers it again', async () => {
    const world = await createWorld();
    const entry = createXidEntry(machineOf(world));
    await push(world, entry);
    world.effects();
    const { status, body } = await push(world, entry);
    expect({ status, id: body.id }).to.deep.equal({ status: 200, id: 'a1b2c3d4e5' });
    expect(world.effects()).to.deep.equal({});
  });

  it('is stale by its own time, however late the sink publishes it', async () => {
    const world = await createWorld();
    const entry = createXidEntry({ ...machineOf(world), at: world.time.now - 901_000 });
    const { status, body } = await push(world, entry);
    expect(status).to.equal(200);
    expect(body.ignored).to.equal('stale: its incident began 901 s ago, more than MAX_ALERT_AGE_SECONDS 900');
    expect(world.effects()).to.deep.equal({});
  });

  it('does nothing about a machine that was replaced since then', async () => {
    const world = await createWorld();
    const entry = createXidEntry(machineOf(world));
    const [name = ''] = nodeNames(world.cluster, 'slice-a');
    world.cluster.replaceInstance(name);
    await world.pass(300);
    world.effects();
    const { body } = await push(world, entry);
    expect(body.ignored ?? body.error).to.match(/^recovered: |no node of .* has the machine/);
    expect(world.effects()).to.deep.equal({});
  });

  it('obeys the limits of every alert', async () => {
    const world = await createWorld({ ALERT_ACTIONS: 'cordon_nodepool' });
    const { status, body } = await push(world, createXidEntry(machineOf(world)));
    expect({ status, code: body.code }).to.deep.equal({ status: 200, code: 'forbidden' });
    expect(world.effects()).to.deep.equal({});
  });

  it('only says what it would do where its rule is a dry run', async () => {
    const { 'xid-79': rule } = logRules;
    const labels = { ...rule.labels, failover_dry_run: 'true' };
    const world = await createWorld({}, { 'xid-79': { ...rule, labels } });
    await push(world, createXidEntry(machineOf(world)));
    expect(world.lastLine['message']).to.match(/^dry run of cordon_and_repair_nodepool/);
    expect(world.effects()).to.deep.equal({});
  });

  it('is refused with its status where it did not come by Pub/Sub', async () => {
    const world = await createWorld();
    const { status, body } = await world.send(createXidEntry(machineOf(world)));
    expect({ status, code: body.code }).to.deep.equal({ status: 400, code: 'invalid_action' });
    expect(world.effects()).to.deep.equal({});
  });
});

// F-290: one fault wrote its line thousands of times, and a log sink has no rate limit: every line cost an action.
describe('a storm of log entries', () => {
  it('of one machine costs one action, and of the others not one call', async () => {
    const world = await createWorld();
    const first = machineOf(world);
    await push(world, createXidEntry({ ...first, insertId: 'first' }));
    const { length: callsBefore } = world.emulator.requests;
    for (let index = 0; index < 500; index += 1) {
      const entry = createXidEntry({ ...first, insertId: `again-${index}`, at: first.at + index * 100 });
      const { status, body } = await push(world, entry);
      expect(status).to.equal(200);
      expect(body.ignored).to.match(
        /^the same: log rule xid-79 took an entry of this machine .*, see first$/,
      );
    }
    expect(world.emulator.requests.length).to.equal(callsBefore);
  });

  it('of all machines of a slice ends with one deletion', async () => {
    const world = await createWorld();
    const deliveries = Array.from({ length: 4 }).flatMap((_, machine) =>
      Array.from({ length: 50 }, (_unused, line) =>
        world.publish(createXidEntry({ ...machineOf(world, machine), insertId: `m${machine}-${line}` })),
      ),
    );
    await world.deliverAll(deliveries);
    expect(deliveries.filter(({ isAcknowledged }) => !isAcknowledged)).to.deep.equal([]);
    expect(world.effects()).to.include({ 'DELETE instances': 1 });
  });

  it('does not hide a later fault of the same machine', async () => {
    const world = await createWorld(
      { COOLDOWN_SECONDS: '0' },
      {
        'xid-79': { ...logRules['xid-79'], labels: { failover_action: 'cordon_nodepool' } },
      },
    );
    await push(world, createXidEntry({ ...machineOf(world), insertId: 'first' }));
    await world.pass(60);
    const { body } = await push(world, createXidEntry({ ...machineOf(world), insertId: 'second' }));
    expect(body).to.include({ id: 'second' });
    expect(body).to.have.property('steps');
  });

  it('lets a first entry that failed be tried again', async () => {
    const world = await createWorld();
    world.emulator.faults.add({ method: 'GET', path: /\/nodes/, times: 8, effect: { status: 503 } });
    const delivery = world.publish(createXidEntry({ ...machineOf(world), insertId: 'first' }));
    await world.deliverAll([delivery]);
    expect(delivery.deliveries).to.be.above(1);
    expect(world.effects()).to.include({ 'DELETE instances': 1 });
  });
});
