import { expect } from 'chai';
import { readConfig } from '../../src/config.ts';
import { parseAction } from '../../src/request/action.ts';
import { parseDecision } from '../../src/request/decision.ts';
import { refusal } from '../fixtures/refusal-of.ts';

const full = 'projects/p-1/locations/us-central1/clusters/train';
const other = 'projects/p-1/locations/us-central1/clusters/serve';
const { clusters } = readConfig({ CLUSTERS: `${full},${other}` });
const plan = 'a1'.repeat(32);
const approve = { type: 'approve', id: 'fix-42', plan, requestor: 'bob' };
const repair = {
  type: 'repair_nodepool',
  node_pool: 'slice-a',
  requestor: 'alice',
  reason: 'ECC',
  cluster: full,
};

const messageOf = (body: unknown) => refusal(() => parseDecision(body, clusters));

describe('parseDecision', () => {
  it('reads an approval, of any cluster or of one', () => {
    expect(parseDecision(approve, clusters)).to.deep.equal({
      type: 'approve',
      id: 'fix-42',
      plan,
      requestor: 'bob',
      reason: undefined,
      clusters,
    });
    const named = parseDecision({ ...approve, cluster: 'serve' }, clusters);
    expect(named?.clusters.map(({ fullName }) => fullName)).to.deep.equal([other]);
  });

  it('reads a rejection, with or without a plan and a reason', () => {
    const reject = { type: 'reject', id: 'fix-42', requestor: 'bob', reason: 'not\nnow' };
    expect(parseDecision(reject, clusters)).to.include({
      type: 'reject',
      plan: undefined,
      reason: 'not now',
    });
  });

  it('leaves every other body alone', () => {
    for (const body of [repair, { type: 'Approve' }, { type: 'approved' }, {}, null, [], 'approve', 7]) {
      expect(parseDecision(body, clusters)).to.equal(undefined);
    }
  });

  const refusals: Record<string, object> = {
    'without an id': { ...approve, id: undefined },
    'with an id that is none': { ...approve, id: 'fix 42' },
    'without a requestor': { ...approve, requestor: '' },
    'without a plan': { ...approve, plan: undefined },
    'with the start of a plan': { ...approve, plan: plan.slice(0, 12) },
    'with a plan in capitals': { ...approve, plan: plan.toUpperCase() },
    'with a plan that is no text': { ...approve, plan: 7 },
    'with a field that it does not have': { ...approve, dry_run: true },
  };
  for (const [what, body] of Object.entries(refusals)) {
    it(`refuses an approval ${what}`, () => {
      expect(messageOf(body)).to.include({ code: 'invalid_action' });
    });
  }

  it('refuses a cluster that is not configured', () => {
    expect(messageOf({ ...approve, cluster: 'unknown' }).code).to.be.oneOf(['forbidden', 'target_not_found']);
  });
});

describe('the field approval of an action', () => {
  it('can only be required, and is absent otherwise', () => {
    expect(parseAction({ ...repair, approval: 'required' }, clusters, 'g')).to.include({
      approval: 'required',
    });
    for (const approval of [null, '', undefined]) {
      expect(parseAction({ ...repair, approval }, clusters, 'g')).to.not.have.property('approval');
    }
    for (const approval of ['yes', 'Required', 'none', true, 1]) {
      expect(refusal(() => parseAction({ ...repair, approval }, clusters, 'g')).code).to.equal(
        'invalid_action',
      );
    }
  });
});
