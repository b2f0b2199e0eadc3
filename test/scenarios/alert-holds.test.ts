import { expect } from 'chai';
import { failoverNamespace } from '../../src/names.ts';
import { AlertWorld } from '../fixtures/alert-world.ts';
import { countCordoned } from '../fixtures/train-world.ts';

const dayMs = 24 * 3_600_000;
const onClose = { failover_action: 'cordon_nodepool', failover_on_close: 'uncordon_nodepool' };
const forGood = { failover_action: 'cordon_nodepool' };

/** A world whose function may act on slice-a as often as it is asked. */
async function createWorld(): Promise<AlertWorld> {
  const world = new AlertWorld();
  await world.pass(60);
  return world;
}

const pool = { type: 'k8s_node_pool', resource: { node_pool_name: 'slice-a' } };
const cordoned = (world: AlertWorld) => countCordoned(world.cluster, 'slice-a');

async function open(world: AlertWorld, id: string, labels: Record<string, string> = onClose) {
  const answer = await world.notify({ ...pool, id, labels });
  expect(answer.status, JSON.stringify(answer.body)).to.equal(200);
  return answer;
}

const close = (world: AlertWorld, id: string, labels: Record<string, string> = onClose) =>
  world.notify({ ...pool, id, labels, state: 'closed' });

/** `kubectl uncordon` of every node of the pool. */
function uncordonByHand({ cluster }: AlertWorld): void {
  for (const { metadata } of cluster.nodes('slice-a')) {
    cluster.change('nodes', undefined, metadata.name, ({ spec }) => delete spec.unschedulable);
  }
}

function storedHolds({ cluster }: AlertWorld): Record<string, string> {
  const lease = cluster.get('leases', failoverNamespace, 'pool-slice-a');
  const text = lease?.metadata.annotations?.['autometric-failover/cordoned-for'] ?? '{}';
  return JSON.parse(text) as Record<string, string>;
}

/** As if an incident had held the cordon since that time. */
function heldSince({ cluster }: AlertWorld, id: string, time: number): void {
  cluster.change('leases', failoverNamespace, 'pool-slice-a', ({ metadata }) => {
    metadata.annotations = {
      ...metadata.annotations,
      'autometric-failover/cordoned-since': JSON.stringify({ [id]: new Date(time).toISOString() }),
    };
  });
}

// F-140: holds that nothing ends kept failover_on_close from working on a pool for ever.
describe('the holds on a pool', () => {
  it('end where a cordon begins on a pool without a cordoned node, though another action wanted it for good', async () => {
    const world = await createWorld();
    await open(world, '0.a');
    await open(world, '0.b', forGood);
    expect(storedHolds(world)).to.deep.equal({ '0.a': 'open', '0.b': 'stays' });
    await close(world, '0.a');
    expect(cordoned(world)).to.equal(4);
    uncordonByHand(world);

    await open(world, '0.c');
    expect(storedHolds(world)).to.deep.equal({ '0.c': 'open' });
    expect(cordoned(world)).to.equal(4);
    await close(world, '0.c');
    expect(cordoned(world)).to.equal(0);
  });

  it('of an incident whose close was lost end with the next cordon, once a person has uncordoned the pool', async () => {
    const world = await createWorld();
    await open(world, '0.a');
    uncordonByHand(world);
    await open(world, '0.c');
    await close(world, '0.c');
    expect(cordoned(world)).to.equal(0);
  });

  it('of an incident whose close was lost count for seven days while the pool stays cordoned', async () => {
    const world = await createWorld();
    await open(world, '0.lost');
    heldSince(world, '0.lost', world.time.now - 7 * dayMs + 60_000);
    await open(world, '0.c');
    expect((await close(world, '0.c')).body.ignored).to.match(/because incident 0\.lost is still open$/);
    expect(cordoned(world)).to.equal(4);

    await world.pass(120);
    await open(world, '0.d');
    const answer = await close(world, '0.d');
    expect(answer.body.steps?.[0]).to.include({ step: 'uncordon', uncordoned: 4 });
    expect(cordoned(world)).to.equal(0);
  });

  it('stay while the pool is cordoned: a second action wants it for good', async () => {
    const world = await createWorld();
    await open(world, '0.a');
    await open(world, '0.b', forGood);
    expect((await close(world, '0.a')).body.ignored).to.match(/because action 0\.b cordoned it too/);
    expect(cordoned(world)).to.equal(4);
  });
});
