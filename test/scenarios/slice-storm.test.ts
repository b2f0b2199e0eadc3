import { expect } from 'chai';
import { addSystemNamespace } from '../emulator/scenario.ts';
import { AlertWorld } from '../fixtures/alert-world.ts';
import { logRules } from '../fixtures/log-entry.ts';
import { moduleDefaults } from '../fixtures/module-defaults.ts';
import { toPush } from '../fixtures/notification.ts';
import { PushQueue } from '../fixtures/push-queue.ts';
import {
  addPools,
  addRun,
  tallyStorm,
  toEntriesStorm,
  toPoolsStorm,
  toSliceStorm,
  toStormNodes,
} from '../fixtures/storm.ts';
import type { StormMessage, StormTally } from '../fixtures/storm.ts';
import { countCordoned, trainCluster, whereTrainRuns } from '../fixtures/train-world.ts';

const slice = { nodes: 192, topology: '4x16x12' };

/** A slice whose machines have all died, and another one for the run. */
async function createDeadSlice(environment: Record<string, string> = {}): Promise<AlertWorld> {
  const world = new AlertWorld({
    environment,
    build: (emulator) => {
      const cluster = emulator.addCluster({ name: trainCluster });
      addSystemNamespace(cluster);
      addRun(cluster, slice);
      emulator.settle();
      cluster.addTpuSlice('slice-b', slice);
      return cluster;
    },
  });
  await world.pass(60);
  for (const { name } of toStormNodes(world.cluster, 'slice-a')) world.cluster.killNode(name);
  await world.pass(90);
  return world;
}

/** What a storm has cost, and whether each message was acknowledged. */
interface Outcome extends StormTally {
  messages: number;
  isAcknowledged: boolean;
}

/** Publishes all messages, and lets time pass until they are acknowledged. */
async function weather(world: AlertWorld, storm: StormMessage[]): Promise<Outcome> {
  const queue = new PushQueue({
    ...moduleDefaults,
    now: () => world.time.now,
    after: (ms, run) => world.time.after(ms, run),
    deliver: async (instance, { payload, ...message }) =>
      (await world.receive(toPush(payload, message), instance)).status,
  });
  const before = world.emulator.requests.length;
  for (const { atMs, payload } of storm) world.time.after(atMs, () => queue.publish(payload));
  await world.time.run(() => queue.messages.length === storm.length && queue.isDone, 5_000_000);
  return {
    ...tallyStorm(world.emulator.requests.slice(before)),
    messages: queue.messages.length,
    isAcknowledged: queue.messages.every(({ acknowledgedAt }) => acknowledgedAt !== undefined),
  };
}

/** The leader, and every pod, because all machines are dead. */
const onceEach = { 'PATCH nodes': slice.nodes, 'DELETE pods': slice.nodes + 1, 'DELETE instances': 1 };

describe('a storm of notifications for the nodes of one slice', () => {
  // F-344: each alert of a slice of thousands of nodes took the lock, and cost twenty calls.
  it('ends with one cordon, one restart and one repair, and costs at most six calls a notification', async () => {
    const world = await createDeadSlice();
    const storm = toSliceStorm(toStormNodes(world.cluster, 'slice-a'), world.time.now);
    const { calls, messages, mostInASecond, isAcknowledged, effects } = await weather(world, storm);
    expect(isAcknowledged).to.equal(true);
    expect(effects).to.deep.equal(onceEach);
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #1']);
    expect(world.cluster.jobsets('default')[0]?.status.restarts).to.equal(1);
    expect(calls / messages).to.be.at.most(6);
    expect(mostInASecond).to.be.at.most(200);
    const ends = world.lines.filter(({ event }) => event === 'done');
    expect(new Set(ends.map(({ type }) => type))).to.deep.equal(
      new Set(['cordon_and_repair_nodepool', 'cordon_nodepool_and_restart_jobset']),
    );
    expect(
      ends.filter(({ outcome }) => outcome === 'done'),
      JSON.stringify(ends),
    ).to.have.lengthOf(2);
  });

  it('tells what each of them came to', async () => {
    const world = await createDeadSlice();
    await weather(world, toSliceStorm(toStormNodes(world.cluster, 'slice-a'), world.time.now));
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

describe('a burst of log entries about the machines of one slice', () => {
  // F-400: each entry took the lock, and cost twelve calls.
  it('ends with one cordon, one restart and one repair, and costs at most four calls an entry', async () => {
    const world = await createDeadSlice({ LOG_RULES: JSON.stringify(logRules) });
    const machines = toStormNodes(world.cluster, 'slice-a');
    // As many for each machine as 10,000 for 2,304.
    const entries = Math.round((machines.length * 10_000) / 2304);
    const storm = toEntriesStorm(machines, world.time.now, entries);
    const { calls, messages, mostInASecond, isAcknowledged, effects } = await weather(world, storm);
    expect(messages).to.equal(entries);
    expect(isAcknowledged).to.equal(true);
    expect(effects).to.deep.equal(onceEach);
    expect(world.cluster.jobsets('default')[0]?.status.restarts).to.equal(1);
    expect(calls / messages).to.be.at.most(4);
    expect(mostInASecond).to.be.at.most(200);
  });
});

describe('a broken metric that raises an alert for every node of 64 pools', () => {
  const pools = Array.from({ length: 64 }, (_, index) => `pool-${index}`);
  const nodesPerPool = 16;

  for (const action of ['cordon_and_repair_nodepool', 'cordon_nodepool_and_restart_jobset']) {
    it(`acts on two pools, and costs at most four calls an alert (${action})`, async () => {
      const world = new AlertWorld({
        build: (emulator) => {
          const cluster = emulator.addCluster({ name: trainCluster });
          addSystemNamespace(cluster);
          addPools(cluster, pools.length, nodesPerPool);
          emulator.settle();
          return cluster;
        },
      });
      await world.pass(60);
      const storm = toPoolsStorm(toStormNodes(world.cluster), world.time.now, action);
      const { calls, messages, mostInASecond, isAcknowledged } = await weather(world, storm);
      expect(messages).to.equal(64 * nodesPerPool);
      expect(isAcknowledged).to.equal(true);
      const cordoned = pools.filter((pool) => countCordoned(world.cluster, pool) > 0);
      expect(cordoned).to.have.lengthOf(2);
      expect(calls / messages).to.be.at.most(4);
      expect(mostInASecond).to.be.at.most(200);
    });
  }
});
