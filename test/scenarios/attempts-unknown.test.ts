import { expect } from 'chai';
import type { Fault, SentCall } from '../simulation/function-instance.ts';
import { VirtualFailover } from '../fixtures/virtual-failover.ts';

const restart = { type: 'cordon_nodepool_and_restart_jobset', jobset_name: 'train' };

/** Deletes the pod at the first try; nobody hears of it. */
function createUnheard(isCarriedOut: boolean): (call: SentCall) => Fault {
  let deletions = 0;
  return ({ method, path }) => {
    if (method !== 'DELETE' || !path.includes('/pods/')) return 'none';
    return isCarriedOut && deletions++ === 0 ? 'lost_after' : 'failed_500';
  };
}

describe('a restart of which nobody knows whether it was accepted', () => {
  const settings = { MAX_ATTEMPTS_PER_DAY: '1', COOLDOWN_SECONDS: '0' };

  // F-220: it did not count, and one more restart than the bound was possible.
  it('counts as an attempt once its attempt of the JobSet has ended', async () => {
    const failover = new VirtualFailover({ environment: settings });
    const unlucky = failover.newInstance(0, createUnheard(true));
    const first = await failover.send({ id: 'first', ...restart, node_pool: 'slice-a' }, unlucky);
    expect(first.code).to.equal('upstream_failed');
    await failover.pass(600);
    expect(failover.cluster.jobsets('default')[0]?.status?.restarts).to.equal(1);
    failover.newWrites();

    const second = await failover.send({ id: 'second', ...restart, node_pool: 'slice-b' });

    expect(second.code).to.equal('attempts_exhausted');
    expect(second.error).to.include('action first at ');
    const deletions = failover
      .newWrites()
      .filter(({ method, path }) => method === 'DELETE' && path.includes('/pods/'));
    expect(deletions).to.deep.equal([]);
  });

  it('does not count while its attempt goes on, because it came to nothing', async () => {
    const failover = new VirtualFailover({ environment: settings });
    const unlucky = failover.newInstance(0, createUnheard(false));
    const first = await failover.send({ id: 'first', ...restart, node_pool: 'slice-a' }, unlucky);
    expect(first.code).to.equal('upstream_failed');
    await failover.pass(600);

    const second = await failover.send({ id: 'second', ...restart, node_pool: 'slice-a' });

    expect(second.status, second.error).to.equal(200);
  });
});
