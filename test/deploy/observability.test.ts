import { expect } from 'chai';
import { onEmulatedGke } from './emulated-gke.ts';
import { extract, labelsOf, logCondition } from './log-metric.ts';
import type { Metric } from './log-metric.ts';
import { parseLoggingQuery, toLogEntry } from './logging-query.ts';
import type { LogEntry } from './logging-query.ts';
import { needs } from './run.ts';
import { resourceOf, stateAfter } from './terraform.ts';

const trace = '105445aa7843bc8bf206b12000100000';

/** One request, and how its last line is to be counted. */
interface Exchange {
  action: { id: string; dry_run?: boolean; [field: string]: unknown };
  path?: string;
  counted: { type: string; outcome: string; code?: string };
}

const cordon = { type: 'cordon_nodepool', node_pool: 'slice-a', requestor: 'me', reason: 'ICI errors' };
const repair = { ...cordon, type: 'repair_nodepool' };
const exchanges: Exchange[] = [
  {
    action: { ...cordon, id: 'rehearsal', dry_run: true },
    counted: { type: 'cordon_nodepool', outcome: 'done' },
  },
  { action: { ...cordon, id: 'cordon' }, counted: { type: 'cordon_nodepool', outcome: 'done' } },
  { action: { ...cordon, id: 'cordon' }, counted: { type: 'cordon_nodepool', outcome: 'replayed' } },
  { action: { ...repair, id: 'repair' }, counted: { type: 'repair_nodepool', outcome: 'done' } },
  {
    action: { ...repair, id: 'again' },
    counted: { type: 'repair_nodepool', outcome: 'refused', code: 'rate_limited' },
  },
  {
    action: { ...repair, id: 'no-such-pool', node_pool: 'slice-x' },
    counted: { type: 'repair_nodepool', outcome: 'refused', code: 'target_not_found' },
  },
  {
    action: { ...repair, id: 'rehearsal-of-nothing', node_pool: 'slice-x', dry_run: true },
    counted: { type: 'repair_nodepool', outcome: 'refused', code: 'target_not_found' },
  },
  {
    action: { ...cordon, id: 'typo', type: 'drain_nodepool' },
    counted: { type: '', outcome: 'refused', code: 'invalid_action' },
  },
  {
    action: { ...cordon, id: 'stray' },
    path: '/wp-login.php',
    counted: { type: '', outcome: 'refused', code: 'target_not_found' },
  },
  {
    action: {
      id: '0.opqiw61fsv7p',
      incident: { incident_id: '0.opqiw61fsv7p', state: 'open' },
      version: '1.2',
    },
    path: '/alerts',
    counted: { type: '', outcome: 'ignored' },
  },
  {
    action: {
      id: '0.refused',
      version: '1.2',
      incident: {
        incident_id: '0.refused',
        state: 'open',
        started_at: Math.floor(Date.now() / 1000),
        policy_user_labels: { failover_action: 'drain_nodepool' },
        resource: { type: 'k8s_node_pool', labels: {} },
      },
    },
    path: '/alerts',
    counted: { type: '', outcome: 'refused', code: 'invalid_action' },
  },
  {
    action: { ...cordon, id: 'denied' },
    counted: { type: 'cordon_nodepool', outcome: 'failed', code: 'upstream_failed' },
  },
  {
    // Kubernetes refuses this one, too.
    action: { id: 'look', type: 'get_action' },
    counted: { type: '', outcome: 'failed', code: 'upstream_failed' },
  },
];

let writing: Promise<string[]> | undefined;

/** What the function writes when it gets all of them. */
function logOfFunction(): Promise<string[]> {
  return (writing ??= writeLog());
}

/** The real function in a process of its own, on an emulated GKE. */
function writeLog(): Promise<string[]> {
  return onEmulatedGke(
    async ({ emulator, deployed, post }) => {
      for (const { action, path = '/actions' } of exchanges) {
        if (action.id === 'denied') {
          emulator.faults.add({ api: 'kubernetes', times: Infinity, effect: { status: 403 } });
        }
        await post(path, action, { 'x-cloud-trace-context': `${trace}/1;o=1` });
      }
      return deployed.lines();
    },
    // The alert is as old as this file's load, and other files may have taken longer than an alert may be old.
    { settings: { GOOGLE_CLOUD_PROJECT: 'my-project', MAX_ALERT_AGE_SECONDS: '86400' } },
  );
}

describe('log lines', function () {
  this.timeout(60_000);
  let lines: string[];
  before(async () => {
    lines = await logOfFunction();
  });

  it('are entries of Cloud Logging with a severity, a message, the trace and the action id', () => {
    expect(lines).to.have.lengthOf.at.least(exchanges.length * 2);
    for (const line of lines) {
      const entry = toLogEntry(line, 'autometric-failover');
      expect(entry.severity, line).to.match(/^(INFO|WARNING|ERROR)$/);
      expect(entry.jsonPayload?.['message'], line).to.match(/./);
      expect(entry.trace, line).to.equal(`projects/my-project/traces/${trace}`);
      expect(entry.spanId, line).to.match(/^[0-9a-f]{16}$/);
      expect(entry.labels?.['action_id'], line).to.equal(entry.jsonPayload?.['action_id']);
    }
  });

  it('end with the outcome', () => {
    const last = exchanges.map(({ action }) =>
      lines
        .map((line) => toLogEntry(line, 'f'))
        .findLast((entry) => entry.labels?.['action_id'] === action.id),
    );
    for (const entry of last) {
      expect(entry?.jsonPayload?.['outcome']).to.be.a('string');
      expect(entry?.jsonPayload?.['duration_ms']).to.be.a('number').that.is.at.least(0);
      expect(entry?.jsonPayload?.['status']).to.be.a('number');
    }
  });
});

describe("the log in Terraform's metrics and alerts", function () {
  this.timeout(1_500_000);
  let entries: LogEntry[];
  let read: (address: string) => Record<string, unknown>;
  let readOfWebhook: typeof read;
  before(async function () {
    needs(this, 'terraform');
    entries = (await logOfFunction()).map((line) => toLogEntry(line, 'autometric-failover'));
    const run = await stateAfter('alerts/pubsub');
    read = (address) => resourceOf(run, address);
    const webhook = await stateAfter('webhook/webhook');
    readOfWebhook = (address) => resourceOf(webhook, address);
  });

  it('counts every request once, by type and outcome', () => {
    const { filter, label_extractors: extractors } = read(
      'google_logging_metric.actions',
    ) as unknown as Metric;
    const counted = entries.filter(parseLoggingQuery(filter)).map((entry) => extract(entry, extractors));
    expect(counted).to.deep.equal(
      exchanges.map(({ action, counted: { type, outcome } }) => ({
        type,
        outcome,
        dry_run: type === '' ? '' : String(action.dry_run ?? false),
      })),
    );
  });

  it('measures how long each request took', () => {
    const metric = read('google_logging_metric.duration') as unknown as Metric;
    const ended = entries.filter(parseLoggingQuery(metric.filter));
    expect(ended).to.have.lengthOf(exchanges.length);
    for (const entry of ended) {
      expect(Number(extract(entry, { value: metric.value_extractor }).value)).to.be.at.least(0);
      expect(Object.keys(extract(entry, metric.label_extractors))).to.have.members(['type', 'outcome']);
    }
  });

  it('declares the labels that it extracts', () => {
    for (const address of ['google_logging_metric.actions', 'google_logging_metric.duration']) {
      const metric = read(address) as unknown as Metric;
      expect(labelsOf(metric), address).to.have.members(Object.keys(metric.label_extractors));
    }
  });

  it('does not count lines of another service', () => {
    const { filter } = read('google_logging_metric.actions') as unknown as Metric;
    const others = entries.map((entry) => ofService(entry, 'some-other-service'));
    expect(others.filter(parseLoggingQuery(filter))).to.have.lengthOf(0);
  });

  // F-152: a person's typo, and a stray request, raised a critical alert.
  // F-249: so did a look at a cluster that could not be reached.
  it('tells people of what failed and of refused alerts, but not of a refusal that a person has in hand', () => {
    const { filter, label_extractors: extractors } = logCondition(
      read('google_monitoring_alert_policy.failed[0]'),
    );
    const told = entries.filter(parseLoggingQuery(filter)).map((entry) => extract(entry, extractors));
    expect(told.map(({ action_id: id, outcome, code }) => ({ id, outcome, code }))).to.deep.equal([
      { id: '0.refused', outcome: 'refused', code: 'invalid_action' },
      { id: 'denied', outcome: 'failed', code: 'upstream_failed' },
    ]);
  });

  it('pages for an alert that exhausted attempts refuse, not for one that the cooldown or another action refuses', () => {
    const { filter } = logCondition(read('google_monitoring_alert_policy.failed[0]'));
    const pages = parseLoggingQuery(filter);
    const refused = entries.filter(pages).find(({ labels }) => labels?.['action_id'] === '0.refused');
    const refusedWith = (code: string) => ({
      ...(refused as LogEntry),
      jsonPayload: { ...refused?.jsonPayload, code },
    });
    expect(pages(refusedWith('attempts_exhausted'))).to.equal(true);
    expect(pages(refusedWith('correlated_failure'))).to.equal(true);
    expect(pages(refusedWith('rate_limited'))).to.equal(false);
    expect(pages(refusedWith('action_in_progress'))).to.equal(false);
  });

  it('does not notify for unauthenticated calls of the webhook', () => {
    const failed = parseLoggingQuery(
      logCondition(readOfWebhook('google_monitoring_alert_policy.failed[0]')).filter,
    );
    const idsOf = (service: string) =>
      entries
        .map((entry) => ofService(entry, service))
        .filter(failed)
        .map(({ labels }) => labels?.['action_id']);
    for (const service of ['autometric-failover', 'autometric-failover-webhook']) {
      expect(idsOf(service), service).to.deep.equal(['0.refused', 'denied']);
    }
  });

  it('has a query that shows everything about one action', () => {
    const policy = read('google_monitoring_alert_policy.failed[0]');
    const [{ content } = { content: '' }] = policy['documentation'] as { content: string }[];
    const [, query = ''] = /^ {4}(.*action_id.*)$/m.exec(content) ?? [];
    const story = parseLoggingQuery(query.replace('${log.extracted_label.action_id}', 'repair'));
    const events = entries
      .filter(story)
      .map(({ jsonPayload }) => jsonPayload?.['step'] ?? jsonPayload?.['event']);
    expect(events).to.include.members(['received', 'connect', 'claim', 'repair', 'record', 'done']);
    expect(entries.filter(story).every(({ labels }) => labels?.['action_id'] === 'repair')).to.equal(true);
  });

  it('extracts the labels that its texts use', () => {
    const policy = read('google_monitoring_alert_policy.failed[0]');
    const { label_extractors: extractors } = logCondition(policy);
    const texts = JSON.stringify(policy['documentation']);
    const used = [...texts.matchAll(/\$\{log\.extracted_label\.(\w+)\}/g)].map(([, name]) => name);
    expect(used).to.include.members(['action_id', 'outcome', 'type', 'code']);
    expect(Object.keys(extractors)).to.include.members(used);
  });
});

describe('the dashboard', function () {
  this.timeout(1_500_000);
  let dashboard: Dashboard;
  let own: Map<string, string[]>;
  before(async function () {
    needs(this, 'terraform');
    const run = await stateAfter('alerts/pubsub');
    dashboard = JSON.parse(
      resourceOf(run, 'google_monitoring_dashboard.this[0]')['dashboard_json'] as string,
    ) as Dashboard;
    own = new Map(
      run.resources
        .filter(({ type }) => type === 'google_logging_metric')
        .map(({ values }) => [
          `logging.googleapis.com/user/${String(values['name'])}`,
          Object.keys(values['label_extractors'] as object),
        ]),
    );
  });

  it('charts metrics that exist, by labels that exist', () => {
    const queries = chartsOf(dashboard);
    expect(queries).to.have.lengthOf.at.least(8);
    for (const { filter, aggregation } of queries) {
      const [, metric = ''] = /metric\.type="([^"]+)"/.exec(filter) ?? [];
      const labels = own.get(metric) ?? googleMetrics[metric];
      expect(labels, `no such metric: ${filter}`).to.be.an('array');
      const used = [
        ...filter.matchAll(/metric\.labels\.(\w+)/g),
        ...(aggregation.groupByFields ?? []).join(' ').matchAll(/metric\.label\.(\w+)/g),
      ].map(([, label]) => label);
      expect(labels, filter).to.include.members(used);
    }
  });

  it('charts both metrics of the function', () => {
    for (const metric of own.keys()) {
      expect(
        chartsOf(dashboard).some(({ filter }) => filter.includes(`"${metric}"`)),
        metric,
      ).to.equal(true);
    }
  });

  it('uses in its legends only labels by which it groups', () => {
    for (const tile of dashboard.mosaicLayout.tiles) {
      for (const { legendTemplate, timeSeriesQuery } of tile.widget.xyChart?.dataSets ?? []) {
        const grouped = timeSeriesQuery.timeSeriesFilter.aggregation.groupByFields ?? [];
        for (const [, kind, label] of legendTemplate.matchAll(/\$\{(metric|resource)\.labels\.(\w+)\}/g)) {
          expect(grouped, legendTemplate).to.include(`${kind}.label.${label}`);
        }
      }
    }
  });

  it('has tiles that do not overlap and stay within its columns', () => {
    const { columns, tiles } = dashboard.mosaicLayout;
    const places = tiles.map(({ xPos = 0, yPos = 0 }) => `${xPos},${yPos}`);
    expect(new Set(places).size).to.equal(tiles.length);
    for (const { xPos = 0, yPos = 0, width, height } of tiles) {
      expect([xPos % width, yPos % height]).to.deep.equal([0, 0]);
      expect(xPos + width).to.be.at.most(columns);
    }
  });

  it('shows log lines with queries that Logs Explorer can parse', () => {
    const queries = dashboard.mosaicLayout.tiles.flatMap(({ widget }) => widget.logsPanel?.filter ?? []);
    expect(queries).to.have.lengthOf(2);
    for (const query of queries) expect(() => parseLoggingQuery(query)).not.to.throw();
  });
});

interface TimeSeriesFilter {
  filter: string;
  aggregation: { groupByFields?: string[] };
}
interface Dashboard {
  mosaicLayout: { columns: number; tiles: Tile[] };
}
interface Tile {
  xPos?: number;
  yPos?: number;
  width: number;
  height: number;
  widget: {
    logsPanel?: { filter: string };
    xyChart?: {
      dataSets: { legendTemplate: string; timeSeriesQuery: { timeSeriesFilter: TimeSeriesFilter } }[];
    };
  };
}

/** Google's own metrics that are charted, with their labels (Google Cloud metrics lists: Cloud Run, Pub/Sub). */
const googleMetrics: Record<string, string[]> = {
  'run.googleapis.com/request_count': ['response_code', 'response_code_class', 'route'],
  'run.googleapis.com/container/startup_latencies': ['container_name'],
  'run.googleapis.com/container/memory/utilizations': ['container_name'],
  'pubsub.googleapis.com/subscription/oldest_unacked_message_age': [],
  'pubsub.googleapis.com/subscription/num_undelivered_messages': [],
};

function ofService(entry: LogEntry, service: string): LogEntry {
  return { ...entry, resource: { ...entry.resource, labels: { service_name: service } } };
}

function chartsOf(dashboard: Dashboard): TimeSeriesFilter[] {
  const charts = dashboard.mosaicLayout.tiles.flatMap(({ widget }) => widget.xyChart?.dataSets ?? []);
  return charts.map(({ timeSeriesQuery }) => timeSeriesQuery.timeSeriesFilter);
}
