import { expect } from 'chai';
import type { NodeHealth } from '../../src/gke/nodes.ts';
import { assertMayCordon, describeRepair, planRepair } from '../../src/decide/repair-plan.ts';
import { blockLabel, hostLabel, subblockLabel } from '../../src/gke/slice.ts';
import type { RepairPlan } from '../../src/plan.ts';
import { toRequestId } from '../../src/effects/delete-machine.ts';
import { refusal } from '../fixtures/refusal-of.ts';

const cluster = {
  fullName: 'projects/ml-prod/locations/us-central1/clusters/train',
  projectId: 'ml-prod',
  location: 'us-central1',
  name: 'train',
};
const target = { nodePool: 'pool-a', nodeName: undefined, cluster, isAutopilot: false };
const sliceLabels = {
  'cloud.google.com/gke-tpu-topology': '8x8',
  'cloud.google.com/gke-accelerator-count': '4',
};

describe('planRepair', () => {
  it('plans the node that was named, by the numeric id of its machine', () => {
    const node = toNode({ name: 'gke-a-7', instanceId: '4242424242424242424' });
    expect(planRepair([node], { ...target, nodeName: 'gke-a-7' })).to.deep.equal({
      projectId: 'ml-prod',
      zone: 'us-central1-a',
      instanceName: 'gke-a-7',
      instanceId: '4242424242424242424',
      node: { name: 'gke-a-7', uid: 'uid-gke-a-7', systemUuid: 'suid-gke-a-7' },
      isMultiHost: false,
      why: 'the node that was named',
    });
  });

  it('plans the machine by its name when the node does not have its id', () => {
    const plan = planRepair([toNode({ name: 'gke-a-7' })], { ...target, nodeName: 'gke-a-7' });
    expect(plan).not.to.have.property('instanceId');
    expect(plan.instanceName).to.equal('gke-a-7');
  });

  it('plans the node that was named even if it is healthy, because the caller may know more', () => {
    const node = toNode({ name: 'gke-a-7', isReady: true });
    expect(planRepair([node], { ...target, nodeName: 'gke-a-7' }).node.name).to.equal('gke-a-7');
  });

  // F-58: only a pool was named, and the machine was whichever came first in the list.
  describe('in a multi-host slice', () => {
    const healthy = ['a', 'b', 'c'].map((name) => toNode({ name, labels: sliceLabels }));
    for (const { name, worst, why } of [
      { name: 'one that is not Ready', worst: { isReady: false }, why: 'not Ready' },
      {
        name: 'one that is about to be terminated',
        worst: { taintKeys: ['cloud.google.com/impending-node-termination'] },
        why: 'about to be terminated or maintained',
      },
      {
        name: 'one under maintenance by its taint',
        worst: { taintKeys: ['cloud.google.com/maintenance'] },
        why: 'about to be terminated or maintained',
      },
      {
        name: 'one under maintenance by its label',
        worst: { labels: { ...sliceLabels, 'cloud.google.com/active-node-maintenance': 'ONGOING' } },
        why: 'about to be terminated or maintained',
      },
      {
        name: 'one under pressure',
        worst: { problems: ['MemoryPressure', 'DiskPressure'] },
        why: 'MemoryPressure, DiskPressure',
      },
      { name: 'one with a problem', worst: { problems: ['NetworkUnavailable'] }, why: 'NetworkUnavailable' },
    ]) {
      it(`chooses ${name}, whatever the order of the list`, () => {
        const bad = toNode({ name: 'z', labels: sliceLabels, ...worst });
        for (const nodes of [
          [...healthy, bad],
          [bad, ...healthy],
        ]) {
          expect(planRepair(nodes, target)).to.deep.include({
            instanceName: 'z',
            isMultiHost: true,
            why: `the least healthy node of a multi-host slice: ${why}`,
          });
        }
      });
    }

    it('ranks not Ready over leaving, leaving over pressure, more problems over fewer, then goes by name', () => {
      const labels = sliceLabels;
      const ranked = [
        toNode({ name: 'y', labels, isReady: false, taintKeys: ['x/termination'] }),
        toNode({ name: 'z', labels, isReady: false }),
        toNode({ name: 'x', labels, taintKeys: ['x/termination'] }),
        toNode({ name: 'w', labels, problems: ['DiskPressure', 'PIDPressure'] }),
        toNode({ name: 'v', labels, problems: ['DiskPressure'] }),
        toNode({ name: 'a', labels }),
        toNode({ name: 'b', labels }),
      ];
      for (let from = 0; from < ranked.length; from++) {
        const rest = ranked.slice(from).toReversed();
        expect(planRepair(rest, target).node.name).to.equal(ranked[from]?.name);
      }
    });

    it('chooses the first by name when all are healthy, and says so', () => {
      expect(planRepair(healthy.toReversed(), target)).to.include({
        instanceName: 'a',
        why: 'the least healthy node of a multi-host slice: all look healthy; first by name',
      });
    });
  });

  describe('in a pool of independent machines', () => {
    it('chooses the only node that is not Ready', () => {
      const nodes = [toNode({ name: 'a' }), toNode({ name: 'b', isReady: false }), toNode({ name: 'c' })];
      expect(planRepair(nodes, target)).to.include({
        instanceName: 'b',
        isMultiHost: false,
        why: 'the only node of the pool that is not Ready',
      });
    });

    it('chooses none when all are Ready, even if one has another problem', () => {
      const nodes = [toNode({ name: 'a', problems: ['DiskPressure'] }), toNode({ name: 'b' })];
      expect(refusedWith(() => planRepair(nodes, target))).to.deep.equal({
        code: 'target_ambiguous',
        message:
          'node pool pool-a is not a multi-host slice, so only the bad machine may be deleted, ' +
          'and all of them are Ready; name the node_name',
      });
    });

    it('chooses none when several are not Ready, and names them', () => {
      const nodes = ['b', 'a', 'c'].map((name) => toNode({ name, isReady: name === 'c' }));
      expect(refusedWith(() => planRepair(nodes, target))).to.deep.equal({
        code: 'target_ambiguous',
        message:
          'node pool pool-a is not a multi-host slice, so only the bad machine may be deleted, ' +
          'and several are not Ready: a, b; name the node_name',
      });
    });

    it('names at most twenty nodes', () => {
      const nodes = Array.from({ length: 25 }, (_, index) => toNode({ name: `n${index}`, isReady: false }));
      expect(refusedWith(() => planRepair(nodes, target)).message).to.match(
        / and 5 more; name the node_name$/,
      );
    });

    it('treats a pool as independent machines when the label of one node says so', () => {
      const nodes = [toNode({ name: 'a', labels: sliceLabels }), toNode({ name: 'b' })];
      expect(refusedWith(() => planRepair(nodes, target)).code).to.equal('target_ambiguous');
    });
  });

  it('refuses a pool without nodes', () => {
    expect(refusedWith(() => planRepair([], target))).to.deep.equal({
      code: 'target_not_found',
      message: 'node pool pool-a has no nodes',
    });
  });

  it('refuses on Autopilot, because only GKE may delete machines there', () => {
    const node = toNode({ name: 'a', isReady: false });
    expect(refusedWith(() => planRepair([node], { ...target, isAutopilot: true }))).to.deep.equal({
      code: 'repair_refused',
      message: 'cluster train is an Autopilot cluster, whose machines only GKE may delete',
    });
  });

  // F-5: a `providerID` of another project, or `gce:////x`, was parsed and used.
  for (const providerId of [
    undefined,
    '',
    'gce:////x',
    'gce://ml-prod//x',
    'gce://ml-prod/us-central1-a/',
    'gce://ml-prod/us-central1-a/x/y',
    'x gce://ml-prod/us-central1-a/x',
    'gce://ml-prod/us-central1-a/..',
    'gce://ml-prod/us-central1-a/x?y',
    'gce://ml-prod/us-central1-a/123',
    'gce://ml-prod/us-central1/x',
    'gce://ml-prod/us-central1-a/x\n',
    'GCE://ml-prod/us-central1-a/x',
    'kind://docker/kind/kind-worker',
    'aws:///us-east-1a/i-0abc',
  ]) {
    it(`refuses the providerID ${JSON.stringify(providerId) ?? 'that is absent'}`, () => {
      const node = { ...toNode({ name: 'a' }), providerId };
      expect(refusedWith(() => planRepair([node], { ...target, nodeName: 'a' }))).to.deep.equal({
        code: 'repair_refused',
        message: 'node a has no providerID of the form gce://PROJECT/ZONE/INSTANCE',
      });
    });
  }

  it('refuses a machine of another project', () => {
    const node = { ...toNode({ name: 'a' }), providerId: 'gce://ml-dev/us-central1-a/a' };
    expect(refusedWith(() => planRepair([node], { ...target, nodeName: 'a' }))).to.deep.equal({
      code: 'repair_refused',
      message: 'node a says that its machine is in project ml-dev, not in ml-prod',
    });
  });

  for (const { location, zone } of [
    { location: 'us-central1', zone: 'us-central1-f' },
    { location: 'us-central1-a', zone: 'us-central1-a' },
    // A zonal cluster may have nodes in other zones of its region.
    { location: 'us-central1-a', zone: 'us-central1-b' },
    { location: 'northamerica-northeast1', zone: 'northamerica-northeast1-c' },
    // Zones made for accelerators are named otherwise.
    { location: 'us-central1', zone: 'us-central1-ai1a' },
    { location: 'us-central1-ai1a', zone: 'us-central1-a' },
  ]) {
    it(`takes a machine in ${zone} for a cluster in ${location}`, () => {
      const node = { ...toNode({ name: 'a' }), providerId: `gce://ml-prod/${zone}/a` };
      const plan = planRepair([node], { ...target, nodeName: 'a', cluster: { ...cluster, location } });
      expect(plan.zone).to.equal(zone);
    });
  }

  for (const { location, zone } of [
    { location: 'us-central1', zone: 'us-central2-a' },
    { location: 'us-east1', zone: 'asia-east1-a' },
    { location: 'us-central1', zone: 'us-central10-a' },
    { location: 'us-central1-a', zone: 'us-east1-a' },
    { location: 'us-central1-ai1a', zone: 'us-south1-ai1b' },
  ]) {
    it(`refuses a machine in ${zone} for a cluster in ${location}`, () => {
      const node = { ...toNode({ name: 'a' }), providerId: `gce://ml-prod/${zone}/a` };
      const plan = () => planRepair([node], { ...target, nodeName: 'a', cluster: { ...cluster, location } });
      expect(refusedWith(plan)).to.deep.equal({
        code: 'repair_refused',
        message: `node a says that its machine is in zone ${zone}, outside the cluster's location ${location}`,
      });
    });
  }

  for (const instance of ['a', 'a'.repeat(63)]) {
    it(`takes a machine whose name has ${instance.length} letters, and none with more than 63`, () => {
      const toProviderId = (name: string) => `gce://ml-prod/us-central1-a/${name}`;
      const node = { ...toNode({ name: 'a' }), providerId: toProviderId(instance) };
      expect(planRepair([node], { ...target, nodeName: 'a' }).instanceName).to.equal(instance);
      const longer = { ...node, providerId: toProviderId('a'.repeat(64)) };
      expect(refusedWith(() => planRepair([longer], { ...target, nodeName: 'a' })).code).to.equal(
        'repair_refused',
      );
    });
  }

  for (const instanceId of ['7', '9'.repeat(20)]) {
    it(`takes the instance id ${instanceId}`, () => {
      const plan = planRepair([toNode({ name: 'a', instanceId })], { ...target, nodeName: 'a' });
      expect(plan.instanceId).to.equal(instanceId);
    });
  }

  for (const instanceId of ['', '0', '-1', 'gke-a-7', '1/2', '1 ', '1'.repeat(21)]) {
    it(`refuses the instance id ${JSON.stringify(instanceId)}`, () => {
      const node = toNode({ name: 'a', instanceId });
      expect(refusedWith(() => planRepair([node], { ...target, nodeName: 'a' }))).to.deep.equal({
        code: 'repair_refused',
        message: 'annotation container.googleapis.com/instance_id of node a is not an instance id',
      });
    });
  }
});

describe('the place of a machine', () => {
  it('is in its plan as far as the node tells it', () => {
    const place = (labels: Record<string, string>) => {
      const { host, block, subblock } = planRepair([toNode({ name: 'n', labels })], {
        ...target,
        nodeName: 'n',
      });
      return JSON.stringify({ host, block, subblock });
    };
    expect(place({})).to.equal('{}');
    expect(place({ [hostLabel]: 'h' })).to.equal('{"host":"h"}');
    expect(place({ [blockLabel]: 'b', [subblockLabel]: 's' })).to.equal('{"block":"b","subblock":"s"}');
    const plan = planRepair([toNode({ name: 'n' })], { ...target, nodeName: 'n' });
    expect(plan).not.to.have.any.keys('host', 'block', 'subblock');
  });
});

describe('assertMayCordon', () => {
  it('refuses on Autopilot only', () => {
    expect(refusedWith(() => assertMayCordon({ name: cluster, isAutopilot: true })).code).to.equal(
      'repair_refused',
    );
    assertMayCordon({ name: cluster, isAutopilot: false });
  });
});

describe('describeRepair', () => {
  const describePlan = (change: Partial<RepairPlan>) =>
    describeRepair({
      ...planRepair([toNode({ name: 'n', instanceId: '7' })], { ...target, nodeName: 'n' }),
      ...change,
    });

  it('says which machine, and what goes with it', () => {
    const { cordon, ...step } = describePlan({ why: 'w' });
    expect(step).to.deep.equal({
      step: 'repair',
      target: 'n',
      outcome: 'would_delete',
      instance: 'projects/ml-prod/zones/us-central1-a/instances/n',
      instance_id: '7',
      why: 'w',
      replaces: 'this machine',
    });
    expect(cordon).to.match(/^re-registered nodes lose the cordon/);
    expect(describePlan({ isMultiHost: true }).replaces).to.equal('all machines of the slice');
    const byName = describeRepair(planRepair([toNode({ name: 'n' })], { ...target, nodeName: 'n' }));
    expect(byName).not.to.have.property('instance_id');
  });

  it('says which label, and what it does', () => {
    const { label, repair, outcome, cordon, replaces, fault } = describePlan({ way: 'reboot' });
    expect({ label, repair, outcome, fault }).to.deep.equal({
      label: 'cloud.google.com/perform-reboot=true',
      repair: 'reboot',
      outcome: 'would_reboot',
      fault: undefined,
    });
    expect(cordon).to.match(/^the Node object stays/);
    expect(replaces).to.match(/^nothing: GKE reboots this machine/);
    expect(describePlan({ way: 'reboot' })).not.to.have.property('fault');
    expect(describePlan({ way: 'maintenance' }).replaces).to.match(/this machine stops until/);
    expect(describePlan({ way: 'maintenance', isMultiHost: true }).replaces).to.match(
      /all machines of the slice stop/,
    );
    const report = describePlan({ way: 'report_faulty_host', fault: 'xid' });
    expect(report).to.include({ fault: 'xid', label: 'cloud.google.com/fault-behavior=XID' });
    expect(report.replaces).to.match(/comes back on another host/);
    expect(describePlan({ way: 'report_faulty_host', allCapacity: true }).replaces).to.match(
      /on the same host/,
    );
  });

  it('says what is left to GKE', () => {
    const why = 'GKE does it';
    expect(describePlan({ leftTo: { outcome: 'node_leaving', why } })).to.include({
      outcome: 'node_leaving',
      gke: why,
      replaces: 'nothing',
    });
    expect(describePlan({ leftTo: { outcome: 'gke_is_repairing', why } }).replaces).to.equal('this machine');
  });

  it('says what else there is to know, and leaves out what there is not', () => {
    expect(describePlan({})).not.to.have.any.keys('gke', 'may_not_come_back', 'runs_here', 'warning');
    expect(describePlan({ mayNotComeBack: 'Spot', runsHere: {}, warning: 'w' })).to.deep.include({
      may_not_come_back: 'Spot',
      runs_here: {},
      warning: 'w',
    });
  });
});

describe('toRequestId', () => {
  // F-10: the answer was lost after Compute accepted, and the retry deleted the replacement.
  it('is the same UUID for the same deletion, in every claim and release', () => {
    expect(toRequestId('incident-7', '4242')).to.equal(toRequestId('incident-7', '4242'));
    expect(toRequestId('incident-7', '4242')).to.match(
      /^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
    );
  });

  it('differs with the action and with the machine', () => {
    const ids = [
      toRequestId('incident-7', '4242'),
      toRequestId('incident-8', '4242'),
      toRequestId('incident-7', '4243'),
      toRequestId('incident-74242', ''),
    ];
    expect(new Set(ids)).to.have.property('size', ids.length);
  });
});

function toNode({
  name,
  labels = {},
  isReady = true,
  taintKeys = [],
  problems = [],
  instanceId,
}: Partial<NodeHealth> & { name: string; instanceId?: string }): NodeHealth {
  return {
    name,
    uid: `uid-${name}`,
    nodePool: 'pool-a',
    labels,
    annotations: instanceId === undefined ? {} : { 'container.googleapis.com/instance_id': instanceId },
    createdAt: 0,
    isReady,
    readyChangedAt: 0,
    taintKeys,
    lacksAccelerators: false,
    problems,
    providerId: `gce://ml-prod/us-central1-a/${name}`,
    systemUuid: `suid-${name}`,
  };
}

function refusedWith(work: () => unknown): { code: string; message: string } {
  const { code, message } = refusal(work);
  return { code, message };
}
