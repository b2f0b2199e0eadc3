import { expect } from 'chai';
import { readMark } from '../../src/state/cooldown.ts';
import { failoverNamespace } from '../../src/names.ts';
import type { VirtualAnswer, VirtualFailover } from '../fixtures/virtual-failover.ts';
import { faultLabel, GpuWorld, reservation, statusLabel } from '../fixtures/gpu-world.ts';
import { countCordoned, nodeNames } from '../fixtures/train-world.ts';
import { deletedMachines } from '../fixtures/train-run.ts';

const rebootLabel = 'cloud.google.com/perform-reboot';
const maintenanceLabel = 'cloud.google.com/perform-maintenance';

function reportOf({ node }: GpuWorld): Record<string, unknown> {
  return { id: 'a', type: 'repair_nodepool', node_name: node, repair: 'report_faulty_host', fault: 'xid' };
}

function markOf(world: VirtualFailover, pool = 'gpu-a') {
  const lease = world.cluster.get('leases', failoverNamespace, `pool-${pool}`);
  return readMark(lease?.metadata.annotations ?? {}, 'repair');
}

function expectRefused(world: GpuWorld, answer: VirtualAnswer, why: RegExp): void {
  expect(answer.code, answer.error).to.equal('repair_refused');
  expect(answer.error).to.match(why);
  expect(world.askedRepairs()).to.deep.equal([]);
  expect(deletedMachines(world)).to.deep.equal([]);
}

describe('a repair that a label asks for', () => {
  const ways: Record<string, { body: object; outcome: string; label: string }> = {
    'a report': {
      body: { repair: 'report_faulty_host', fault: 'silent_data_corruption' },
      outcome: 'report_requested',
      label: `${faultLabel}=SDC`,
    },
    'a reboot': { body: { repair: 'reboot' }, outcome: 'reboot_requested', label: `${rebootLabel}=true` },
    'a maintenance': {
      body: { repair: 'maintenance' },
      outcome: 'maintenance_requested',
      label: `${maintenanceLabel}=true`,
    },
  };
  for (const [what, { body, outcome, label }] of Object.entries(ways)) {
    it(`labels the one node for ${what}, after its plan and its mark, and deletes nothing`, async () => {
      const world = new GpuWorld();
      world.cluster.switches.announceMaintenance('gpu-a');
      const action = { ...reportOf(world), fault: undefined, ...body };
      const dry = await world.send({ ...action, dry_run: true });
      expect(dry.steps[0]).to.include({ outcome: `would_${dry.steps[0]?.['repair'] as string}`, label });
      expect(world.askedRepairs()).to.deep.equal([]);
      let markThen: unknown;
      world.once(/^PATCH .*\/nodes\//, () => (markThen = markOf(world)));
      const answer = await world.send(action);
      expect(answer.error).to.equal(undefined);
      expect(answer.steps[0]).to.include({ step: 'repair', target: world.node, outcome, label });
      const [key = '', value = ''] = label.split('=');
      expect(world.askedRepairs()).to.deep.equal([{ [key]: value }]);
      expect(markThen).to.include({ action: 'a', state: 'begun' });
      expect(markOf(world)).to.include({ action: 'a', state: 'accepted' });
      expect(deletedMachines(world)).to.deep.equal([]);
    });
  }

  it('leaves the cordon as it is, and an uncordon leaves the label', async () => {
    const world = new GpuWorld();
    await world.send({ ...reportOf(world), type: 'cordon_and_repair_nodepool' });
    expect(countCordoned(world.cluster, 'gpu-a')).to.equal(2);
    expect((await world.send({ id: 'u', type: 'uncordon_nodepool', node_pool: 'gpu-a' })).status).to.equal(
      200,
    );
    expect(countCordoned(world.cluster, 'gpu-a')).to.equal(0);
    expect(world.labels()).to.include({ [faultLabel]: 'XID' });
  });

  it('is held to the cooldown, and to the pause', async () => {
    const world = new GpuWorld();
    await world.send(reportOf(world));
    const second = await world.send({ ...reportOf(world), id: 'b', node_name: world.other });
    expect(second.code).to.equal('rate_limited');
    expect(world.askedRepairs()).to.have.length(1);
    world.cluster.change('leases', failoverNamespace, 'cluster', ({ metadata }) => {
      metadata.annotations = { ...metadata.annotations, 'autometric-failover/paused': 'a test' };
    });
    await world.pass(4000);
    expect((await world.send({ ...reportOf(world), id: 'c' })).code).to.equal('paused');
    expect(world.askedRepairs()).to.have.length(1);
  });

  it('is answered from its record when it is sent again', async () => {
    const world = new GpuWorld();
    const first = await world.send(reportOf(world));
    const again = await world.send(reportOf(world));
    expect(again).to.deep.include({ isReplay: true, steps: first.steps });
    expect((await world.send({ ...reportOf(world), fault: 'performance' })).code).to.equal('id_reused');
    expect(world.askedRepairs()).to.have.length(1);
  });

  // F-260: an instance died between the label and its answer, GKE took the label away, and the resume reported the host again.
  it('is asked for once, however its instance dies at any of its writes, also after GKE has taken the label away', async () => {
    const methods = await (async () => {
      const world = new GpuWorld();
      await world.send(reportOf(world));
      return world.emulator.requests.map(({ method }) => method);
    })();
    const writes = [...methods.keys()].filter((request) => methods[request] !== 'GET');
    expect(writes.length).to.be.greaterThan(6);
    for (const request of writes) {
      const world = new GpuWorld();
      const doomed = world.newInstance();
      let where = '';
      world.after(request, ({ method, path }) => {
        where = `crashed at request ${request}, ${method} ${path}`;
        doomed.crash();
      });
      world.begin(reportOf(world), doomed);
      // Long enough for GKE to report the host and to take its label away.
      await world.pass(1200);
      const answer = await world.send(reportOf(world));
      expect(answer.status, `${where}: ${answer.error}`).to.equal(200);
      expect(world.askedRepairs(), where).to.have.length(1);
      expect(deletedMachines(world), where).to.deep.equal([]);
      expect(markOf(world), where).to.include({ state: 'accepted' });
    }
  });

  it('takes its mark back where the label is refused, and begins anew', async () => {
    const world = new GpuWorld();
    const allow = world.cluster.deny({ verb: 'patch', resource: 'nodes' } as never);
    const refused = await world.send(reportOf(world));
    expect(refused.status).to.equal(502);
    allow();
    expect(markOf(world)).to.equal(undefined);
    expect((await world.send({ ...reportOf(world), id: 'b' })).status).to.equal(200);
    expect(world.askedRepairs()).to.have.length.at.least(1);
  });

  it('does nothing to a node that was made anew under its name meanwhile', async () => {
    const world = new GpuWorld();
    world.once(/^PUT .*\/action-/, () => world.cluster.replaceInstance(world.node, 'reregistered'));
    const answer = await world.send(reportOf(world));
    expect(answer.code, answer.error).to.equal('target_changed');
    expect(world.labels()).not.to.include.keys(faultLabel);
    expect(markOf(world)).to.equal(undefined);
  });

  // F-261: the label was applied without the uid of the node, to one that was made anew between the read and the write.
  it('sends the uid with the label', async () => {
    const world = new GpuWorld();
    world.once(/^PATCH .*\/nodes\//, () => world.cluster.replaceInstance(world.node, 'reregistered'));
    const answer = await world.send(reportOf(world));
    expect(answer.code, answer.error).to.equal('target_changed');
    expect(world.labels()).not.to.include.keys(faultLabel);
  });
});

describe('a repair that a label asks for is refused', () => {
  const cases: Record<
    string,
    { options?: object; prepare?: (world: GpuWorld) => void; body?: object; why: RegExp }
  > = {
    'for a machine type whose hosts are not reported': {
      options: { machineType: 'a2-highgpu-8g' },
      why: /does not report hosts of the machine type a2-highgpu-8g.*What works: have the machine deleted/,
    },
    'for a version that does not report hosts': {
      prepare: (world) =>
        world.change(({ status }) => (status.nodeInfo['kubeletVersion'] = 'v1.32.3-gke.1000000')),
      why: /from version 1\.32\.3-gke\.1057001 on, and node \S+ has v1\.32\.3-gke\.1000000/,
    },
    'for a spot machine': {
      options: { labels: { 'cloud.google.com/gke-provisioning': 'spot' } },
      why: /only hosts of a reservation can be reported, and the machine of node \S+ is spot/,
    },
    'for a flex-start machine': {
      options: { labels: { 'cloud.google.com/gke-flex-start': 'true' } },
      why: /is flex-start/,
    },
    'where no maintenance is pending': {
      body: { repair: 'maintenance', fault: undefined },
      why: /no maintenance of the host of node \S+ is pending.*report the host \(repair report_faulty_host\)/,
    },
    'where the host reports already': {
      prepare: (world) => world.setLabels({ [statusLabel]: 'OperationRUNNING' }),
      why: /is under repair already \(label cloud\.google\.com\/report-and-replace-status=OperationRUNNING\)/,
    },
    'where a person has asked for a reboot': {
      prepare: (world) => world.setLabels({ [rebootLabel]: 'true' }),
      why: /is under repair already \(label cloud\.google\.com\/perform-reboot=true\)/,
    },
    'where the machine does not run': {
      prepare: ({ emulator, node }) => {
        const machine = emulator.fleet.list().find(({ name }) => name === node);
        if (machine) machine.status = 'REPAIRING';
      },
      why: /machine \S+ of node \S+ is REPAIRING.*What works: have it deleted/,
    },
  };
  for (const [what, { options = {}, prepare, body = {}, why }] of Object.entries(cases)) {
    it(what, async () => {
      const world = new GpuWorld(options);
      prepare?.(world);
      for (const dry of [true, false]) {
        const answer = await world.send({ ...reportOf(world), ...body, dry_run: dry });
        expectRefused(world, answer, why);
      }
    });
  }

  it('for a node that is not there any more', async () => {
    const world = new GpuWorld();
    for (const repair of ['reboot', 'maintenance']) {
      const gone = { ...reportOf(world), fault: undefined, repair, node_name: `${world.node}-gone` };
      const answer = await world.send(gone);
      expect(answer.code, answer.error).to.equal('target_not_found');
    }
    expect(world.askedRepairs()).to.deep.equal([]);
    expect(deletedMachines(world)).to.deep.equal([]);
  });

  it('for the hosts of a TPU slice', async () => {
    const world = new GpuWorld();
    const action = { ...reportOf(world), node_name: undefined, node_pool: 'slice-a' };
    expectRefused(world, await world.send(action), /reports hosts of GPU machines only/);
  });

  // F-262: a deletion while GKE reported the host made the report fail, and the bad host stayed in service.
  it('as a deletion is of a machine whose host is being reported, whoever asked', async () => {
    for (const labels of [{ [faultLabel]: 'XID' }, { [statusLabel]: 'PodsEvicted' }]) {
      const world = new GpuWorld();
      world.setLabels(labels);
      const answer = await world.send({ type: 'repair_nodepool', node_name: world.node });
      expectRefused(
        world,
        answer,
        /is being reported as faulty .*a deletion of the machine would make the report fail/,
      );
    }
  });

  it('while the machine is being deleted, also under an override', async () => {
    const world = new GpuWorld();
    await world.send({ id: 'd', type: 'repair_nodepool', node_name: world.node });
    world.cluster.change('leases', failoverNamespace, 'cluster', ({ metadata }) => {
      const until = new Date(world.time.now + 1_800_000).toISOString();
      metadata.annotations = { ...metadata.annotations, 'autometric-failover/override-until': until };
    });
    // Neither Compute nor, where Compute may not be asked, the mark lets it through.
    for (const id of ['a', 'b']) {
      const answer = await world.send({ ...reportOf(world), id });
      expect(answer.code, answer.error).to.equal('repair_refused');
      world.emulator.faults.add({ api: 'compute', method: 'GET', times: Infinity, effect: { status: 403 } });
    }
    expect(world.askedRepairs()).to.deep.equal([]);
  });
});

describe('two actions on one node', () => {
  it('that came to different ways: the second waits for the first, and repeats nothing', async () => {
    const world = new GpuWorld();
    world.emulator.faults.add({ api: 'compute', method: 'DELETE', times: Infinity, effect: 'hang' });
    expect(
      (await world.send({ id: 'd', type: 'repair_nodepool', node_name: world.node })).status,
    ).to.be.oneOf([502, 504]);
    expect(markOf(world)).to.include({ state: 'begun' });
    await world.pass(400);
    const answer = await world.send(reportOf(world));
    expect(answer.code, answer.error).to.equal('action_in_progress');
    expect(world.askedRepairs()).to.deep.equal([]);
  });

  // F-263: the first report was begun, carried out by GKE and never marked as accepted; the second reported the new host.
  it('that both report: what the first has asked for is not asked for again', async () => {
    const world = new GpuWorld();
    const doomed = world.newInstance();
    world.once(/^PATCH .*\/nodes\//, () => doomed.crash());
    world.begin(reportOf(world), doomed);
    await world.pass(1500);
    expect(world.labels())
      .to.include({ [statusLabel]: 'OperationDone' })
      .and.not.include.keys(faultLabel);
    const answer = await world.send({ ...reportOf(world), id: 'b' });
    expect(answer.code, answer.error).to.equal('rate_limited');
    expect(world.askedRepairs()).to.have.length(1);
  });
});

describe('the maintenance of a multi-host slice', () => {
  it('labels one node, and says that all machines stop', async () => {
    const world = new GpuWorld();
    world.cluster.switches.announceMaintenance('slice-a');
    const action = { id: 'a', type: 'repair_nodepool', node_pool: 'slice-a', repair: 'maintenance' };
    const { steps } = await world.send(action);
    expect(steps[0]?.['replaces']).to.match(/all machines of the slice stop/);
    expect(world.askedRepairs()).to.have.length(1);
    expect(steps[0]?.target).to.equal(nodeNames(world.cluster, 'slice-a')[0]);
  });
});

describe('a deletion in a reservation whose hosts come back as they are', () => {
  it('says that it draws the same host, and what works', async () => {
    const world = new GpuWorld({ machineType: 'a4x-highgpu-4g', labels: reservation });
    const { steps } = await world.send({ type: 'repair_nodepool', node_name: world.node, dry_run: true });
    expect(steps[0]?.['warning']).to.match(
      /all-capacity mode.*draws the same host again.*report_faulty_host/,
    );
  });
});
