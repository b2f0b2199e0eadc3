import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { http } from '@google-cloud/functions-framework';
import { getTestServer } from '@google-cloud/functions-framework/testing';
import { createSystemClock } from '../../src/clock.ts';
import { readConfig } from '../../src/config.ts';
import { createHandler } from '../../src/handler.ts';
import { createLog } from '../../src/log.ts';
import { keepRawBodies } from '../../src/request/body.ts';
import type { EmulatedCluster } from '../emulator/cluster.ts';
import { Emulator } from '../emulator/emulator.ts';
import { addSystemNamespace, createDemoWorld, demoCluster } from '../emulator/scenario.ts';
import { createVirtualServices } from '../fixtures/virtual-services.ts';

const leases = '/apis/coordination.k8s.io/v1/namespaces/autometric-failover-system/leases';

let count = 0;

/** The demo's world with the function behind a port, at a time that the test moves on. */
export class ShownWorld {
  readonly emulator: Emulator;
  readonly cluster: EmulatedCluster;
  #server: Server | undefined;
  #ahead = 0;

  /** @param create builds the cluster; the demo's unless given */
  constructor(create: (emulator: Emulator) => EmulatedCluster = createDemoWorld) {
    this.emulator = new Emulator({ now: () => Date.now() + this.#ahead });
    this.cluster = create(this.emulator);
  }

  get url(): string {
    const address = this.#server?.address() as AddressInfo | undefined;
    return `http://127.0.0.1:${address?.port ?? 0}`;
  }

  async open(): Promise<void> {
    const config = readConfig({ CLUSTERS: demoCluster });
    const system = createSystemClock();
    const clock = { ...system, now: () => system.now() + this.#ahead };
    const { emulator } = this;
    const services = createVirtualServices({ config, emulator, clock });
    const handler = createHandler({ services, log: createLog(() => undefined) });
    const name = `shown-world-${count++}`;
    http(name, handler.handle);
    keepRawBodies();
    const server = getTestServer(name);
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  }

  async close(): Promise<void> {
    const server = this.#server;
    server?.closeAllConnections();
    await new Promise((resolve) => server?.close(resolve));
  }

  /** Lets time pass, so much that nothing that was read is remembered, and the controllers with it. */
  pass(seconds: number): void {
    this.#ahead += seconds * 1000;
    this.emulator.settle();
  }

  /** Sends an action, or a reconcile, as the caller that IAM let in. */
  async send(action: object, path = '/actions', caller?: string): Promise<void> {
    const response = await fetch(this.url + path, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', ...(caller === undefined ? {} : identify(caller)) },
      body: JSON.stringify(action),
    });
    const text = await response.text();
    if (response.status >= 500) throw new Error(`${response.status} ${text}`);
    this.emulator.settle();
  }

  reconcile(): Promise<void> {
    return this.send({}, '/reconcile');
  }

  pause(why: string): void {
    const patch = { metadata: { annotations: { 'autometric-failover/paused': why } } };
    const headers = { 'content-type': 'application/merge-patch+json' };
    const { status } = this.cluster.ask('PATCH', `${leases}/cluster`, patch, headers);
    if (status !== 200) throw new Error(`pause: ${status}`);
  }
}

/** The identity token as Cloud Run passes it on. */
function identify(email: string): { Authorization: string } {
  const claims = Buffer.from(JSON.stringify({ email })).toString('base64url');
  return { Authorization: `Bearer e30.${claims}.SIGNATURE_REMOVED_BY_GOOGLE` };
}

/** A cluster of 2,304 nodes in slices of 64 to 512, and one pool of GPUs. */
export function createLargeWorld(emulator: Emulator): EmulatedCluster {
  const cluster = emulator.addCluster({ name: demoCluster });
  addSystemNamespace(cluster);
  cluster.addPool('gpu-a3', { gpu: true, nodes: 512 });
  for (let slice = 0; slice < 5; slice++) cluster.addTpuSlice(`v5p-${slice}`, { nodes: 256 });
  for (let slice = 0; slice < 8; slice++) cluster.addTpuSlice(`v6e-${slice}`, { nodes: 64 });
  emulator.settle();
  return cluster;
}
