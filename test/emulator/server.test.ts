import { expect } from 'chai';
import { readFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { GoogleAuth } from 'google-auth-library';
import { Agent, fetch } from 'undici';
import { setEnvironment } from '../fixtures/environment.ts';
import type { EmulatedCluster } from './cluster.ts';
import { Emulator } from './emulator.ts';
import type { FaultEffect } from './faults.ts';
import { createDemoWorld } from './scenario.ts';
import { noTroubles } from './fleet.ts';
import { serveEmulator } from './server.ts';
import type { EmulatorServer } from './server.ts';

describe('serveEmulator', () => {
  let emulator: Emulator;
  let cluster: EmulatedCluster;
  let server: EmulatorServer;
  const agents: Agent[] = [];
  let restoreEnvironment: () => void;

  before(async () => {
    emulator = new Emulator();
    cluster = createDemoWorld(emulator);
    cluster.spec.allowsExternalDns = true;
    server = await serveEmulator(emulator);
    restoreEnvironment = setEnvironment(server.environment);
  });
  afterEach(async () => {
    emulator.faults.clear();
    await Promise.all(agents.splice(0).map((agent) => agent.destroy()));
  });
  after(async () => {
    restoreEnvironment();
    await server.close();
  });

  const createAgent = (ca: string, allowH2: boolean): Agent => {
    const agent = new Agent({ allowH2, connections: 1, connect: { ca } });
    agents.push(agent);
    return agent;
  };
  const getNodes = async (
    agent: Agent,
    host = cluster.endpoints.ip,
    signal: AbortSignal | null = null,
  ): Promise<number> => {
    const headers = { authorization: `Bearer ${emulator.tokens.tokenFor('a@example.com')}` };
    const response = await fetch(`https://${host}/api/v1/nodes?limit=1`, {
      headers,
      dispatcher: agent,
      signal,
    });
    await response.text();
    return response.status;
  };

  for (const allowH2 of [true, false]) {
    it(`serves each cluster with its own CA over HTTP/${allowH2 ? 2 : 1.1}, on one connection if the client keeps it`, async () => {
      const before = server.connections(cluster).ip;
      const agent = createAgent(cluster.endpoints.ca, allowH2);
      for (let count = 0; count < 5; count++) expect(await getNodes(agent)).to.equal(200);
      expect(server.connections(cluster).ip - before).to.equal(1);
    });
  }

  it('serves the DNS endpoint with a certificate of the public CA', async () => {
    const publicCa = await readFile(server.publicCaPath, 'utf8');
    const before = server.connections(cluster).dns;
    expect(await getNodes(createAgent(publicCa, true), cluster.endpoints.dns)).to.equal(200);
    expect(server.connections(cluster).dns - before).to.equal(1);
    const wrong = createAgent(cluster.endpoints.ca, true);
    expect(await codeOf(getNodes(wrong, cluster.endpoints.dns))).to.match(/CERT|SIGNATURE|ISSUER/);
    expect(await codeOf(getNodes(createAgent(publicCa, true)))).to.match(/CERT|SIGNATURE|ISSUER/);
  });

  it("refuses at the DNS endpoint what GKE's front end refuses", async () => {
    const publicCa = await readFile(server.publicCaPath, 'utf8');
    const agent = createAgent(publicCa, true);
    cluster.spec.deniesConnect = true;
    expect(await getNodes(agent, cluster.endpoints.dns)).to.equal(403);
    cluster.spec.deniesConnect = false;
    cluster.spec.allowsExternalDns = false;
    expect(await getNodes(agent, cluster.endpoints.dns)).to.equal(403);
    cluster.spec.allowsExternalDns = true;
    expect(await getNodes(agent, cluster.endpoints.dns)).to.equal(200);
  });

  const broken: { effect: Extract<FaultEffect, string>; code: RegExp }[] = [
    { effect: 'reset_before', code: /^(ECONNRESET|UND_ERR_SOCKET|ERR_HTTP2_STREAM_ERROR)$/ },
    { effect: 'reset_after', code: /^(ECONNRESET|UND_ERR_SOCKET|ERR_HTTP2_STREAM_ERROR)$/ },
    { effect: 'refuse', code: /^(ECONNRESET|UND_ERR_SOCKET|ERR_HTTP2_STREAM_ERROR)$/ },
    { effect: 'hang', code: /given up/ },
  ];
  for (const { effect, code } of broken) {
    for (const allowH2 of [true, false]) {
      it(`breaks a connection: ${effect} over HTTP/${allowH2 ? 2 : 1.1}, and serves the next`, async () => {
        const agent = createAgent(cluster.endpoints.ca, allowH2);
        expect(await getNodes(agent)).to.equal(200);
        emulator.faults.add({ api: 'kubernetes', effect });
        const controller = new AbortController();
        const broken = codeOf(getNodes(agent, cluster.endpoints.ip, controller.signal));
        // Whoever waits for an answer gives up; but only once the request has arrived.
        if (effect === 'hang') {
          while (emulator.faults.pending.length > 0) await delay(5);
          controller.abort(new Error('given up'));
        }
        expect(await broken).to.match(code);
        expect(emulator.faults.pending).to.deep.equal([]);
        expect(await getNodes(agent)).to.equal(200);
      });
    }
  }

  it('survives a client that gives up', async () => {
    emulator.faults.add({ api: 'kubernetes', effect: 'none', delayMs: 30 });
    const headers = { authorization: `Bearer ${emulator.tokens.tokenFor('a@example.com')}` };
    const dispatcher = createAgent(cluster.endpoints.ca, true);
    const abort = new AbortController();
    const request = fetch(`https://${cluster.endpoints.ip}/api/v1/nodes`, {
      headers,
      dispatcher,
      signal: abort.signal,
    });
    await new Promise((resolve) => setImmediate(resolve));
    abort.abort();
    expect(await nameOf(request)).to.equal('AbortError');
    expect(await getNodes(dispatcher)).to.equal(200);
  });

  it("gives Google's client its address and tokens", async () => {
    const auth = new GoogleAuth({
      scopes: [
        'https://www.googleapis.com/auth/cloud-platform',
        'https://www.googleapis.com/auth/userinfo.email',
      ],
    });
    expect(await auth.getProjectId()).to.equal('demo-project');
    const root = server.environment['CLOUDSDK_API_ENDPOINT_OVERRIDES_CONTAINER'] ?? '';
    const { data } = await auth.request<{ endpoint: string }>({
      url: `${root}v1/${cluster.name}?fields=endpoint`,
    });
    expect(data).to.deep.equal({ endpoint: cluster.endpoints.ip });
    const token = emulator.requests.findLast(({ api }) => api === 'metadata');
    expect(token?.query['scopes']).to.contain('userinfo.email');
  });

  it('reconciles by itself if told to, and leaves nothing behind', async () => {
    const other = new Emulator();
    const world = createDemoWorld(other);
    const running = await serveEmulator(other, { reconcileEveryMs: 5 });
    const [node] = world.nodes('slice-a');
    const { name = '', resourceVersion = '' } = node?.metadata ?? {};
    const query = new URLSearchParams({
      watch: 'true',
      resourceVersion,
      fieldSelector: `metadata.name=${name}`,
    });
    const headers = { authorization: `Bearer ${other.tokens.tokenFor('a@example.com')}` };
    const dispatcher = createAgent(world.endpoints.ca, true);
    const url = `https://${world.endpoints.ip}/api/v1/nodes?${query.toString()}`;
    const watch = await fetch(url, { headers, dispatcher });
    world.cordonAs('kubectl', name, true);
    let seen = '';
    for await (const chunk of watch.body ?? []) {
      seen += Buffer.from(chunk as Uint8Array).toString();
      // The controllers' answer to the cordon.
      if (seen.includes('node.kubernetes.io/unschedulable')) break;
    }
    expect(seen.trim().split('\n')).to.have.length(2);
    const kubeconfig = await running.kubeconfig(world);
    expect(existsSync(kubeconfig)).to.equal(true);
    await running.close();
    expect(existsSync(kubeconfig)).to.equal(false);
    expect(await codeOf(getNodes(createAgent(world.endpoints.ca, true), world.endpoints.ip))).to.equal(
      'ECONNREFUSED',
    );
  });

  describe('with switches by HTTP', () => {
    const change = async (method: string, path = ''): Promise<[number, unknown]> => {
      const response = await fetch(`${server.switchesUrl}${path}`, { method });
      return [response.status, await response.json()];
    };
    afterEach(() => change('DELETE', '/all'));

    it('turns each on once and off again, and says which are on', async () => {
      const toOthers = () => cluster.pods('others').length;
      expect(await change('GET')).to.deep.equal([200, { on: [] }]);
      for (const _ of ['first', 'again']) {
        expect(await change('PUT', '/fill-pool/slice-b')).to.deep.equal([200, { on: ['fill-pool/slice-b'] }]);
        expect(toOthers()).to.equal(16);
      }
      await change('PUT', '/fail-deletions/slice-a');
      expect(await change('GET')).to.deep.equal([
        200,
        { on: ['fill-pool/slice-b', 'fail-deletions/slice-a'] },
      ]);
      for (const _ of ['first', 'again']) {
        expect(await change('DELETE', '/fill-pool/slice-b')).to.deep.equal([
          200,
          { on: ['fail-deletions/slice-a'] },
        ]);
        expect(toOthers()).to.equal(0);
      }
    });

    it('turns all of them off', async () => {
      const before = cluster.nodes('slice-b').map(({ spec }) => spec);
      const names = [
        'fill-pool/slice-b',
        'taint-pool/slice-b',
        'fail-image-pulls/train',
        'withhold-machines/slice-b',
        'withhold-accelerators/slice-b',
        'keep-hosts/slice-b',
        'fail-deletions/slice-b',
        'fail-reports/slice-b',
        'ignore-labels/slice-b',
        'keep-reboot-labels/slice-b',
        'upgrade-pool/slice-b',
        'auto-repair/slice-b',
        'hang-auto-repair/slice-b',
        'scale-down/slice-b',
        'delete-pool/slice-b',
        'maintain-host/slice-b',
        'stock-out/slice-b',
      ];
      for (const name of names) await change('PUT', `/${name}`);
      expect(await change('GET')).to.deep.equal([200, { on: names }]);
      const [{ group } = {}] = emulator.fleet.list().filter((each) => each.group.pool === 'slice-b');
      expect(group?.troubles).to.include({
        keepsHosts: Infinity,
        lacksAccelerators: true,
        withheldMachines: 1,
      });
      expect(group?.troubles.deletionError).to.have.property('code');
      expect(await change('DELETE', '/all')).to.deep.equal([200, { on: [] }]);
      expect(group?.troubles).to.deep.equal(noTroubles());
      expect(cluster.work.underWay('slice-b')).to.deep.equal([]);
      expect(cluster.nodes('slice-b').map(({ spec }) => spec)).to.deep.equal(before);
      expect(cluster.pods('others')).to.deep.equal([]);
    });

    for (const [method, path, error] of [
      ['PUT', '/fill-pool/slice-z', 'no nodes in pool slice-z'],
      ['PUT', '/keep-hosts/slice-z', 'no pool slice-z'],
      ['PUT', '/fill-pool', /^no switch fill-pool; /],
      ['PUT', '/fill-pool/slice-b/x', /^no switch fill-pool\/slice-b\/x; /],
      ['PUT', '/constructor/slice-b', /^no switch constructor\/slice-b; /],
      ['POST', '/fill-pool/slice-b', /not POST$/],
    ] as const) {
      it(`says what is wrong with ${method} ${path}, and which switches there are`, async () => {
        const [status, body] = await change(method, path);
        expect(status).to.equal(404);
        expect((body as { error: string }).error).to.match(new RegExp(error));
        expect((body as { switches: string[] }).switches).to.have.length(19);
        expect(await change('GET')).to.deep.equal([200, { on: [] }]);
      });
    }
  });
});

async function codeOf(request: Promise<unknown>): Promise<string> {
  const error = await request.then(
    (value) => new Error(`answered ${String(value)}`),
    (reason: unknown) => reason as Error,
  );
  const { cause } = error as { cause?: { code?: string; message?: string } };
  return cause?.code ?? cause?.message ?? error.message;
}

async function nameOf(request: Promise<unknown>): Promise<string | undefined> {
  return request.then(
    () => undefined,
    (reason: Error) => reason.name,
  );
}
