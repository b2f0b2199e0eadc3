import { readFileSync, writeFileSync } from 'node:fs';
import { createSecureServer } from 'node:http2';
import type { Http2SecureServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { expect } from 'chai';
import { Deadline } from '../../src/clock.ts';
import { createConnect } from '../../src/gke/cluster.ts';
import type { Connect } from '../../src/gke/cluster.ts';
import { readConfig } from '../../src/config.ts';
import type { Config } from '../../src/config.ts';
import { listPool } from '../../src/gke/nodes.ts';
import { createCertificateAuthority } from '../control-plane/certificates.ts';
import type { EmulatedCluster } from '../emulator/cluster.ts';
import { Emulator } from '../emulator/emulator.ts';
import { createDemoWorld } from '../emulator/scenario.ts';
import { serveEmulator } from '../emulator/server.ts';
import type { EmulatorServer } from '../emulator/server.ts';
import { setEnvironment } from '../fixtures/environment.ts';

describe('createConnect', () => {
  let restoreEnvironment: () => void;
  let emulator: Emulator;
  let cluster: EmulatedCluster;
  let server: EmulatorServer;
  let frontEnds: FrontEnd[];
  let now: number;
  let connect: Connect;
  let config: Config;

  beforeEach(async () => {
    emulator = new Emulator();
    cluster = createDemoWorld(emulator);
    server = await serveEmulator(emulator);
    restoreEnvironment = setEnvironment(server.environment);
    config = readConfig({ ...server.environment, CLUSTERS: cluster.name });
    now = Date.now();
    connect = createConnect(config, clock());
    frontEnds = [];
  });

  afterEach(async () => {
    for (const frontEnd of frontEnds) await frontEnd.close();
    await server.close();
    restoreEnvironment();
  });

  it('asks for the endpoint and the token once while an instance is warm', async () => {
    await useCluster();
    await useCluster();
    expect(asked('container')).to.equal(1);
    expect(asked('metadata')).to.equal(1);
  });

  it('asks for the endpoint again after five minutes', async () => {
    await useCluster();
    now += 5 * 60_000 - 1;
    await useCluster();
    expect(asked('container')).to.equal(1);
    now += 1;
    await useCluster();
    expect(asked('container')).to.equal(2);
  });

  it('reaches a cluster that has moved, in the first action after the move', async () => {
    const before = await listen('before');
    announce(before);
    await useCluster();
    await before.close();
    announce(await listen('after'));
    await useCluster();
    expect(asked('container')).to.equal(2);
  });

  it('trusts a new CA, in the first action after the change', async () => {
    const before = await listen('before');
    announce(before);
    await useCluster();
    await before.close();
    announce(await listen('after', before.port));
    await useCluster();
    expect(asked('container')).to.equal(2);
  });

  it('does not trust another server at the cached address', async () => {
    const before = await listen('before');
    announce(before);
    await useCluster();
    await before.close();
    const impostor = await listen('impostor', before.port);
    const failure = await useCluster().catch((error: unknown) => error);
    expect(failure)
      .to.have.property('message')
      .that.includes('its certificate is not the one that the Container API announced');
    expect(impostor.requests).to.equal(0);
  });

  it('forgets the endpoint when a connection breaks during an action', async () => {
    const connection = await connect(only(), new Deadline(clock(), 60_000));
    emulator.faults.add({ api: 'kubernetes', effect: 'reset_before' });
    expect(await listPool(connection.kubernetes, 'slice-a')).to.have.length(16);
    connection.close();
    await useCluster();
    expect(asked('container')).to.equal(2);
  });

  it('names the metadata server when it gives no token, not the API that needed the token', async () => {
    for (const status of [403, 404]) {
      const lift = emulator.faults.add({ api: 'metadata', times: Infinity, effect: { status } });
      const failure = await createConnect({ ...config }, clock())(
        only(),
        new Deadline(clock(), 60_000),
      ).catch(String);
      lift();
      expect(failure).to.match(new RegExp(`the metadata server answered ${status} .*GET token`));
    }
  });

  it('caches nothing of a cluster that cannot be reached as configured', async () => {
    connect = createConnect({ ...config, gkeEndpoint: 'dns' }, clock());
    const failures = [await useCluster().catch(String), await useCluster().catch(String)];
    expect(failures[0]).to.include('no DNS endpoint that allows external traffic');
    expect(failures[1]).to.equal(failures[0]);
    expect(asked('container')).to.equal(2);
  });

  describe('by a context of a kubeconfig', () => {
    let kubeconfig: string;
    let restoreKubeconfig: () => void;
    let settings: { 'current-context': string; clusters: { cluster: Record<string, string> }[] };

    beforeEach(async () => {
      kubeconfig = await server.kubeconfig(cluster);
      restoreKubeconfig = setEnvironment({ KUBECONFIG: kubeconfig });
      settings = JSON.parse(readFileSync(kubeconfig, 'utf8')) as typeof settings;
    });

    afterEach(() => restoreKubeconfig());

    it('reaches the cluster, and asks nothing of Google', async () => {
      useContext(settings['current-context']);
      await useCluster();
      expect(new Set(emulator.requests.map(({ api }) => api))).to.deep.equal(new Set(['kubernetes']));
    });

    it('trusts a CA certificate in a file beside the kubeconfig', async () => {
      for (const { cluster: entry } of settings.clusters) {
        writeFileSync(
          join(dirname(kubeconfig), 'ca.crt'),
          entry['certificate-authority-data'] ?? '',
          'base64',
        );
        delete entry['certificate-authority-data'];
        entry['certificate-authority'] = 'ca.crt';
      }
      writeFileSync(kubeconfig, JSON.stringify(settings));
      useContext(settings['current-context']);
      await useCluster();
    });

    it('names the contexts that exist when the context does not', async () => {
      useContext('kind-kind');
      const failure = await useCluster().catch((error: unknown) => error);
      expect(failure).to.include({ code: 'target_not_found' });
      expect(String(failure)).to.match(
        /the kubeconfig has no context kind-kind .*\(KUBECONFIG_CONTEXT\); its contexts: demo$/,
      );
    });

    function useContext(kubeconfigContext: string): void {
      connect = createConnect({ ...config, kubeconfigContext }, clock());
    }
  });

  /** What one action does: connect, and read. */
  async function useCluster(): Promise<void> {
    const connection = await connect(only(), new Deadline(clock(), 60_000));
    try {
      expect(await listPool(connection.kubernetes, 'slice-a')).to.have.length(16);
    } finally {
      connection.close();
    }
  }

  function only() {
    const [name] = config.clusters;
    if (!name) throw new Error('no cluster is configured');
    return name;
  }

  function clock() {
    return { now: () => now, sleep: async () => undefined };
  }

  function asked(api: 'container' | 'metadata'): number {
    return emulator.requests.filter((request) => request.api === api).length;
  }

  /** The Container API says from now on that the cluster is there. */
  function announce({ port, ca }: FrontEnd): void {
    Object.assign(cluster.endpoints, { ip: `127.0.0.1:${port}`, ca });
  }

  /** Serves the cluster's API with a certificate from a CA of its own. */
  async function listen(name: string, port = 0): Promise<FrontEnd> {
    const frontEnd = await serveCluster(cluster, name, port);
    frontEnds.push(frontEnd);
    return frontEnd;
  }
});

interface FrontEnd {
  port: number;
  ca: string;
  requests: number;
  close(): Promise<void>;
}

async function serveCluster(cluster: EmulatedCluster, name: string, port: number): Promise<FrontEnd> {
  const authority = createCertificateAuthority(name);
  const { certificate, key } = authority.issue({ commonName: 'localhost' }, ['localhost', '127.0.0.1']);
  const server: Http2SecureServer = createSecureServer({ cert: certificate, key });
  const frontEnd = {
    port,
    ca: authority.certificate,
    requests: 0,
    close: () => new Promise<void>((resolve) => server.close(() => resolve())),
  };
  server.on('request', (request, response) => {
    frontEnd.requests++;
    const { method, url, headers } = request;
    const { authorization = '', accept = '' } = headers;
    const answer = cluster.handle({ method, path: url, headers: { authorization, accept }, body: '' });
    response.writeHead(answer.status, answer.headers);
    response.end(answer.body);
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  frontEnd.port = (server.address() as AddressInfo).port;
  return frontEnd;
}
