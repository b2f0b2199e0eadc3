import { expect } from 'chai';
import { createServer, connect } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { readFileSync } from 'node:fs';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import type { EmulatedCluster } from '../emulator/cluster.ts';
import { Emulator } from '../emulator/emulator.ts';
import { serveEmulator } from '../emulator/server.ts';
import type { EmulatorServer } from '../emulator/server.ts';
import { countEffects, countWrites } from '../fixtures/count-writes.ts';
import { countCordoned, createTrainWorld, nodeNames, trainCluster } from '../fixtures/train-world.ts';
import type { TrainWorldOptions } from '../fixtures/train-world.ts';
import { serveFunction } from '../fixtures/served-function.ts';
import type { Answer, ServedFunction } from '../fixtures/served-function.ts';
import { withoutHistory } from '../fixtures/without-history.ts';

// The real function over real HTTP, in front of an emulated GKE over real TLS: what the steps' own tests cannot show.

const requestor = { requestor: 'test', reason: 'a test' };
const cordon = { ...requestor, id: 'a', type: 'cordon_nodepool', node_pool: 'slice-a' };
const repair = { ...cordon, type: 'cordon_and_repair_nodepool' };
const restart = { ...cordon, type: 'cordon_nodepool_and_restart_jobset', jobset_name: 'train' };

let emulator: Emulator;
let cluster: EmulatedCluster;
let server: EmulatorServer;
let functions: ServedFunction[] = [];
const cleanUps: (() => void | Promise<void>)[] = [];

async function begin(options: TrainWorldOptions = {}, change?: () => void): Promise<void> {
  emulator = new Emulator();
  cluster = createTrainWorld(emulator, options);
  change?.();
  server = await serveEmulator(emulator);
}

/** One more instance of the function. */
async function serve(settings: Record<string, string> = {}): Promise<ServedFunction> {
  const served = await serveFunction({ CLUSTERS: trainCluster, ...server.environment, ...settings });
  functions.push(served);
  return served;
}

afterEach(async () => {
  for (const each of functions) await each.close();
  for (const cleanUp of cleanUps.splice(0).toReversed()) await cleanUp();
  functions = [];
  await server?.close();
});

describe('the function in front of a cluster', () => {
  // F-7: the same request many times at once is done once and answered equally.
  it('answers the same request a hundred times at once, across instances, and does it once', async () => {
    await begin();
    const instances = [await serve(), await serve(), await serve(), await serve()];
    /** Whoever has waited for ten seconds is told to send it again. */
    const sendUntilDone = async (index: number): Promise<Answer> => {
      const served = instances[index % 4] as ServedFunction;
      const answer = await served.send({ ...repair, reason: `number ${index}` });
      return answer.body.code === 'action_in_progress' ? sendUntilDone(index) : answer;
    };
    const answers = await Promise.all(Array.from({ length: 100 }, (_, index) => sendUntilDone(index)));
    const [first] = answers;
    expect(first?.body.steps).to.have.length(2);
    for (const answer of answers) {
      expect(answer.status).to.equal(200);
      expect(withoutHistory(answer.body)).to.deep.equal(withoutHistory(first?.body));
    }
    expect(countEffects(emulator.writes())).to.deep.equal({ 'PATCH nodes': 4, 'DELETE instances': 1 });
    expect(emulator.fleet.deletions).to.have.length(1);
  });

  // F-9: different ids for the same target at once were admitted twice.
  it('carries out one of many requests with different ids', async () => {
    await begin();
    const instances = [await serve(), await serve(), await serve(), await serve()];
    const send = (index: number) =>
      (instances[index % 4] as ServedFunction).send({ ...repair, id: `id-${index}` });
    const answers = await Promise.all(Array.from({ length: 20 }, (_, index) => send(index)));
    expect(answers.filter(({ status }) => status === 200)).to.have.length(1);
    for (const { status, body, headers } of answers.filter((answer) => answer.status !== 200)) {
      expect(body.code).to.be.oneOf(['rate_limited', 'action_in_progress']);
      expect(status).to.equal(body.code === 'rate_limited' ? 429 : 409);
      expect(Number(headers.get('retry-after'))).to.be.within(30, 3600);
    }
    expect(emulator.fleet.deletions).to.have.length(1);
  });

  // F-62: every failure was a 500, so that callers could not tell retryable from final.
  it('answers each kind of failure with its own status and code', async () => {
    await begin();
    const served = await serve({ ALLOWED_ACTIONS: 'cordon_nodepool,cordon_nodepool_and_restart_jobset' });
    cluster.deny({ verb: 'patch', resource: 'nodes' });
    for (const [body, status, code] of [
      ['{"id": "a"', 400, 'invalid_action'],
      [{ ...cordon, dryRun: true }, 400, 'invalid_action'],
      [repair, 403, 'forbidden'],
      [{ ...restart, namespace: 'kube-system' }, 403, 'forbidden'],
      [{ ...cordon, node_pool: 'typo' }, 404, 'target_not_found'],
      [{ ...cordon, node_name: nodeNames(cluster, 'slice-b')[0] }, 409, 'target_mismatch'],
      [cordon, 502, 'upstream_failed'],
    ] as const) {
      const answer = await served.send(body);
      expect(answer.status).to.equal(status);
      expect(answer.body).to.include({ id: 'a', code });
      expect(answer.body.error).to.be.a('string');
      expect(answer.body).not.to.have.property('steps');
    }
    expect(countCordoned(cluster, 'slice-a')).to.equal(0);
  });

  // F-64: a request that could not be handled crashed the worker.
  it('serves the next request after any invalid one', async () => {
    await begin();
    const served = await serve();
    for (const poison of [
      '',
      'null',
      '[]',
      '"',
      '{"__proto__":{"type":"x"}}',
      '['.repeat(20_000),
      '{"type":{}}',
    ]) {
      expect((await served.send(poison)).status).to.equal(400);
    }
    expect((await served.send(cordon, '/')).status).to.equal(200);
  });

  it('writes nothing but its Event in a dry run of any type, on any API', async () => {
    await begin();
    const served = await serve();
    for (const type of [
      'cordon_nodepool',
      'cordon_and_repair_nodepool',
      'repair_nodepool',
      'uncordon_nodepool',
    ]) {
      expect((await served.send({ ...cordon, id: type, type, dry_run: true })).status).to.equal(200);
    }
    expect((await served.send({ ...restart, dry_run: true })).status).to.equal(200);
    expect(countWrites(emulator.writes())).to.deep.equal({ 'POST events': 5 });
    expect(emulator.requests.filter(({ api }) => api === 'compute')).to.deep.equal([]);
  });

  it('logs each step under the action’s id, and one last line', async () => {
    await begin();
    const served = await serve();
    await served.send(restart);
    const lines = served.lines.filter((line) => line['action_id'] === 'a');
    expect(lines).to.have.length(served.lines.length);
    const told = lines.map(({ event, step }) => [event, step].join(' ').trim());
    for (const step of ['connect', 'claim', 'read', 'cordon', 'restart', 'record']) {
      expect(told).to.include(`step ${step}`);
    }
    expect(told[0]).to.equal('received');
    expect(told.at(-1)).to.equal('done');
    expect(JSON.stringify(lines)).not.to.match(/ya29|Bearer/);
  });

  describe('in front of several clusters', () => {
    const other = 'projects/demo-project/locations/us-central1/clusters/other';
    // F-33: two clusters are configured and none is named: refused, never the first.
    it('acts on the cluster that is named, and on none when none is named', async () => {
      await begin({}, () => {
        const second = emulator.addCluster({ name: other });
        second.addTpuSlice('slice-a', { topology: '4x4' });
      });
      const served = await serve({ CLUSTERS: `${trainCluster},${other}` });
      const forgotten = await served.send(cordon);
      expect(forgotten.status).to.equal(400);
      expect(forgotten.body.error).to.equal(
        `cluster is required because several are configured: ${trainCluster}, ${other}`,
      );
      expect(emulator.requests).to.deep.equal([]);
      for (const name of ['demo', trainCluster]) {
        const answer = await served.send({ ...cordon, cluster: name });
        expect(answer.status).to.equal(200);
      }
      expect(countCordoned(cluster, 'slice-a')).to.equal(4);
      expect(new Set(emulator.writes().map((each) => each.cluster))).to.deep.equal(new Set([trainCluster]));
      const elsewhere = await served.send({
        ...cordon,
        cluster: 'projects/demo-project/locations/us-central1/clusters/x',
      });
      expect(elsewhere.body.code).to.equal('forbidden');
    });
  });
});

describe('the function’s way to the API server', () => {
  const whole = { ...cordon, type: 'cordon_nodepool' };

  /** What stands for the public CAs that everybody trusts. */
  function trustPublicCa(): void {
    const before = getCACertificates('default');
    setDefaultCACertificates([...before, readFileSync(server.publicCaPath, 'utf8')]);
    cleanUps.push(() => setDefaultCACertificates(before));
  }

  it('is the IP endpoint with the cluster’s own CA when nothing else is allowed', async () => {
    await begin();
    expect((await (await serve()).send(whole)).status).to.equal(200);
    expect(server.connections(cluster)).to.deep.equal({ ip: 1, dns: 0 });
  });

  it('is the DNS endpoint without the cluster’s CA when that endpoint allows external traffic', async () => {
    await begin();
    cluster.spec.allowsExternalDns = true;
    const served = await serve();
    const untrusted = await served.send(whole);
    expect(untrusted.status).to.equal(502);
    expect(untrusted.body.error).to.include(
      'its certificate is not the one that the Container API announced',
    );
    trustPublicCa();
    expect((await served.send(whole)).status).to.equal(200);
    const { ip, dns } = server.connections(cluster);
    expect(ip).to.equal(0);
    expect(dns).to.be.at.least(1);
  });

  it('does not trust the public CAs with the IP endpoint', async () => {
    await begin();
    trustPublicCa();
    cluster.endpoints.ip = cluster.endpoints.dns;
    expect((await (await serve()).send(whole)).status).to.equal(502);
    expect(countCordoned(cluster, 'slice-a')).to.equal(0);
  });

  for (const [setting, spec, expected] of [
    ['public', { allowsExternalDns: true }, { ip: 1, dns: 0 }],
    ['private', { isPrivate: true }, { ip: 1, dns: 0 }],
    ['dns', { allowsExternalDns: true }, { ip: 0, dns: 1 }],
  ] as const) {
    it(`is the ${setting} endpoint when GKE_ENDPOINT says so`, async () => {
      await begin();
      Object.assign(cluster.spec, spec);
      trustPublicCa();
      expect((await (await serve({ GKE_ENDPOINT: setting })).send(whole)).status).to.equal(200);
      expect(server.connections(cluster)).to.deep.equal(expected);
    });
  }

  it('fails when the cluster has no endpoint of the kind that GKE_ENDPOINT asks for, and says what to type', async () => {
    await begin();
    const answer = await (await serve({ GKE_ENDPOINT: 'dns' })).send(whole);
    expect(answer.status).to.equal(502);
    expect(answer.body.error).to.include('gcloud container clusters update --enable-dns-access');
    expect(server.connections(cluster)).to.deep.equal({ ip: 0, dns: 0 });
  });

  it('is looked up once per action, with only the fields that are read', async () => {
    await begin();
    const served = await serve();
    await served.send(whole);
    const [asked, ...more] = emulator.requests.filter(({ api }) => api === 'container');
    expect(more).to.deep.equal([]);
    expect(asked?.path).to.equal(`/v1/${trainCluster}`);
    expect(asked?.headers['x-goog-fieldmask']).to.include('masterAuth.clusterCaCertificate');
    expect(asked?.headers['x-goog-fieldmask']).not.to.include('nodePools');
  });

  it('uses a token whose scopes show the service account’s e-mail to the API server', async () => {
    await begin();
    cluster.deny({ user: emulator.tokens.account.uniqueId });
    expect((await (await serve()).send(whole)).status).to.equal(200);
    const tokens = emulator.requests.filter(({ path }) => path.endsWith('/token'));
    expect(tokens).to.have.length(1);
    expect(tokens[0]?.query['scopes']?.split(',').sort()).to.deep.equal([
      'https://www.googleapis.com/auth/cloud-platform',
      'https://www.googleapis.com/auth/userinfo.email',
    ]);
  });

  it('reports the missing permission of the Container API, and a cluster that does not exist', async () => {
    await begin();
    const served = await serve();
    emulator.faults.add({ api: 'container', effect: { status: 403 } });
    const denied = await served.send(whole);
    expect(denied.status).to.equal(502);
    expect(denied.body.error).to.include('grant container.clusters.get (gcp-role.yaml)');
    emulator.clusters.delete(trainCluster);
    const missing = await served.send(whole);
    expect(missing.status).to.equal(404);
    expect(missing.body.error).to.equal(`there is no cluster ${trainCluster}`);
  });

  it('repairs nothing on Autopilot', async () => {
    await begin();
    cluster.spec.isAutopilot = true;
    const answer = await (await serve()).send(repair);
    expect(answer.status).to.equal(409);
    expect(answer.body.code).to.equal('repair_refused');
    expect(countEffects(emulator.writes())).to.deep.equal({});
  });

  it('uses a few connections however many nodes there are, and new ones for each action', async () => {
    await begin({ slices: ['slice-a'], slice: { nodes: 300 }, jobSet: null });
    const served = await serve();
    await served.send(whole);
    expect(countCordoned(cluster, 'slice-a')).to.equal(300);
    const { ip: first } = server.connections(cluster);
    expect(first).to.be.within(1, 4);
    await served.send({ ...whole, id: 'b', type: 'uncordon_nodepool' });
    const { ip: second } = server.connections(cluster);
    expect(second - first).to.be.within(1, 4);
  });

  it('is closed when the action is answered, even with an error', async () => {
    await begin();
    const open = await countOpenConnections();
    const served = await serve();
    for (const [body, status] of [
      [whole, 200],
      [{ ...whole, id: 'b', node_pool: 'typo' }, 404],
      [{ ...whole, id: 'c', dry_run: true }, 200],
    ] as const) {
      expect((await served.send(body)).status).to.equal(status);
      await open.none();
    }
    expect(open.total()).to.equal(3);
  });

  /** Puts a relay before the IP endpoint that knows which connections are open. */
  async function countOpenConnections(): Promise<{ none: () => Promise<void>; total: () => number }> {
    const [host, port] = cluster.endpoints.ip.split(':');
    const sockets = new Set<Socket>();
    let total = 0;
    let closed = () => {};
    const relay = createServer((socket) => {
      total += 1;
      sockets.add(socket);
      const upstream = connect(Number(port), host);
      socket.pipe(upstream).pipe(socket);
      upstream.on('error', () => socket.destroy());
      socket.on('error', () => upstream.destroy());
      socket.on('close', () => {
        sockets.delete(socket);
        closed();
      });
    });
    await new Promise<void>((resolve) => relay.listen(0, '127.0.0.1', resolve));
    cluster.endpoints.ip = `127.0.0.1:${(relay.address() as AddressInfo).port}`;
    cleanUps.push(() => {
      for (const socket of sockets) socket.destroy();
      relay.close();
    });
    return {
      total: () => total,
      async none() {
        while (sockets.size > 0) await new Promise<void>((resolve) => (closed = resolve));
      },
    };
  }
});
