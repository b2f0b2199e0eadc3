import { expect } from 'chai';
import { VirtualFailover } from '../fixtures/virtual-failover.ts';
import { extract, labelsOf, logCondition } from './log-metric.ts';
import type { Metric } from './log-metric.ts';
import { parseLoggingQuery, toLogEntry } from './logging-query.ts';
import type { LogEntry } from './logging-query.ts';
import { needs } from './run.ts';
import { resourceOf, stateAfter } from './terraform.ts';

const restart = {
  id: 'a',
  type: 'cordon_nodepool_and_restart_jobset',
  node_pool: 'slice-a',
  jobset_name: 'train',
};
const repair = { id: 'r', type: 'cordon_and_repair_nodepool', node_pool: 'slice-a' };

/** Worlds in which reconcile writes one verdict each, or the refusal of what should follow from it. */
const stories: Record<string, () => Promise<VirtualFailover>> = {
  async recovered() {
    const world = new VirtualFailover();
    await world.send(restart);
    await world.reconcile();
    await world.pass(60);
    return world;
  },
  async repaired() {
    const world = new VirtualFailover({ jobSet: null });
    await world.send(repair);
    await world.pass(600);
    return world;
  },
  async run_ended() {
    const world = new VirtualFailover();
    await world.send(restart);
    world.cluster.remove('jobsets', 'default', 'train');
    await world.pass(5);
    return world;
  },
  async not_recovered() {
    const world = new VirtualFailover({ slices: ['slice-a'] });
    await world.send(restart);
    await world.pass(1201);
    return world;
  },
  async not_repaired() {
    const world = new VirtualFailover({ jobSet: null });
    await world.send(repair);
    await world.pass(5);
    return world;
  },
  async abandoned() {
    const world = new VirtualFailover();
    const instance = world.newInstance();
    world.once(/PATCH .*nodes/, () => instance.crash());
    world.begin(restart, instance);
    await world.pass(1000);
    return world;
  },
  /** Nobody approves the plan in time. */
  async expired() {
    const world = new VirtualFailover({ jobSet: null });
    await world.send({ ...repair, approval: 'required', caller: 'alice@example.com' });
    await world.reconcile();
    await world.pass(1801);
    return world;
  },
  async rejected() {
    const world = new VirtualFailover({ jobSet: null });
    await world.send({ ...repair, approval: 'required', caller: 'alice@example.com' });
    await world.reconcile();
    await world.answerOf(world.beginDecision({ type: 'reject', id: 'r' }, 'bob@example.com'));
    return world;
  },
  /** The run is not back, and the repair that should follow is the second of two that one a day allows. */
  async attempts_exhausted() {
    const world = new VirtualFailover({
      slices: ['slice-a'],
      environment: { COOLDOWN_SECONDS: '0', MAX_POOLS_PER_HOUR: '10', MAX_ATTEMPTS_PER_DAY: '1' },
    });
    await world.send({ ...repair, type: 'repair_nodepool' });
    await world.pass(1000);
    await world.reconcile();
    await world.send({ ...repair, id: 'u', type: 'uncordon_nodepool' });
    await world.pass(5);
    world.log.length = 0;
    await world.send({ ...restart, on_failure: 'repair_nodepool' });
    await world.pass(1201);
    return world;
  },
};

const settings: Record<string, Record<string, string>> = {
  // The machines need longer than that.
  not_repaired: { REPAIR_TIMEOUT_SECONDS: '60' },
};

/** The lines of each story, as Cloud Logging keeps them. */
async function writeLogs(): Promise<Map<string, LogEntry[]>> {
  const logs = new Map<string, LogEntry[]>();
  for (const [name, tell] of Object.entries(stories)) {
    const world = await tell();
    await world.pass(name === 'not_repaired' ? 61 : 0);
    await world.reconcile(settings[name]);
    logs.set(
      name,
      world.log.map((line) => toLogEntry(JSON.stringify(line), 'autometric-failover')),
    );
  }
  return logs;
}

describe("what reconcile writes, in Terraform's metrics and alerts", function () {
  this.timeout(1_500_000);
  let logs: Map<string, LogEntry[]>;
  let entries: LogEntry[];
  let read: (address: string) => Record<string, unknown>;
  const countedBy = (address: string, among = entries): Record<string, string>[] => {
    const metric = read(address) as unknown as Metric;
    return among.filter(parseLoggingQuery(metric.filter)).map((entry) => ({
      ...extract(entry, metric.label_extractors),
      ...(metric.value_extractor && { value: extract(entry, { v: metric.value_extractor }).v }),
    }));
  };

  before(async function () {
    needs(this, 'terraform');
    logs = await writeLogs();
    entries = [...logs.values()].flat();
    const run = await stateAfter('alerts/pubsub');
    read = (address) => resourceOf(run, address);
  });

  it('counts every verdict once, by type and verdict', () => {
    const ofType = (type: string, verdict: string) => ({ type, verdict });
    expect(countedBy('google_logging_metric.verdicts')).to.deep.equal([
      ofType(restart.type, 'recovered'),
      ofType(repair.type, 'repaired'),
      ofType(restart.type, 'run_ended'),
      ofType(restart.type, 'not_recovered'),
      ofType(repair.type, 'not_repaired'),
      ofType(restart.type, 'abandoned'),
      ofType(repair.type, 'expired'),
      ofType(restart.type, 'not_recovered'),
    ]);
  });

  it('measures recovery by the seconds of the verdict, only where something is back', () => {
    const measured = countedBy('google_logging_metric.recovery_seconds');
    expect(measured.map((each) => each['verdict'])).to.deep.equal(['recovered', 'repaired']);
    for (const each of measured) expect(each['value']).to.match(/^\d+$/);
    expect(Number(measured[1]?.['value'])).to.be.within(60, 600);
  });

  it('has the number of open actions of each reconcile that found some', () => {
    const counted = countedBy('google_logging_metric.open_actions', logs.get('recovered'));
    expect(counted.map((each) => each['value'])).to.deep.equal(['1', '1']);
    for (const each of counted) expect(each['cluster']).to.match(/^projects\/.+\/clusters\/.+/);
  });

  it('declares the labels that it extracts', () => {
    for (const name of ['verdicts', 'recovery_seconds', 'open_actions']) {
      const metric = read(`google_logging_metric.${name}`) as unknown as Metric;
      expect(labelsOf(metric), name).to.have.members(Object.keys(metric.label_extractors));
    }
  });

  it('pages for what did not help, and for a follow-up that was refused; not for what did', () => {
    const policy = read('google_monitoring_alert_policy.not_helped[0]');
    expect(policy['severity']).to.equal('CRITICAL');
    const { filter, label_extractors: extractors } = logCondition(policy);
    const paged = [...logs].flatMap(([story, lines]) =>
      lines
        .filter(parseLoggingQuery(filter))
        .map((entry) => extract(entry, extractors))
        .map(({ action_id: id, verdict, code }) => `${story}: ${id} ${verdict}${code}`),
    );
    expect(paged).to.deep.equal([
      'run_ended: a run_ended',
      'not_recovered: a not_recovered',
      'not_repaired: r not_repaired',
      'abandoned: a abandoned',
      'expired: r expired',
      'attempts_exhausted: a not_recovered',
      'attempts_exhausted: a.on-failure attempts_exhausted',
    ]);
  });

  // F-324: a plan that waits, and that nobody hears of.
  it('tells people that a plan waits for approval, with the line that approves it, and of nothing else', () => {
    const policy = read('google_monitoring_alert_policy.awaiting_approval[0]');
    const { filter, label_extractors: extractors } = logCondition(policy);
    const told = [...logs].flatMap(([story, lines]) =>
      lines
        .filter(parseLoggingQuery(filter))
        .map((entry): Record<string, string> => ({ story, ...extract(entry, extractors) })),
    );
    expect(told.map(({ story }) => story)).to.deep.equal(['expired', 'rejected']);
    for (const { plan, action_id: id, type, node_pool: pool, cluster } of told) {
      expect(plan).to.match(/^[0-9a-f]{64}$/);
      expect({ id, type, pool }).to.deep.equal({
        id: 'r',
        type: 'cordon_and_repair_nodepool',
        pool: 'slice-a',
      });
      expect(cluster).to.match(/^projects\//);
    }
    const texts = JSON.stringify(policy['documentation']);
    const used = [...texts.matchAll(/\$\{log\.extracted_label\.(\w+)\}/g)].map(([, name]) => name);
    expect(Object.keys(extractors)).to.include.members(used);
    expect(used).to.include.members(['plan', 'action_id']);
  });

  it('pages for a machine that is back on the same physical host', () => {
    const { filter } = logCondition(read('google_monitoring_alert_policy.not_helped[0]'));
    const [repaired] = (logs.get('repaired') ?? []).filter(({ jsonPayload }) => jsonPayload?.['verdict']);
    const onSameHost = {
      ...repaired,
      severity: 'ERROR',
      jsonPayload: { ...repaired?.jsonPayload, same_host: true },
    } as LogEntry;
    expect(parseLoggingQuery(filter)(onSameHost)).to.equal(true);
  });

  it('extracts the labels that its texts use', () => {
    const policy = read('google_monitoring_alert_policy.not_helped[0]');
    const { label_extractors: extractors } = logCondition(policy);
    const texts = JSON.stringify(policy['documentation']);
    const used = [...texts.matchAll(/\$\{log\.extracted_label\.(\w+)\}/g)].map(([, name]) => name);
    expect(used).to.include.members(['action_id', 'verdict', 'code', 'type', 'node_pool', 'cluster']);
    expect(Object.keys(extractors)).to.include.members(used);
  });

  it('leaves nothing of reconcile to the alert about requests that failed', () => {
    const { filter } = logCondition(read('google_monitoring_alert_policy.failed[0]'));
    expect(entries.filter(parseLoggingQuery(filter))).to.have.lengthOf(0);
  });
});
