import { expect } from 'chai';
import { readConfig } from '../../src/config.ts';
import { claimAction } from '../../src/failover/claim.ts';
import type { Claim } from '../../src/failover/claim.ts';
import { failoverNamespace } from '../../src/names.ts';
import { parseAction } from '../../src/request/action.ts';
import { writePlan } from '../../src/state/record.ts';
import { countWrites } from '../fixtures/count-writes.ts';
import { createInMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import type { ConnectOptions, InMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import { refusalOf } from '../fixtures/refusal-of.ts';
import { trainCluster } from '../fixtures/train-world.ts';

const config = readConfig({ CLUSTERS: trainCluster });

async function claim(world: InMemoryWorld, id: string, options: ConnectOptions = {}): Promise<Claim> {
  const body = { id, type: 'cordon_nodepool', requestor: 't', reason: 'r', node_pool: 'slice-a' };
  const claimed = await claimAction(parseAction(body, config.clusters, 'generated'), {
    kubernetes: world.connect(options),
    clock: world.clock,
    resolvePool: async () => 'slice-a',
  });
  if (!('claim' in claimed)) throw new Error('it was done already');
  return claimed.claim;
}

function records({ cluster }: InMemoryWorld): string[] {
  const leases = cluster.leases(failoverNamespace);
  return leases.flatMap(({ metadata: { annotations } }) => annotations?.['autometric-failover/id'] ?? []);
}

// F-85: the request that gave up deleted the record under the one that had the lock.
describe('claimAction, of two requests with one new id', () => {
  for (const [what, request] of [
    ['while it waits', /^GET .*\/leases\/pool-/],
    ['directly before it forgets the record', /^DELETE .*\/leases\/action-/],
  ] as const) {
    it(`leaves the record to the other one, which gets the lock ${what}`, async () => {
      const world = createInMemoryWorld({ slices: [], jobSet: null });
      const holder = await claim(world, 'holder');
      let second: Claim | undefined;
      const refusal = await refusalOf(
        claim(world, 'a', {
          async onRequest({ method, url }) {
            const isDue = records(world).includes('a') && request.test(`${method} ${url}`);
            if (!isDue || second) return;
            await holder.lock.release({ forget: false });
            second = await claim(world, 'a');
          },
        }),
      );
      // In the second case it had given up already.
      expect(refusal).to.include({ code: 'action_in_progress' });
      if (!second) throw new Error('the second request never got the lock');
      const planned = await writePlan(world.kubernetes, second.record, { claimId: second.claimId });
      expect(planned.plan).to.deep.equal({ claimId: second.claimId });
      expect(records(world)).to.have.members(['holder', 'a']);
    });
  }

  it('forgets the record where another action holds the pool until the end', async () => {
    const world = createInMemoryWorld({ slices: [], jobSet: null });
    await claim(world, 'holder');
    expect(await refusalOf(claim(world, 'a'))).to.include({ code: 'action_in_progress' });
    expect(records(world)).to.deep.equal(['holder']);
  });

  it('costs no further write where nobody else is there', async () => {
    const world = createInMemoryWorld({ slices: [], jobSet: null });
    await claim(world, 'a');
    expect(countWrites(world.emulator.writes())).to.deep.equal({ 'POST leases': 2 });
  });
});
