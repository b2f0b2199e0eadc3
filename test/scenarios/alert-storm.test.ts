import { expect } from 'chai';
import type { RecordedRequest } from '../emulator/emulator.ts';
import { addSystemNamespace } from '../emulator/scenario.ts';
import { AlertWorld } from '../fixtures/alert-world.ts';
import type { Delivery } from '../fixtures/alert-world.ts';
import { createNotification } from '../fixtures/notification.ts';
import { countCordoned, trainCluster, whereTrainRuns } from '../fixtures/train-world.ts';

const badPools = ['pool-1', 'pool-2', 'pool-3', 'pool-4', 'pool-5'];
const nodesPerPool = 2;
const incidentsPerPool = 50;

/** Five pools that all run one JobSet, and a sixth that is free and large enough for all of it. */
function createStormWorld(environment: Record<string, string>): AlertWorld {
  return new AlertWorld({
    environment,
    build: (emulator) => {
      const cluster = emulator.addCluster({ name: trainCluster });
      addSystemNamespace(cluster);
      for (const pool of badPools) cluster.addPool(pool, { gpu: true, nodes: nodesPerPool });
      cluster.addJobSet({
        name: 'train',
        failurePolicy: { maxRestarts: 20 },
        replicatedJobs: [
          {
            name: 'workers',
            replicas: badPools.length,
            parallelism: nodesPerPool,
            backoffLimit: 0,
            resources: { 'nvidia.com/gpu': 8 },
            tolerations: [{ key: 'nvidia.com/gpu', operator: 'Exists' }],
          },
        ],
      });
      emulator.settle();
      cluster.addPool('pool-6', { gpu: true, nodes: badPools.length * nodesPerPool });
      return cluster;
    },
  });
}

/** For each restart that was sent, the attempt that it was for. */
function restartedAttempts({ emulator, cluster }: AlertWorld): string[] {
  const isRestart = ({ method, path }: RecordedRequest) =>
    (method === 'DELETE' && path.includes('/pods/')) || (method === 'PATCH' && path.includes('/jobs/'));
  const marks = emulator
    .writes()
    .filter(({ method, path, status = 0 }) => method !== 'DELETE' && path.includes('/leases') && status < 300)
    .flatMap(({ body }) => {
      const { annotations = {} } = (body as { metadata: { annotations?: Record<string, string> } }).metadata;
      const mark = annotations['autometric-failover/restart'];
      const { attempt, state } = JSON.parse(mark ?? '{}') as { attempt?: number; state?: string };
      // Each is written twice: begun before its deletion, and accepted after it.
      return attempt === undefined || state !== 'begun' ? [] : [attempt];
    });
  expect(emulator.writes().filter((request) => isRestart(request))).to.have.length(new Set(marks).size);
  expect(cluster.jobsets('default')[0]?.status?.restarts).to.equal(new Set(marks).size);
  return marks.map(String);
}

/** Messages for one pool: fifty incidents, each delivered twice; every other policy names the JobSet. */
function publishAll(world: AlertWorld, pool: string): Delivery[] {
  return Array.from({ length: incidentsPerPool }).flatMap((_, index) => {
    const labels = { failover_action: 'cordon_nodepool_and_restart_jobset' };
    const notification = createNotification({
      id: `0.${pool}.${index}`,
      startedAt: world.time.now,
      type: 'k8s_node_pool',
      resource: { node_pool_name: pool },
      labels: index % 2 ? { ...labels, failover_jobset: 'train' } : labels,
    });
    return [world.publish(notification), world.publish(notification)];
  });
}

/** 500 messages, all at once or one pool after the other. */
async function storm(world: AlertWorld, gapSeconds: number): Promise<Delivery[]> {
  await world.pass(60);
  const deliveries: Delivery[] = [];
  for (const pool of badPools) {
    deliveries.push(...publishAll(world, pool));
    if (gapSeconds > 0) await world.pass(gapSeconds);
  }
  await world.deliverAll(deliveries);
  await world.pass(60);
  return deliveries;
}

describe('a storm of 500 notifications for five pools that run one JobSet', function () {
  // F-25: one fault alerts on four slices of one JobSet: four cordons, one restart.
  // F-37: the JobSet moved to pool B, and now pool B is bad: restarted again, not rate limited.
  for (const gapSeconds of [0, 20]) {
    const when = gapSeconds > 0 ? `one pool ${gapSeconds} s after the other` : 'all at once';
    it(`ends with five cordons, no attempt restarted twice, and the run on the sixth pool, ${when}`, async () => {
      const world = createStormWorld({ MAX_POOLS_PER_HOUR: '5', MAX_ATTEMPTS_PER_DAY: '5' });
      const deliveries = await storm(world, gapSeconds);
      expect(deliveries).to.have.length(500);
      expect(deliveries.filter(({ isAcknowledged }) => !isAcknowledged)).to.have.length(0);
      const cordoned = [...badPools, 'pool-6'].map((pool) => countCordoned(world.cluster, pool));
      expect(cordoned).to.deep.equal([...badPools.map(() => nodesPerPool), 0]);
      const isCordon = ({ method, path }: RecordedRequest) => method === 'PATCH' && path.includes('/nodes/');
      const patches = world.emulator.writes().filter((request) => isCordon(request));
      expect(patches, 'each node is written once').to.have.length(badPools.length * nodesPerPool);
      const attempts = restartedAttempts(world);
      expect(new Set(attempts).size).to.equal(attempts.length);
      if (gapSeconds > 0) expect(attempts).to.deep.equal(['0', '1', '2', '3', '4']);
      expect(whereTrainRuns(world.cluster)).to.deep.equal([`pool-6 #${attempts.length}`]);
    });
  }

  // F-28: every pool turns bad at once because the metric broke: the budget holds.
  it('ends with two cordons under the default budget, and errors that say why', async () => {
    const world = createStormWorld({});
    const deliveries = await storm(world, 0);
    expect(deliveries.filter(({ isAcknowledged }) => !isAcknowledged)).to.have.length(0);
    const cordoned = badPools.filter((pool) => countCordoned(world.cluster, pool) > 0);
    expect(cordoned.map((pool) => countCordoned(world.cluster, pool))).to.deep.equal([
      nodesPerPool,
      nodesPerPool,
    ]);
    const attempts = restartedAttempts(world);
    expect(new Set(attempts).size).to.equal(attempts.length);
    const refused = deliveries.filter(({ answer }) => answer?.body.code === 'budget_exceeded');
    expect(refused).to.have.length(300);
    const errors = world.lines.filter(
      ({ severity, code }) => severity === 'ERROR' && code === 'budget_exceeded',
    );
    expect(errors).to.have.length(300);
    const why = `2 node pools were acted on within the hour (${cordoned.join(', ')}), which is MAX_POOLS_PER_HOUR`;
    for (const { message } of errors) expect(message).to.include(why);
  });

  it('leaves no run on a pool whose cordon lands after a new attempt has started on it', async () => {
    const world = createStormWorld({ MAX_POOLS_PER_HOUR: '5' });
    await world.pass(60);
    const slow = world.cluster.nodes('pool-2').map(({ metadata }) => metadata.name);
    const effect = { status: 503, headers: { 'retry-after': '3' } };
    world.emulator.faults.add({ method: 'PATCH', path: new RegExp(slow.join('|')), times: 2, effect });
    const deliveries = ['pool-1', 'pool-2'].map((pool) =>
      world.publish(
        createNotification({
          id: `0.${pool}`,
          startedAt: world.time.now,
          type: 'k8s_node_pool',
          resource: { node_pool_name: pool },
          labels: { failover_action: 'cordon_nodepool_and_restart_jobset', failover_jobset: 'train' },
        }),
      ),
    );
    await world.deliverAll(deliveries);
    await world.pass(60);
    expect(deliveries.map(({ answer }) => answer?.body.steps?.at(-1)?.['outcome'])).to.deep.equal([
      'restarted',
      'restarted',
    ]);
    expect(restartedAttempts(world)).to.deep.equal(['0', '1']);
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['pool-3 #2', 'pool-4 #2', 'pool-5 #2', 'pool-6 #2']);
  });
});
