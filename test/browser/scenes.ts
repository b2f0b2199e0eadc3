// What the page is looked at in.
import type { Emulator } from '../emulator/emulator.ts';
import type { EmulatedCluster } from '../emulator/cluster.ts';
import { createLargeWorld } from './shown-world.ts';
import type { ShownWorld } from './shown-world.ts';

export interface Scene {
  name: string;
  create?: (emulator: Emulator) => EmulatedCluster;
  /** Brings the world there. */
  play: (world: ShownWorld) => Promise<void>;
  /** The pages beside the overview. */
  paths?: string[];
  /** What the overview must say. */
  says: RegExp;
}

const who = { requestor: 'alice@example.com', reason: 'slice-a lost an ICI link' };
const restart = {
  id: 'incident-42',
  type: 'cordon_nodepool_and_restart_jobset',
  jobset_name: 'train',
  node_pool: 'slice-a',
  ...who,
};

function killOne(world: ShownWorld, pool: string, index = 0): void {
  const node = world.cluster.nodes(pool)[index]?.metadata.name;
  if (node !== undefined) world.cluster.killNode(node);
  world.emulator.settle();
}

/** A machine dies, and the run moves to the other slice. */
async function moveRun(world: ShownWorld): Promise<void> {
  killOne(world, 'slice-a', 5);
  world.pass(30);
  await world.send(restart);
  // The first reconcile frees the pod that the dead node holds up, the second one sees the run.
  for (const seconds of [62, 20]) {
    world.pass(seconds);
    await world.reconcile();
  }
}

export const scenes: Scene[] = [
  { name: 'healthy', play: async () => undefined, says: /Failover is on\. No action is open\./ },
  {
    name: 'fault',
    play: async (world) => killOne(world, 'slice-a', 5),
    says: /slice-a 1 not Ready, 15 Ready/,
  },
  {
    name: 'moved',
    play: async (world) => {
      await moveRun(world);
      await world.send({ ...restart, id: 'incident-42-repeated', reason: 'is it not back yet?' });
      world.pass(20);
    },
    paths: ['/actions/incident-42', '/actions?node_pool=slice-a'],
    says: /✓ run back after/,
  },
  {
    name: 'repairing',
    play: async (world) => {
      await moveRun(world);
      await world.send({ id: 'repair-43', type: 'repair_nodepool', node_pool: 'slice-a', ...who });
      world.pass(60);
    },
    paths: ['/actions/repair-43'],
    says: /waiting for the machine to be back/,
  },
  {
    name: 'not-recovered',
    play: async (world) => {
      world.cluster.switches.fillPool('slice-b');
      killOne(world, 'slice-a', 5);
      await world.send(restart);
      for (const seconds of [62, 20 * 60]) {
        world.pass(seconds);
        await world.reconcile();
      }
      world.pass(90);
    },
    paths: ['/actions/incident-42'],
    says: /Needs you ✕ Cordon slice-a and restart default\/train: not recovered/,
  },
  {
    name: 'paused',
    play: async (world) => {
      world.pause('INC-42, ask Bob');
      await world.send({ ...restart, reason: '<script>alert(1)</script>' });
      world.pass(5);
    },
    says: /Failover is paused.*INC-42, ask Bob\. Only dry runs and uncordon go through/,
  },
  {
    name: 'stopped',
    play: async (world) => {
      const [first] = world.cluster.nodes('slice-a');
      world.cluster.deny({ verb: 'patch', resource: 'nodes', name: first?.metadata.name ?? '' });
      await world.send(restart).catch(() => undefined);
      world.pass(20);
    },
    paths: ['/actions/incident-42'],
    says: /Needs you ✕ .*: stopped: upstream failed/,
  },
  {
    name: 'awaiting-approval',
    play: async (world) => {
      killOne(world, 'slice-a', 5);
      world.pass(30);
      const repair = { id: 'repair-43', type: 'cordon_and_repair_nodepool', node_pool: 'slice-a', ...who };
      await world.send({ ...repair, approval: 'required' }, '/actions', 'alice@example.com');
      world.pass(60);
    },
    paths: ['/actions/repair-43', '/actions?state=awaiting_approval'],
    says: /Needs you .*Cordon and repair slice-a: waits for approval.*Approve this plan/,
  },
  {
    name: 'large',
    create: createLargeWorld,
    play: async (world) => {
      killOne(world, 'gpu-a3', 77);
      killOne(world, 'gpu-a3', 300);
      world.cluster.cordonAs('kubectl', world.cluster.nodes('v6e-3')[9]?.metadata.name ?? '', true);
      await world.send({ id: 'incident-77', type: 'cordon_nodepool', node_pool: 'v5p-2', ...who });
      killOne(world, 'v5p-2', 31);
      world.pass(40);
    },
    says: /gpu-a3 2 not Ready, 510 Ready/,
  },
];
