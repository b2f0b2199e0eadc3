import { expect } from 'chai';
import { createLease } from '../../src/state/lease.ts';
import { listRecentVerdicts } from '../../src/state/recent-verdicts.ts';
import { keys, kindLabel, toRecordName } from '../../src/state/record-format.ts';
import { createInMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';

const hour = 3_600_000;

describe('listRecentVerdicts', () => {
  it('has those that were given within the hour, whenever their record was written last', async () => {
    const { kubernetes, clock } = createInMemoryWorld({ slices: [], jobSet: null });
    const now = clock.now();
    const record = (id: string, age: number, verdict = 'not_recovered', writtenAge = 0) =>
      createLease(kubernetes, {
        name: toRecordName(id),
        labels: { [kindLabel]: 'action' },
        renewedAt: now - writtenAge,
        annotations: {
          [keys.id]: id,
          [keys.nodePool]: 'slice-a',
          [keys.plan]: '{"claimId":"one"}',
          [keys.verdict]: JSON.stringify({ verdict, at: new Date(now - age).toISOString() }),
        },
      });
    await record('young', hour - 1);
    await record('written-with-it', hour - 1_000, 'repaired', hour - 1_000);
    await record('an-hour-old', hour);
    await record('old', hour + 1);
    await record('old-and-not-written-since', hour + 1, 'not_recovered', hour + 1_000);
    await record('says-nothing', 0, 'run_ended');
    const listed = await listRecentVerdicts(kubernetes);
    const common = { nodePool: 'slice-a', jobSet: undefined, zone: undefined };
    expect(listed.toSorted((a, b) => a.at - b.at)).to.deep.equal([
      { ...common, id: 'young', verdict: 'not_recovered', hasHelped: false, at: now - hour + 1 },
      { ...common, id: 'written-with-it', verdict: 'repaired', hasHelped: true, at: now - hour + 1_000 },
    ]);
  });
});
