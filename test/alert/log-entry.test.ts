import { expect } from 'chai';
import { checkLogRules } from '../../src/alert/check-log-rules.ts';
import { readAlert } from '../../src/alert/log-entry.ts';
import { ConfigError, readConfig } from '../../src/config.ts';
import { FailoverError } from '../../src/errors.ts';
import { Ignored } from '../../src/ignored.ts';
import { createHostErrorEntry, createXidEntry, logRules } from '../fixtures/log-entry.ts';
import { toPush } from '../fixtures/notification.ts';
import { trainCluster } from '../fixtures/train-world.ts';

const at = Date.parse('2026-11-27T03:00:00Z');
const machine = { instanceId: '4242', at };

const read = (entry: unknown, rules: object = logRules) =>
  readAlert(
    toPush(entry, { publishedAt: at + 2000 }),
    readConfig({ CLUSTERS: trainCluster, LOG_RULES: JSON.stringify(rules) }).logRules,
  );

describe('readAlert of a log entry', () => {
  it('takes the rule that fits: its labels, the machine, the time and the id', () => {
    const notification = read(createXidEntry(machine));
    expect(notification).to.deep.include({
      incidentId: 'a1b2c3d4e5',
      policyLabels: { failover_action: 'cordon_and_repair_nodepool' },
      isLogEntry: true,
      publishedAt: undefined,
    });
    expect(notification.incident).to.deep.include({
      state: 'open',
      started_at: at / 1000,
      policy_name: 'log rule xid-79',
      resource_display_name: 'gke-train-gpu-0',
      resource: {
        type: 'gce_instance',
        labels: { instance_id: '4242', project_id: 'demo-project', zone: 'us-central1-a' },
      },
    });
    expect(notification.incident['summary']).to.match(/NVRM: Xid \(PCI:0000:8b:00\): 79,/);
  });

  it('takes an audit log entry by its method', () => {
    const { incidentId, policyLabels, incident } = read(createHostErrorEntry(machine));
    expect(incidentId).to.equal('fjpkr2e6yi26');
    expect(policyLabels).to.deep.equal(logRules['host-error'].labels);
    expect(incident['summary']).to.equal('compute.instances.hostError');
  });

  // F-401: an audit log's entry has no label with the machine's name, so all nodes of the zone were listed for each.
  it('takes the name of the machine from the path in an audit log entry', () => {
    const { incident } = read(createHostErrorEntry({ ...machine, name: 'gke-tpu-1' }));
    expect(incident['resource_display_name']).to.equal('gke-tpu-1');
    for (const resourceName of ['projects/p/zones/z/disks/gke-tpu-1', 7, undefined]) {
      const entry = createHostErrorEntry(machine);
      const protoPayload = { ...(entry['protoPayload'] as object), resourceName };
      expect(read({ ...entry, protoPayload }).incident['resource_display_name']).to.equal(undefined);
    }
  });

  for (const [title, payload] of [
    ['jsonPayload.message', { message: 'nvrm: xid (PCI:0000:8b:00): 79, pid=1' }],
    ['jsonPayload.MESSAGE', { MESSAGE: 'NVRM: XID (PCI:0000:8b:00): 79, pid=1', message: 7 }],
  ] as const) {
    it(`finds the text in ${title}, in any case`, () => {
      const entry = createXidEntry(machine, { textPayload: undefined, jsonPayload: payload });
      expect(read(entry).policyLabels).to.deep.equal(logRules['xid-79'].labels);
    });
  }

  it('lets the first rule decide where two fit', () => {
    const log = logRules['xid-79'].log;
    const anyXid = { log, contains: ['NVRM: Xid'], labels: { failover_action: 'cordon_nodepool' } };
    const rules = { 'any-xid': anyXid, ...logRules };
    expect(read(createXidEntry(machine), rules).policyLabels).to.deep.equal(anyXid.labels);
    const turned = { ...logRules, 'any-xid': anyXid };
    expect(read(createXidEntry(machine), turned).policyLabels).to.deep.equal(logRules['xid-79'].labels);
  });

  for (const [title, changes] of [
    ['another text', { textPayload: 'NVRM: Xid (PCI:0000:8b:00): 13, pid=79, Graphics Exception' }],
    ['another log', { logName: 'projects/demo-project/logs/syslog' }],
    [
      'a log of an organization',
      { logName: 'organizations/1/logs/serialconsole.googleapis.com%2Fserial_port_1_output' },
    ],
    ['a log name that cannot be decoded', { logName: 'projects/demo-project/logs/%' }],
    ['a container as resource', { resource: { type: 'k8s_container', labels: {} } }],
    ['a text in another field', { textPayload: undefined, jsonPayload: { note: 'NVRM: Xid (x): 79,' } }],
    ['no text', { textPayload: undefined }],
  ] as const) {
    it(`ignores an entry with ${title}`, () => {
      expect(() => read(createXidEntry(machine, changes))).to.throw(Ignored, /no rule of LOG_RULES fits/);
    });
  }

  it('makes an id of an insertId that cannot be one, the same for each delivery', () => {
    const idOf = (insertId: string) => read(createXidEntry({ ...machine, insertId })).incidentId;
    expect(idOf('s=a;i=1'))
      .to.match(/^log-[0-9a-f]{32}$/)
      .and.equal(idOf('s=a;i=1'));
    expect(idOf('s=a;i=1')).not.to.equal(idOf('s=a;i=2'));
  });

  it('ignores every entry where no rule is set', () => {
    expect(() => read(createXidEntry(machine), {})).to.throw(Ignored);
  });

  it('refuses an entry that is not in a push envelope', () => {
    expect(() => readAlert(createXidEntry(machine), {})).to.throw(
      FailoverError,
      /by a log sink and Pub\/Sub only/,
    );
  });

  for (const [field, changes] of [
    ['insertId', { insertId: undefined }],
    ['timestamp', { timestamp: 'yesterday' }],
    ['timestamp', { timestamp: undefined }],
    ['resource.labels.zone', { resource: { type: 'gce_instance', labels: { zone: 7 } } }],
    ['textPayload', { textPayload: ['NVRM: Xid', '): 79,'] }],
  ] as const) {
    it(`refuses an entry whose ${field} is ${JSON.stringify(Object.values(changes)[0])}`, () => {
      expect(() => read(createXidEntry(machine, changes)))
        .to.throw(FailoverError)
        .with.property('message')
        .that.includes(`the log entry's ${field} `);
    });
  }
});

describe('LOG_RULES', () => {
  const rule = logRules['xid-79'];
  const problemOf = (rules: unknown, more: Record<string, string> = {}) => {
    try {
      const LOG_RULES = typeof rules === 'string' ? rules : JSON.stringify(rules);
      checkLogRules(readConfig({ CLUSTERS: trainCluster, LOG_RULES, ...more }));
    } catch (error) {
      expect(error).to.be.instanceOf(ConfigError);
      return (error as Error).message;
    }
    return '';
  };

  it('may be absent, empty, or the documented rules', () => {
    expect(problemOf('')).to.equal('');
    expect(problemOf({})).to.equal('');
    expect(problemOf(logRules)).to.equal('');
  });

  const relabelled = (labels: object) => ({ x: { ...rule, labels: { ...rule.labels, ...labels } } });
  for (const [title, rules, problem] of [
    ['text that is not JSON', '{', 'LOG_RULES is not JSON'],
    ['a list', '[]', 'LOG_RULES must be a JSON object'],
    ['a rule that is no object', { x: 7 }, 'LOG_RULES x must be an object'],
    ['an id with a space', { 'x y': rule }, 'LOG_RULES x y must be named by'],
    ['an unknown field', { x: { ...rule, text: 'a' } }, 'LOG_RULES x.text "text" is not known'],
    ['no log', { x: { ...rule, log: undefined } }, 'LOG_RULES x.log "log" is missing'],
    [
      'an encoded log',
      { x: { ...rule, log: 'a%2Fb' } },
      'LOG_RULES x.log must be the id of a log, not encoded',
    ],
    [
      'neither text nor method',
      { x: { ...rule, contains: undefined } },
      'x must have either contains or method',
    ],
    ['both text and method', { x: { ...rule, method: 'a.b.c' } }, 'x must have either contains or method'],
    ['an empty list of texts', { x: { ...rule, contains: [] } }, 'x.contains must have a text'],
    ['a text of two letters', { x: { ...rule, contains: ['id'] } }, 'has a text of fewer than 3 characters'],
    [
      'the logs of containers',
      { x: { ...rule, resource_type: 'k8s_container' } },
      'x.resource_type must be one of gce_instance, k8s_node',
    ],
    ['no action', { x: { ...rule, labels: {} } }, 'must have the label failover_action'],
    [
      'what a close does',
      relabelled({ failover_on_close: 'uncordon_nodepool' }),
      'must not have the label failover_on_close',
    ],
    ['an action that does not exist', relabelled({ failover_action: 'cordon' }), 'LOG_RULES x: '],
    ['a misspelt label', relabelled({ failover_dryrun: 'true' }), 'did you mean "failover_dry_run"?'],
    ['a fault without a report', relabelled({ failover_fault: 'xid' }), 'LOG_RULES x: '],
    ['a cluster that is not configured', relabelled({ failover_cluster: 'other' }), 'LOG_RULES x: '],
  ] as const) {
    it(`refuses ${title}`, () => {
      expect(problemOf(rules)).to.include(problem);
    });
  }

  it('may ask only for what ALERT_ACTIONS allows', () => {
    expect(problemOf(logRules, { ALERT_ACTIONS: 'cordon_nodepool' })).to.match(
      /LOG_RULES xid-79: cordon_and_repair_nodepool is not allowed here \(ALERT_ACTIONS is cordon_nodepool\); LOG_RULES host-error: /,
    );
  });
});
