import { expect } from 'chai';
import { createConnectionPool } from '../../src/gke/transport.ts';
import type { ConnectionPool } from '../../src/gke/transport.ts';
import { Emulator } from '../emulator/emulator.ts';
import type { EmulatedCluster } from '../emulator/cluster.ts';
import { serveEmulator } from '../emulator/server.ts';
import type { EmulatorServer } from '../emulator/server.ts';
import { eventually } from './eventually.ts';
import { History } from './chaos-history.ts';
import { serveChaosProxy } from './chaos-proxy.ts';
import type { ChaosProxy } from './chaos-proxy.ts';
import { requestFaults } from './chaos-weather.ts';
import type { RequestFault } from './chaos-weather.ts';

/** What the function gets, how often its request is carried out, and whether its next one takes another connection. */
type Row = [got: number | RegExp, carriedOut: number, isConnectedAnew: boolean];

const rows: Record<RequestFault | 'none', Row> = {
  none: [200, 1, false],
  cut_before: [/closed|terminated|reset/i, 0, true],
  cut_after: [/closed|terminated|reset/i, 1, true],
  reset_before: [/INTERNAL_ERROR/, 0, false],
  reset_after: [/INTERNAL_ERROR/, 1, false],
  // undici knows that it was not carried out, and sends it again on another connection.
  goaway_before: [200, 1, true],
  goaway_after: [200, 1, true],
  late_request: [200, 1, false],
  late_answer_after: [200, 1, false],
  twice_after: [200, 2, false],
  refused_429: [429, 0, false],
  failed_503: [503, 0, false],
  failed_500_after: [500, 1, false],
  never_before: [/no answer in/, 0, true],
  never_after: [/no answer in/, 1, true],
};

describe('serveChaosProxy', () => {
  let cluster: EmulatedCluster;
  let emulator: Emulator;
  let server: EmulatorServer;
  let proxy: ChaosProxy;
  let pool: ConnectionPool;
  let history: History;
  let next: RequestFault | undefined;

  before(async () => {
    emulator = new Emulator();
    cluster = emulator.addCluster({ name: 'projects/p/locations/us-central1/clusters/c' });
    server = await serveEmulator(emulator);
  });
  after(() => server.close());

  beforeEach(async () => {
    history = new History();
    const { ip, ca } = cluster.endpoints;
    proxy = await serveChaosProxy({ url: `https://${ip}`, ca }, history, {
      faultOf() {
        const fault = next;
        next = undefined;
        return fault;
      },
      lateMs: () => 20,
    });
    pool = createConnectionPool({ ca: proxy.ca }, new AbortController().signal);
  });
  afterEach(async () => {
    pool.close();
    await proxy.close();
  });

  for (const fault of ['none', ...requestFaults] as const) {
    const [got, carriedOut, isConnectedAnew] = rows[fault];
    it(`${fault}: the function gets ${String(got)}, and it is carried out ${carriedOut} times`, async () => {
      await get(2_000);
      const before = emulator.requests.length;
      next = fault === 'none' ? undefined : fault;
      const answer = await get(fault.startsWith('never') ? 200 : 2_000);
      if (typeof got === 'number') expect(answer).to.equal(got);
      else expect(answer).to.match(got);
      expect(emulator.requests.length - before).to.equal(carriedOut);
      expect(await get(2_000)).to.equal(200);
      const sessions = new Set(
        history.entries.flatMap((entry) => (entry.kind === 'session' ? entry.session : [])),
      );
      expect(sessions.size).to.equal(isConnectedAnew ? 2 : 1);
    });
  }

  it('breaks all connections at once', async () => {
    expect(await get(2_000)).to.equal(200);
    next = 'never_before';
    const underWay = get(60_000);
    await eventually('it is under way', () => history.entries.some((entry) => 'fault' in entry));
    proxy.cutAll();
    expect(await underWay).to.match(/closed|terminated|reset/i);
    expect(await get(2_000)).to.equal(200);
  });

  it('notes who sent what, and what came of it', async () => {
    next = 'failed_500_after';
    await get(2_000);
    const [call] = history.entries.filter((entry) => entry.kind === 'call');
    expect(call).to.include({ method: 'GET', path: '/api/v1/nodes', fault: 'failed_500_after', body: '' });
    expect(history.entries.find((entry) => entry.kind === 'carried_out')).to.include({
      call: call?.call,
      status: 200,
    });
  });

  /** The status, or the message of what went wrong. */
  async function get(timeoutMs: number): Promise<number | string> {
    const headers = { Authorization: `Bearer ${emulator.tokens.tokenFor('admin@example.com')}` };
    const url = `${proxy.url}/api/v1/nodes`;
    const sent = pool.transport({ method: 'GET', url, headers, body: undefined, timeoutMs });
    return sent.then(
      ({ status }) => status,
      (error: Error) => error.message,
    );
  }
});
