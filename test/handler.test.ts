import { expect } from 'chai';
import { createSystemClock } from '../src/clock.ts';
import { readConfig } from '../src/config.ts';
import { FailoverError } from '../src/errors.ts';
import type { ClusterConnection } from '../src/gke/cluster.ts';
import { hashAction, parseAction } from '../src/request/action.ts';
import type { EmulatedCluster } from './emulator/cluster.ts';
import { Emulator } from './emulator/emulator.ts';
import { expectInternalError } from './fixtures/internal-errors.ts';
import { cordon, handlerConfig, ServedHandler } from './fixtures/served-handler.ts';
import {
  countCordoned,
  createTrainWorld,
  nodeNames,
  trainCluster,
  whereTrainRuns,
} from './fixtures/train-world.ts';
import { createVirtualServices } from './fixtures/virtual-services.ts';
import type { Travel } from './fixtures/virtual-services.ts';

describe('createHandler', () => {
  const served = ServedHandler.forSuite();

  describe('answers an action', () => {
    const codes = {
      forbidden: 403,
      target_not_found: 404,
      action_in_progress: 409,
      id_reused: 409,
      target_mismatch: 409,
      target_ambiguous: 409,
      target_changed: 409,
      preflight_refused: 409,
      restart_refused: 409,
      repair_refused: 409,
      paused: 409,
      attempts_exhausted: 409,
      rate_limited: 429,
      budget_exceeded: 429,
      correlated_failure: 429,
      upstream_failed: 502,
      upstream_timeout: 504,
    } as const;
    for (const [code, status] of Object.entries(codes)) {
      // F-62: every failure was a 500, so that callers could not tell retryable from final.
      it(`with ${status} for ${code}, the id and the reason`, async () => {
        served.use({
          connect: async () => {
            throw new FailoverError(code as keyof typeof codes, 'why, and what next', {
              headers: { 'Retry-After': '30' },
              cause: new Error('secret'),
            });
          },
        });
        const answer = await served.post(cordon);
        expect(answer).to.deep.include({
          status,
          body: { id: 'incident-7', error: 'why, and what next', code },
        });
        expect(answer.headers.get('retry-after')).to.equal('30');
        expect(served.lines.at(-1)).to.include({
          severity: status < 500 ? 'WARNING' : 'ERROR',
          event: status < 500 ? 'refused' : 'failed',
          outcome: status < 500 ? 'refused' : 'failed',
          message: 'why, and what next',
          action_id: 'incident-7',
          type: 'cordon_nodepool',
          code,
          status,
        });
      });
    }

    it('with 200 and the recorded steps for an id that is done', async () => {
      const steps = [{ step: 'cordon', target: 'pool-a', nodes: 16, cordoned: 14, already_cordoned: 2 }];
      let closed = 0;
      served.use({ connect: async () => createReplay(steps, async () => void closed++) });
      for (const path of ['/actions', '/', '/actions/', '/?']) {
        const answer = await served.post(cordon, { path });
        expect(answer).to.deep.include({ status: 200, body: { id: 'incident-7', replayed: true, steps } });
        expect(answer.headers.get('content-type')).to.equal('application/json; charset=utf-8');
      }
      expect(closed).to.equal(4);
      expect(served.lines.filter(({ event }) => event === 'done')).to.have.lengthOf(4);
      expect(served.lines.at(-1)).to.deep.include({
        severity: 'INFO',
        outcome: 'replayed',
        status: 200,
        steps,
      });
    });

    // F-8: the same id with a different body is refused.
    it('with 409 for an id that was used for something else', async () => {
      served.use({ connect: async () => createReplay([], async () => undefined) });
      expect(await served.post({ ...cordon, node_pool: 'pool-b' })).to.deep.include({
        status: 409,
        body: {
          id: 'incident-7',
          error: 'id incident-7 was used for another action on node pool pool-a; send this one with a new id',
          code: 'id_reused',
        },
      });
    });
  });

  describe('carries out an action on the emulator', () => {
    let world: { emulator: Emulator; cluster: EmulatedCluster };

    beforeEach(() => {
      const emulator = new Emulator();
      world = { emulator, cluster: createTrainWorld(emulator) };
      const config = readConfig({ CLUSTERS: trainCluster });
      const clock = createSystemClock();
      const travel: Travel = async (_sent, carryOut) => carryOut();
      const { connect } = createVirtualServices({ config, clock, emulator, travel });
      served.use({ config, connect });
    });

    const restart = {
      requestor: 'alice',
      reason: 'HBM errors',
      type: 'cordon_nodepool_and_restart_jobset',
      jobset_name: 'train',
    };

    // F-2: a restart without a pool cordoned nothing, restarted and answered 200.
    it('cordons the pool that the JobSet runs on when no pool is named, and then restarts the JobSet', async () => {
      const { status, body } = await served.post(restart);
      expect(status).to.equal(200);
      expect(body.steps).to.have.lengthOf(2);
      expect(body.steps?.[0]).to.include({ step: 'cordon', target: 'slice-a', cordoned: 4 });
      expect(body.steps?.[1]).to.include({ step: 'restart', outcome: 'restarted' });
      world.emulator.settle();
      expect(countCordoned(world.cluster, 'slice-a')).to.equal(4);
      expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #1']);
    });

    it('makes a dry run without a write but for the Event', async () => {
      const { body } = await served.post({ ...restart, dry_run: true });
      expect(body.steps?.map(({ outcome }) => outcome)).to.deep.equal(['would_cordon', 'would_restart']);
      expect(world.emulator.writes().map(({ method, path }) => `${method} ${path}`)).to.deep.equal([
        'POST /api/v1/namespaces/default/events',
      ]);
    });

    // F-3: `node_name` from one pool with `node_pool` of another: pool A was cordoned, a machine of pool B deleted.
    it('refuses a node of one pool together with the name of another pool, and writes nothing', async () => {
      const [node] = nodeNames(world.cluster, 'slice-a');
      const repair = {
        ...restart,
        type: 'cordon_and_repair_nodepool',
        node_pool: 'slice-b',
        node_name: node,
      };
      const { jobset_name: _, ...body } = repair;
      const answer = await served.post(body);
      expect(answer.status).to.equal(409);
      expect(answer.body).to.deep.include({
        code: 'target_mismatch',
        error: `node ${node} is not in node pool slice-b but in slice-a; name one of them`,
      });
      const writes = world.emulator.writes().map(({ method, path }) => `${method} ${path}`);
      expect(writes.filter((each) => !/refusals|POST .*leases$/.test(each))).to.deep.equal([]);
    });
  });

  describe('answers every path and method', () => {
    for (const method of ['PUT', 'DELETE', 'PATCH', 'OPTIONS']) {
      for (const path of ['/actions', '/']) {
        it(`${method} ${path} with 405 and what is allowed`, async () => {
          const answer = await served.post(cordon, { method, path });
          expect(answer.status).to.equal(405);
          expect(answer.headers.get('allow')).to.equal('GET, HEAD, POST');
          expect(answer.body).to.deep.include({
            error: `${method} is not allowed; send a POST: an action as JSON to /actions, or a notification of Cloud Monitoring to /alerts`,
            code: 'method_not_allowed',
          });
          expect(served.connections).to.equal(0);
        });
      }
    }

    for (const path of ['/action', '/actions/x/y', '/Actions', '/healthz', '//', '/%2e', '/..%2factions']) {
      it(`${path} with 404 and where to POST to`, async () => {
        const answer = await served.sendRaw(`POST ${path} HTTP/1.1`);
        expect(answer.status).to.equal(404);
        expect(answer.body).to.deep.include({ id: 'incident-7', code: 'target_not_found' });
        expect(answer.body.error).to.match(/^there is nothing at .*; POST to \/ or \/actions/);
        expect(served.connections).to.equal(0);
      });
    }

    it('a path that cannot be decoded with 404, without a page or a stack', async () => {
      const answer = await served.sendRaw('POST /%E0%A4%A HTTP/1.1');
      expect(answer).to.deep.include({ status: 404 });
      expect(answer.body.code).to.equal('target_not_found');
    });

    it('HEAD without a body', async () => {
      const response = await fetch(`http://127.0.0.1:${served.port}/alerts`, { method: 'HEAD' });
      expect(response.status).to.equal(405);
      expect(await response.text()).to.equal('');
    });
  });

  describe('answers an unexpected error with 500 and no details', () => {
    const jwt = 'eyJhbGciOiJSUzI1NiJ9.eyJlbWFpbCI6ImEifQ.c2ln';
    const circular: Record<string, unknown> = { token: 'secret-7' };
    circular['self'] = circular;
    for (const { name, thrown, logged } of [
      {
        name: 'a bug',
        thrown: new TypeError(`cannot read secret-7 with Bearer abc.def and ${jwt}`),
        logged: /cannot read secret-7.*handler\.test\.m?[jt]s/s,
      },
      { name: 'a text', thrown: 'secret-7', logged: /secret-7/ },
      { name: 'nothing', thrown: undefined, logged: /undefined/ },
      { name: 'null', thrown: null, logged: /null/ },
      // F-64: a request that could not be handled crashed the worker.
      { name: 'an object that refers to itself', thrown: circular, logged: /\[Circular/ },
      { name: 'an object of no class', thrown: Object.create(null) as unknown, logged: /\{\}/ },
    ]) {
      it(name, async () => {
        expectInternalError();
        served.use({
          connect: async () => {
            throw thrown;
          },
        });
        expect(await served.post(cordon)).to.deep.include({
          status: 500,
          body: {
            id: 'incident-7',
            error: 'internal error; the log has the details under this id',
            code: 'internal',
          },
        });
        const line = served.lines.at(-1);
        expect(line).to.include({
          severity: 'ERROR',
          event: 'failed',
          code: 'internal',
          action_id: 'incident-7',
        });
        expect(line?.stack_trace).to.match(logged);
        expect(JSON.stringify(served.lines)).not.to.contain('abc.def').and.not.to.contain(jwt.slice(0, 30));
      });
    }

    it('serves the next request after an error', async () => {
      expectInternalError();
      served.use({
        connect: async () => {
          throw new Error('x');
        },
      });
      for (let index = 0; index < 3; index++) expect((await served.post(cordon)).status).to.equal(500);
    });
  });
});

/** A cluster in which the action was done before. */
function createReplay(steps: unknown[], close: () => Promise<void>): ClusterConnection {
  const hash = hashAction(parseAction(cordon, handlerConfig.clusters, ''));
  const annotations = {
    id: 'incident-7',
    hash,
    'node-pool': 'pool-a',
    phase: 'done',
    plan: '{"attempt":"a"}',
    answer: JSON.stringify(steps),
  };
  const lease = {
    metadata: {
      uid: 'u',
      resourceVersion: '1',
      annotations: Object.fromEntries(
        Object.entries(annotations).map(([key, value]) => [`autometric-failover/${key}`, value]),
      ),
    },
  };
  const kubernetes = {
    coordination: {
      readNamespacedLease: async ({ name }: { name: string }) => ({
        metadata: { ...lease.metadata, name },
      }),
    },
    serverNow: () => Date.now(),
  };
  return {
    name: handlerConfig.clusters[0],
    kubernetes,
    isAutopilot: false,
    close,
  } as unknown as ClusterConnection;
}
