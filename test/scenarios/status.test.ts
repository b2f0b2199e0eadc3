import { expect } from 'chai';
import { useFakeTimers } from 'sinon';
import { readConfig } from '../../src/config.ts';
import type { EmulatedCluster } from '../emulator/cluster.ts';
import { Emulator } from '../emulator/emulator.ts';
import { json, ServedHandler } from '../fixtures/served-handler.ts';
import { createTrainWorld, nodeNames, trainCluster } from '../fixtures/train-world.ts';
import { createVirtualServices } from '../fixtures/virtual-services.ts';

const restart = {
  id: 'a',
  requestor: 'alice',
  reason: 'ECC errors',
  type: 'cordon_nodepool_and_restart_jobset',
  jobset_name: 'train',
  node_pool: 'slice-a',
};
const cordon = { ...restart, type: 'cordon_nodepool', jobset_name: undefined };

type Json = Record<string, unknown>;

describe('what the function shows', () => {
  const served = ServedHandler.forSuite();
  let emulator: Emulator;
  let cluster: EmulatedCluster;

  beforeEach(() => {
    emulator = new Emulator();
    cluster = createTrainWorld(emulator);
    use();
  });

  function use(name: 'failover' | 'failoverStatus' = 'failover'): void {
    const config = readConfig({ CLUSTERS: trainCluster });
    const { connect, readGkeWork } = createVirtualServices({ config, emulator });
    served.use({ config, connect, readGkeWork, name });
  }

  async function get(path: string): Promise<{ status: number; headers: Headers; body: Json }> {
    const response = await fetch(`http://127.0.0.1:${served.port}${path}`);
    return { status: response.status, headers: response.headers, body: (await response.json()) as Json };
  }

  async function post(body: Json, path = '/actions'): Promise<{ status: number; body: Json }> {
    const options = { method: 'POST', headers: json, body: JSON.stringify(body) };
    const response = await fetch(`http://127.0.0.1:${served.port}${path}`, options);
    return { status: response.status, body: (await response.json()) as Json };
  }

  describe('of one action', () => {
    it('is the record, and what the cluster says right now', async () => {
      await post(restart);
      emulator.settle();
      const { status, headers, body } = await get('/actions/a');
      expect(status).to.equal(200);
      expect(headers.get('cache-control')).to.equal('no-store');
      expect(body).to.deep.include({
        id: 'a',
        state: 'done',
        type: 'cordon_nodepool_and_restart_jobset',
        requestor: 'alice',
        reason: 'ECC errors',
        cluster: trainCluster,
        node_pool: 'slice-a',
        jobset: 'default/train',
      });
      expect(body['plan']).to.have.property('restart').that.includes({ attempt: 0, way: 'leader_pod' });
      expect(body['observed']).to.deep.equal({
        verdict: 'recovered',
        run: { attempt: 1, pods_ready: 4, pods_wanted: 4, pools: { 'slice-b': 4 } },
        nodes: { total: 4, ready: 4, cordoned: 4 },
      });
      expect(body['links']).to.have.property('log').that.includes('labels.action_id%3D%22a%22');
    });

    it('has its verdict once a reconcile has been by', async () => {
      await post(restart);
      emulator.settle();
      expect((await post({}, '/reconcile')).body['clusters']).to.have.length(1);
      const { body } = await get('/actions/a?wait=5');
      expect(body).to.include({ state: 'settled' });
      expect(body['verdict']).to.include({ verdict: 'recovered', attempt: 1 });
    });

    it('is the error of an action that stopped after its plan', async () => {
      emulator.faults.add({ method: 'PATCH', path: /nodes/, times: Infinity, effect: { status: 403 } });
      await post(cordon);
      const { body } = await get('/actions/a');
      expect(body).to.include({ state: 'stopped' });
      expect(body['error']).to.include({ code: 'upstream_failed' });
    });

    it('is 404 for an id that nobody knows, and says how long ids are kept', async () => {
      const { status, body } = await get('/actions/nope');
      expect(status).to.equal(404);
      expect(body['error']).to.match(/there is no action nope: .*7 days.*GET \/actions lists them/);
    });

    it('is answered to gcloud too, which can only POST', async () => {
      await post(cordon);
      expect((await post({ type: 'get_action', id: 'a' }, '/')).body).to.include({
        id: 'a',
        state: 'settled',
      });
    });
  });

  describe('of all actions', () => {
    it('is the newest first, in pages, refused requests among them', async () => {
      for (const id of ['one', 'two', 'three']) await post({ ...cordon, id });
      await post({ ...cordon, id: 'no', node_pool: 'slice-x' });
      const { body } = await get('/actions?limit=2');
      const first = body['actions'] as Json[];
      expect(first).to.have.length(2);
      const token = String(body['next_page_token']);
      const rest = (await get(`/actions?limit=500&page_token=${token}`)).body;
      const all = [...first, ...(rest['actions'] as Json[])];
      expect(all.map(({ id }) => id)).to.have.members(['no', 'one', 'three', 'two']);
      expect(rest).not.to.have.property('next_page_token');
      const refused = all.find(({ id }) => id === 'no');
      expect(refused).to.deep.include({ state: 'refused', node_pool: 'slice-x', requestor: 'alice' });
      expect(refused?.['error']).to.include({ code: 'target_not_found' });
    });

    it('can be narrowed down', async () => {
      await post(restart);
      await post({ ...cordon, id: 'b', node_pool: 'slice-b' });
      const idsOf = async (query: string) =>
        ((await get(`/actions?${query}`)).body['actions'] as Json[]).map(({ id }) => id);
      expect(await idsOf('node_pool=slice-b')).to.deep.equal(['b']);
      expect(await idsOf('jobset=train')).to.deep.equal(['a']);
      expect(await idsOf('jobset=default/train')).to.deep.equal(['a']);
      expect(await idsOf('state=settled')).to.deep.equal(['b']);
      expect(await idsOf('since=2099-01-01T00:00:00Z')).to.deep.equal([]);
      expect(
        (await post({ type: 'list_actions', node_pool: 'slice-b' }, '/')).body['actions'],
      ).to.have.length(1);
    });

    for (const [query, error] of [
      ['nodepool=a', /unknown field "nodepool", did you mean "node_pool"/],
      ['state=finished', /state must be one of/],
      ['limit=0', /limit must be a whole number from 1 to 500/],
      ['limit=x', /limit must be/],
      ['since=yesterday', /since must be a time/],
      ['page_token=abc', /page_token/],
      ['cluster=other', /is not one of the configured clusters/],
    ] as const) {
      it(`is refused for ${query}`, async () => {
        const { status, body } = await get(`/actions?${query}`);
        expect(status).to.be.within(400, 404);
        expect(body['error']).to.match(error);
      });
    }
  });

  describe('of the clusters', () => {
    it('is switches, budget, pools, who cordoned them and what runs there', async () => {
      await post(restart);
      emulator.settle();
      const [node = ''] = nodeNames(cluster, 'slice-b');
      cluster.change('nodes', undefined, node, ({ spec }) => (spec.unschedulable = true));
      const { body } = await get('/status');
      const [status] = body['clusters'] as Json[];
      expect(status).to.deep.include({ cluster: trainCluster, open: 1 });
      expect(status).not.to.have.property('paused');
      expect(status?.['budget']).to.deep.include({ max: 2, used: 1 });
      const [a, b] = (status?.['pools'] ?? []) as Json[];
      expect(a).to.deep.include({
        name: 'slice-a',
        nodes: { total: 4, cordoned: 4 },
        cordoned_by: { a: 4 },
        runs: {},
      });
      expect(a?.['cooldowns']).to.have.length(1);
      expect(b).to.deep.include({
        nodes: { total: 4, cordoned: 1, ready: 3 },
        cordoned_by: { 'a person': 1 },
        runs: { 'default/train': 4 },
      });
    });

    it('is read once for two people who look at the same time, and again after 3 s', async () => {
      const time = useFakeTimers({ toFake: ['Date', 'performance'], now: Date.now() });
      try {
        await Promise.all([get('/status'), get('/status'), get('/')]);
        const once = emulator.requests.length;
        time.tick(2_999);
        await get('/status');
        expect(emulator.requests.length).to.equal(once);
        expect(once).to.be.within(1, 8);
        time.tick(1);
        await get('/status');
        expect(emulator.requests.length).to.equal(2 * once);
      } finally {
        time.restore();
      }
    });
  });

  it('writes nothing', async () => {
    await post(restart);
    const before = emulator.writes().length;
    for (const path of ['/', '/status', '/actions', '/actions/a']) {
      expect((await get(path)).status).to.equal(200);
    }
    expect(emulator.writes()).to.have.length(before);
  });

  it('is all that failoverStatus does: it carries out nothing', async () => {
    use('failoverStatus');
    expect((await get('/status')).status).to.equal(200);
    expect((await post(cordon)).status).to.equal(405);
    expect((await post(cordon, '/')).body).to.include({ code: 'forbidden' });
    expect((await post({}, '/reconcile')).status).to.equal(404);
    expect((await post({}, '/alerts')).status).to.equal(404);
    expect((await post({ type: 'list_actions' }, '/')).body).to.have.property('actions');
    expect(emulator.writes()).to.deep.equal([]);
  });
});
