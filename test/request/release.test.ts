import { expect } from 'chai';
import { readConfig } from '../../src/config.ts';
import { parsePolicyLabels } from '../../src/alert/policy-labels.ts';
import { hashAction, parseAction } from '../../src/request/action.ts';
import type { Action } from '../../src/request/action.ts';
import { isLabelTest } from '../../src/request/release.ts';
import { fromRecordedAction, toRecordedAction } from '../../src/state/recorded-action.ts';
import { refusal } from '../fixtures/refusal-of.ts';
import { trainCluster } from '../fixtures/train-world.ts';

const { clusters } = readConfig({ CLUSTERS: trainCluster });

const repair = { type: 'cordon_and_repair_nodepool', node_pool: 'slice-a', uncordon_when_repaired: true };
const restart = { type: 'cordon_nodepool_and_restart_jobset', node_pool: 'slice-a', jobset_name: 'train' };

function parse(body: object): Action {
  return parseAction({ requestor: 'me', reason: 'a test', id: 'a', ...body }, clusters, 'generated');
}

describe('the field accept', () => {
  const names: Record<string, boolean> = {
    'burn-in': false,
    burn_in: true,
    'burn.in': true,
    'example.com/burn-in': true,
    'example.com/Burn_In.2': true,
    ['a'.repeat(52)]: false,
  };
  for (const [accept, isLabel] of Object.entries(names)) {
    it(`takes ${accept} as ${isLabel ? 'a label' : 'a CronJob'}`, () => {
      expect(parse({ ...repair, accept }).accept).to.equal(accept);
      expect(isLabelTest(accept)).to.equal(isLabel);
    });
  }

  for (const accept of [
    'Burn-In',
    '-a',
    'a'.repeat(53),
    'a/b/c',
    '/a',
    'a/',
    '_a',
    `x/${'a'.repeat(64)}`,
    'a b',
    'A/b',
  ]) {
    it(`refuses ${accept}`, () => {
      expect(refusal(() => parse({ ...repair, accept })).message).to.match(
        /accept must be the name of a node label/,
      );
    });
  }

  it('is absent where it is empty', () => {
    for (const accept of ['', null, undefined]) {
      expect(parse({ ...repair, accept })).not.to.have.property('accept');
    }
  });

  it('is for an action that releases a pool', () => {
    const { uncordon_when_repaired: _, ...cordoned } = repair;
    const why =
      /accept is the test before a pool is released: add uncordon_when_repaired, or when_no_spare repair/;
    for (const body of [cordoned, restart, { ...restart, on_failure: 'repair_nodepool' }]) {
      expect(refusal(() => parse({ ...body, accept: 'burn-in' })).message).to.match(why);
    }
    const inPlace = { ...restart, when_no_spare: 'repair', accept: 'burn-in' };
    expect(parse(inPlace).accept).to.equal('burn-in');
    const escalated = { ...restart, on_failure: 'repair_nodepool', uncordon_when_repaired: true };
    expect(parse({ ...escalated, accept: 'burn-in' }).accept).to.equal('burn-in');
  });

  it('is part of what one id stands for, and of the record', () => {
    const plain = parse(repair);
    const tested = parse({ ...repair, accept: 'burn-in' });
    expect(hashAction(tested)).not.to.equal(hashAction(plain));
    expect(hashAction(tested)).not.to.equal(hashAction(parse({ ...repair, accept: 'other' })));
    const stored = JSON.parse(JSON.stringify(toRecordedAction(tested))) as ReturnType<
      typeof toRecordedAction
    >;
    const read = fromRecordedAction(stored, tested, tested.cluster);
    expect(read?.accept).to.equal('burn-in');
    expect(read && hashAction(read)).to.equal(hashAction(tested));
  });
});

describe('the label failover_accept', () => {
  it('is read', () => {
    expect(parsePolicyLabels({ failover_accept: 'burn-in' }).accept).to.equal('burn-in');
    expect(parsePolicyLabels({}).accept).to.equal(undefined);
  });

  // F-384: the incident closed before the test, and the close released the pool.
  it('is refused beside failover_on_close, which would release the pool untested', () => {
    const labels = { failover_accept: 'burn-in', failover_on_close: 'uncordon_nodepool' };
    expect(refusal(() => parsePolicyLabels(labels)).message).to.match(
      /leave label failover_on_close or failover_accept/,
    );
  });
});
