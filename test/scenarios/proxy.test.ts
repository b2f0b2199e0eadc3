import { expect } from 'chai';
import { keepMetadataOffProxy } from '../../src/gke/google.ts';
import { startFunction } from '../deploy/deployed-function.ts';
import { Emulator } from '../emulator/emulator.ts';
import { createDemoWorld, demoCluster } from '../emulator/scenario.ts';
import { serveEmulator } from '../emulator/server.ts';
import { findFreePort } from '../fixtures/free-port.ts';

describe('a proxy in the environment', function () {
  // F-129: the token was asked for through the proxy, which cannot reach the metadata server.
  it('is not used for the metadata server', async () => {
    const emulator = new Emulator();
    createDemoWorld(emulator);
    const google = await serveEmulator(emulator);
    const { GCE_METADATA_HOST: metadata = '' } = google.environment;
    const nobody = `http://127.0.0.1:${await findFreePort()}`;
    try {
      const deployed = await startFunction('failover', {
        ...google.environment,
        CLUSTERS: demoCluster,
        NODE_EXTRA_CA_CERTS: google.publicCaPath,
        // The other APIs of the emulator are at 127.0.0.1.
        GCE_METADATA_HOST: metadata.replace('127.0.0.1', 'localhost'),
        HTTPS_PROXY: nobody,
        HTTP_PROXY: nobody,
        NO_PROXY: '127.0.0.1',
        // Another test of this process may have set it.
        GKE_ENDPOINT: 'auto',
        // The proxy is for the function, not for Node.
        NODE_USE_ENV_PROXY: '0',
      });
      try {
        const answer = await fetch(`${deployed.url}/actions`, {
          method: 'POST',
          headers: { 'Content-Type': 'application/json' },
          body: '{"type":"cordon_nodepool","node_pool":"slice-a","requestor":"r","reason":"r","dry_run":true}',
        });
        expect(answer.status, await answer.text()).to.equal(200);
      } finally {
        await deployed.stop();
      }
    } finally {
      await google.close();
    }
  });

  for (const { given, wanted } of [
    { given: {}, wanted: /^169\.254\.169\.254,metadata\.google\.internal,metadata\.google\.internal\.$/ },
    { given: { no_proxy: 'a.example, .b' }, wanted: /^a\.example, \.b,169\.254\.169\.254,/ },
    { given: { NO_PROXY: 'A', no_proxy: 'b' }, wanted: /^A,169\.254\.169\.254,/ },
    { given: { NO_PROXY: '', no_proxy: 'b' }, wanted: /^169\.254\.169\.254,/ },
    { given: { GCE_METADATA_HOST: 'meta.local:8080' }, wanted: /,meta\.local$/ },
    { given: { GCE_METADATA_IP: 'http://10.0.0.7', GCE_METADATA_HOST: 'x' }, wanted: /,10\.0\.0\.7$/ },
  ] as { given: Record<string, string>; wanted: RegExp }[]) {
    it(`leaves what else goes by it as it was: ${JSON.stringify(given)}`, () => {
      const environment = { ...given };
      keepMetadataOffProxy(environment);
      expect(environment['NO_PROXY']).to.match(wanted);
    });
  }
});
