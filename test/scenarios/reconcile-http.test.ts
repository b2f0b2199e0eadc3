import { expect } from 'chai';
import { readConfig } from '../../src/config.ts';
import { FailoverError } from '../../src/errors.ts';
import type { ClusterReport } from '../../src/reconcile/report.ts';
import { Emulator } from '../emulator/emulator.ts';
import { json, ServedHandler } from '../fixtures/served-handler.ts';
import { createTrainWorld, trainCluster } from '../fixtures/train-world.ts';
import { restartOfTrain, verdictEvents } from '../fixtures/verdicts.ts';
import { createVirtualServices } from '../fixtures/virtual-services.ts';
import type { EmulatedCluster } from '../emulator/cluster.ts';

const gone = trainCluster.replace(/demo$/, 'gone');
const mute = trainCluster.replace(/demo$/, 'mute');
const credentials = { username: 'hook', password: 'a-long-enough-password' };

interface Reconciled {
  status: number;
  headers: Headers;
  body: { clusters?: ClusterReport[]; code?: string; error?: string; id?: string };
}

describe('POST /reconcile', () => {
  const served = ServedHandler.forSuite();
  let emulator: Emulator;
  let cluster: EmulatedCluster;

  beforeEach(() => {
    emulator = new Emulator();
    cluster = createTrainWorld(emulator);
    use();
  });

  function use(
    clusters = [trainCluster],
    options: Parameters<ServedHandler['use']>[0] = {},
    isGone: () => boolean = () => true,
  ): void {
    const config = readConfig({ CLUSTERS: clusters.join(',') });
    const { connect } = createVirtualServices({ config, emulator });
    served.use({
      config,
      connect: async (name, deadline) => {
        if (name.fullName === gone && isGone()) {
          throw new FailoverError('target_not_found', `cluster ${gone} does not exist`);
        }
        if (name.fullName === mute) throw new Error('secret: the socket hung up');
        return connect(name, deadline);
      },
      ...options,
    });
  }

  async function call(method = 'POST', path = '/reconcile', body?: string): Promise<Reconciled> {
    const response = await fetch(`http://127.0.0.1:${served.port}${path}`, {
      method,
      ...(body === undefined ? {} : { body, headers: json }),
    });
    const text = await response.text();
    return { status: response.status, headers: response.headers, body: text === '' ? {} : JSON.parse(text) };
  }

  async function act(cluster = trainCluster): Promise<void> {
    const body = { requestor: 'test', reason: 'a test', cluster, ...restartOfTrain };
    expect((await served.post(body)).status).to.equal(200);
    emulator.settle();
  }

  it('of an idle cluster answers 200, and logs nothing', async () => {
    const { status, headers, body } = await call();
    expect(status).to.equal(200);
    expect(headers.get('content-type')).to.match(/^application\/json/);
    expect(body).to.deep.equal({
      clusters: [{ cluster: trainCluster, open: 0, resumed: [], settled: [], waiting: [], errors: [] }],
    });
    expect(served.lines).to.deep.equal([]);
    expect(emulator.writes()).to.deep.equal([]);
  });

  it('answers what it settled, and logs one line of the verdict and one of the round', async () => {
    await act();
    served.lines.length = 0;
    const { status, body } = await call();
    expect(status).to.equal(200);
    expect(body.clusters).to.deep.equal([
      {
        cluster: trainCluster,
        open: 1,
        resumed: [],
        settled: [{ id: 'a', verdict: 'recovered' }],
        waiting: [],
        errors: [],
      },
    ]);
    expect(served.lines.map(({ event, severity }) => `${severity} ${event}`)).to.deep.equal([
      'INFO verdict',
      'INFO reconciled',
    ]);
    expect(served.lines[0]).to.include({ action_id: 'a' });
    expect(served.lines[1]).not.to.have.property('action_id');
  });

  it('ignores its body, but not a query', async () => {
    for (const text of ['', '{}', 'not JSON', '{"type":"cordon_nodepool","node_pool":"slice-a"}']) {
      expect((await call('POST', '/reconcile', text)).status, text).to.equal(200);
    }
    expect((await call('POST', '/reconcile/')).status).to.equal(200);
    const refused = await call('POST', '/reconcile?dry_run=true');
    expect(refused.status).to.equal(400);
    expect(refused.body).to.include({ code: 'invalid_action' });
    expect(emulator.writes()).to.deep.equal([]);
  });

  it('serves the other clusters where some are gone, answers 502, and says which', async () => {
    use([gone, trainCluster, mute]);
    await act();
    served.lines.length = 0;
    const { status, body } = await call();
    expect(status).to.equal(502);
    expect(body.clusters?.map((each) => each.cluster)).to.deep.equal([gone, trainCluster, mute]);
    expect(body.clusters?.[0]).to.deep.include({
      open: 0,
      errors: [`cluster ${gone} does not exist`],
      failed: true,
    });
    expect(body.clusters?.[1]).to.deep.include({ settled: [{ id: 'a', verdict: 'recovered' }], errors: [] });
    expect(body.clusters?.[1]).not.to.have.property('failed');
    expect(body.clusters?.[2]).to.deep.include({
      errors: ['internal error; the log has the details under this id'],
      failed: true,
    });
    expect(JSON.stringify(body)).not.to.contain('secret');
    expect(verdictEvents({ cluster })).to.deep.equal(['FailoverRecovered']);
    const failed = served.lines.filter(({ event }) => event === 'failed');
    expect(failed.map(({ severity }) => severity)).to.deep.equal(['ERROR', 'ERROR']);
  });

  it('answers 200 again once the cluster is back', async () => {
    let isGone = true;
    emulator.addCluster({ name: gone });
    use([gone, trainCluster], {}, () => isGone);
    expect((await call()).status).to.equal(502);
    isGone = false;
    expect((await call()).status).to.equal(200);
  });

  it('is the only method: a GET is 405, and says which', async () => {
    for (const method of ['GET', 'HEAD', 'PUT', 'DELETE', 'PATCH']) {
      const { status, headers } = await call(method);
      expect(status, method).to.equal(405);
      expect(headers.get('allow'), method).to.equal('POST');
    }
    expect(served.connections).to.equal(0);
  });

  it('is 404 on the public webhook, with and without credentials, and connects to nothing', async () => {
    use([trainCluster], { webhook: credentials });
    const basic = Buffer.from(`${credentials.username}:${credentials.password}`).toString('base64');
    for (const headers of [{}, { Authorization: `Basic ${basic}` }]) {
      for (const path of ['/reconcile', '/reconcile/']) {
        const response = await fetch(`http://127.0.0.1:${served.port}${path}`, { method: 'POST', headers });
        expect(response.status).to.equal(404);
        expect(await response.json()).to.include({ code: 'target_not_found' });
      }
    }
    expect(served.connections).to.equal(0);
  });

  it('is 404 on the function that only shows', async () => {
    use([trainCluster], { name: 'failoverStatus' });
    expect((await call()).status).to.equal(404);
    expect(served.connections).to.equal(0);
  });

  it('five at once settle an action once', async () => {
    await act();
    const answers = await Promise.all(Array.from({ length: 5 }, () => call()));
    expect(answers.map(({ status }) => status)).to.deep.equal([200, 200, 200, 200, 200]);
    expect(answers.flatMap(({ body }) => body.clusters?.[0]?.settled)).to.deep.equal([
      { id: 'a', verdict: 'recovered' },
    ]);
    expect(served.lines.filter(({ event }) => event === 'verdict')).to.have.length(1);
    expect(verdictEvents({ cluster })).to.deep.equal(['FailoverRecovered']);
  });
});
