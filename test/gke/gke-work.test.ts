import { expect } from 'chai';
import { Deadline } from '../../src/clock.ts';
import { readConfig } from '../../src/config.ts';
import { UpstreamError } from '../../src/errors.ts';
import { createGkeWorkClient, createNoGkeWork, createReadGkeWork } from '../../src/gke/gke-work.ts';
import type { GkeWork, GkeWorkClient } from '../../src/gke/gke-work.ts';
import { toUpstreamError } from '../../src/gke/google.ts';
import type { EmulatedCluster } from '../emulator/cluster.ts';
import { Emulator } from '../emulator/emulator.ts';
import { createDemoWorld } from '../emulator/scenario.ts';
import { serveEmulator } from '../emulator/server.ts';
import type { EmulatorServer } from '../emulator/server.ts';
import { setEnvironment } from '../fixtures/environment.ts';
import { SettableClock } from '../fixtures/in-memory-kubernetes.ts';
import { toAnswer } from '../fixtures/upstream-answer.ts';

describe('createReadGkeWork, with the real client', () => {
  let emulator: Emulator;
  let cluster: EmulatedCluster;
  let server: EmulatorServer;
  let restoreEnvironment: () => void;

  beforeEach(async () => {
    emulator = new Emulator();
    cluster = createDemoWorld(emulator);
    server = await serveEmulator(emulator);
    restoreEnvironment = setEnvironment(server.environment);
  });

  afterEach(async () => {
    await server.close();
    restoreEnvironment();
  });

  it('reads the pools, and of the operations those that are under way on this cluster', async () => {
    const other = emulator.addCluster({ name: cluster.name.replace(/demo$/, 'other') });
    other.addPool('slice-a');
    other.switches.upgradePool('slice-a');
    cluster.switches.deletePool('default-pool')();
    const startedAt = Date.now();
    cluster.switches.upgradePool('slice-a');
    cluster.switches.hangAutoRepair('slice-b', 'gke-tpu-1');
    cluster.switches.operateOn(undefined, 'UPGRADE_MASTER');
    cluster.switches.stockOut('default-pool');
    const { pools, operations, unread } = await read();
    expect(unread).to.deep.equal([]);
    expect(
      [...(pools ?? [])].map(([name, { status, conditions }]) => [name, status, ...conditions]),
    ).to.deep.equal([
      ['slice-a', 'RECONCILING'],
      ['slice-b', 'RECONCILING'],
      ['default-pool', 'RUNNING_WITH_ERROR', 'GCE_STOCKOUT'],
    ]);
    expect(operations?.map(({ type, pool, node }) => [type, pool, node])).to.deep.equal([
      ['UPGRADE_NODES', 'slice-a', undefined],
      ['AUTO_REPAIR_NODES', 'slice-b', 'gke-tpu-1'],
      ['UPGRADE_MASTER', undefined, undefined],
    ]);
    expect(operations?.[0]?.since).to.be.at.least(startedAt - 1);
    expect(operations?.[0]?.name).to.match(/^operation-\d+-[0-9a-f]{8}$/);
  });

  it('asks for no more than it needs', async () => {
    await read();
    const asked = emulator.requests.filter(({ api }) => api === 'container');
    expect(asked.map(({ path }) => path)).to.have.members([
      `/v1/${cluster.name}`,
      '/v1/projects/demo-project/locations/us-central1/operations',
    ]);
    for (const { headers } of asked) {
      expect(headers['x-goog-fieldmask']).to.match(/^(nodePools|operations)\./);
    }
  });

  it('says which permission is lacking, and has the rest', async () => {
    emulator.faults.add({ api: 'container', path: /operations/, times: Infinity, effect: toAnswer(403) });
    const { pools, operations, unread } = await read();
    expect(pools?.size).to.equal(3);
    expect(operations).to.equal(undefined);
    expect(unread).to.deep.equal([
      "GKE's operations could not be read: the Container API answered 403 Forbidden (GET " +
        'projects/demo-project/locations/us-central1/operations): grant container.operations.list (gcp-role.yaml)',
    ]);
  });

  function read(): Promise<GkeWork> {
    const config = readConfig({ ...server.environment, CLUSTERS: cluster.name });
    const clock = { now: () => Date.now(), sleep: async () => undefined };
    const [name] = config.clusters;
    if (!name) throw new Error('no cluster');
    const limits = { deadline: new Deadline(clock, 60_000) };
    return createReadGkeWork(clock, () => createGkeWorkClient(config))(name, limits);
  }
});

describe('createReadGkeWork', () => {
  const [name] = readConfig({ CLUSTERS: 'projects/demo/locations/us-central1/clusters/c' }).clusters;

  // F-250: a call that serves to know more must not hold a repair up, however the API behaves.
  for (const [what, fail] of Object.entries({
    '429 for ever': () => upstream(429),
    '503 for ever': () => upstream(503),
    'a connection that breaks for ever': () => upstream(),
    'an answer that is no JSON': () => {
      throw toUpstreamError(new SyntaxError('Unexpected token <'), 'Container API', 'GET x', '');
    },
  })) {
    it(`gives up within three seconds of the action's clock after ${what}`, async () => {
      const clock = new SettableClock();
      const client = { getPools: async () => fail(), listOperations: async () => fail() };
      const before = clock.now();
      const work = await createReadGkeWork(clock, () => client)(toName(), {
        deadline: new Deadline(clock, 240_000),
      });
      // Both wait on one clock here, one after the other.
      expect(clock.now() - before).to.be.at.most(6_000);
      expect(work).to.include({ pools: undefined, operations: undefined });
      expect(work.unread).to.have.length(2);
    });
  }

  const malformed: [what: string, answer: unknown][] = [
    ['nothing', undefined],
    ['a text', 'RUNNING'],
    ['lists that are none', { nodePools: 'slice-a', operations: { length: 1 } }],
  ];
  for (const [what, answer] of malformed) {
    it(`says so where the answer is ${what}`, async () => {
      const { pools, operations, unread } = await readAnswers({ pools: answer, operations: answer });
      expect([pools, operations]).to.deep.equal([undefined, undefined]);
      expect(unread[1]).to.match(/^GKE's operations could not be read: the Container API answered 200 with /);
    });
  }

  it('believes no word of an answer that is not what it should be', async () => {
    const link =
      'https://container.googleapis.com/v1/projects/1/locations/us-central1/clusters/c/nodePools/a';
    const operation = { operationType: 'UPGRADE_NODES', status: 'RUNNING', targetLink: link };
    const { pools, operations } = await readAnswers({
      pools: { nodePools: [null, { name: 'a', status: 'rm -rf <b>', conditions: [{ code: 'x\n' }, 3] }] },
      operations: {
        operations: [
          null,
          { ...operation, operationType: 'a\u001b[2J' },
          { ...operation, targetLink: 7 },
          { ...operation, status: 'DONE' },
          { ...operation, name: 'evil\nname', startTime: 'never', targetLink: `${link}/node/A B` },
        ],
      },
    });
    expect(pools?.get('a')).to.include({ status: 'STATUS_UNSPECIFIED', isSpot: false });
    expect(pools?.get('a')?.conditions).to.deep.equal([]);
    expect(operations).to.deep.equal([
      { type: 'UPGRADE_NODES', name: '', since: undefined, pool: 'a', node: undefined },
    ]);
  });

  it('reads a cluster without pools, and a location without operations', async () => {
    const { pools, operations, unread } = await readAnswers({ pools: {}, operations: {} });
    expect(pools?.size).to.equal(0);
    expect(operations).to.deep.equal([]);
    expect(unread).to.deep.equal([]);
  });

  it('is left out of a local run by a kubeconfig, and says so', async () => {
    const clock = new SettableClock();
    const work = await createNoGkeWork()(toName(), { deadline: new Deadline(clock, 1) });
    expect(work.unread.join()).to.include('KUBECONFIG_CONTEXT');
  });

  function readAnswers({ pools, operations }: { pools: unknown; operations: unknown }): Promise<GkeWork> {
    const clock = new SettableClock();
    const client: GkeWorkClient = {
      getPools: async () => pools,
      listOperations: async () => operations,
    };
    return createReadGkeWork(clock, () => client)(toName(), { deadline: new Deadline(clock, 60_000) });
  }

  function toName() {
    if (!name) throw new Error('no cluster');
    return name;
  }
});

function upstream(status?: number): never {
  throw new UpstreamError({ api: 'Container API', call: 'GET x', status });
}
