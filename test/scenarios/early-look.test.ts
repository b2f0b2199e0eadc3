import { expect } from 'chai';
import { addSystemNamespace } from '../emulator/scenario.ts';
import { AlertWorld } from '../fixtures/alert-world.ts';
import type { AlertAnswer } from '../fixtures/alert-world.ts';
import { createHostErrorEntry, createXidEntry, logRules } from '../fixtures/log-entry.ts';
import type { LogEntryOptions } from '../fixtures/log-entry.ts';
import { createNotification, toPush } from '../fixtures/notification.ts';
import type { NotificationOptions } from '../fixtures/notification.ts';
import { toStormNodes } from '../fixtures/storm.ts';
import type { StormNode } from '../fixtures/storm.ts';
import { createTrainWorld, trainCluster } from '../fixtures/train-world.ts';

async function createWorld(environment: Record<string, string> = {}): Promise<AlertWorld> {
  const world = new AlertWorld({
    hasOneInstance: true,
    environment: { LOG_RULES: JSON.stringify(logRules), ...environment },
  });
  await world.pass(60);
  return world;
}

const push = (world: AlertWorld, payload: unknown): Promise<AlertAnswer> =>
  world.send(toPush(payload, { publishedAt: world.time.now }));

function machines({ cluster, time }: AlertWorld): (StormNode & LogEntryOptions)[] {
  return toStormNodes(cluster, 'slice-a').map((node) => ({ ...node, at: time.now }));
}

/** What was asked since then, as `GET /api/v1/nodes`. */
function callsSince({ emulator }: AlertWorld, count: number): string[] {
  return emulator.requests.slice(count).map(({ method, path }) => `${method} ${path}`);
}

// F-400: entries about machines took the lock of their pool, one after the other, to find that all was done.
describe('an entry about a machine of a slice that is being repaired', () => {
  it('is answered by a few reads and without a write', async () => {
    const world = await createWorld();
    const [first, second] = machines(world);
    if (!first || !second) throw new Error('the slice has no machines');
    world.cluster.killNode(first.name);
    world.cluster.killNode(second.name);
    await push(world, createXidEntry({ ...first, insertId: 'first' }));
    const before = world.emulator.requests.length;
    const { body } = await push(world, createXidEntry({ ...second, insertId: 'second' }));
    expect(body.ignored).to.match(
      /^handled: the slice of node pool slice-a is being repaired by action first/,
    );
    const calls = callsSince(world, before);
    expect(calls.filter((call) => !call.startsWith('GET'))).to.deep.equal([]);
    expect(calls).to.not.include('GET /api/v1/nodes');
    expect(calls.length).to.be.at.most(5);
  });
});

// F-402: once the machines were gone, each late entry listed all nodes of the zone.
describe('a burst of entries about machines that are gone', () => {
  it('is refused with one list of the nodes', async () => {
    const world = await createWorld();
    const [machine] = machines(world);
    if (!machine) throw new Error('the slice has no machines');
    const before = world.emulator.requests.length;
    const gone = Array.from({ length: 40 }, (_, index) =>
      world.publish(
        createXidEntry({ ...machine, name: 'gke-gone', instanceId: `77${index}`, insertId: `gone-${index}` }),
      ),
    );
    await world.deliverAll(gone);
    const codes = new Set(gone.map(({ answer }) => `${answer?.status} ${answer?.body.code}`));
    expect([...codes]).to.deep.equal(['200 target_not_found']);
    const lists = callsSince(world, before).filter((call) => call === 'GET /api/v1/nodes');
    expect(lists).to.have.lengthOf(1);
  });

  // F-406: each entry listed all nodes of the clusters in whose region its machine might have been, without a pace.
  it('lists the nodes of a cluster that has none of them once', async () => {
    const other = trainCluster.replace(/[^/]+$/, 'other');
    const world = new AlertWorld({
      hasOneInstance: true,
      environment: { CLUSTERS: `${other},${trainCluster}`, LOG_RULES: JSON.stringify(logRules) },
      build: (emulator) => {
        addSystemNamespace(emulator.addCluster({ name: other }));
        return createTrainWorld(emulator, { slice: { topology: '8x8' } });
      },
    });
    await world.pass(60);
    const entries = machines(world).map((each) =>
      world.publish(createXidEntry({ ...each, insertId: each.name })),
    );
    expect(entries).to.have.lengthOf(16);
    const before = world.emulator.requests.length;
    await world.deliverAll(entries);
    expect(world.effects()).to.deep.include({ 'DELETE instances': 1 });
    const lists = world.emulator.requests
      .slice(before)
      .filter(
        ({ cluster, method, path }) => cluster === other && `${method} ${path}` === 'GET /api/v1/nodes',
      );
    // They come again until the first of them has had the machine repaired.
    const rounds = Math.max(...entries.map(({ deliveries }) => deliveries));
    expect(lists.length).to.be.at.most(rounds);
  });

  it('is told as recovered where the nodes have other machines by now', async () => {
    const world = await createWorld();
    const old = machines(world);
    for (const { name } of old) world.cluster.replaceInstance(name);
    await world.pass(10);
    const entries = old.map((each) => world.publish(createXidEntry({ ...each, insertId: each.name })));
    await world.deliverAll(entries);
    for (const { answer } of entries) {
      expect(answer?.body.ignored).to.match(/^recovered: node .* has another/);
    }
    expect(world.effects()).to.deep.equal({});
  });
});

// F-404: after the run had moved, each alert that named no JobSet took the lock to find none.
describe('an entry whose rule names no JobSet', () => {
  it('is refused without a claim once the run has moved away', async () => {
    const world = await createWorld();
    const [first, ...others] = machines(world);
    if (!first) throw new Error('the slice has no machines');
    await push(world, createHostErrorEntry({ ...first, insertId: 'first' }));
    await world.pass(30);
    const before = world.emulator.requests.length;
    for (const [index, other] of others.entries()) {
      const { body } = await push(world, createHostErrorEntry({ ...other, insertId: `other-${index}` }));
      expect(body.code).to.equal('target_ambiguous');
      expect(body.error).to.match(/^no JobSet of namespace default has live pods on node pool slice-a/);
    }
    const written = callsSince(world, before).filter((call) => /^(PUT|POST|DELETE) /.test(call));
    expect(written.filter((call) => call.includes('/leases/pool-slice-a'))).to.deep.equal([]);
  });

  it('restarts the JobSet that has come to the pool since', async () => {
    const world = await createWorld({ COOLDOWN_SECONDS: '3600', MAX_POOLS_PER_HOUR: '5' });
    const [first, second, third] = machines(world);
    if (!first || !second || !third) throw new Error('the slice has no machines');
    await push(world, createHostErrorEntry({ ...first, insertId: 'first' }));
    await world.pass(30);
    const { body: none } = await push(world, createHostErrorEntry({ ...second, insertId: 'second' }));
    expect(none.code).to.equal('target_ambiguous');
    await world.act({ type: 'uncordon_nodepool', node_pool: 'slice-a' });
    world.cluster.addJobSet({
      name: 'other',
      exclusiveTopology: 'cloud.google.com/gke-nodepool',
      replicatedJobs: [{ name: 'workers', parallelism: 4, backoffLimit: 0 }],
    });
    await world.pass(30);
    world.effects();
    const entry = createHostErrorEntry({ ...third, insertId: 'third', at: world.time.now });
    const { status, body } = await push(world, entry);
    expect(status).to.equal(200);
    expect(body.steps?.at(-1), JSON.stringify(body)).to.include({
      target: 'default/other',
      outcome: 'restarted',
    });
  });
});

// F-403: each of thousands of alerts read its own record and whether it had closed.
describe('a notification that comes again after another action has done the same to its pool', () => {
  for (const [what, others] of [
    ['few records', 0],
    ['more records than are listed', 120],
  ] as const) {
    it(`is answered from its record, among ${what}`, async () => {
      const world = await createWorld({ COOLDOWN_SECONDS: '120', MAX_ALERT_AGE_SECONDS: '300' });
      const [node] = machines(world);
      if (!node) throw new Error('the slice has no machines');
      const notify = (id: string, startedAt: number): NotificationOptions => ({
        id,
        startedAt,
        resource: { node_name: node.name },
        labels: { failover_action: 'cordon_and_repair_nodepool' },
      });
      world.cluster.killNode(node.name);
      await world.pass(60);
      const first = createNotification(notify('first', world.time.now));
      await push(world, first);
      for (let index = 0; index < others; index++) copyRecord(world, index);
      await world.pass(400);
      world.cluster.killNode(node.name);
      await world.pass(60);
      const { body: again } = await push(world, createNotification(notify('later', world.time.now)));
      expect(again.steps?.at(-1), JSON.stringify(again)).to.include({ outcome: 'deletion_accepted' });
      world.effects();
      const { body } = await push(world, first);
      expect(body, JSON.stringify(body)).to.include({ id: 'first', replayed: true });
      expect(world.effects()).to.deep.equal({});
    });
  }
});

/** One more record like the first. */
function copyRecord({ cluster }: AlertWorld, index: number): void {
  const record = cluster
    .leases()
    .find(({ metadata }) => metadata.labels?.['autometric-failover/kind'] === 'action');
  if (!record) throw new Error('there is no record');
  const { metadata } = record;
  const labels = { 'autometric-failover/kind': 'action' };
  // Before the others in the list.
  const name = `action-000-${index}`;
  cluster.put('leases', { ...record, metadata: { ...metadata, name, labels, uid: '', resourceVersion: '' } });
}
