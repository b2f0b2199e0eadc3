import { load } from 'cheerio';
import type { CheerioAPI } from 'cheerio';
import { expect } from 'chai';
import { createHash } from 'node:crypto';
import { FailoverError } from '../../src/errors.ts';
import type { ClusterName } from '../../src/cluster-name.ts';
import { renderAction, renderActions, renderFailure, renderOverview } from '../../src/page/page.ts';
import type { Page } from '../../src/page/layout.ts';
import { quoteForShell } from '../../src/page/lines.ts';
import type { Visit } from '../../src/page/parts.ts';
import type { ActionView } from '../../src/status/action-view.ts';
import type { ClusterStatus } from '../../src/status/cluster-status.ts';
import type { ActionAnswer } from '../../src/status/get-action.ts';
import type { NodeState, NodeView } from '../../src/status/node-state.ts';
import type { PoolStatus } from '../../src/status/pool-status.ts';
import type { Pictures } from '../../src/status/status.ts';

const cluster = 'projects/p/locations/l/clusters/train';
const toName = (fullName: string): ClusterName => ({
  fullName,
  projectId: 'p',
  location: 'l',
  name: fullName.split('/').at(-1) ?? '',
});
const now = Date.parse('2026-11-27T03:40:00Z');
const visit: Visit = { now, host: 'localhost:8080', canAct: true, hasClusters: false };

const action: ActionView = {
  id: 'incident-42',
  state: 'settled',
  type: 'cordon_nodepool_and_restart_jobset',
  requestor: 'alice',
  reason: 'ECC errors',
  cluster,
  node_pool: 'slice-a',
  jobset: 'default/train',
  received_at: '2026-11-27T03:38:00Z',
  done_at: '2026-11-27T03:38:01Z',
  settled_at: '2026-11-27T03:39:14Z',
  steps: [
    { step: 'cordon', target: 'slice-a', nodes: 16, cordoned: 15, already_cordoned: 1 },
    { step: 'restart', target: 'default/train', outcome: 'restarted', attempt: 0, job: 'train-workers-0' },
  ],
  verdict: {
    verdict: 'recovered',
    at: '2026-11-27T03:39:14Z',
    recovered_at: '2026-11-27T03:39:12Z',
    seconds: 72,
  },
};
const notRecovered: ActionView = {
  ...action,
  verdict: { verdict: 'not_recovered', at: '2026-11-27T03:39:14Z', why: '16 pods Pending: no node has room' },
};
const failed = { code: 'upstream_failed', message: 'node n-3: 503', at: '2026-11-27T03:38:02Z' };
const { verdict: _, done_at: __, settled_at: ___, steps: ____, ...begun } = action;
const stopped: ActionView = { ...begun, state: 'stopped', error: failed };

function answer(view: ActionView, more: Partial<ActionAnswer> = {}): ActionAnswer {
  return { ...view, links: { log: 'https://console.cloud.google.com/logs' }, ...more };
}

function status(more: Partial<ClusterStatus> = {}): ClusterStatus {
  const at = new Date(now).toISOString();
  return { cluster, at, budget: { max: 2, used: 0, pools: {} }, open: 0, pools: [], jobsets: [], ...more };
}

function pictureOf(nodes: NodeView[], more: Partial<ClusterStatus> = {}): Pictures {
  const byPool = Map.groupBy(nodes, ({ nodePool }) => nodePool);
  const pools = [...byPool].map(([name, of]) => {
    const counts: Partial<Record<NodeState, number>> = {};
    for (const { state } of of) counts[state] = (counts[state] ?? 0) + 1;
    const attempts = { max: 3, used: 0, left: 3 };
    return {
      name,
      nodes: { total: of.length, ...counts },
      cordoned_by: {},
      runs: {},
      cooldowns: [],
      attempts,
    };
  });
  return [{ cluster: toName(cluster), picture: { status: status({ pools, ...more }), nodes: byPool } }];
}

const node = (name: string, state: NodeState, cordonedBy?: string): NodeView => ({
  name,
  nodePool: 'slice-a',
  state,
  cordonedBy,
  hasAccelerators: true,
  machine: { instanceId: undefined, repairedBy: undefined },
});

function parse({ html }: Page): CheerioAPI {
  return load(html);
}

const textOf = ($: CheerioAPI, selector: string) => $(selector).text().replaceAll(/\s+/g, ' ').trim();

describe('the page', () => {
  describe('of the clusters', () => {
    const overview = (actions: ActionView[], pictures = pictureOf([])) =>
      parse(renderOverview(pictures, { actions }, visit));

    it('says in a sentence that failover is on, and what is used of the budget', () => {
      const pools = { 'slice-a': '2026-11-27T03:38:00Z' };
      const $ = overview([], pictureOf([], { open: 1, budget: { max: 2, used: 1, pools } }));
      expect(textOf($, '.switches')).to.equal(
        `Failover is on. 1 action is open. Budget: 1 of 2 pools used within the hour (slice-a). ${cluster}`,
      );
      expect($('.needs')).to.have.length(0);
      expect($('head title').text()).to.equal('Cluster train');
    });

    it('says that it is paused and why, and by whom where that is known', () => {
      const paused = { why: 'INC-42, ask Bob', by: 'bob' };
      const $ = overview([], pictureOf([], { paused }));
      expect(textOf($, '.switches.paused')).to.include(
        'Failover is paused by bob: INC-42, ask Bob. Only dry runs and uncordon go through.',
      );
      expect(textOf($, '.needs')).to.include('train is paused').and.include('INC-42, ask Bob');
      expect($('head title').text()).to.equal('(1) Needs you');
    });

    it('has the line that ends a pause, also one by a misspelt annotation', () => {
      const line = (why: string) => textOf(overview([], pictureOf([], { paused: { why } })), '.need code');
      const start = 'kubectl annotate lease cluster -n autometric-failover-system autometric-failover';
      expect(line('INC-42')).to.equal(`${start}/paused-`);
      const why = 'unknown annotation autometric-failover/pause on Lease cluster';
      expect(line(why)).to.equal(`${start}/pause-`);
    });

    // F-275: the line removed the pause, and the name of who had paused went on pausing.
    it('has the line that ends a pause of somebody who gave a name', () => {
      const paused = { why: 'INC-42', by: 'bob' };
      expect(textOf(overview([], pictureOf([], { paused })), '.need code')).to.equal(
        'kubectl annotate lease cluster -n autometric-failover-system autometric-failover/paused- autometric-failover/paused-by-',
      );
    });

    it('says for how long the limits are lifted', () => {
      const $ = overview([], pictureOf([], { override_until: '2026-11-27T04:01:00Z' }));
      expect(textOf($, '.switches.lifted')).to.include('Limits are lifted for people for 21 min.');
    });

    it('says that a cluster cannot be read, beside those that can', () => {
      const pictures: Pictures = [
        ...pictureOf([node('n', 'ready')]),
        { cluster: toName('projects/p/locations/l/clusters/other'), error: 'no answer' },
      ];
      const page = renderOverview(
        pictures,
        { actions: [], errors: ['projects/p/locations/l/clusters/other: no answer'] },
        { ...visit, hasClusters: true },
      );
      const $ = parse(page);
      expect(textOf($, '.needs')).to.include('other cannot be read').and.include('no answer');
      expect($('article.pool')).to.have.length(1);
      expect($('.warning')).to.have.length(0);
    });

    it('draws one square a node, with a mark for each state but the normal one', () => {
      const states: NodeState[] = ['ready', 'cordoned', 'failing', 'not_ready'];
      const nodes = states.map((state, index) => node(`n${index}`, state, index > 1 ? 'a' : undefined));
      const $ = overview([], pictureOf(nodes));
      const svg = $('article.pool svg');
      expect(svg.attr('aria-label')).to.equal('slice-a: 1 not Ready, 1 failing, 1 cordoned, 1 Ready');
      for (const state of states) {
        expect(svg.find(`.node.${state} path:not(.mark)`), state).to.have.length(1);
        expect(svg.find(`.node.${state} path.mark`), state).to.have.length(state === 'ready' ? 0 : 1);
      }
      expect(
        svg
          .find('title')
          .toArray()
          .map((title) => $(title).text()),
      ).to.have.members([
        'n0: Ready',
        'n1: cordoned',
        'n2: failing, cordoned by a',
        'n3: not Ready, cordoned by a',
      ]);
      expect(svg.find('.held')).to.have.length(2);
      expect($('.legend li')).to.have.length(5);
    });

    it('draws 2,304 nodes in a page of less than 100 kB', () => {
      const nodes = Array.from({ length: 2_304 }, (_, index) =>
        node(`gke-tpu-${index}`, index % 600 === 0 ? 'not_ready' : index < 1_200 ? 'ready' : 'cordoned'),
      );
      const page = renderOverview(pictureOf(nodes), { actions: [] }, visit);
      const $ = parse(page);
      const squares = $('article.pool path:not(.mark)')
        .toArray()
        .map((path) => $(path).attr('d')?.match(/M/g)?.length ?? 0);
      expect(squares.reduce((sum, count) => sum + count, 0)).to.equal(2_304);
      expect($('article.pool .not_ready title')).to.have.length(4);
      expect(page.html.length).to.be.below(100_000);
    });

    it('puts pools that are not as they should be first', () => {
      const other = (name: string, state: NodeState) => ({ ...node(`${name}-0`, state), nodePool: name });
      const $ = overview(
        [],
        pictureOf([other('a', 'ready'), other('b', 'cordoned'), other('c', 'not_ready')]),
      );
      expect(
        $('article.pool h3')
          .toArray()
          .map((title) => $(title).text().trim()),
      ).to.deep.equal(['c', 'b', 'a']);
    });

    it('says who cordoned a pool, who works on it, what runs there and what is cooling down', () => {
      const [pool] = pictureOf([node('n', 'cordoned', 'incident-42')])[0]?.picture?.status.pools ?? [];
      if (!pool) throw new Error('no pool');
      const pools = [
        {
          ...pool,
          cordoned_by: { 'incident-42': 15, 'a person': 1 },
          runs: { 'default/train': 16 },
          lock: { action: 'x-1', until: '2026-11-27T03:40:30Z' },
          cooldowns: [
            {
              effect: 'repair',
              action: 'x-0',
              until: '2026-11-27T04:10:00Z',
              seconds_left: 1800,
              state: 'accepted' as const,
            },
          ],
        },
      ];
      const $ = overview([], pictureOf([node('n', 'cordoned', 'incident-42')], { pools }));
      const text = textOf($, 'article.pool');
      expect(text).to.include('Runs default/train (16 pods)');
      expect(text).to.include('Cordoned by incident-42 (15), a person (1)');
      expect(text).to.include('x-1 works on it now; its lock ends in 30 s.');
      expect(text).to.include('Cooldown of the repair: 30 min left, after x-0.');
      expect($('article.pool a[href="/actions/incident-42"]')).to.have.length(1);
      expect($('article.pool a[href="/actions?jobset=default%2Ftrain"]')).to.have.length(1);
    });

    const attempts = { max: 3, used: 1, left: 2 };
    const spent = { max: 3, used: 3, left: 0, again_at: '2026-11-27T05:40:00Z' };
    const more = (ofStatus: Partial<ClusterStatus>, ofPool: Partial<PoolStatus> = {}) => {
      const pictures = pictureOf([node('n', 'ready')]);
      const found = pictures[0]?.picture?.status;
      Object.assign(found ?? {}, ofStatus);
      Object.assign(found?.pools[0] ?? {}, ofPool);
      return overview([], pictures);
    };
    const budget = { max: 2, used: 0, pools: {} };

    it('says how many attempts are used of a day', () => {
      const $ = more({ budget, jobsets: [{ name: 'default/train', attempts }] }, { attempts });
      expect(textOf($, '.switches')).to.include('Restarts of default/train within 24 h: 1 of 3.');
      expect(textOf($, 'article.pool')).to.include('Repairs within 24 h: 1 of 3.');
      expect($('.need')).to.have.length(0);
    });

    it('asks for a person where no attempt is left, or none can be counted', () => {
      const $ = more(
        { budget, jobsets: [{ name: 'default/train', attempts: spent }] },
        { attempts: { ...spent, broken: true } },
      );
      const needs = $('.need')
        .toArray()
        .map((each) => $(each).text().replaceAll(/\s+/g, ' ').trim());
      expect(needs).to.deep.equal([
        '✕ attempts exhausted: repairs of slice-a within 24 h: the list cannot be read',
        '✕ attempts exhausted: restarts of default/train within 24 h: 3 of 3, none left; one more in 2 h',
      ]);
      expect($('head title').text()).to.equal('(2) Needs you');
    });

    it('says what is broken, ignored or could not be read', () => {
      const $ = more({
        budget: { ...budget, broken: true },
        override_ignored: 'tomorrow',
        errors: ['pods of namespace x: 403'],
        warnings: ['GKE did not say'],
        paused: { why: 'INC', by: 'bob', tool: 'kubectl-annotate', at: '2026-11-27T03:30:00Z' },
      });
      const text = textOf($, '.switches');
      expect(text).to.include('override-until is tomorrow and lifts nothing');
      expect(text).to.include('pods of namespace x: 403').and.include('GKE did not say');
      expect(text).to.include('Lease cluster was written 10 min ago with kubectl-annotate.');
      expect(textOf($, '.needs')).to.include('the budget cannot be read, so everything is refused');
    });

    it('says what GKE itself is doing to a pool', () => {
      const operations = [{ type: 'AUTO_REPAIR_NODES', since: '2026-11-27T03:30:00Z', node: 'n' }];
      const text = textOf(more({ budget }, { gke_status: 'RECONCILING', operations }), 'article.pool');
      expect(text).to.include('GKE says of it: RECONCILING.');
      expect(text).to.include('GKE itself does AUTO_REPAIR_NODES on n, begun 10 min ago.');
    });

    const exhausted: ActionView = {
      ...begun,
      id: 'refused-1',
      state: 'refused',
      error: { code: 'attempts_exhausted', message: 'three times today', at: '2026-11-27T03:38:00Z' },
    };
    const later = { id: 'later', received_at: '2026-11-27T03:39:30Z' };
    const needy: [string, ActionView[], string[]][] = [
      ['one that recovered', [action], []],
      [
        'one that did not recover',
        [notRecovered],
        ['Cordon slice-a and restart default/train: not recovered', '16 pods Pending'],
      ],
      [
        'one that was abandoned',
        [{ ...notRecovered, verdict: { verdict: 'abandoned', at: later.received_at } }],
        ['abandoned'],
      ],
      ['one that stopped', [stopped], ['stopped: upstream failed']],
      [
        'one on the same physical host',
        [{ ...action, verdict: { verdict: 'repaired', at: later.received_at, same_host: true } }],
        ['same physical host'],
      ],
      ['attempts that are exhausted', [exhausted], ['attempts exhausted']],
      ['another refusal', [{ ...exhausted, error: { ...failed, code: 'rate_limited' } }], []],
      [
        'a follow-up that was refused',
        [{ ...action, follow_up: { outcome: 'refused', code: 'budget_exceeded', why: 'two pools' } }],
        ['two pools'],
      ],
      ['one that a later action made up for', [{ ...action, ...later }, notRecovered], []],
      ['one that is being made up for', [{ ...stopped, ...later, state: 'planned' }, notRecovered], []],
      [
        'one that a later action did not help',
        [{ ...notRecovered, ...later }, notRecovered],
        ['later', 'incident-42'],
      ],
      [
        'one beside a later action elsewhere',
        [{ ...action, ...later, node_pool: 'slice-c', jobset: 'default/other' }, notRecovered],
        ['incident-42'],
      ],
      [
        'one beside a later refusal',
        [{ ...exhausted, ...later, error: { ...failed, code: 'paused' } }, notRecovered],
        ['incident-42'],
      ],
      ['one of the day before yesterday', [{ ...notRecovered, settled_at: '2026-11-25T03:00:00Z' }], []],
    ];
    for (const [what, actions, expected] of needy) {
      it(`${expected.length > 0 ? 'asks for a person for' : 'asks nobody for'} ${what}`, () => {
        const $ = overview(actions);
        const needs = $('.need')
          .toArray()
          .map((need) => $(need).text().replaceAll(/\s+/g, ' '));
        const count = expected.length === 0 ? 0 : what.includes('did not help') ? 2 : 1;
        expect(needs).to.have.length(count);
        expect($('.needs')).to.have.length(Math.min(count, 1));
        for (const part of expected) expect(needs.join('\n')).to.include(part);
      });
    }

    it('asks for a person for ten actions at most, and counts the others', () => {
      const many = Array.from({ length: 13 }, (_, index) => ({ ...notRecovered, id: `a-${index}` }));
      const $ = overview(many);
      expect($('.need')).to.have.length(10);
      expect(textOf($, '.needs')).to.match(/and 3 more actions$/);
      expect($('head title').text()).to.equal('(13) Needs you');
    });

    it('lists what was done and what became of it, the newest 20', () => {
      const many = Array.from({ length: 25 }, (_, index) => ({ ...action, id: `a-${index}` }));
      const $ = overview(many);
      expect($('.actions > li')).to.have.length(20);
      const first = textOf($, '.actions > li:first-child');
      expect(first).to.include('2 min ago');
      expect(first).to.include('Cordon slice-a and restart default/train');
      expect(first).to.include('cordoned slice-a: 15 of 16 nodes, 1 were already; restarted default/train');
      expect(first).to.include('✓ run back after 72 s');
      expect($('a[href="/actions"]').last().text()).to.equal('All actions');
    });
  });

  describe('of one action', () => {
    const observed = {
      verdict: 'recovered',
      run: { attempt: 1, pods_ready: 12, pods_wanted: 16, pools: { 'slice-b': 12 } },
      nodes: { total: 16, ready: 15, cordoned: 16 },
    };

    it('has its outcome, its times, its steps, and what the cluster says now', () => {
      const $ = parse(renderAction(answer(action, { observed }), visit));
      expect(textOf($, 'h1')).to.equal('Cordon slice-a and restart default/train');
      expect(textOf($, 'main > .lead')).to.equal('✓ run back after 72 s');
      expect(
        $('.timeline li')
          .toArray()
          .map((moment) => $(moment).text().replaceAll(/\s+/g, ' ').trim()),
      ).to.deep.equal([
        '03:38:00 UTC alice asked for it',
        '03:38:01 UTC (+1 s) answered: cordoned slice-a: 15 of 16 nodes, 1 were already; restarted default/train',
        '03:39:12 UTC (+72 s) the last pod of the run was Ready',
        '03:39:14 UTC (+74 s) verdict: recovered',
      ]);
      expect(textOf($, '.steps')).to.include('job train-workers-0');
      const text = textOf($, 'section[aria-labelledby=now]');
      expect(text).to.include('attempt 1, 12 of 16 pods Ready, on slice-b (12)');
      expect(text).to.include('15 of 16 nodes Ready, 16 cordoned');
    });

    for (const [outcome, told] of Object.entries({
      reboot_requested: 'asked GKE to reboot the machine of n-1',
      maintenance_requested: 'asked GKE to maintain the host of n-1',
      report_requested: 'asked GKE to report the host of n-1',
      gke_is_repairing: 'did not delete the machine of n-1: gke is repairing',
    })) {
      it(`says what a repair did (${outcome})`, () => {
        const steps = [{ step: 'repair', target: 'n-1', outcome }];
        expect(textOf(parse(renderAction(answer({ ...action, steps }), visit)), '.steps li')).to.include(
          told,
        );
      });
    }

    it('has a line that undoes its cordon while something is cordoned', () => {
      const lines = linesOf(answer(action, { observed }));
      expect(lines[0]).to.equal(
        `curl -s localhost:8080/actions -H 'Content-Type: application/json' -d '{"type":"uncordon_nodepool","node_pool":"slice-a","requestor":"YOUR NAME","reason":"undo incident-42"}'`,
      );
      const released = { ...observed, nodes: { ...observed.nodes, cordoned: 0 } };
      expect(linesOf(answer(action, { observed: released })).join('\n')).not.to.include('uncordon');
    });

    it('has the log query of the action', () => {
      expect(linesOf(answer(action)).at(-1)).to.match(
        /^gcloud logging read 'labels.action_id="incident-42"' --project p --freshness 7d /,
      );
    });

    it('has lines that resume an unfinished action, and wait for it', () => {
      const request = { id: 'incident-42', type: 'cordon_nodepool', reason: "it's broken" };
      const lines = linesOf(answer(stopped, { request }));
      expect(lines[0]).to.include(`"reason":"it'\\''s broken"}'`);
      expect(lines[1]).to.equal(`curl -s 'localhost:8080/actions/incident-42?wait=240'`);
      const $ = parse(renderAction(answer(stopped), visit));
      expect(textOf($, 'section[aria-labelledby=lines]')).to.include('reconcile carries it on');
    });

    it('says on failoverStatus that it cannot carry out these lines', () => {
      const $ = parse(renderAction(answer(action), { ...visit, canAct: false }));
      expect(textOf($, 'section[aria-labelledby=lines]')).to.include('This function only shows');
    });

    it('says what an open action waits for, and for how long', () => {
      const { verdict: _verdict, settled_at: _at, ...open } = action;
      const $ = parse(renderAction(answer({ ...open, state: 'done' }), visit));
      expect(textOf($, '.timeline li:last-child')).to.equal('now (+2 min) waiting for the run to be back');
    });

    const linesOf = (shown: ActionAnswer) => {
      const $ = parse(renderAction(shown, visit));
      return $('pre code')
        .toArray()
        .map((line) => $(line).text());
    };
  });

  describe('of the list', () => {
    it('links to each state, keeps the other filters, and has a next page', () => {
      const query = new URLSearchParams('node_pool=slice-a&state=done&page_token=old');
      const $ = parse(renderActions({ actions: [action], next_page_token: 'a+b' }, query, visit));
      expect($('.filter [aria-current]').text()).to.equal('done');
      expect($('.filter a').first().attr('href')).to.equal('/actions?node_pool=slice-a');
      expect($('a:contains("Older")').attr('href')).to.equal(
        '/actions?node_pool=slice-a&state=done&page_token=a%2Bb',
      );
      expect(textOf($, 'main')).to.include('Only node pool slice-a. Show all');
    });

    it('says that nothing matches, and which cluster could not be asked', () => {
      const $ = parse(
        renderActions({ actions: [], errors: ['train: no answer'] }, new URLSearchParams(), visit),
      );
      expect(textOf($, 'main')).to.include('No action matches.').and.include('train: no answer');
    });
  });

  it('allows its own style and script by their hashes, and nothing else', () => {
    const page = renderFailure(new FailoverError('target_not_found', 'no such thing'), now);
    const $ = parse(page);
    const policy = page.headers['Content-Security-Policy'] ?? '';
    const hash = (text: string) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
    expect(policy.split('; ')).to.include.members([
      "default-src 'none'",
      `style-src ${hash($('style').text())}`,
      `script-src ${hash($('script').text())}`,
      "frame-ancestors 'none'",
      "base-uri 'none'",
      "form-action 'none'",
    ]);
    expect(policy).not.to.include('unsafe');
    expect(page.headers).to.include({
      'X-Content-Type-Options': 'nosniff',
      'Cache-Control': 'no-store',
      Vary: 'Accept',
    });
    expect(textOf($, 'main')).to.include('target not found (404)').and.include('no such thing');
  });

  // F-235: an alert's policy, a node and an annotation have names that anybody may choose.
  describe('shows as text', () => {
    const evil = `<script>alert(1)</script><img src=x onerror=alert(1)>"'><b onmouseover="x">&lt;`;
    const full: ActionAnswer = {
      ...answer(notRecovered),
      caller: 'c',
      incident_id: 'i',
      follows: 'f',
      resumes: 2,
      error: failed,
      plan: {
        restart: { outcome: 'restart', attempt: 0, job: 'j', way: 'leader_pod', leader_pod: 'l' },
        repair: { node: 'n', instance: 'i', instance_id: '1', why: 'w', runs_here: { 'default/train': 1 } },
      },
      steps: [
        ...(action.steps ?? []),
        { step: 'uncordon', target: 't', nodes: 1, uncordoned: 1, kept: 1, kept_nodes: 'k' },
        {
          step: 'repair',
          target: 't',
          outcome: 'deletion_accepted',
          replaces: 'r',
          warning: 'w',
          runs_here: { a: 1 },
        },
        { step: 'repair', target: 't', outcome: 'already_gone' },
        { step: 'restart', target: 't', outcome: 'not_on_pool', runs_on: ['p'], warning: 'w' },
        { step: 'notice', target: 't', notice: 'n', unfinished_action: 'u' },
        { step: 'unknown', target: 't', outcome: 'o', isEscaped: true, deep: { isEscaped: true } },
      ],
      follow_up: { id: 'x', outcome: 'refused', code: 'c', why: 'w' },
      observed: {
        verdict: 'recovered',
        why: 'w',
        run: { attempt: 1, pods_ready: 1, pods_wanted: 2, pools: { p: 1 } },
        nodes: { total: 1, ready: 1, cordoned: 1 },
      },
      request: { id: 'a' },
    };
    const picture = pictureOf([node('n', 'cordoned', 'a'), node('m', 'ready')], {
      ...({
        paused: { why: 'w', by: 'b', tool: 't', at: '2026-11-27T03:38:00Z' },
        override_ignored: 'o',
        errors: ['e'],
        jobsets: [{ name: 'j', attempts: { max: 3, used: 1, left: 2 } }],
      } as object),
      budget: { max: 2, used: 1, pools: { p: '2026-11-27T03:38:00Z' } },
      pools: [
        {
          name: 'slice-a',
          nodes: { total: 2, cordoned: 1, ready: 1 },
          cordoned_by: { a: 1 },
          runs: { 'default/train': 1 },
          lock: { action: 'l', until: '2026-11-27T03:41:00Z' },
          cooldowns: [
            {
              effect: 'repair',
              action: 'c',
              until: '2026-11-27T03:41:00Z',
              seconds_left: 60,
              state: 'accepted',
            },
          ],
          attempts: { max: 3, used: 0, left: 3 },
          ...({ gke_status: 'g', operations: [{ type: 't', node: 'n' }] } as object),
        },
      ],
    });
    const pages: Record<string, (poison: <T>(value: T) => T) => Page> = {
      'an action': (poison) => renderAction(poison(full), visit),
      'an action that stopped': (poison) => renderAction(poison({ ...full, state: 'stopped' }), visit),
      'an action of an alert that stopped': (poison) => renderAction(poison(answer(stopped)), visit),
      'the list': (poison) =>
        renderActions(
          poison({ actions: [full], errors: ['e'], next_page_token: 't' }),
          new URLSearchParams(poison({ node_pool: 'a', state: 'done' })),
          visit,
        ),
      'the clusters': (poison) =>
        renderOverview(
          poison(picture),
          poison({ actions: [full, { ...full, state: 'refused' }], errors: ['e'] }),
          { ...visit, hasClusters: true, host: poison('h') },
        ),
      'an error': (poison) => renderFailure(new FailoverError('target_not_found', poison('m')), now),
    };

    /** How many of the texts a page shows, so that the test cannot pass because nothing is shown. */
    const shownAtLeast: Record<string, number> = {
      'an action': 60,
      'an action that stopped': 60,
      'an action of an alert that stopped': 10,
      'the list': 30,
      'the clusters': 70,
      'an error': 1,
    };

    for (const [what, render] of Object.entries(pages)) {
      it(`every text and every name in ${what}`, () => {
        const clean = parse(render((value) => value));
        const paths: string[] = [];
        render((value) => poisonAt(value, undefined, paths));
        expect(paths).to.have.length.above(0);
        const shown = new Set<string>();
        for (const path of new Set(paths)) {
          const $ = parse(render((value) => poisonAt(value, path, [])));
          expect($('script'), path).to.have.length(1);
          expect($('img, b'), path).to.have.length(0);
          const attributes = $('*')
            .toArray()
            .flatMap((element) => Object.entries($(element).attr() ?? {}));
          expect(
            attributes.filter(([name]) => /^on|^style$|[<"']/.test(name)),
            path,
          ).to.deep.equal([]);
          const addresses = attributes.flatMap(([name, value]) => (name === 'href' ? [value] : []));
          const elsewhere = addresses.filter(
            (href) => !/^(?:\/(?!\/)|https:\/\/console\.cloud\.google\.com\/|data:image\/svg)/.test(href),
          );
          expect(elsewhere, path).to.deep.equal([]);
          if ($('body').text().includes(evil)) shown.add(path);
          expect(Math.abs($('section').length - clean('section').length), path).to.be.at.most(1);
        }
        expect([...shown]).to.have.length.at.least(shownAtLeast[what] ?? 0);
      });
    }

    /** A copy in which the text, or the name, at one path is hostile. All paths are noted. */
    function poisonAt<T>(value: T, at: string | undefined, paths: string[], path = '$'): T {
      const here = (text: string) => (path === at ? `${text}${evil}` : text);
      if (typeof value === 'string') {
        paths.push(path);
        return here(value) as T;
      }
      if (value instanceof Map) {
        const entries = [...value].map(
          ([key, each]) => [key, poisonAt(each as unknown, at, paths, `${path}.${String(key)}`)] as const,
        );
        return new Map(entries) as T;
      }
      if (Array.isArray(value)) {
        return value.map((each: unknown, index) => poisonAt(each, at, paths, `${path}[${index}]`)) as T;
      }
      if (typeof value !== 'object' || value === null) return value;
      const hasFreeNames = /\.(?:pools|runs|cordoned_by|runs_here|deep)$|\.steps\[7\]$/.test(path);
      const entries = Object.entries(value).map(([name, each]) => {
        const keyPath = `${path}.${name}~`;
        if (hasFreeNames && name !== 'step' && name !== 'target') paths.push(keyPath);
        const key = keyPath === at ? `${name}${evil}` : name;
        return [key, poisonAt(each as unknown, at, paths, `${path}.${name}`)] as const;
      });
      return Object.fromEntries(entries) as T;
    }
  });
});

describe('quoteForShell', () => {
  for (const [word, quoted] of [
    ['slice-a', 'slice-a'],
    ['', "''"],
    ["it's $(rm) `x` \\ \n", "'it'\\''s $(rm) `x` \\ \n'"],
  ] as const) {
    it(`quotes ${JSON.stringify(word)}`, () => expect(quoteForShell(word)).to.equal(quoted));
  }
});
