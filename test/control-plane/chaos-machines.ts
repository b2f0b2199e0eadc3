/** The emulator's machines behind the nodes of a real control plane: a deleted one takes its node with it, and comes back. */
import { ClusterState } from '../emulator/cluster-state.ts';
import type { Emulator } from '../emulator/emulator.ts';
import { noTroubles } from '../emulator/fleet.ts';
import type { Instance, InstanceGroup } from '../emulator/fleet.ts';
import { Random } from '../emulator/random.ts';
import type { History, Machine } from './chaos-history.ts';
import { eventually } from './eventually.ts';
import type { Node } from './kubernetes-client.ts';
import { createKwokMachines } from './kwok-machines.ts';
import type { KubernetesClient } from './kubernetes-client.ts';
import type { Machines } from './world.ts';

export interface ChaosMachines {
  /** For the world that builds the slices. */
  machines: Machines;
  /** Sees to what has become of the machines since. */
  tick(): void;
  stop(): Promise<void>;
}

const project = 'test-project';
const zone = 'us-central1-a';

export function createChaosMachines(
  admin: KubernetesClient,
  emulator: Emulator,
  history: History,
): ChaosMachines {
  const kwok = createKwokMachines(admin);
  const state = new ClusterState(() => Date.now(), new Random(1));
  const seen = new Map<string, string>();
  /** What is done to one node is done in order. */
  const work = new Map<string, Promise<void>>();
  let told = 0;

  const doTo = (node: string, what: () => Promise<void>): void => {
    const before = work.get(node) ?? Promise.resolve();
    // The API server may be down for a while.
    const done = before.then(() =>
      eventually(`node ${node}`, () => what().then(() => true), { intervalMs: 500 }),
    );
    work.set(
      node,
      done.then(() => undefined),
    );
  };
  const groupOf = (pool: string): InstanceGroup => ({
    pool,
    cluster: 'real',
    state,
    isAtomic: true,
    repair: { stopSeconds: 3, repairDelaySeconds: 9, nodeObject: 'reregistered' },
    tellsHost: true,
    troubles: noTroubles(),
    replaced: ({ name, id }) => doTo(name, () => kwok.replace(name, true, id)),
    withheld: () => {},
  });

  const tick = (): void => {
    emulator.fleet.reconcile();
    for (const { instance, operation } of emulator.fleet.deletions.slice(told)) {
      const { requestId, startedAt } = operation;
      history.note({ kind: 'deletion', instance: toMachine(instance), requestId, startedAt });
      told += 1;
    }
    const machines = emulator.fleet.list().map((each) => toMachine(each));
    for (const machine of machines) {
      if (seen.get(machine.id) === machine.status) continue;
      seen.set(machine.id, machine.status);
      history.note({ kind: 'machine', machine });
      if (machine.status === 'STOPPING') doTo(machine.name, () => kwok.kill(machine.name, 0));
    }
    for (const id of seen.keys()) {
      if (machines.some((each) => each.id === id)) continue;
      seen.delete(id);
      history.note({
        kind: 'machine',
        machine: { id, name: '', status: 'STOPPING', createdAt: 0, pool: '' },
        isGone: true,
      });
    }
  };
  const timer = setInterval(tick, 250);

  return {
    machines: {
      ...kwok,
      async add(pool, options) {
        const names = await kwok.add(pool, options);
        const group = groupOf(pool);
        for (const name of names) {
          const { id } = emulator.fleet.add({ name, project, zone, machineType: 'ct6e-standard-4t', group });
          const annotations = { 'container.googleapis.com/instance_id': id };
          await admin.patch<Node>(`/api/v1/nodes/${name}`, { metadata: { annotations } });
        }
        return names;
      },
    },
    tick,
    async stop() {
      clearInterval(timer);
      await Promise.allSettled(work.values());
    },
  };
}

function toMachine({ id, name, status, createdAt, group }: Instance): Machine {
  return { id, name, status, createdAt, pool: group.pool };
}
