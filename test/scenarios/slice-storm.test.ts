import { expect } from 'chai';
import type { RecordedRequest } from '../emulator/emulator.ts';
import { addSystemNamespace } from '../emulator/scenario.ts';
import { AlertWorld } from '../fixtures/alert-world.ts';
import { countEffects } from '../fixtures/count-writes.ts';
import { createNotification, toPush } from '../fixtures/notification.ts';
import { PushQueue } from '../fixtures/push-queue.ts';
import { countCordoned, trainCluster, whereTrainRuns } from '../fixtures/train-world.ts';

/** The defaults of the module (terraform/variables.tf). */
const defaults = { instances: 3, concurrency: 10 };
const nodes = 192;
const topology = '4x16x12';
/** As many a second as a slice of 2,304 nodes raises within 30 s. */
const withinMs = Math.round((nodes * 30_000) / 2304);

const restart = { failover_action: 'cordon_nodepool_and_restart_jobset', failover_jobset: 'train' };
const repair = { failover_action: 'cordon_and_repair_nodepool' };

/** A slice whose machines all die, and another one for the run. */
function createWorld(): AlertWorld {
  return new AlertWorld({
    build: (emulator) => {
      const cluster = emulator.addCluster({ name: trainCluster });
      addSystemNamespace(cluster);
      cluster.addTpuSlice('slice-a', { nodes, topology });
      cluster.addJobSet({
        name: 'train',
        exclusiveTopology: 'cloud.google.com/gke-nodepool',
        replicatedJobs: [{ name: 'workers', parallelism: nodes, backoffLimit: 0 }],
      });
      emulator.settle();
      cluster.addTpuSlice('slice-b', { nodes, topology });
      return cluster;
    },
  });
}

function createQueue(world: AlertWorld): PushQueue {
  return new PushQueue({
    ...defaults,
    now: () => world.time.now,
    after: (ms, run) => world.time.after(ms, run),
    deliver: async (instance, { payload, ...message }) =>
      (await world.receive(toPush(payload, message), instance)).status,
  });
}

/** Each node alerts, every second one by the policy that repairs; one in ten comes twice, and one in ten again later. */
function publishAll(world: AlertWorld, queue: PushQueue): void {
  const startedAt = world.time.now;
  const names = world.cluster.nodes('slice-a').map(({ metadata }) => metadata.name);
  for (const [index, node_name] of names.entries()) {
    const options = {
      id: `0.${node_name}`,
      startedAt,
      resource: { node_name },
      labels: index % 2 === 0 ? restart : repair,
    };
    const at = Math.floor((index * withinMs) / names.length);
    world.time.after(at, () => queue.publish(createNotification(options)));
    if (index % 10 === 3) world.time.after(at + 100, () => queue.publish(createNotification(options)));
    if (index % 10 === 7) {
      world.time.after(at + 20_000, () => queue.publish(createNotification({ ...options, renotify: true })));
    }
  }
}

/** What a storm has cost, and what came of it. */
interface Outcome {
  calls: number;
  /** Besides what one action does to each node and pod: its cordons, and the pods on dead nodes. */
  mostInASecond: number;
  isAcknowledged: boolean;
}

function isBulk({ method, path }: RecordedRequest): boolean {
  return (
    (method === 'PATCH' && path.startsWith('/api/v1/nodes/')) ||
    (method === 'DELETE' && path.includes('/pods/'))
  );
}

async function weather(world: AlertWorld, queue: PushQueue): Promise<Outcome> {
  const before = world.emulator.requests.length;
  await world.pass(withinMs / 1000 + 21);
  await world.time.run(() => queue.isDone, 5_000_000);
  const requests = world.emulator.requests.slice(before);
  const bySecond = Map.groupBy(
    requests.filter((request) => request.api === 'kubernetes' && !isBulk(request)),
    ({ at }) => Math.floor(at / 1000),
  );
  return {
    calls: requests.length,
    mostInASecond: Math.max(...[...bySecond.values()].map(({ length }) => length)),
    isAcknowledged: queue.messages.every(({ acknowledgedAt }) => acknowledgedAt !== undefined),
  };
}

describe('a storm of notifications for the nodes of one slice', () => {
  // F-344: each alert of a slice of thousands of nodes took the lock, and cost twenty calls.
  it('ends with one cordon, one restart and one repair, and costs at most six calls a notification', async () => {
    const world = createWorld();
    await world.pass(60);
    const nodeNames = world.cluster.nodes('slice-a').map(({ metadata }) => metadata.name);
    for (const name of nodeNames) world.cluster.killNode(name);
    await world.pass(90);
    const queue = createQueue(world);
    publishAll(world, queue);
    const { calls, mostInASecond, isAcknowledged } = await weather(world, queue);
    expect(isAcknowledged).to.equal(true);
    // The leader, and every pod, because all machines are dead.
    const effects = { 'PATCH nodes': nodes, 'DELETE pods': nodes + 1, 'DELETE instances': 1 };
    expect(countEffects(world.emulator.writes())).to.deep.equal(effects);
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #1']);
    expect(world.cluster.jobsets('default')[0]?.status.restarts).to.equal(1);
    expect(calls / queue.messages.length).to.be.at.most(6);
    expect(mostInASecond).to.be.at.most(200);
    const ends = world.lines.filter(({ event }) => event === 'done');
    expect(new Set(ends.map(({ type }) => type))).to.deep.equal(
      new Set([repair.failover_action, restart.failover_action]),
    );
    expect(
      ends.filter(({ outcome }) => outcome === 'done'),
      JSON.stringify(ends),
    ).to.have.lengthOf(2);
  });

  it('tells what each of them came to', async () => {
    const world = createWorld();
    await world.pass(60);
    for (const { metadata } of world.cluster.nodes('slice-a')) world.cluster.killNode(metadata.name);
    await world.pass(90);
    const queue = createQueue(world);
    publishAll(world, queue);
    await weather(world, queue);
    const ends = world.lines.filter(({ event }) => ['ignored', 'refused', 'failed'].includes(String(event)));
    const kinds = new Set(
      ends.map(
        ({ event, code, message }) => `${String(event)} ${String(code)} ${String(message).slice(0, 40)}`,
      ),
    );
    for (const kind of kinds) {
      expect(kind).to.match(
        /^(ignored undefined (handled: the slice of node pool|renotified: it was dealt with w)|refused (rate_limited|action_in_progress) )/,
      );
    }
  });
});

describe('a broken metric that raises an alert for every node of 64 pools', () => {
  const pools = Array.from({ length: 64 }, (_, index) => `pool-${index}`);
  const nodesPerPool = 16;

  for (const failover_action of ['cordon_and_repair_nodepool', restart.failover_action]) {
    it(`acts on two pools, and costs at most four calls an alert (${failover_action})`, async () => {
      const world = new AlertWorld({
        build: (emulator) => {
          const cluster = emulator.addCluster({ name: trainCluster });
          addSystemNamespace(cluster);
          for (const pool of pools) cluster.addPool(pool, { gpu: true, nodes: nodesPerPool });
          cluster.addJobSet({
            name: 'train',
            replicatedJobs: [{ name: 'workers', parallelism: 1, resources: {} }],
          });
          emulator.settle();
          return cluster;
        },
      });
      await world.pass(60);
      const queue = createQueue(world);
      const startedAt = world.time.now;
      const jobSet = failover_action === restart.failover_action ? { failover_jobset: 'train' } : {};
      for (const [index, pool] of pools.entries()) {
        for (const { metadata } of world.cluster.nodes(pool)) {
          const resource = { node_name: metadata.name };
          const labels = { failover_action, ...jobSet };
          const payload = createNotification({ id: `0.${metadata.name}`, startedAt, resource, labels });
          world.time.after(index * 20 * nodesPerPool, () => queue.publish(payload));
        }
      }
      const { calls, mostInASecond, isAcknowledged } = await weather(world, queue);
      expect(queue.messages).to.have.lengthOf(64 * nodesPerPool);
      expect(isAcknowledged).to.equal(true);
      const cordoned = pools.filter((pool) => countCordoned(world.cluster, pool) > 0);
      expect(cordoned).to.have.lengthOf(2);
      expect(calls / queue.messages.length).to.be.at.most(4);
      expect(mostInASecond).to.be.at.most(200);
    });
  }
});
