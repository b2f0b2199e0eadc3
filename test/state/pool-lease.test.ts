import { expect } from 'chai';
import { createLease } from '../../src/state/lease.ts';
import { seePoolLease } from '../../src/state/pool-lease.ts';
import { createInMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';

describe('seePoolLease', () => {
  it('says whether the lock is free: where there is none, where nobody holds it, and once it has expired', async () => {
    const { kubernetes, clock } = createInMemoryWorld({ slices: [], jobSet: null });
    expect(await seePoolLease(kubernetes, 'slice-a')).to.deep.equal({ lease: undefined, isFree: true });
    await createLease(kubernetes, { name: 'pool-slice-b', annotations: {} });
    expect((await seePoolLease(kubernetes, 'slice-b')).isFree).to.equal(true);
    const held = { holder: 'a/1', renewedAt: clock.now(), durationSeconds: 60, annotations: {} };
    const lease = await createLease(kubernetes, { name: 'pool-slice-a', ...held });
    expect(await seePoolLease(kubernetes, 'slice-a')).to.deep.equal({ lease, isFree: false });
    clock.advance(70_000);
    expect((await seePoolLease(kubernetes, 'slice-a')).isFree).to.equal(false);
    clock.advance(1_000);
    expect((await seePoolLease(kubernetes, 'slice-a')).isFree).to.equal(true);
  });
});
