import { Emulator } from '../emulator/emulator.ts';
import type { EmulatedCluster } from '../emulator/cluster.ts';
import { serveEmulator } from '../emulator/server.ts';
import { describeConformance } from './conformance.ts';
import { createKubernetesClient } from './kubernetes-client.ts';
import { createWorld, toTopology } from './world.ts';
import type { Machines } from './world.ts';

const stranger = 'stranger@example.com';

describeConformance('the emulator', async () => {
  let now = Date.now();
  const emulator = new Emulator({ now: () => now });
  const cluster = emulator.addCluster({ name: 'projects/test-project/locations/us-central1/clusters/test' });
  cluster.deny({ user: stranger });
  const server = await serveEmulator(emulator);
  const { ip, ca } = cluster.endpoints;
  const url = `https://${ip}`;
  const client = createKubernetesClient({ url, ca, token: emulator.tokens.tokenFor('admin@example.com') });
  // Its controllers take no time and its clock stands still, so a second passes each time a test waits.
  const advance = (): void => {
    now += 1000;
    emulator.settle();
  };
  return {
    url,
    ca,
    client,
    createWorld: () => createWorld(client, createEmulatedMachines(cluster, advance), advance),
    can: { beAnyone: true, runJobSets: true },
    strangersToken: { user: stranger, token: emulator.tokens.tokenFor(stranger) },
    advance,
    async stop() {
      await client.close();
      await server.close();
    },
  };
});

function createEmulatedMachines(cluster: EmulatedCluster, advance: () => void): Machines {
  return {
    add(pool, { nodes = 16 }) {
      const names = cluster.addTpuSlice(pool, { topology: toTopology(nodes) });
      advance();
      return Promise.resolve(names);
    },
    kill(name, notReadyForSeconds) {
      cluster.killNode(name);
      cluster.change('nodes', undefined, name, ({ status: { conditions } }) => {
        const ready = conditions.find(({ type }) => type === 'Ready');
        if (ready?.lastTransitionTime) {
          ready.lastTransitionTime = new Date(
            Date.parse(ready.lastTransitionTime) - notReadyForSeconds * 1000,
          )
            .toISOString()
            .replace(/\.\d+/, '');
        }
      });
      return Promise.resolve();
    },
    revive(name) {
      cluster.reviveNode(name);
      advance();
      return Promise.resolve();
    },
    replace(name, newNode) {
      cluster.replaceInstance(name, newNode ? 'reregistered' : 'survives');
      advance();
      return Promise.resolve();
    },
  };
}
