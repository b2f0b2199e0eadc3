import { expect } from 'chai';
import { readConfig } from '../../src/config.ts';
import { parseAction } from '../../src/request/action.ts';
import type { Action } from '../../src/request/action.ts';
import { fromRecordedAction, toRecordedAction } from '../../src/state/recorded-action.ts';
import { trainCluster } from '../fixtures/train-world.ts';

const { clusters } = readConfig({ CLUSTERS: trainCluster });
const asked = { requestor: 'alice', reason: 'ECC errors', node_pool: 'slice-a', jobset_name: 'train' };

/** The action as its record gives it back, through JSON. */
function storeAndRead(action: Action): Action | undefined {
  const stored = JSON.parse(JSON.stringify(toRecordedAction(action))) as ReturnType<typeof toRecordedAction>;
  return fromRecordedAction(stored, action, action.cluster);
}

/** Its fields that are not undefined. */
function given(action: Action | undefined): object {
  return Object.fromEntries(Object.entries(action ?? {}).filter(([, value]) => value !== undefined));
}

describe('the action of a record', () => {
  it('is carried on with all that its sender asked for', () => {
    const body = {
      ...asked,
      type: 'cordon_nodepool_and_restart_jobset',
      on_failure: 'cordon_and_repair_nodepool',
      uncordon_when_repaired: true,
      accept: 'nccl-test',
      restart_grace_seconds: 60,
      approval: 'required',
      preflight_checks: { spare_capacity: true, expected_node_counts: true },
    };
    const { isIdGenerated: _, ...action }: Action = parseAction(body, clusters, 'a');
    expect(action).to.include({ accept: 'nccl-test', requiresSpare: true });
    expect(given(storeAndRead(action))).to.deep.equal(given(action));
    const followUp = { ...action, followUpOf: { id: 'earlier', isOfAlert: true } };
    expect(given(storeAndRead(followUp))).to.deep.equal(given(followUp));
  });

  it('has no test and no condition that its sender did not ask for', () => {
    const action = parseAction({ ...asked, type: 'cordon_and_repair_nodepool' }, clusters, 'a');
    const read = fromRecordedAction(toRecordedAction(action), action, action.cluster);
    expect(read).not.to.have.any.keys('accept', 'requiresSpare', 'followUpOf', 'incident');
  });

  it('is undefined for a type that nobody knows', () => {
    const action = parseAction({ ...asked, type: 'cordon_nodepool' }, clusters, 'a');
    const stored = toRecordedAction(action);
    expect(fromRecordedAction(stored, { ...action, type: 'explode' }, action.cluster)).to.equal(undefined);
  });
});
