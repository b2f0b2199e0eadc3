import { expect } from 'chai';
import { jsonOf, repairOfSlice } from '../fixtures/verdicts.ts';
import { VirtualFailover } from '../fixtures/virtual-failover.ts';

describe('the verdict of a repair whose deletion Compute accepted, and that failed there', () => {
  it('names the operation, and the command that shows its error', async () => {
    const world = new VirtualFailover({ jobSet: null });
    world.cluster.switches.failDeletions('slice-a');
    const { steps } = await world.send(repairOfSlice);
    const operation = String(steps.at(-1)?.['operation']);
    expect(operation).to.match(/^operation-/);
    await world.pass(1801);
    expect((await world.reconcile()).settled).to.deep.equal([{ id: 'r', verdict: 'not_repaired' }]);
    expect(jsonOf(world, 'r', 'verdict')['why']).to.match(
      new RegExp(
        '^not within 1800 s: the old machine is still there: node gke-\\S+ runs on it, although Compute accepted its deletion. Its error, ' +
          `if it failed: gcloud compute operations describe ${operation} --zone \\S+ --project demo-project$`,
      ),
    );
    const line = world.log.find(({ event }) => event === 'verdict');
    expect(line?.['message']).to.contain(operation);
  });
});
