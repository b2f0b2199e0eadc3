import { expect } from 'chai';
import * as v from 'valibot';
import { clusterNameSchema } from '../../src/cluster-name.ts';
import { assertNotLookedAfter } from '../../src/decide/looked-after.ts';
import { Ignored } from '../../src/ignored.ts';
import type { RepairPlan } from '../../src/plan.ts';
import { parseAction } from '../../src/request/action.ts';
import { writeVerdict } from '../../src/state/open-records.ts';
import { createRecord, writePlan } from '../../src/state/record.ts';
import type { Verdict } from '../../src/verdict.ts';
import { createInMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import { incidentOf } from '../fixtures/node-health.ts';

const body = { type: 'repair_nodepool', node_pool: 'slice-a', requestor: 'alice', reason: 'r' };
const parsed = parseAction(
  body,
  [v.parse(clusterNameSchema, 'projects/ml-prod/locations/us-central1/clusters/train')],
  'other',
);

function planOf(change: Partial<RepairPlan> = {}): RepairPlan {
  const machine = { projectId: 'p', zone: 'us-central1-a', instanceName: 'vm-0', instanceId: '100' };
  const leftTo = { outcome: 'gke_is_repairing', why: 'GKE repairs it' } as const;
  return { ...machine, node: { name: 'gke-0', uid: 'u' }, isMultiHost: false, why: 'w', leftTo, ...change };
}

interface Case {
  /** Of the action that is open already. */
  opened?: Partial<RepairPlan> | 'no repair';
  verdict?: boolean;
  nodePool?: string;
  id?: string;
  plan?: Partial<RepairPlan>;
  isAlert?: boolean;
}

/** @returns why the alert is ignored, if it is; nothing is written in any case */
async function ask(of: Case): Promise<string | undefined> {
  const { opened = {}, verdict = false, nodePool = 'slice-a', id = 'mine', plan = {}, isAlert = true } = of;
  const { kubernetes, emulator } = createInMemoryWorld({ slices: [], jobSet: null });
  const other = { ...parsed, caller: 'alice', id: 'other' };
  const record = await createRecord(kubernetes, other, { hash: 'h', nodePool, claimId: 'one' });
  if (!record) throw new Error('the record exists already');
  const repair = opened === 'no repair' ? {} : { repair: planOf(opened) };
  const planned = await writePlan(kubernetes, record, { claimId: 'one', ...repair });
  const given: Verdict = { verdict: 'repaired', at: '2026-11-23T03:00:00Z', why: 'w' };
  if (verdict) await writeVerdict(kubernetes, planned, given);
  const written = emulator.writes().length;
  const action = { ...other, id, ...(isAlert && { incident: incidentOf() }) };
  const error: unknown = await assertNotLookedAfter(action, 'slice-a', planOf(plan), kubernetes).catch(
    (thrown: unknown) => thrown,
  );
  expect(emulator.writes()).to.have.length(written);
  if (error === undefined) return undefined;
  expect(error).to.be.instanceOf(Ignored);
  return (error as Ignored).message;
}

const handled = 'handled: GKE repairs it, and action other looks what becomes of it';

describe('assertNotLookedAfter', () => {
  it('ignores an alert about a machine whose repair by GKE another action waits for', async () => {
    expect(await ask({})).to.equal(handled);
  });

  it('ignores it for any machine of a slice', async () => {
    const plan = { node: { name: 'gke-1', uid: 'v' }, instanceId: '200', isMultiHost: true };
    expect(await ask({ plan })).to.equal(handled);
    expect(await ask({ plan: { ...plan, isMultiHost: false } })).to.equal(undefined);
  });

  it('does not take another machine of the same node for it, nor another node of the same machine', async () => {
    expect(await ask({ plan: { instanceId: '200' } })).to.equal(undefined);
    expect(await ask({ plan: { node: { name: 'gke-0', uid: 'v' } } })).to.equal(undefined);
  });

  it('lets the alert act where nobody waits any more, or for something else', async () => {
    expect(await ask({ verdict: true })).to.equal(undefined);
    expect(await ask({ nodePool: 'slice-b' })).to.equal(undefined);
    expect(await ask({ id: 'other' })).to.equal(undefined);
    expect(await ask({ opened: 'no repair' })).to.equal(undefined);
    expect(await ask({ opened: { leftTo: { outcome: 'node_leaving', why: 'w' } } })).to.equal(undefined);
  });

  it('asks nothing for a caller, nor where GKE does not repair', async () => {
    expect(await ask({ isAlert: false })).to.equal(undefined);
    expect(await ask({ plan: { leftTo: { outcome: 'node_leaving', why: 'w' } } })).to.equal(undefined);
  });
});
