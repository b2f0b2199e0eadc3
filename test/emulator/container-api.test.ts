import { expect } from 'chai';
import type { ClusterSpec } from './cluster-description.ts';
import { Emulator } from './emulator.ts';
import { toRequest } from './test-world.ts';

const clusterPath = 'projects/p/locations/us-central1/clusters/c';
const fields =
  'name,status,endpoint,masterAuth/clusterCaCertificate,controlPlaneEndpointsConfig,privateClusterConfig';

describe('answerContainer', () => {
  it('returns the endpoint of a cluster and its CA', () => {
    const emulator = new Emulator();
    const cluster = emulator.addCluster({ name: clusterPath });
    Object.assign(cluster.endpoints, { ip: '127.0.0.1:6443', dns: 'localhost:6444', ca: 'PEM' });
    expect(get(emulator, `/v1/${clusterPath}?fields=${encodeURIComponent(fields)}`)).to.deep.equal({
      name: 'c',
      status: 'RUNNING',
      endpoint: '127.0.0.1:6443',
      masterAuth: { clusterCaCertificate: Buffer.from('PEM').toString('base64') },
      controlPlaneEndpointsConfig: {
        dnsEndpointConfig: { endpoint: 'localhost:6444' },
        ipEndpointsConfig: { enabled: true, enablePublicEndpoint: true, publicEndpoint: '127.0.0.1:6443' },
      },
      privateClusterConfig: { publicEndpoint: '127.0.0.1:6443' },
    });
  });

  const shapes: { title: string; spec: Partial<ClusterSpec>; expected: object }[] = [
    {
      title: 'a DNS endpoint that takes connections from outside',
      spec: { allowsExternalDns: true },
      expected: {
        endpoint: 'IP',
        dnsEndpointConfig: { endpoint: 'DNS', allowExternalTraffic: true },
        ipEndpointsConfig: { enabled: true, enablePublicEndpoint: true, publicEndpoint: 'IP' },
      },
    },
    {
      title: 'no IP endpoints',
      spec: { allowsExternalDns: true, hasIpEndpoints: false },
      expected: {
        endpoint: 'DNS',
        dnsEndpointConfig: { endpoint: 'DNS', allowExternalTraffic: true },
        ipEndpointsConfig: { enabled: false },
      },
    },
    {
      title: 'a private endpoint only',
      spec: { isPrivate: true },
      expected: {
        endpoint: 'IP',
        dnsEndpointConfig: { endpoint: 'DNS' },
        ipEndpointsConfig: { enabled: true, enablePublicEndpoint: false, privateEndpoint: 'IP' },
      },
    },
  ];
  for (const { title, spec, expected } of shapes) {
    it(`describes ${title}`, () => {
      const emulator = new Emulator();
      const cluster = emulator.addCluster({ name: clusterPath, ...spec });
      Object.assign(cluster.endpoints, { ip: 'IP', dns: 'DNS' });
      const { endpoint, controlPlaneEndpointsConfig } = get(emulator, `/v1/${clusterPath}`);
      expect({ endpoint, ...(controlPlaneEndpointsConfig as object) }).to.deep.equal(expected);
    });
  }

  it("returns later changes: the cluster's state, and Autopilot", () => {
    const emulator = new Emulator();
    const cluster = emulator.addCluster({ name: clusterPath, isAutopilot: true });
    cluster.spec.status = 'STOPPING';
    expect(get(emulator, `/v1/${clusterPath}`)).to.deep.include({
      status: 'STOPPING',
      autopilot: { enabled: true },
    });
  });

  it('accepts a field mask as a header, and returns enums as numbers on request', () => {
    const emulator = new Emulator();
    emulator.addCluster({ name: clusterPath });
    const headers = {
      'x-goog-fieldmask': 'name,status,controlPlaneEndpointsConfig.ipEndpointsConfig.enabled',
    };
    expect(get(emulator, `/v1/${clusterPath}?%24alt=json%3Benum-encoding=int`, headers)).to.deep.equal({
      name: 'c',
      status: 2,
      controlPlaneEndpointsConfig: { ipEndpointsConfig: { enabled: true } },
    });
  });

  it('lists the clusters of a project in all locations or one', () => {
    const emulator = new Emulator();
    for (const name of [
      'p/locations/l1/clusters/a',
      'p/locations/l2/clusters/b',
      'q/locations/l1/clusters/c',
    ]) {
      emulator.addCluster({ name: `projects/${name}` });
    }
    const names = (path: string) =>
      (get(emulator, path)['clusters'] as { name: string }[] | undefined)?.map(({ name }) => name);
    expect(names('/v1/projects/p/locations/-/clusters')).to.deep.equal(['a', 'b']);
    expect(names('/v1/projects/p/locations/l2/clusters')).to.deep.equal(['b']);
    expect(names('/v1/projects/none/locations/-/clusters')).to.equal(undefined);
  });

  it('returns node pools', () => {
    const emulator = new Emulator();
    const cluster = emulator.addCluster({ name: clusterPath });
    cluster.addTpuSlice('slice-a');
    cluster.addPool('cpu', { nodes: 3 });
    const pools = get(emulator, `/v1/${clusterPath}/nodePools?fields=nodePools(name,initialNodeCount)`);
    expect(pools).to.deep.equal({
      nodePools: [
        { name: 'slice-a', initialNodeCount: 16 },
        { name: 'cpu', initialNodeCount: 3 },
      ],
    });
    expect(get(emulator, `/v1/${clusterPath}/nodePools/cpu`)).to.include({ name: 'cpu', status: 'RUNNING' });
  });

  it('returns 404 for an unknown cluster, and 401 without a token', () => {
    const emulator = new Emulator();
    emulator.addCluster({ name: clusterPath });
    const status = (path: string, headers = {}) =>
      emulator.handleContainer(toRequest(emulator, 'GET', path, undefined, headers)).status;
    expect(status(`/v1/${clusterPath}x`)).to.equal(404);
    expect(status(`/v1/${clusterPath}/nodePools/none`)).to.equal(404);
    expect(status('/v1/projects/p/locations/us-east1/clusters/c')).to.equal(404);
    expect(status('/v1/nothing')).to.equal(404);
    expect(status(`/v1/${clusterPath}`, { authorization: 'Bearer unknown' })).to.equal(401);
  });
});

function get(
  emulator: Emulator,
  path: string,
  headers: Record<string, string> = {},
): Record<string, unknown> {
  const response = emulator.handleContainer(toRequest(emulator, 'GET', path, undefined, headers));
  expect(response.status, response.body).to.equal(200);
  return JSON.parse(response.body) as Record<string, unknown>;
}
