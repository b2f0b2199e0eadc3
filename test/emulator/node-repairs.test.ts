import { expect } from 'chai';
import type { EmulatedCluster } from './cluster.ts';
import { findCondition } from './objects.ts';
import type { Node } from './objects.ts';
import { createTestWorld } from './test-world.ts';
import type { TestWorld } from './test-world.ts';
import type { PoolOptions } from './world.ts';

const statusLabel = 'cloud.google.com/report-and-replace-status';
const operationLabel = 'cloud.google.com/report-and-replace-operation';
const hostLabel = 'cloud.google.com/gce-topology-host';
const faultLabel = 'cloud.google.com/fault-behavior';
const maintenanceLabel = 'cloud.google.com/perform-maintenance';
const rebootLabel = 'cloud.google.com/perform-reboot';
const reservation = { 'cloud.google.com/reservation-name': 'gpus' };

interface GpuWorld extends TestWorld {
  name: string;
  node: () => Node;
}

function createGpuWorld(options: PoolOptions = {}): GpuWorld {
  const world = createTestWorld();
  const [name = ''] = world.cluster.addPool('gpu-a', { gpu: true, labels: reservation, ...options });
  return { ...world, advance: world.advance, name, node: () => nodeOf(world.cluster, name) };
}

function nodeOf(cluster: EmulatedCluster, name: string): Node {
  const node = cluster.get('nodes', undefined, name);
  if (!node) throw new Error(`no node ${name}`);
  return node;
}

function label(cluster: EmulatedCluster, name: string, key: string, value: string): void {
  const headers = { 'content-type': 'application/merge-patch+json' };
  const patch = { metadata: { labels: { [key]: value } } };
  expect(cluster.ask('PATCH', `/api/v1/nodes/${name}`, patch, headers).status).to.equal(200);
}

function isReady({ status }: Node): boolean {
  return findCondition(status.conditions, 'Ready')?.status === 'True';
}

function machineOf({ emulator }: TestWorld, name: string) {
  const found = emulator.fleet.list().find((each) => each.name === name);
  if (!found) throw new Error(`no machine ${name}`);
  return { ...found };
}

describe('the emulated GKE', () => {
  describe('that is told of a faulty host', () => {
    it('drains the node, reports its host, and brings the same machine back on another host', () => {
      const world = createGpuWorld();
      const before = world.node();
      const machine = machineOf(world, world.name);
      label(world.cluster, world.name, faultLabel, 'XID');
      world.advance(1);
      expect(world.node().spec.taints?.map(({ key }) => key)).to.include(
        'cloud.google.com/impending-node-termination',
      );
      const seen: (string | undefined)[] = [];
      for (let minute = 0; minute < 16; minute++) {
        const status = world.node().metadata.labels?.[statusLabel];
        if (seen.at(-1) !== status) seen.push(status);
        world.advance(60);
      }
      expect(seen).to.deep.equal(['PodsEvicted', 'OperationRUNNING', 'OperationDone']);
      const after = world.node();
      expect(after.metadata.uid).to.equal(before.metadata.uid);
      expect(machineOf(world, world.name)).to.include({ id: machine.id, status: 'RUNNING' });
      expect(machineOf(world, world.name).startedAt).to.be.greaterThan(machine.startedAt);
      expect(after.metadata.labels?.[hostLabel]).not.to.equal(before.metadata.labels?.[hostLabel]);
      expect(after.status.nodeInfo['bootID']).not.to.equal(before.status.nodeInfo['bootID']);
      expect(after.metadata.labels).to.include.keys(operationLabel).and.not.include.keys(faultLabel);
      expect(isReady(after)).to.equal(true);
      expect(after.spec.taints).to.deep.equal(before.spec.taints);
    });

    it('keeps the machine of an all-capacity reservation away until its own host is repaired', () => {
      const world = createGpuWorld({ machineType: 'a4x-highgpu-4g' });
      const host = world.node().metadata.labels?.[hostLabel];
      label(world.cluster, world.name, faultLabel, 'SDC');
      world.advance(1);
      world.advance(86_400);
      expect(world.node().metadata.labels).to.include({
        [statusLabel]: 'OperationDone',
        [faultLabel]: 'SDC',
      });
      expect(isReady(world.node())).to.equal(false);
      world.advance(7 * 86_400);
      expect(isReady(world.node())).to.equal(true);
      expect(world.node().metadata.labels)
        .to.include({ [hostLabel]: host })
        .and.not.include.keys(faultLabel);
    });

    const failing: Record<string, (world: GpuWorld) => void> = {
      'a switch says so': ({ cluster }) => void cluster.switches.failReports('gpu-a'),
      'the machine is deleted meanwhile': ({ emulator, name }) => {
        const machine = emulator.fleet.list().find((each) => each.name === name);
        if (machine) emulator.fleet.delete(machine, undefined, 'admin@example.com');
      },
    };
    for (const [what, fail] of Object.entries(failing)) {
      it(`ends with Error, and without label and taint, where ${what}`, () => {
        const world = createGpuWorld({ stopSeconds: 3600 });
        label(world.cluster, world.name, faultLabel, 'XID');
        world.advance(1);
        fail(world);
        world.advance(100);
        expect(world.node().metadata.labels)
          .to.include({ [statusLabel]: 'Error' })
          .and.not.include.keys(faultLabel);
        const keys = world.node().spec.taints?.map(({ key }) => key);
        expect(keys).not.to.include('cloud.google.com/impending-node-termination');
      });
    }

    const unable: Record<string, PoolOptions> = {
      'is of another type': { machineType: 'a2-highgpu-8g' },
      'is of no reservation': { labels: {} },
    };
    for (const [what, options] of Object.entries(unable)) {
      it(`ends with Error where the machine ${what}`, () => {
        const world = createGpuWorld(options);
        label(world.cluster, world.name, faultLabel, 'XID');
        world.advance(1);
        world.advance(100);
        expect(world.node().metadata.labels).to.include({ [statusLabel]: 'Error' });
      });
    }
  });

  describe('that is told to maintain a host', () => {
    it('stops and starts the same machine where a maintenance is pending', () => {
      const world = createGpuWorld();
      world.cluster.switches.announceMaintenance('gpu-a');
      const before = world.node();
      const machine = machineOf(world, world.name);
      label(world.cluster, world.name, maintenanceLabel, 'true');
      world.advance(1);
      world.advance(60);
      expect(world.node().metadata.labels).to.include({
        'cloud.google.com/active-node-maintenance': 'ONGOING',
      });
      world.advance(900);
      expect(machineOf(world, world.name).status).to.equal('REPAIRING');
      expect(isReady(world.node())).to.equal(false);
      world.advance(1200);
      const after = world.node();
      expect(isReady(after)).to.equal(true);
      expect(after.metadata.uid).to.equal(before.metadata.uid);
      expect(after.metadata.labels).not.to.include.keys(maintenanceLabel);
      expect(after.metadata.annotations).not.to.include.keys('node.gke.io/upcoming-maintenance');
      expect(machineOf(world, world.name).id).to.equal(machine.id);
      expect(machineOf(world, world.name).host).to.equal(machine.host);
      expect(machineOf(world, world.name).startedAt).to.be.greaterThan(machine.startedAt);
    });

    it('maintains a multi-host slice as a whole', () => {
      const world = createTestWorld();
      const [name = '', other = ''] = world.cluster.addTpuSlice('slice-a', { topology: '4x4' });
      world.cluster.switches.announceMaintenance('slice-a');
      label(world.cluster, name, maintenanceLabel, 'true');
      world.advance(1);
      world.advance(1000);
      expect(isReady(nodeOf(world.cluster, other))).to.equal(false);
    });

    it('does nothing where none is pending', () => {
      const world = createGpuWorld();
      label(world.cluster, world.name, maintenanceLabel, 'true');
      const before = world.node();
      world.advance(1);
      world.advance(3600);
      expect(world.node()).to.deep.equal(before);
    });
  });

  describe('that is told to reboot a machine', () => {
    it('boots the guest again, and Compute does not start the machine anew', () => {
      const world = createGpuWorld();
      const before = world.node();
      const machine = machineOf(world, world.name);
      label(world.cluster, world.name, rebootLabel, 'true');
      world.advance(1);
      world.advance(30);
      expect(isReady(world.node())).to.equal(false);
      world.advance(120);
      expect(isReady(world.node())).to.equal(true);
      expect(world.node().status.nodeInfo['bootID']).not.to.equal(before.status.nodeInfo['bootID']);
      expect(world.node().metadata.labels).to.deep.equal(before.metadata.labels);
      expect(machineOf(world, world.name)).to.include({ id: machine.id, startedAt: machine.startedAt });
    });

    it('leaves the label there where a switch says so, and reboots once more only if it is set anew', () => {
      const world = createGpuWorld();
      world.cluster.switches.keepRebootLabels('gpu-a');
      const bootOf = () => world.node().status.nodeInfo['bootID'];
      const boots = [bootOf()];
      const pass = () => {
        for (let step = 0; step < 3; step++) world.advance(150);
        boots.push(bootOf());
      };
      label(world.cluster, world.name, rebootLabel, 'true');
      pass();
      pass();
      expect(world.node().metadata.labels).to.include({ [rebootLabel]: 'true' });
      world.cluster.change('nodes', undefined, world.name, ({ metadata }) => {
        delete metadata.labels?.[rebootLabel];
      });
      world.advance(1);
      label(world.cluster, world.name, rebootLabel, 'true');
      pass();
      expect(boots.map((boot) => boots.indexOf(boot))).to.deep.equal([0, 1, 1, 3]);
    });

    it('does nothing while a switch says so, and reboots afterwards', () => {
      const world = createGpuWorld();
      const obey = world.cluster.switches.ignoreLabels('gpu-a');
      const { bootID } = world.node().status.nodeInfo;
      label(world.cluster, world.name, rebootLabel, 'true');
      world.advance(1);
      world.advance(300);
      expect(world.node().status.nodeInfo['bootID']).to.equal(bootID);
      obey();
      world.advance(1);
      world.advance(300);
      expect(world.node().status.nodeInfo['bootID']).not.to.equal(bootID);
    });
  });

  it('keeps the host of a replacement for as many repairs as a switch says', () => {
    const world = createGpuWorld();
    world.cluster.switches.keepHosts('gpu-a', 1);
    const hosts = [world.node().metadata.labels?.[hostLabel]];
    for (let repair = 0; repair < 2; repair++) {
      const machine = world.emulator.fleet.list().find((each) => each.name === world.name);
      if (machine) world.emulator.fleet.delete(machine, undefined, 'admin@example.com');
      world.advance(1);
      world.advance(200);
      hosts.push(world.node().metadata.labels?.[hostLabel]);
    }
    expect(hosts[1]).to.equal(hosts[0]);
    expect(hosts[2]).not.to.equal(hosts[1]);
  });
});
