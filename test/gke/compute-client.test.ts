import { expect } from 'chai';
import { createLoadOnce } from '../../src/gke/compute.ts';

// F-91: one read that failed while the Compute client was loaded made every later repair of that instance fail.
describe('createLoadOnce', () => {
  it('loads once, also for two that ask at the same time', async () => {
    let loads = 0;
    const load = createLoadOnce(async () => ++loads);
    expect(await Promise.all([load(), load()])).to.deep.equal([1, 1]);
    expect(await load()).to.equal(1);
  });

  it('loads again after a failure, and fails for all who waited for it', async () => {
    let loads = 0;
    const load = createLoadOnce(async () => {
      if (++loads === 1) throw new Error('EMFILE: too many open files');
      return loads;
    });
    const failed = await Promise.allSettled([load(), load()]);
    expect(failed.map(({ status }) => status)).to.deep.equal(['rejected', 'rejected']);
    expect(await load()).to.equal(2);
    expect(await load()).to.equal(2);
  });
});
