import { readFileSync, writeFileSync } from 'node:fs';
import { createSecureServer } from 'node:http2';
import type { Http2SecureServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { expect } from 'chai';
import { createSystemClock, Deadline } from '../../src/clock.ts';
import { readConfig } from '../../src/config.ts';
import { createConnect } from '../../src/gke/cluster.ts';
import { listPool } from '../../src/gke/nodes.ts';
import { createCertificateAuthority } from '../control-plane/certificates.ts';
import type { EmulatedCluster } from '../emulator/cluster.ts';
import { Emulator } from '../emulator/emulator.ts';
import { createDemoWorld } from '../emulator/scenario.ts';
import { serveEmulator } from '../emulator/server.ts';
import type { EmulatorServer } from '../emulator/server.ts';
import { setEnvironment } from '../fixtures/environment.ts';
import { refusalOf } from '../fixtures/refusal-of.ts';

interface Kubeconfig {
  'current-context': string;
  clusters: { cluster: Record<string, unknown> }[];
  users: { user: Record<string, unknown> }[];
}

describe('a context of a kubeconfig', () => {
  let restoreEnvironment: () => void;
  let emulator: Emulator;
  let cluster: EmulatedCluster;
  let google: EmulatorServer;
  let path: string;
  let kubeconfig: Kubeconfig;
  let other: Http2SecureServer | undefined;

  beforeEach(async () => {
    emulator = new Emulator();
    cluster = createDemoWorld(emulator);
    google = await serveEmulator(emulator);
    path = await google.kubeconfig(cluster);
    restoreEnvironment = setEnvironment({ KUBECONFIG: path });
    kubeconfig = JSON.parse(readFileSync(path, 'utf8')) as Kubeconfig;
  });

  afterEach(async () => {
    restoreEnvironment();
    await google.close();
    other?.close();
    other = undefined;
  });

  for (const { name, ofCluster = {}, ofUser = {}, says } of [
    {
      name: 'insecure-skip-tls-verify',
      ofCluster: { 'insecure-skip-tls-verify': true },
      says: 'has insecure-skip-tls-verify, which this function does not support',
    },
    {
      name: 'proxy-url',
      ofCluster: { 'proxy-url': 'http://127.0.0.1:1' },
      says: 'has proxy-url, which this function does not support',
    },
    {
      name: 'a user that acts as another',
      ofUser: { as: 'somebody' },
      says: 'has as, which this function does not support',
    },
    {
      name: 'a password',
      ofUser: { username: 'u', password: 'correct horse' },
      says: 'has username, which this function does not support',
    },
    {
      name: 'the address of kubectl proxy',
      ofCluster: { server: 'http://127.0.0.1:8001' },
      says: 'has the server http://127.0.0.1:8001, which is not https; name the context that kubectl proxy itself uses',
    },
    {
      name: 'a certificate that is not there',
      ofCluster: { 'certificate-authority-data': undefined, 'certificate-authority': '/nowhere/ca.crt' },
      says: 'gives no credentials, or names a file that is not there; the log has the cause',
    },
    {
      name: 'a plugin that fails',
      ofUser: {
        token: undefined,
        exec: { apiVersion: 'client.authentication.k8s.io/v1', command: '/nowhere/plugin' },
      },
      says: 'gives no credentials, or names a file that is not there; the log has the cause',
    },
  ]) {
    // F-128: fields of the kubeconfig were dropped, and the connection was another one than kubectl's.
    it(`is refused for ${name}, by name, before anything is asked`, async () => {
      for (const entry of kubeconfig.clusters) Object.assign(entry.cluster, ofCluster);
      for (const entry of kubeconfig.users) Object.assign(entry.user, ofUser);
      writeFileSync(path, JSON.stringify(kubeconfig));
      const refusal = await refusalOf(useCluster());
      expect(refusal).to.include({
        code: 'upstream_failed',
        message: `the kubeconfig's context demo ${says} (KUBECONFIG_CONTEXT)`,
      });
      expect(refusal.message).not.to.include('correct horse');
      expect(emulator.requests).to.deep.equal([]);
    });
  }

  it('is refused where the file is broken', async () => {
    writeFileSync(path, '{"clusters": [{"name": "x"}]');
    expect(await refusalOf(useCluster())).to.include({
      code: 'upstream_failed',
      message: "the kubeconfig's context demo cannot be read; the log has the cause (KUBECONFIG_CONTEXT)",
    });
  });

  it('may name the server in its certificate, and that name must be right', async () => {
    const authority = createCertificateAuthority('private');
    const { certificate, key } = authority.issue({ commonName: 'kube' }, ['kube.internal']);
    const server = createSecureServer({ cert: certificate, key });
    other = server;
    server.on('request', (request, response) => {
      const { method, url, headers } = request;
      const { authorization = '', accept = '' } = headers;
      const answer = cluster.handle({ method, path: url, headers: { authorization, accept }, body: '' });
      response.writeHead(answer.status, answer.headers);
      response.end(answer.body);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const use = async (name: string | undefined) => {
      for (const entry of kubeconfig.clusters) {
        entry.cluster['server'] = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
        entry.cluster['certificate-authority-data'] = Buffer.from(authority.certificate).toString('base64');
        entry.cluster['tls-server-name'] = name;
      }
      writeFileSync(path, JSON.stringify(kubeconfig));
      return useCluster();
    };
    await use('kube.internal');
    for (const name of [undefined, 'other.internal']) {
      const { message } = await refusalOf(use(name));
      // There is no Container API in play.
      expect(message).to.include('its certificate is not the one that the kubeconfig announced');
    }
  });

  async function useCluster(): Promise<void> {
    const config = readConfig({
      CLUSTERS: cluster.name,
      KUBECONFIG_CONTEXT: kubeconfig['current-context'],
    });
    const clock = createSystemClock();
    const [name] = config.clusters;
    if (!name) throw new Error('no cluster is configured');
    const connection = await createConnect(config, clock)(name, new Deadline(clock, 60_000));
    try {
      expect(await listPool(connection.kubernetes, 'slice-a')).to.have.length(16);
    } finally {
      connection.close();
    }
  }
});
