import { expect } from 'chai';
import { readConfig } from '../../src/config.ts';
import { assertNoReport, chooseRepairWay } from '../../src/decide/label-repair.ts';
import type { WayOfRepair } from '../../src/decide/label-repair.ts';
import { UpstreamError } from '../../src/errors.ts';
import type { Instance } from '../../src/gke/compute.ts';
import type { NodeHealth, NodeRef } from '../../src/gke/nodes.ts';
import { repairAnnotation } from '../../src/names.ts';
import type { RepairPlan } from '../../src/plan.ts';
import type { Action } from '../../src/request/action.ts';
import { withMark } from '../../src/state/cooldown.ts';
import type { CooldownMark } from '../../src/state/cooldown.ts';
import { healthOf } from '../fixtures/node-health.ts';
import { refusal, refusalOf } from '../fixtures/refusal-of.ts';
import { trainCluster } from '../fixtures/train-world.ts';

const now = Date.parse('2026-11-23T03:00:00Z');
const config = readConfig({ CLUSTERS: trainCluster });
const type = 'node.kubernetes.io/instance-type';
const reserved = { 'cloud.google.com/reservation-name': 'r' };
const allCapacity = { ...reserved, [type]: 'a4x-highgpu-4g' };
const reported = { 'cloud.google.com/fault-behavior': 'XID' };
const scheduled = { 'cloud.google.com/scheduled-maintenance-time': '1' };
const running: Instance = { id: '100', status: 'RUNNING', createdAt: 0, startedAt: 5 };

interface Case {
  repair?: Action['repair'];
  fault?: Action['fault'];
  node?: Partial<NodeHealth>;
  others?: NodeRef[];
  plan?: Partial<RepairPlan>;
  mark?: Partial<CooldownMark>;
  machine?: Instance | undefined | Error;
}

function choose(of: Case): Promise<WayOfRepair> {
  const { repair, fault, node = {}, others = [], plan = {}, mark } = of;
  const own = healthOf('gke-0', node);
  const whole = {
    node: { name: 'gke-0' },
    instanceName: 'vm-0',
    instanceId: '100',
    isMultiHost: false,
    ...plan,
  };
  const machine = 'machine' in of ? of.machine : running;
  const at = new Date(now - 1000).toISOString();
  const tools = {
    config,
    serverNow: now,
    poolAnnotations: mark ? withMark({}, 'repair', { action: 'other', at, instanceId: '100', ...mark }) : {},
    askMachine: async () => {
      if (machine instanceof Error) throw machine;
      return machine;
    },
  };
  return chooseRepairWay(
    { repair, ...(fault && { fault }) },
    whole as RepairPlan,
    { node: own, poolNodes: [own, ...others] },
    tools,
  );
}

async function refused(of: Case): Promise<string> {
  const { code, message } = await refusalOf(choose(of));
  expect(code).to.equal('repair_refused');
  return message;
}

describe('a deletion', () => {
  it('needs nothing', async () => {
    expect(await choose({})).to.deep.equal({ plan: {}, warnings: [] });
  });

  it('is refused while the host of the node is being reported, or another one of its slice', async () => {
    expect(await refused({ node: { labels: reported } })).to.match(
      /^the host of node gke-0 is being reported as faulty \(label .*=XID\), and .*; nothing was deleted\. .*kubectl label node gke-0 cloud\.google\.com\/fault-behavior-$/,
    );
    const others = [healthOf('gke-1', { labels: reported })];
    expect(await choose({ others })).to.deep.equal({ plan: {}, warnings: [] });
    expect(await refused({ others, plan: { isMultiHost: true } })).to.match(/^the host of node gke-1/);
  });

  it('warns that the same host comes back, where it does', async () => {
    const { plan, warnings } = await choose({ node: { labels: allCapacity } });
    expect(plan).to.deep.equal({});
    expect(warnings.join()).to.match(/^the hosts of the reservation of node gke-0 come back as they are/);
  });

  it('says that the report began after the plan, where it did', () => {
    const status = { 'cloud.google.com/report-and-replace-status': 'PodsEvicted' };
    const node = healthOf('gke-0', { labels: status });
    const { message } = refusal(() => assertNoReport([healthOf('gke-1'), node], { isPlanned: true }));
    expect(message).to.match(
      /PodsEvicted\) since this action was planned, .* deleted now\. Wait until .* label away$/,
    );
    assertNoReport([healthOf('gke-1')], { isPlanned: true });
  });
});

describe('a repair by label', () => {
  it('keeps what it will change', async () => {
    const node = { bootId: 'b', annotations: { [repairAnnotation]: 'earlier' } };
    expect(await choose({ repair: 'reboot', node })).to.deep.equal({
      plan: { way: 'reboot', before: { bootId: 'b', startedAt: 5, askedBy: 'earlier' } },
      warnings: [],
    });
    const { plan } = await choose({
      repair: 'reboot',
      machine: { id: '100', status: 'RUNNING', createdAt: 0 },
    });
    expect(plan).to.deep.equal({ way: 'reboot', before: {} });
  });

  it('keeps what GKE says of an earlier report, for a report', async () => {
    const labels = { ...allCapacity, 'cloud.google.com/report-and-replace-status': 'Error' };
    expect(await choose({ repair: 'report_faulty_host', fault: 'xid', node: { labels } })).to.deep.equal({
      plan: {
        way: 'report_faulty_host',
        fault: 'xid',
        allCapacity: true,
        before: { startedAt: 5, status: 'Error' },
      },
      warnings: [],
    });
    const { plan, warnings } = await choose({ repair: 'reboot', node: { labels } });
    expect(plan).to.deep.equal({ way: 'reboot', before: { startedAt: 5 } });
    expect(warnings).to.deep.equal([]);
  });

  it('warns that a report needs a reservation', async () => {
    const { plan, warnings } = await choose({ repair: 'report_faulty_host' });
    expect(plan).to.deep.equal({ way: 'report_faulty_host', before: { startedAt: 5 } });
    expect(warnings.join()).to.match(/^node gke-0 has no label of a reservation/);
    expect(
      (await choose({ repair: 'report_faulty_host', node: { labels: reserved } })).warnings,
    ).to.deep.equal([]);
    expect((await choose({ repair: 'reboot' })).warnings).to.deep.equal([]);
  });

  it('is refused while another one is under way', async () => {
    expect(await refused({ repair: 'reboot', node: { labels: reported } })).to.match(
      /^node gke-0 is under repair already \(label .*=XID\), .*; to take away .*: kubectl label node gke-0 /,
    );
  });

  it('tells which label of an earlier repair may be left', async () => {
    const labels = { 'cloud.google.com/perform-reboot': 'true' };
    expect(await refused({ repair: 'reboot', node: { labels } })).to.match(
      /under repair already \(label .*; to take away .*: kubectl label node gke-0 cloud\.google\.com\/perform-reboot-$/,
    );
  });

  it('is refused after the deletion of the machine was accepted, until that takes too long', async () => {
    expect(await refused({ repair: 'reboot', mark: {} })).to.match(
      /^the machine of node gke-0 is being deleted by action other since /,
    );
    const free: Partial<CooldownMark>[] = [
      { way: 'reboot' },
      { state: 'begun' },
      { instanceId: '99' },
      { at: new Date(now - config.repairTimeoutSeconds * 1000).toISOString() },
    ];
    for (const mark of free) {
      expect((await choose({ repair: 'reboot', mark })).plan, JSON.stringify(mark)).to.include({
        way: 'reboot',
      });
    }
    const young = new Date(now - config.repairTimeoutSeconds * 1000 + 1).toISOString();
    expect(await refused({ repair: 'reboot', mark: { at: young } })).to.match(/being deleted/);
  });

  it('is refused where the labels say that GKE cannot do it, with what works', async () => {
    expect(await refused({ repair: 'maintenance' })).to.match(
      /^no maintenance of the host .* What works: report the host \(repair report_faulty_host\), or have/,
    );
    const spot = { 'cloud.google.com/gke-spot': 'true' };
    const deletion = /nothing was asked for\. What works: have the machine deleted \(repair delete\)$/;
    expect(await refused({ repair: 'maintenance', node: { labels: spot } })).to.match(deletion);
    expect(await refused({ repair: 'report_faulty_host', node: { labels: spot } })).to.match(deletion);
    expect((await choose({ repair: 'maintenance', node: { labels: scheduled } })).plan).to.include({
      way: 'maintenance',
    });
    expect((await choose({ repair: 'reboot', node: { labels: spot } })).plan).to.include({ way: 'reboot' });
  });

  it('is refused unless the machine runs, and is the same', async () => {
    const ask = (machine: Instance | undefined, plan = {}) => refused({ repair: 'reboot', machine, plan });
    expect(await ask(undefined)).to.match(/^machine vm-0 of node gke-0 is gone, and only/);
    expect(await ask({ ...running, id: '200' })).to.match(
      /^machine vm-0 .* is another one by now \(id 200\)/,
    );
    expect(await ask({ ...running, status: 'STOPPING' })).to.match(/^machine vm-0 of node gke-0 is STOPPING/);
    const unknown = {
      node: { name: 'gke-0', uid: 'u' },
      instanceId: undefined,
    } as unknown as Partial<RepairPlan>;
    const machine = { ...running, id: '200' };
    expect((await choose({ repair: 'reboot', machine, plan: unknown })).plan).to.include({ way: 'reboot' });
  });

  it('goes on with a warning where the function may not ask', async () => {
    const machine = new UpstreamError({ api: 'Compute API', call: 'read instance', status: 403 });
    const { plan, warnings } = await choose({ repair: 'reboot', machine });
    expect(plan).to.deep.equal({ way: 'reboot', before: {} });
    expect(warnings.join()).to.match(
      /^whether the machine runs, and since when, is not known, because the Compute API answered 403/,
    );
  });
});
