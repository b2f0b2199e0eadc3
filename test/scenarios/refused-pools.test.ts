import { expect } from 'chai';
import { failoverNamespace } from '../../src/names.ts';
import { expectBroken } from '../fixtures/promise-watch.ts';
import { annotateCluster } from '../fixtures/train-run.ts';
import { whereTrainRuns } from '../fixtures/train-world.ts';
import { VirtualFailover } from '../fixtures/virtual-failover.ts';
import type { VirtualAnswer } from '../fixtures/virtual-failover.ts';

// A restart beside pools that the budget has refused.

const cordon = { type: 'cordon_nodepool' };
const restart = { type: 'cordon_nodepool_and_restart_jobset', jobset_name: 'train' };

const ofOne =
  'the next attempt may land on node pool slice-c, where the budget (MAX_POOLS_PER_HOUR) refused an action within the hour, ' +
  'so look at what was wrong there';

function send(world: VirtualFailover, id: string, pool: string, body: object): Promise<VirtualAnswer> {
  return world.send({ id, node_pool: pool, ...body }, world.newInstance());
}

/** `train` runs on slice-a, and the budget of one pool is used up by slice-a itself, so that slice-c was refused. */
async function createRefused(): Promise<VirtualFailover> {
  const slices = ['slice-a', 'slice-b', 'slice-c'];
  const world = new VirtualFailover({ slices, environment: { MAX_POOLS_PER_HOUR: '1' } });
  await send(world, 'first', 'slice-a', cordon);
  expect(await send(world, 'refused', 'slice-c', cordon)).to.include({ code: 'budget_exceeded' });
  return world;
}

function refusedPools({ cluster }: VirtualFailover): unknown {
  const { metadata } = cluster.get('leases', failoverNamespace, 'cluster') ?? {};
  return JSON.parse(metadata?.annotations?.['autometric-failover/refused-pools'] ?? '{}');
}

// F-154: four slices failed at once, the budget let two through, and the next attempt landed on the two that were refused.
describe('a restart that may land on a pool that the budget has refused', () => {
  it('warns and names the pool, in a dry run too', async () => {
    const world = await createRefused();
    expect(refusedPools(world)).to.have.all.keys('slice-c');
    const rehearsed = await send(world, 'r', 'slice-a', { ...restart, dry_run: true });
    expect(rehearsed.steps.at(-1)).to.include({ outcome: 'would_restart', warning: ofOne });
    const { steps } = await send(world, 'r', 'slice-a', restart);
    expect(steps.at(-1)).to.include({ outcome: 'restarted', warning: ofOne });
  });

  it('says so beside another warning', async () => {
    const world = await createRefused();
    const [, ...others] = world.cluster.nodes('slice-c');
    for (const { metadata } of [...world.cluster.nodes('slice-b'), ...others]) {
      world.cluster.cordonAs('somebody', metadata.name, true);
    }
    const { steps } = await send(world, 'r', 'slice-a', { ...restart, dry_run: true });
    expect(steps.at(-1)?.['warning']).to.match(
      /^outside the pool, 0 of 1 Jobs .* will wait for capacity; the next attempt may land on node pool slice-c, /,
    );
  });

  it('says nothing once the hour is over', async () => {
    const world = await createRefused();
    await world.pass(3595);
    expect((await send(world, 'r', 'slice-a', { ...restart, dry_run: true })).steps.at(-1)).to.include({
      warning: ofOne,
    });
    await world.pass(10);
    const later = await send(world, 's', 'slice-a', { ...restart, dry_run: true });
    expect(later.steps.at(-1)).not.to.have.property('warning');
  });

  it('says nothing where nothing of the pool could take a pod, or somebody has acted on it since', async () => {
    // A person insists.
    expectBroken('budget-holds');
    const cordoned = await createRefused();
    for (const { metadata } of cordoned.cluster.nodes('slice-c')) {
      cordoned.cluster.cordonAs('somebody', metadata.name, true);
    }
    const acted = await createRefused();
    await acted.pass(5);
    annotateCluster(acted, 'override-until', new Date(acted.time.now + 600_000).toISOString());
    expect((await send(acted, 'c', 'slice-c', cordon)).status).to.equal(200);
    expect((await send(acted, 'undo', 'slice-c', { type: 'uncordon_nodepool' })).status).to.equal(200);
    for (const world of [cordoned, acted]) {
      const { steps } = await send(world, 'r', 'slice-a', restart);
      expect(steps.at(-1)).to.include({ outcome: 'restarted' });
      expect(steps.at(-1)).not.to.have.property('warning');
    }
  });

  it('warns of what is refused while its own pool is being cordoned, when four slices fail at once', async () => {
    const bad = ['slice-a', 'slice-b', 'slice-c', 'slice-d'];
    const world = new VirtualFailover({
      slices: [...bad, 'slice-e', 'slice-f'],
      slice: { topology: '8x8' },
      jobs: [{ replicas: 4, parallelism: 16 }],
      // As on larger pools, the cordon takes a while.
      environment: { MAX_POOLS_PER_HOUR: '2', CORDON_CONCURRENCY: '1' },
    });
    expect(whereTrainRuns(world.cluster)).to.deep.equal(bad.map((pool) => `${pool} #0`));
    const sent = bad.map((pool) =>
      world.begin({ ...restart, id: pool, node_pool: pool }, world.newInstance()),
    );
    const answers: VirtualAnswer[] = [];
    for (const each of sent) answers.push(await world.answerOf(each));
    const refused = bad.filter((_, index) => answers[index]?.code === 'budget_exceeded');
    expect(refused).to.have.length(2);
    const restarted = answers.find(({ steps }) => steps.at(-1)?.['outcome'] === 'restarted');
    expect(restarted?.steps.at(-1)?.['warning']).to.include(
      `the next attempt may land on node pools ${refused.join(', ')}, where the budget (MAX_POOLS_PER_HOUR) refused actions within the hour`,
    );
    await world.pass(5);
    const landed = whereTrainRuns(world.cluster);
    for (const pool of refused) expect(landed).to.include(`${pool} #1`);
  });

  it('keeps the pools over a crash, and warns on the resume', async () => {
    const world = await createRefused();
    const crashing = world.newInstance();
    world.once(/^DELETE .*\/pods\//, () => crashing.crash());
    world.begin({ ...restart, id: 'r', node_pool: 'slice-a' }, crashing);
    await world.pass(75);
    const { steps } = await send(world, 'r', 'slice-a', restart);
    expect(steps.at(-1)?.['warning']).to.equal(ofOne);
  });
});
