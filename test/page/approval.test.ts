import { load } from 'cheerio';
import { expect } from 'chai';
import { renderAction, renderOverview } from '../../src/page/page.ts';
import type { Visit } from '../../src/page/parts.ts';
import type { ActionView } from '../../src/status/action-view.ts';
import type { ActionAnswer } from '../../src/status/get-action.ts';

const now = Date.parse('2026-11-27T03:40:00Z');
const visit: Visit = { now, host: 'localhost:8080', canAct: true, hasClusters: false };
const plan = '3f'.repeat(32);

const waiting: ActionView = {
  id: "fix-42'; rm -rf",
  state: 'awaiting_approval',
  type: 'cordon_and_repair_nodepool',
  requestor: 'alice',
  caller: 'alice@example.com',
  reason: 'ECC errors',
  cluster: 'projects/p/locations/l/clusters/train',
  node_pool: 'slice-a',
  received_at: '2026-11-27T03:38:00Z',
  approval: {
    plan,
    expires_at: '2026-11-27T04:08:00Z',
    approve: { type: 'approve', id: 'fix-42', plan, requestor: 'YOUR NAME' },
    steps: [
      { step: 'cordon', target: 'slice-a', outcome: 'would_cordon', nodes: 16 },
      { step: 'repair', target: '<b>node-3</b>', outcome: 'would_delete' },
    ],
  },
};
const { approve: _, steps: __, ...decided } = waiting.approval ?? { plan: '', expires_at: '' };
const approved: ActionView = {
  ...waiting,
  id: 'fix-42',
  state: 'done',
  done_at: '2026-11-27T03:39:02Z',
  steps: [],
  approval: {
    ...decided,
    approved_by: 'bob@example.com',
    requestor: 'bob',
    approved_at: '2026-11-27T03:39:00Z',
  },
};

function answer(view: ActionView): ActionAnswer {
  return { ...view, links: { log: 'https://console.cloud.google.com/logs' } };
}

const pageOf = (view: ActionView, of: Partial<Visit> = {}) =>
  load(renderAction(answer(view), { ...visit, ...of }).html);
const overviewOf = (actions: ActionView[], of: Partial<Visit> = {}) =>
  load(renderOverview([], { actions }, { ...visit, ...of }).html);

/** The bodies of the lines to paste, as the shell would send them. */
function bodiesOf($: ReturnType<typeof load>): Record<string, unknown>[] {
  const lines = $('pre code')
    .toArray()
    .map((each) => $(each).text());
  return lines.flatMap((line) => {
    const [, quoted] = / -d '(.*)'$/s.exec(line) ?? [];
    return quoted === undefined
      ? []
      : [JSON.parse(quoted.replaceAll(`'\\''`, "'")) as Record<string, unknown>];
  });
}

const bodyOf = ($: ReturnType<typeof load>, type: string) =>
  bodiesOf($).find((body) => body['type'] === type);

describe('the page of a plan that waits for approval', () => {
  it('needs you, with what it would do and the line that approves it', () => {
    const $ = overviewOf([waiting]);
    expect($('title').text()).to.include('(1) Needs you');
    const text = $('.needs').text().replaceAll(/\s+/g, ' ');
    expect(text).to.include('Cordon and repair slice-a: waits for approval');
    expect(text).to.include('cordon slice-a: would cordon 16 nodes');
    expect(text).to.include('repair <b>node-3</b>: would delete');
    expect(text).to.include('within 28 min');
    expect($('.needs b')).to.have.length(0);
    expect(bodyOf($, 'approve')).to.deep.equal({
      type: 'approve',
      id: waiting.id,
      plan,
      requestor: 'YOUR NAME',
    });
  });

  it('needs you however old it is, and whatever another action does', () => {
    const later: ActionView = {
      ...approved,
      id: 'later',
      state: 'planned',
      received_at: '2026-11-27T03:39:30Z',
    };
    const old = { ...waiting, received_at: '2026-11-20T03:38:00Z' };
    expect(overviewOf([later, old])('.need')).to.have.length(1);
    // It has done nothing, so it makes up for nothing.
    const { approval: _approval, ...rest } = waiting;
    const stopped: ActionView = {
      ...rest,
      id: 'stopped',
      state: 'stopped',
      error: { code: 'upstream_failed', message: '503', at: '2026-11-27T03:37:00Z' },
    };
    expect(overviewOf([waiting, stopped])('.need')).to.have.length(2);
    expect(overviewOf([approved])('.need')).to.have.length(0);
  });

  it('has on its own page the whole hash, and the lines that approve and reject', () => {
    const $ = pageOf(waiting);
    expect($('section[aria-labelledby=approval]').text()).to.include(plan);
    expect(bodyOf($, 'approve')).to.include({ plan, id: waiting.id });
    expect(bodyOf($, 'reject')).to.deep.equal({ type: 'reject', id: waiting.id, requestor: 'YOUR NAME' });
    expect($('.lead').text()).to.include('waits for approval');
    const several = pageOf(waiting, { hasClusters: true });
    expect(bodyOf(several, 'approve')).to.include({ cluster: waiting.cluster });
    expect(pageOf(waiting, { canAct: false })('section[aria-labelledby=approval]').text()).to.include(
      'through a proxy of failover',
    );
  });

  it('says who approved it, and offers no line any more', () => {
    const $ = pageOf(approved);
    expect($('section[aria-labelledby=approval]').text()).to.include('bob@example.com');
    expect($('.timeline').text()).to.include('bob@example.com approved the plan');
    expect(bodyOf($, 'approve')).to.equal(undefined);
    expect(bodyOf($, 'reject')).to.equal(undefined);
  });

  it('needs you where nobody approved it in time, and not where somebody rejected it', () => {
    const settled = (verdict: 'expired' | 'rejected'): ActionView => ({
      ...waiting,
      state: 'settled',
      approval: decided,
      settled_at: '2026-11-27T03:39:30Z',
      verdict: { verdict, at: '2026-11-27T03:39:30Z', why: 'why' },
    });
    const expired = overviewOf([settled('expired')]);
    expect(expired('.need').text()).to.include('nobody approved it in time');
    expect(bodyOf(expired, 'approve')).to.equal(undefined);
    expect(overviewOf([settled('rejected')])('.need')).to.have.length(0);
    expect(pageOf(settled('rejected'))('.lead').text()).to.include('rejected');
  });
});
