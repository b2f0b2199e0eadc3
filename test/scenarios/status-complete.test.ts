import { expect } from 'chai';
import { ServedHandler } from '../fixtures/served-handler.ts';
import { StatusWorld } from '../fixtures/status-world.ts';
import type { Json } from '../fixtures/status-world.ts';
import { nodeNames } from '../fixtures/train-world.ts';

const who = { requestor: 'alice', reason: 'ECC errors' };
const restart = {
  ...who,
  id: 'a',
  type: 'cordon_nodepool_and_restart_jobset',
  jobset_name: 'train',
  node_pool: 'slice-a',
};
const repair = { ...who, id: 'r', type: 'repair_nodepool', node_pool: 'slice-a' };
const keys = 'autometric-failover/';

describe('the status of a cluster', () => {
  const served = ServedHandler.forSuite();
  let world: StatusWorld;

  beforeEach(async () => {
    world = new StatusWorld(served);
    // The first action makes the Lease `cluster`.
    await world.post({ ...who, id: 'first', type: 'cordon_nodepool', node_pool: 'slice-b' });
  });

  const poolOf = (status: Json, name: string): Json | undefined =>
    (status['pools'] as Json[]).find((pool) => pool['name'] === name);

  describe('says of a pause', () => {
    it('who has set it, why, with what and when', async () => {
      world.annotate('cluster', { [`${keys}paused`]: 'INC-42', [`${keys}paused-by`]: 'bob' });
      const { paused } = await world.status();
      expect(paused).to.include({ why: 'INC-42', by: 'bob', tool: 'kubectl-annotate' });
      expect(Date.parse(String((paused as Json)['at']))).to.be.within(
        Date.now() - 60_000,
        Date.now() + 1_000,
      );
    });

    it('no name that nobody gave', async () => {
      world.annotate('cluster', { [`${keys}paused`]: 'INC-42' });
      expect((await world.status())['paused']).to.have.all.keys('why', 'tool', 'at');
    });

    // F-240: `paused-by` alone was no pause, although the person who set it believed that it was.
    it('that it holds where only its author is set', async () => {
      world.annotate('cluster', { [`${keys}paused-by`]: 'bob' });
      expect((await world.status())['paused']).to.include({ why: 'no reason given', by: 'bob' });
      const before = world.emulator.writes().length;
      const { status, body } = await world.post(restart);
      expect(status).to.equal(409);
      expect(body['error']).to.match(
        /no reason given \(by bob\); to resume: .* autometric-failover\/paused- autometric-failover\/paused-by-$/,
      );
      const written = world.emulator.writes().slice(before);
      expect(written.filter(({ path }) => /nodes|pods|jobs|instances/.test(path))).to.deep.equal([]);
    });
  });

  it('tells an override from one that lifts nothing', async () => {
    const soon = new Date(Date.now() + 1_800_000).toISOString();
    world.annotate('cluster', { [`${keys}override-until`]: soon });
    const lifted = await world.status();
    expect(lifted).to.include({ override_until: soon }).and.not.have.property('override_ignored');
    world.annotate('cluster', { [`${keys}override-until`]: 'true' });
    const ignored = await world.status();
    expect(ignored).to.include({ override_ignored: 'true' }).and.not.have.property('override_until');
  });

  it('names the pools that used the budget up, and works a percentage out without another call', async () => {
    const countCalls = () => world.emulator.requests.filter(({ api }) => api === 'kubernetes').length;
    const before = countCalls();
    const { budget } = await world.status({ MAX_POOLS_PER_HOUR: '50%' });
    expect(budget).to.deep.include({ max: 1, used: 1 });
    expect((budget as Json)['pools']).to.have.all.keys('slice-b');
    expect(countCalls() - before).to.equal(5);
  });

  it('says that a budget cannot be read, which refuses every pool', async () => {
    world.annotate('cluster', { [`${keys}pools`]: '{' });
    expect((await world.status())['budget']).to.deep.include({ used: 0, broken: true });
  });

  describe('says how many attempts are left', () => {
    it('of a pool, and when one more is possible', async () => {
      await world.post(repair);
      const status = await world.status({ MAX_ATTEMPTS_PER_DAY: '1' });
      const attempts = poolOf(status, 'slice-a')?.['attempts'] as Json;
      expect(attempts).to.include({ max: 1, used: 1, left: 0 });
      const day = Date.parse(String(attempts['again_at'])) - Date.now();
      expect(day).to.be.within(86_000_000, 86_400_000);
      expect(poolOf(status, 'slice-b')?.['attempts']).to.deep.equal({ max: 1, used: 0, left: 1 });
    });

    it('of a JobSet that was restarted, and not of a new one with its name', async () => {
      await world.post(restart);
      world.emulator.settle();
      expect((await world.status())['jobsets']).to.deep.equal([
        { name: 'default/train', attempts: { max: 3, used: 1, left: 2 } },
      ]);
      const path = '/apis/jobset.x-k8s.io/v1alpha2/namespaces/default/jobsets/train';
      expect(world.cluster.ask('DELETE', path).status).to.equal(200);
      world.emulator.settle();
      expect((await world.status())['jobsets']).to.deep.equal([]);
      world.cluster.addJobSet({
        name: 'train',
        replicatedJobs: [{ name: 'workers', parallelism: 4, backoffLimit: 0 }],
      });
      expect((await world.status())['jobsets']).to.deep.equal([
        { name: 'default/train', attempts: { max: 3, used: 0, left: 3 } },
      ]);
    });

    it('or that the list cannot be read', async () => {
      await world.post(repair);
      world.annotate('pool-slice-a', { [`${keys}attempts`]: '{' });
      expect(poolOf(await world.status(), 'slice-a')?.['attempts']).to.include({ left: 0, broken: true });
    });
  });

  it('says how long a cooldown lasts, and whether the deletion was accepted', async () => {
    await world.post(repair);
    const pool = poolOf(await world.status({ COOLDOWN_SECONDS: '600' }), 'slice-a');
    const [cooldown] = (pool?.['cooldowns'] ?? []) as Json[];
    expect(cooldown).to.include({ effect: 'repair', action: 'r', state: 'accepted' });
    expect(cooldown?.['seconds_left']).to.be.within(500, 600);
  });

  // F-241: a slice that GKE re-creates has no nodes for minutes, and was not to be seen.
  it('shows a pool whose nodes are gone because it is being repaired', async () => {
    await world.post(repair);
    for (const name of nodeNames(world.cluster, 'slice-a')) {
      world.cluster.ask('DELETE', `/api/v1/nodes/${name}`);
    }
    const pool = poolOf(await world.status(), 'slice-a');
    expect(pool).to.deep.include({ nodes: { total: 0 }, runs: {} });
    expect(pool?.['cooldowns']).to.have.length(1);
  });

  // F-242: a namespace that could not be read looked as if nothing ran there.
  it('says which namespace it could not read', async () => {
    world.emulator.faults.add({
      method: 'GET',
      path: /namespaces\/research\/pods/,
      times: Infinity,
      effect: { status: 403 },
    });
    const status = await world.status({ ALLOWED_NAMESPACES: 'default,research' });
    expect(status['errors']).to.have.length(1);
    expect(status['errors'])
      .to.have.nested.property('[0]')
      .that.matches(/^pods of namespace research: .*403/);
    expect(poolOf(status, 'slice-a')?.['runs']).to.deep.equal({ 'default/train': 4 });
  });
});
