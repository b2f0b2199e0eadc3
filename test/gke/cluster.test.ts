import { createServer } from 'node:http';
import type { Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect } from 'chai';
import { useFakeTimers } from 'sinon';
import { createSystemClock, Deadline } from '../../src/clock.ts';
import type { Clock } from '../../src/clock.ts';
import { createConnect, toEndpoint } from '../../src/gke/cluster.ts';
import { readConfig } from '../../src/config.ts';
import type { Config } from '../../src/config.ts';
import { UpstreamError } from '../../src/errors.ts';
import { setEnvironment } from '../fixtures/environment.ts';

type Cluster = Parameters<typeof toEndpoint>[0];

const name = {
  fullName: 'projects/ml-prod/locations/us-central1/clusters/train',
  projectId: 'ml-prod',
  location: 'us-central1',
  name: 'train',
};
const pem = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n';
const masterAuth = { clusterCaCertificate: Buffer.from(pem).toString('base64') };
const dnsName = 'gke-3f2a9c1d-123456789.us-central1.gke.goog';

/** As the Container API describes a cluster of today: both kinds of endpoint. */
const both: Cluster = {
  endpoint: '34.1.2.3',
  masterAuth,
  controlPlaneEndpointsConfig: {
    dnsEndpointConfig: { endpoint: dnsName, allowExternalTraffic: true },
    ipEndpointsConfig: {
      enabled: true,
      enablePublicEndpoint: true,
      publicEndpoint: '34.1.2.3',
      privateEndpoint: '10.0.0.2',
    },
  },
  privateClusterConfig: { privateEndpoint: '10.0.0.2', publicEndpoint: '34.1.2.3' },
};
/** The DNS endpoint's name is set always, also where it lets nothing in. */
const closedDns = withEndpoints({ dnsEndpointConfig: { endpoint: dnsName, allowExternalTraffic: false } });
const onlyDns = withEndpoints({ ipEndpointsConfig: { enabled: false } });
/** As it was before there were DNS endpoints. */
const old: Cluster = {
  endpoint: '34.1.2.3',
  masterAuth,
  privateClusterConfig: { privateEndpoint: '172.16.0.2' },
};

describe('createConnect', () => {
  /** Stands in for the metadata server and the Container API. */
  let server: Server;
  let respond: Record<'token' | 'cluster', (response: ServerResponse, url: URL) => void>;
  let restoreEnvironment: () => void;

  const giveToken = (response: ServerResponse) =>
    response
      .writeHead(200, { 'Metadata-Flavor': 'Google', 'Content-Type': 'application/json' })
      .end('{"access_token":"ya29.secret","expires_in":3600,"token_type":"Bearer"}');

  before(async () => {
    server = createServer((request, response) => {
      const url = new URL(request.url ?? '', 'http://localhost');
      if (url.pathname.includes('/clusters/')) respond.cluster(response, url);
      else if (url.pathname.endsWith('/token')) respond.token(response, url);
      else response.writeHead(200, { 'Metadata-Flavor': 'Google' }).end('default');
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    // Where Google's library finds credentials: nowhere but here, also on a developer's machine.
    const own = {
      GCE_METADATA_HOST: `127.0.0.1:${(server.address() as AddressInfo).port}`,
      METADATA_SERVER_DETECTION: 'assume-present',
      GOOGLE_APPLICATION_CREDENTIALS: undefined,
      HOME: '/nonexistent',
    };
    restoreEnvironment = setEnvironment(own);
  });

  after(async () => {
    restoreEnvironment();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  for (const { name: what, token, api } of [
    { name: 'a token', token: () => undefined, api: 'metadata server' },
    { name: 'a cluster', token: giveToken, api: 'Container API' },
  ]) {
    it(`stops waiting for ${what} that hangs when the instance shuts down`, async () => {
      const asked = Promise.withResolvers<void>();
      respond = {
        token: (response) => {
          token(response);
          if (token !== giveToken) asked.resolve();
        },
        cluster: () => asked.resolve(),
      };
      const clock = createSystemClock();
      const deadline = new Deadline(clock, 240_000);
      // No other time-out can be what ends it.
      const timers = useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
      try {
        const connecting = rejectionOf(connect(clock)(name, deadline));
        await asked.promise;
        deadline.shorten(10);
        await timers.tickAsync(10);
        expect(await connecting).to.include({
          code: 'upstream_timeout',
          message: `the ${api} did not answer in time (GET ${api === 'Container API' ? name.fullName : 'token'})`,
        });
      } finally {
        timers.restore();
      }
    });
  }

  // Without userinfo.email the API server would not know the service account by its e-mail, and RBAC would not fit.
  it('asks for a token of both scopes, once for all connections of an instance', async () => {
    const scopes: (string | null)[] = [];
    respond = {
      token(response, url) {
        scopes.push(url.searchParams.get('scopes'));
        giveToken(response);
      },
      cluster: (response) => response.writeHead(404).end('{}'),
    };
    const clock = createSystemClock();
    const connectTo = connect(clock);
    for (let index = 0; index < 2; index++) {
      expect(await rejectionOf(connectTo(name, new Deadline(clock, 240_000)))).to.include({
        code: 'target_not_found',
      });
    }
    expect(scopes).to.deep.equal([
      'https://www.googleapis.com/auth/cloud-platform,https://www.googleapis.com/auth/userinfo.email',
    ]);
  });

  it('refuses a cluster that does not exist, and asks once', async () => {
    let count = 0;
    respond = {
      token: giveToken,
      cluster(response) {
        count++;
        response.writeHead(404).end('{"error":{"code":404,"message":"x","status":"NOT_FOUND"}}');
      },
    };
    const clock = createSystemClock();
    expect(await rejectionOf(connect(clock)(name, new Deadline(clock, 240_000)))).to.include({
      code: 'target_not_found',
      message: `there is no cluster ${name.fullName}`,
    });
    expect(count).to.equal(1);
  });

  it('says which permission is missing, and asks once', async () => {
    let count = 0;
    respond = {
      token: giveToken,
      cluster(response) {
        count++;
        response.writeHead(403).end('{"error":{"code":403,"message":"x","status":"PERMISSION_DENIED"}}');
      },
    };
    const clock = createSystemClock();
    expect(await rejectionOf(connect(clock)(name, new Deadline(clock, 240_000)))).to.include({
      code: 'upstream_failed',
      message:
        `the Container API answered 403 PERMISSION_DENIED (GET ${name.fullName}): ` +
        'grant container.clusters.get (gcp-role.yaml)',
    });
    expect(count).to.equal(1);
  });

  function connect(clock: Clock) {
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    const environment = { CLUSTERS: name.fullName, CLOUDSDK_API_ENDPOINT_OVERRIDES_CONTAINER: url };
    return createConnect(readConfig(environment), clock);
  }
});

describe('toEndpoint', () => {
  const overDns = { server: `https://${dnsName}`, tls: {} };
  const publicIp = { server: 'https://34.1.2.3', tls: { ca: pem } };
  const privateIp = { server: 'https://10.0.0.2', tls: { ca: pem } };

  const found: { what: string; cluster: Cluster; wanted: Config['gkeEndpoint']; endpoint: object }[] = [
    // A publicly trusted certificate is served there: the cluster's own CA would break TLS.
    { what: 'the DNS endpoint, without the CA', cluster: both, wanted: 'auto', endpoint: overDns },
    { what: 'the DNS endpoint', cluster: both, wanted: 'dns', endpoint: overDns },
    { what: 'the public IP with the CA', cluster: both, wanted: 'public', endpoint: publicIp },
    { what: 'the private IP with the CA', cluster: both, wanted: 'private', endpoint: privateIp },
    {
      what: 'the public IP where DNS lets nothing in',
      cluster: closedDns,
      wanted: 'auto',
      endpoint: publicIp,
    },
    { what: 'the DNS endpoint where IP is off', cluster: onlyDns, wanted: 'auto', endpoint: overDns },
    { what: 'the public IP of an old cluster', cluster: old, wanted: 'auto', endpoint: publicIp },
    {
      what: 'the private IP of an old cluster',
      cluster: old,
      wanted: 'private',
      endpoint: { server: 'https://172.16.0.2', tls: { ca: pem } },
    },
    {
      what: 'an endpoint that is a DNS name itself, without the CA',
      cluster: { ...old, endpoint: dnsName },
      wanted: 'auto',
      endpoint: overDns,
    },
    {
      what: 'an IP where ipEndpointsConfig does not say whether it is on',
      cluster: withEndpoints({ dnsEndpointConfig: null, ipEndpointsConfig: {} }),
      wanted: 'auto',
      endpoint: publicIp,
    },
    {
      what: 'an address with a port',
      cluster: { endpoint: '127.0.0.1:8443', masterAuth },
      wanted: 'auto',
      endpoint: { server: 'https://127.0.0.1:8443', tls: { ca: pem } },
    },
  ];
  for (const { what, cluster, wanted, endpoint } of found) {
    it(`finds ${what} (${wanted})`, () => {
      expect(toEndpoint(cluster, name, wanted)).to.deep.equal(endpoint);
    });
  }

  const missing: { what: string; cluster: Cluster; wanted: Config['gkeEndpoint']; lacks: string }[] = [
    {
      what: 'a DNS endpoint that lets nothing in',
      cluster: closedDns,
      wanted: 'dns',
      lacks:
        'DNS endpoint that allows external traffic (gcloud container clusters update --enable-dns-access)',
    },
    {
      what: 'a DNS endpoint that does not say whether it lets anything in',
      cluster: withEndpoints({ dnsEndpointConfig: { endpoint: dnsName } }),
      wanted: 'dns',
      lacks:
        'DNS endpoint that allows external traffic (gcloud container clusters update --enable-dns-access)',
    },
    ...(['public', 'private'] as const).map((wanted) => ({
      what: `a ${wanted} IP where IP is off`,
      cluster: onlyDns,
      wanted,
      lacks:
        'IP endpoint; allow external traffic to its DNS endpoint (gcloud container clusters update --enable-dns-access)',
    })),
    {
      what: 'any endpoint where both kinds are off',
      cluster: withEndpoints({
        dnsEndpointConfig: { endpoint: dnsName, allowExternalTraffic: false },
        ipEndpointsConfig: { enabled: false },
      }),
      wanted: 'auto',
      lacks:
        'IP endpoint; allow external traffic to its DNS endpoint (gcloud container clusters update --enable-dns-access)',
    },
    {
      what: 'a private IP that the cluster has not',
      cluster: { endpoint: '34.1.2.3', masterAuth },
      wanted: 'private',
      lacks: 'private IP endpoint',
    },
    {
      what: 'an endpoint of a cluster in the making',
      cluster: {},
      wanted: 'auto',
      lacks: 'public IP endpoint',
    },
    // Without it the system's roots would be trusted for an address that nobody vouches for.
    {
      what: 'an IP without a CA',
      cluster: { endpoint: '34.1.2.3' },
      wanted: 'auto',
      lacks: 'CA certificate',
    },
  ];
  for (const { what, cluster, wanted, lacks } of missing) {
    it(`refuses ${what} (${wanted}), and says what is missing`, () => {
      const error = failureOf(() => toEndpoint(cluster, name, wanted));
      expect(error).to.be.instanceOf(UpstreamError);
      expect(error).to.include({
        code: 'upstream_failed',
        isRetryable: false,
        message: `the Container API answered 200 (GET ${name.fullName}): the cluster has no ${lacks}`,
      });
    });
  }
});

function withEndpoints(changes: Cluster['controlPlaneEndpointsConfig']): Cluster {
  return { ...both, controlPlaneEndpointsConfig: { ...both.controlPlaneEndpointsConfig, ...changes } };
}

async function rejectionOf(work: Promise<unknown>): Promise<unknown> {
  try {
    await work;
  } catch (error) {
    return error;
  }
  throw new Error('nothing failed');
}

function failureOf(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  throw new Error('nothing failed');
}
