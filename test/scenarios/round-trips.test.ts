import { expect } from 'chai';
import { countRoundTrips } from '../fixtures/round-trips.ts';
import type { RoundTrips } from '../fixtures/round-trips.ts';
import { nodeNames } from '../fixtures/train-world.ts';
import { VirtualFailover } from '../fixtures/virtual-failover.ts';

const restartType = 'cordon_nodepool_and_restart_jobset';
const pool = { node_pool: 'slice-a' };
const jobSet = { jobset_name: 'train' };

/** A world in which another action has used the pool, and is done. */
async function createUsedWorld(): Promise<VirtualFailover> {
  const world = new VirtualFailover();
  for (const [id, type] of [
    ['before-1', 'cordon_nodepool'],
    ['before-2', 'uncordon_nodepool'],
  ]) {
    expect(await world.send({ id, type, ...pool })).to.include({ status: 200 });
  }
  return world;
}

/** In which row a call was made for the first time, and for the last time. */
function rowsOf({ rows }: RoundTrips, call: RegExp): { first: number; last: number } {
  const found = rows.flatMap((row, index) => (row.some((each) => call.test(each)) ? [index] : []));
  const [first] = found;
  const last = found.at(-1);
  if (first === undefined || last === undefined) throw new Error(`no call is like ${String(call)}`);
  return { first, last };
}

// docs/design.md has the list of what each row waits for.
describe('the round trips in a row', () => {
  for (const [what, body, most] of [
    ['a cordon', { type: 'cordon_nodepool', ...pool }, 7],
    ['an uncordon', { type: 'uncordon_nodepool', ...pool }, 7],
    ['a cordon and a restart', { type: restartType, ...pool, ...jobSet }, 11],
    ['a repair', { type: 'repair_nodepool', ...pool }, 8],
    ['a cordon and a repair', { type: 'cordon_and_repair_nodepool', ...pool }, 9],
  ] as const) {
    for (const isUsed of [false, true]) {
      // The first action of all sweeps.
      if (body.type === 'uncordon_nodepool' && !isUsed) continue;
      it(`of ${what} of a pool ${isUsed ? 'that was used before' : 'that is new'} are ${most}`, async () => {
        const world = isUsed ? await createUsedWorld() : new VirtualFailover();
        const { answer, count, rows } = await countRoundTrips(world, { id: 'a', ...body });
        expect(answer).to.include({ status: 200 });
        expect(count, rows.map((row) => row.join(', ')).join('\n')).to.equal(most);
      });
    }

    it(`of ${what} are no more without an id, and one more where only a node is named`, async () => {
      const unnamed = await countRoundTrips(await createUsedWorld(), body);
      expect(unnamed.count).to.equal(most);
      const world = await createUsedWorld();
      const [node] = nodeNames(world.cluster, 'slice-a');
      const named = await countRoundTrips(world, { ...body, id: 'a', node_pool: null, node_name: node });
      expect(named.answer).to.include({ status: 200 });
      expect(named.count).to.equal(most + 1);
    });

    it(`of ${what} that is sent again are one`, async () => {
      const world = new VirtualFailover();
      await world.send({ id: 'a', ...body });
      const again = await countRoundTrips(world, { id: 'a', ...body });
      expect(again.answer).to.include({ status: 200, isReplay: true });
      expect(again.count).to.equal(1);
    });
  }

  it('of a dry run are two, or three where a restart is predicted', async () => {
    const dry = { dry_run: true, ...pool };
    const cordon = await countRoundTrips(new VirtualFailover(), { type: 'cordon_nodepool', ...dry });
    expect(cordon.count).to.equal(2);
    const restart = await countRoundTrips(new VirtualFailover(), { type: restartType, ...dry, ...jobSet });
    expect(restart.count).to.equal(3);
  });
});

describe('what still waits for what', () => {
  const deletions = [
    ['restart', { type: restartType, ...pool, ...jobSet }, /^DELETE pods/, 2],
    ['repair', { type: 'cordon_and_repair_nodepool', ...pool }, /^DELETE compute/, 1],
  ] as const;

  for (const [what, body, deletion, most] of deletions) {
    it(`a ${what}: plan, cordons, check and marks, deletion, accepted, answer, release`, async () => {
      const trips = await countRoundTrips(new VirtualFailover(), { id: 'a', ...body });
      const plan = rowsOf(trips, /^PUT leases\/action/);
      const lock = rowsOf(trips, /^PUT leases\/pool/);
      const cordons = rowsOf(trips, /^PATCH nodes/);
      const deleted = rowsOf(trips, deletion);
      const isBetween = (row: number) => row > cordons.last && row < deleted.first;
      expect(plan.first, 'plan, before the first cordon').to.be.below(cordons.first);
      expect(rowsOf(trips, /^PUT leases\/cluster/).first, 'budget, before the first cordon').to.be.below(
        cordons.first,
      );
      expect(cordons.last, 'cordons, before the deletion').to.be.below(deleted.first);
      const checkAt = trips.rows.findIndex(
        (row, index) => isBetween(index) && row.includes('GET leases/cluster') && row.includes('GET nodes'),
      );
      expect(isBetween(checkAt), 'the check after the cordons').to.equal(true);
      expect(deleted.first - checkAt, 'the check directly before the deletion').to.be.at.most(most);
      const marked = trips.rows.findIndex(
        (row, index) => isBetween(index) && row.includes('PUT leases/pool-slice-a'),
      );
      expect(isBetween(marked), 'the mark before the deletion').to.equal(true);
      // The lock's writes are: taken, begun, accepted, released.
      expect(plan.last, 'the answer after `accepted`').to.be.greaterThan(deleted.last + 1);
      expect(lock.last, 'the release after the answer').to.equal(plan.last + 1);
    });
  }

  it('reads nothing that a decision rests on before the lock is seen to be free', async () => {
    const { rows } = await countRoundTrips(await createUsedWorld(), {
      id: 'a',
      type: 'cordon_and_repair_nodepool',
      ...pool,
    });
    expect(rows[0]?.toSorted()).to.deep.equal(['GET leases/action', 'GET leases/pool-slice-a']);
    expect(rows[1]).to.include.members(['POST leases', 'PUT leases/pool-slice-a', 'GET leases/cluster']);
  });
});
