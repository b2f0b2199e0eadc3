import type { Server } from 'node:http';
import { connect } from 'node:net';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { http } from '@google-cloud/functions-framework';
import { getTestServer } from '@google-cloud/functions-framework/testing';
import { expect } from 'chai';
import { useFakeTimers } from 'sinon';
import { actionTypes } from '../src/action-type.ts';
import { hashAction, parseAction } from '../src/request/action.ts';
import { keepRawBodies } from '../src/request/body.ts';
import { createSystemClock } from '../src/clock.ts';
import type { Deadline } from '../src/clock.ts';
import type { ClusterConnection, Connect } from '../src/gke/cluster.ts';
import { readConfig } from '../src/config.ts';
import { FailoverError, UpstreamError } from '../src/errors.ts';
import { createHandler } from '../src/handler.ts';
import type { Handler, HandlerOptions } from '../src/handler.ts';
import { createKubernetes } from '../src/gke/kubernetes.ts';
import { createLog } from '../src/log.ts';
import type { EmulatedCluster } from './emulator/cluster.ts';
import { Emulator } from './emulator/emulator.ts';
import {
  countCordoned,
  createTrainWorld,
  nodeNames,
  trainCluster,
  whereTrainRuns,
} from './fixtures/train-world.ts';

const fullName = 'projects/ml-prod/locations/us-central1/clusters/train';
const config = readConfig({ CLUSTERS: fullName, ALLOWED_NAMESPACES: 'default,research' });
const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const json = { 'Content-Type': 'application/json' };
const cordon = {
  id: 'incident-7',
  requestor: 'alice@example.com',
  reason: 'HBM errors',
  type: 'cordon_nodepool',
  node_pool: 'pool-a',
};

let handler: Handler;
http('handleRequest', (request, response) => handler.handle(request, response));

describe('createHandler', () => {
  let server: Server;
  let port: number;
  /** How often anything but the handler was asked for anything. */
  let connections: number;
  let lines: LogLine[];

  before(async () => {
    keepRawBodies();
    server = getTestServer('handleRequest');
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    port = (server.address() as AddressInfo).port;
  });

  beforeEach(() => use());

  after(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  describe('answers what came of an action', () => {
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
      rate_limited: 429,
      budget_exceeded: 429,
      upstream_failed: 502,
      upstream_timeout: 504,
    } as const;
    for (const [code, status] of Object.entries(codes)) {
      // F-62: every failure was a 500, so that callers could not tell retryable from final.
      it(`with ${status} for ${code}, the id and the reason`, async () => {
        use({
          connect: async () => {
            throw new FailoverError(code as keyof typeof codes, 'why, and what next', {
              headers: { 'Retry-After': '30' },
              cause: new Error('secret'),
            });
          },
        });
        const answer = await post(cordon);
        expect(answer).to.deep.include({
          status,
          body: { id: 'incident-7', error: 'why, and what next', code },
        });
        expect(answer.headers.get('retry-after')).to.equal('30');
        expect(lines.at(-1)).to.include({
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

    it('with 200 and the recorded steps for an id that was done before', async () => {
      const steps = [{ step: 'cordon', target: 'pool-a', nodes: 16, cordoned: 14, already_cordoned: 2 }];
      let closed = 0;
      use({ connect: async () => createReplay(steps, async () => void closed++) });
      for (const path of ['/actions', '/', '/actions/', '/?']) {
        const answer = await post(cordon, { path });
        expect(answer).to.deep.include({ status: 200, body: { id: 'incident-7', steps } });
        expect(answer.headers.get('content-type')).to.equal('application/json; charset=utf-8');
      }
      expect(closed).to.equal(4);
      expect(lines.filter(({ event }) => event === 'done')).to.have.lengthOf(4);
      expect(lines.at(-1)).to.deep.include({ severity: 'INFO', outcome: 'replayed', status: 200, steps });
    });

    // F-8: the same id with a different body is refused.
    it('with 409 for an id that was used for something else', async () => {
      use({ connect: async () => createReplay([], async () => undefined) });
      expect(await post({ ...cordon, node_pool: 'pool-b' })).to.deep.include({
        status: 409,
        body: {
          id: 'incident-7',
          error: 'id incident-7 was used for another action on node pool pool-a; send this one with a new id',
          code: 'id_reused',
        },
      });
    });
  });

  describe('does what was asked, to a world that is emulated', () => {
    let world: { emulator: Emulator; cluster: EmulatedCluster };

    beforeEach(() => {
      const emulator = new Emulator();
      world = { emulator, cluster: createTrainWorld(emulator) };
      const token = emulator.tokens.tokenFor(emulator.tokens.account.email);
      use({
        config: readConfig({ CLUSTERS: trainCluster }),
        connect: async (name, deadline) => ({
          name,
          isAutopilot: false,
          kubernetes: createKubernetes({
            server: 'https://emulated',
            token,
            transport: ({ method, url, headers, body = '' }) =>
              Promise.resolve(
                world.cluster.handle({ method, path: pathOf(url), headers: inLowerCase(headers), body }),
              ),
            limits: { clock: createSystemClock(), deadline },
          }),
          close: () => undefined,
        }),
      });
    });

    const restart = {
      requestor: 'alice',
      reason: 'HBM errors',
      type: 'cordon_nodepool_and_restart_jobset',
      jobset_name: 'train',
    };

    // F-2: a restart without a pool cordoned nothing, restarted and answered 200.
    it('cordons the pool that the JobSet runs on where none is named, and then restarts it', async () => {
      const { status, body } = await post(restart);
      expect(status).to.equal(200);
      expect(body.steps).to.have.lengthOf(2);
      expect(body.steps?.[0]).to.include({ step: 'cordon', target: 'slice-a', cordoned: 4 });
      expect(body.steps?.[1]).to.include({ step: 'restart', outcome: 'restarted' });
      world.emulator.settle();
      expect(countCordoned(world.cluster, 'slice-a')).to.equal(4);
      expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #1']);
    });

    it('rehearses it without a write but for the Event', async () => {
      const { body } = await post({ ...restart, dry_run: true });
      expect(body.steps?.map(({ outcome }) => outcome)).to.deep.equal(['would_cordon', 'would_restart']);
      expect(world.emulator.writes().map(({ method, path }) => `${method} ${path}`)).to.deep.equal([
        'POST /api/v1/namespaces/default/events',
      ]);
    });

    // F-3: `node_name` from one pool with `node_pool` of another: pool A was cordoned, a machine of pool B deleted.
    it('refuses a node of one pool with the name of another, and writes nothing', async () => {
      const [node] = nodeNames(world.cluster, 'slice-a');
      const repair = {
        ...restart,
        type: 'cordon_and_repair_nodepool',
        node_pool: 'slice-b',
        node_name: node,
      };
      const { jobset_name: _, ...body } = repair;
      const answer = await post(body);
      expect(answer.status).to.equal(409);
      expect(answer.body).to.deep.include({
        code: 'target_mismatch',
        error: `node ${node} is not in node pool slice-b but in slice-a; name one of them`,
      });
      expect(world.emulator.writes()).to.deep.equal([]);
    });
  });

  describe('refuses what is no action, before anything is asked of anyone', () => {
    // F-1: a misspelt dry run, or `"true"` as a string, ran live.
    for (const row of [
      {
        name: 'a misspelt dry_run',
        body: { ...cordon, dryRun: true },
        error: 'unknown field "dryRun", did you mean "dry_run"?',
      },
      {
        name: 'a quoted dry_run',
        body: { ...cordon, dry_run: 'true' },
        error: 'dry_run must be true or false, without quotes',
      },
      { name: 'no requestor', body: { ...cordon, requestor: null }, error: 'requestor is required' },
      { name: 'no reason', body: { ...cordon, reason: '' }, error: 'reason is required' },
      {
        name: 'an unknown type',
        body: { ...cordon, type: 'drain' },
        error: `unknown action type: drain; known: ${actionTypes.join(', ')}`,
      },
      {
        name: 'no pool',
        body: { ...cordon, node_pool: null },
        error: 'node_pool or node_name is required for cordon_nodepool action',
      },
      {
        name: 'no JobSet',
        body: { ...cordon, type: 'cordon_nodepool_and_restart_jobset' },
        error: 'jobset_name is required for cordon_nodepool_and_restart_jobset action',
      },
      {
        // F-4: an empty pool name, `*` or a list became a selector that matched every node.
        name: 'every pool',
        body: { ...cordon, node_pool: '*' },
        error: 'node_pool must be the name of one node pool',
      },
      {
        name: 'an id that is none',
        body: { ...cordon, id: 'a b' },
        error: 'id must have 1 to 128 characters of A-Z a-z 0-9 . _ -',
        id: undefined,
      },
    ]) {
      it(row.name, async () => {
        const answer = await post(row.body);
        expect(answer.status).to.equal(400);
        expect(answer.body).to.deep.include({ error: row.error, code: 'invalid_action' });
        if ('id' in row) expect(answer.body.id).to.match(uuid);
        else expect(answer.body.id).to.equal('incident-7');
        expect(connections).to.equal(0);
      });
    }

    it('an action, a namespace or a cluster that the configuration does not allow', async () => {
      use({ config: { ...config, allowedActions: ['uncordon_nodepool'] } });
      expect((await post(cordon)).body).to.deep.include({ id: 'incident-7', code: 'forbidden' });
      use();
      const elsewhere = { ...cordon, jobset_name: 'llm', namespace: 'kube-system' };
      expect(await post(elsewhere)).to.deep.include({ status: 403 });
      const other = { ...cordon, cluster: 'projects/ml-dev/locations/us-central1/clusters/train' };
      expect(await post(other)).to.deep.include({ status: 403 });
      expect(await post({ ...cordon, cluster: 'other' })).to.deep.include({ status: 404 });
      expect(connections).to.equal(0);
    });

    // F-33: two clusters are configured and none is named: refused, never the first.
    it('no cluster where several are configured', async () => {
      const { clusters } = readConfig({ CLUSTERS: `${fullName},${fullName}-2` });
      use({ config: { ...config, clusters } });
      expect((await post(cordon)).body.error).to.equal(
        `cluster is required because several are configured: ${fullName}, ${fullName}-2`,
      );
      expect(connections).to.equal(0);
    });

    const text = JSON.stringify(cordon);
    const bodies: {
      name: string;
      body: string | Buffer;
      headers?: Record<string, string>;
      status: number;
      error: string;
      id?: string | undefined;
    }[] = [
      {
        name: 'malformed JSON',
        body: text.slice(0, -1),
        status: 400,
        error: 'the body is not JSON: it ends too early',
      },
      {
        name: 'malformed JSON without an id',
        body: '{"x',
        status: 400,
        error: 'the body is not JSON: it ends too early',
        id: undefined,
      },
      { name: 'a list', body: `[${text}]`, status: 400, error: 'the body must be a JSON object' },
      { name: 'null', body: 'null', status: 400, error: 'the body must be a JSON object', id: undefined },
      {
        name: 'a string',
        body: '"text"',
        status: 400,
        error: 'the body must be a JSON object',
        id: undefined,
      },
      {
        name: 'a body without a Content-Type',
        body: text,
        headers: {},
        status: 415,
        error: 'the request has no Content-Type; send it with -H "Content-Type: application/json"',
      },
      {
        name: 'what curl -d sends without a header',
        body: text,
        headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
        status: 415,
        error:
          'Content-Type application/x-www-form-urlencoded is not supported; send it with -H "Content-Type: application/json"',
      },
      {
        name: 'another charset',
        body: text,
        headers: { 'Content-Type': 'application/json; charset=utf-16' },
        status: 415,
        error:
          'Content-Type application/json; charset=utf-16 is not supported; send it with -H "Content-Type: application/json"',
      },
      {
        name: 'a packed body',
        body: gzipSync(text),
        headers: { ...json, 'Content-Encoding': 'gzip' },
        status: 415,
        error: 'Content-Encoding gzip is not supported; send the body plain',
        id: undefined,
      },
      {
        name: 'an empty body',
        body: '',
        status: 400,
        error: 'the body is empty; it must be a JSON object',
        id: undefined,
      },
      {
        name: 'an empty body without a Content-Type',
        body: '',
        headers: {},
        status: 415,
        error: 'the request has no Content-Type; send it with -H "Content-Type: application/json"',
        id: undefined,
      },
      {
        name: 'a body of 3 MB',
        body: text.replace('HBM', 'x'.repeat(3_000_000)),
        status: 413,
        error: `the body is ${text.length + 3_000_000 - 3} bytes; the limit is 262144`,
        id: undefined,
      },
      {
        name: '20,000 levels of nesting',
        body: text.replace('"HBM errors"', `${'['.repeat(20_000)}${']'.repeat(20_000)}`),
        status: 400,
        error: 'reason must be a string',
      },
      {
        name: '20,000 levels of nesting in a check',
        body: `${text.slice(0, -1)},"preflight_checks":${'{"a":'.repeat(20_000)}1${'}'.repeat(20_000)}}`,
        status: 400,
        error: 'unknown field "preflight_checks.a"; known fields: preflight_checks.expected_node_counts',
      },
      {
        name: 'a field that is given twice',
        body: `${text.slice(0, -1)},"dry_run":true,"dry_run":false}`,
        status: 400,
        error: 'field "dry_run" is given twice',
      },
      {
        name: '__proto__',
        body: `${text.slice(0, -1)},"__proto__":{"dry_run":true}}`,
        status: 400,
        error:
          'unknown field "__proto__"; known fields: id, dry_run, requestor, reason, type, namespace, jobset_name, node_pool, ' +
          'node_name, preflight_checks, cluster',
      },
    ];
    for (const row of bodies) {
      const { name, body, headers = json, status, error } = row;
      it(`${name}, with JSON and not the framework's page`, async () => {
        const answer = await post(body, { headers });
        expect(answer.status).to.equal(status);
        expect(answer.headers.get('content-type')).to.equal('application/json; charset=utf-8');
        expect(answer.body.error).to.equal(error);
        // The id is echoed where it can be had: also of what is no JSON, or of the wrong type.
        if ('id' in row) expect(answer.body.id).to.match(uuid);
        else expect(answer.body.id).to.equal('incident-7');
        expect(connections).to.equal(0);
      });
    }

    it('makes one id for an action without one, and says the same in the answer and in every line', async () => {
      const { id: _, ...anonymous } = cordon;
      const answer = await post({ ...anonymous, dryRun: true });
      expect(answer.body.id).to.match(uuid);
      use({
        connect: async () => {
          throw new FailoverError('paused', 'x');
        },
      });
      for (const id of [undefined, null, '']) {
        const { body } = await post({ ...anonymous, id });
        expect(body.id).to.match(uuid);
        const own = lines.slice(-3);
        expect(own.map(({ action_id }) => action_id)).to.deep.equal(own.map(() => body.id));
      }
    });
  });

  describe('answers every path and method', () => {
    for (const method of ['GET', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']) {
      for (const path of ['/actions', '/']) {
        it(`${method} ${path} with 405 and what is allowed`, async () => {
          const answer = await post(method === 'GET' ? undefined : cordon, { method, path });
          expect(answer.status).to.equal(405);
          expect(answer.headers.get('allow')).to.equal('POST');
          expect(answer.body).to.deep.include({
            error: `${method} is not allowed; send a POST: an action as JSON to /actions, or a notification of Cloud Monitoring to /alerts`,
            code: 'method_not_allowed',
          });
          expect(connections).to.equal(0);
        });
      }
    }

    for (const path of ['/action', '/actions/x', '/Actions', '/healthz', '//', '/%2e', '/..%2factions']) {
      it(`${path} with 404 and where to POST to`, async () => {
        const answer = await sendRaw(`POST ${path} HTTP/1.1`);
        expect(answer.status).to.equal(404);
        expect(answer.body).to.deep.include({ id: 'incident-7', code: 'target_not_found' });
        expect(answer.body.error).to.match(/^there is nothing at .*; POST to \/ or \/actions/);
        expect(connections).to.equal(0);
      });
    }

    it('a path that cannot be decoded with 404, not with a page and a stack', async () => {
      const answer = await sendRaw('POST /%E0%A4%A HTTP/1.1');
      expect(answer).to.deep.include({ status: 404 });
      expect(answer.body.code).to.equal('target_not_found');
    });

    it('HEAD without a body', async () => {
      const response = await fetch(`http://127.0.0.1:${port}/actions`, { method: 'HEAD' });
      expect(response.status).to.equal(405);
      expect(await response.text()).to.equal('');
    });
  });

  describe('answers an error that nobody chose with 500 and nothing else', () => {
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
      { name: 'an object that goes round in circles', thrown: circular, logged: /\[Circular/ },
      { name: 'an object of no class', thrown: Object.create(null) as unknown, logged: /\{\}/ },
    ]) {
      it(name, async () => {
        use({
          connect: async () => {
            throw thrown;
          },
        });
        expect(await post(cordon)).to.deep.include({
          status: 500,
          body: {
            id: 'incident-7',
            error: 'internal error; the log has the details under this id',
            code: 'internal',
          },
        });
        const line = lines.at(-1);
        expect(line).to.include({
          severity: 'ERROR',
          event: 'failed',
          code: 'internal',
          action_id: 'incident-7',
        });
        expect(line?.stack_trace).to.match(logged);
        expect(JSON.stringify(lines)).not.to.contain('abc.def').and.not.to.contain(jwt.slice(0, 30));
      });
    }

    it('goes on serving after it', async () => {
      use({
        connect: async () => {
          throw new Error('x');
        },
      });
      for (let index = 0; index < 3; index++) expect((await post(cordon)).status).to.equal(500);
    });
  });

  describe('logs', () => {
    beforeEach(() =>
      use({
        connect: async () => {
          throw new UpstreamError({
            api: 'Container API',
            call: 'GET c',
            status: 503,
            cause: { message: 'body' },
          });
        },
        projectId: 'ml-prod',
      }),
    );

    it('a line for each event, with the id, the trace and what is asked for in every one of them', async () => {
      const headers = { ...json, 'X-Cloud-Trace-Context': '105445aa7843bc8bf206b12000100000/74;o=1' };
      await post({ ...cordon, dry_run: true, jobset_name: 'llm', node_name: 'gke-a-7' }, { headers });
      expect(lines.map(({ event, severity }) => [event, severity])).to.deep.equal([
        ['received', 'INFO'],
        ['step', 'WARNING'],
        ['failed', 'ERROR'],
      ]);
      for (const line of lines) {
        expect(line).to.deep.include({
          action_id: 'incident-7',
          'logging.googleapis.com/labels': { action_id: 'incident-7' },
          'logging.googleapis.com/trace': 'projects/ml-prod/traces/105445aa7843bc8bf206b12000100000',
          'logging.googleapis.com/spanId': '000000000000004a',
          requestor: 'alice@example.com',
          type: 'cordon_nodepool',
          dry_run: true,
          cluster: fullName,
          jobset: 'llm',
        });
      }
      expect(lines[0]).to.include({
        message: 'cordon_nodepool from alice@example.com: HBM errors',
        node_pool: 'pool-a',
        node_name: 'gke-a-7',
      });
      expect(lines[2]).to.include({ outcome: 'failed', code: 'upstream_failed', status: 502 });
      expect(lines[2]?.duration_ms).to.be.a('number');
      expect(lines[2]?.causes).to.deep.equal(['{"message":"body"}']);
    });

    const toToken = (email: string) =>
      `Bearer ${['{"alg":"RS256"}', JSON.stringify({ email }), 'signature']
        .map((part) => Buffer.from(part).toString('base64url'))
        .join('.')}`;

    it('the caller that IAM has let in beside what the caller says', async () => {
      await post(cordon, {
        headers: { ...json, Authorization: toToken('bot@ml-prod.iam.gserviceaccount.com') },
      });
      expect(new Set(lines.map(({ caller }) => caller))).to.deep.equal(
        new Set(['bot@ml-prod.iam.gserviceaccount.com']),
      );
      expect(lines[0]?.requestor).to.equal('alice@example.com');
      expect(JSON.stringify(lines)).not.to.contain('Bearer');
    });

    // Where both are sent, IAM looks at X-Serverless-Authorization only, and lets anything through in the other one.
    it('the caller of X-Serverless-Authorization where that is what IAM looked at', async () => {
      const headers = {
        ...json,
        Authorization: toToken('somebody-else@example.com'),
        'X-Serverless-Authorization': toToken('mallory@example.com'),
      };
      await post(cordon, { headers });
      expect(lines[0]?.caller).to.equal('mallory@example.com');
      await post(cordon, { headers: { ...headers, 'X-Serverless-Authorization': 'Bearer opaque' } });
      expect(lines.at(-1)).not.to.have.property('caller');
    });

    it('what cannot be parsed as refused, with its code', async () => {
      await post('{', { headers: json });
      expect(lines).to.have.lengthOf(1);
      expect(lines[0]).to.include({
        severity: 'WARNING',
        event: 'refused',
        code: 'invalid_action',
        status: 400,
      });
    });
  });

  describe('as the public webhook', () => {
    const webhook = { username: 'monitoring', password: 'correct horse battery' };
    const right = {
      ...json,
      Authorization: `Basic ${Buffer.from('monitoring:correct horse battery').toString('base64')}`,
    };

    beforeEach(() => use({ webhook }));

    // F-6: any pod in the cluster could trigger deletions.
    for (const path of ['/', '/actions']) {
      it(`takes no actions at ${path}, whatever the credentials`, async () => {
        expect(await post(cordon, { path, headers: right })).to.deep.include({ status: 404 });
        expect(connections).to.equal(0);
      });
    }

    it('challenges whoever has no credentials, and reads nothing of the body', async () => {
      for (const body of [cordon, '{"x', undefined]) {
        const answer = await post(body, { path: '/alerts' });
        expect(answer.status).to.equal(401);
        expect(answer.headers.get('www-authenticate')).to.match(/^Basic realm="[^"]+"/);
        expect(answer.body).to.deep.include({ code: 'unauthorized' });
        expect(answer.body.id).to.match(uuid);
      }
      // Cloud Monitoring asks so first, and an alert on errors must not go off for it.
      expect(lines.every(({ severity }) => severity === 'INFO')).to.equal(true);
    });

    it('refuses wrong credentials, which is worth a warning', async () => {
      const wrong = `Basic ${Buffer.from('monitoring:guess').toString('base64')}`;
      const answer = await post(cordon, { path: '/alerts', headers: { ...json, Authorization: wrong } });
      expect(answer.status).to.equal(401);
      expect(lines.at(-1)).to.include({ severity: 'WARNING', event: 'refused', code: 'unauthorized' });
      expect(JSON.stringify(lines)).not.to.contain(wrong.slice(6));
    });

    it('reads the body of whoever has the right ones', async () => {
      const answer = await post('{"x', { path: '/alerts', headers: right });
      expect(answer).to.deep.include({ status: 400 });
      expect(answer.body.code).to.equal('invalid_action');
    });
  });

  describe('at shutdown', () => {
    it('brings the deadlines of what is under way forward, and waits for the answers', async () => {
      const deadlines: Deadline[] = [];
      const arrived = Promise.withResolvers<void>();
      const finish = Promise.withResolvers<never>();
      use({
        connect: async (_name, deadline) => {
          deadlines.push(deadline);
          if (deadlines.length === 2) arrived.resolve();
          return finish.promise;
        },
      });
      const answers = Promise.all([post(cordon), post({ ...cordon, id: 'incident-8' })]);
      await arrived.promise;
      expect(deadlines.every((deadline) => deadline.leftMs() > 230_000)).to.equal(true);
      let isDown = false;
      const down = handler.shutDown().then(() => (isDown = true));
      expect(deadlines.every((deadline) => deadline.leftMs() <= 7000)).to.equal(true);
      await new Promise(setImmediate);
      expect(isDown).to.equal(false);
      finish.reject(new FailoverError('upstream_timeout', 'stopped'));
      expect((await answers).map(({ status }) => status)).to.deep.equal([504, 504]);
      await down;
    });

    it('waits for a request that comes after it, too, which has what is left of the same few seconds', async () => {
      const time = useFakeTimers({ toFake: ['Date', 'performance'], now: 1000 });
      try {
        const deadlines: Deadline[] = [];
        const arrivals = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
        const finish = [Promise.withResolvers<never>(), Promise.withResolvers<never>()];
        use({
          connect: async (_name, deadline) => {
            const index = deadlines.push(deadline) - 1;
            arrivals[index]?.resolve();
            return finish[index]?.promise ?? Promise.reject(new Error('a third one'));
          },
        });
        const first = post(cordon);
        await arrivals[0]?.promise;
        let isDown = false;
        const down = handler.shutDown().then(() => (isDown = true));
        time.tick(3000);
        const second = post({ ...cordon, id: 'incident-8' });
        await arrivals[1]?.promise;
        expect(deadlines[1]?.leftMs()).to.equal(4000);
        finish[0]?.reject(new FailoverError('upstream_timeout', 'stopped'));
        expect((await first).status).to.equal(504);
        await new Promise(setImmediate);
        expect(isDown).to.equal(false);
        finish[1]?.reject(new FailoverError('upstream_timeout', 'stopped'));
        expect((await second).status).to.equal(504);
        await down;
      } finally {
        time.restore();
      }
    });

    it('is over at once where nothing is under way', async () => {
      await handler.shutDown();
    });
  });

  /** Puts a handler with these options in front, whose cluster must not be connected to unless they say how. */
  function use(
    options: { connect?: Connect; config?: typeof config } & Omit<Partial<HandlerOptions>, 'services'> = {},
  ) {
    const { connect: connectTo, config: settings = config, ...others } = options;
    connections = 0;
    lines = [];
    const written = lines;
    handler = createHandler({
      services: {
        config: settings,
        clock: createSystemClock(),
        connect: async (name, deadline) => {
          connections++;
          if (!connectTo) throw new Error('nothing must be connected to');
          return connectTo(name, deadline);
        },
        prepareRepair: async () => undefined,
        deleteInstance: async () => {
          throw new Error('nothing must be deleted');
        },
      },
      log: createLog((line) => written.push(JSON.parse(line) as LogLine)),
      ...others,
    });
  }

  async function post(
    body: unknown,
    {
      path = '/actions',
      method = 'POST',
      headers = json,
    }: { path?: string; method?: string; headers?: Record<string, string> } = {},
  ): Promise<Answer> {
    const text = typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body);
    const response = await fetch(`http://127.0.0.1:${port}${path}`, {
      method,
      headers,
      // As bytes, for fetch would give a text a Content-Type.
      ...(text === undefined ? {} : { body: new Uint8Array(Buffer.from(text)) }),
    });
    return {
      status: response.status,
      headers: response.headers,
      body: (await response.json()) as Answer['body'],
    };
  }

  /** Posts the action with a first line that fetch would tidy up. */
  function sendRaw(firstLine: string): Promise<Omit<Answer, 'headers'>> {
    const body = JSON.stringify(cordon);
    const head = `${firstLine}\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n`;
    return new Promise((resolve, reject) => {
      const socket = connect(port, '127.0.0.1', () =>
        socket.write(`${head}Content-Length: ${body.length}\r\n\r\n${body}`),
      );
      let text = '';
      socket.setEncoding('utf8');
      socket.on('data', (chunk) => (text += chunk));
      socket.on('error', reject);
      socket.on('end', () => {
        const [headers = '', content = ''] = text.split('\r\n\r\n');
        resolve({ status: Number(headers.split(' ')[1]), body: JSON.parse(content) as Answer['body'] });
      });
    });
  }
});

function pathOf(url: string): string {
  const { pathname, search } = new URL(url);
  return pathname + search;
}

function inLowerCase(headers: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
}

interface Answer {
  status: number;
  headers: Headers;
  body: { id?: string; error?: string; code?: string; steps?: Record<string, unknown>[] };
}

interface LogLine {
  severity: string;
  event: string;
  action_id?: string;
  caller?: string;
  requestor?: string;
  stack_trace?: string;
  causes?: string[];
  duration_ms?: number;
}

/** A cluster in which the action was done before. */
function createReplay(steps: unknown[], close: () => Promise<void>): ClusterConnection {
  const hash = hashAction(parseAction(cordon, config.clusters, ''));
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
      name: 'action-x',
      uid: 'u',
      resourceVersion: '1',
      annotations: Object.fromEntries(
        Object.entries(annotations).map(([key, value]) => [`autometric-failover/${key}`, value]),
      ),
    },
  };
  const kubernetes = {
    coordination: { readNamespacedLease: async () => lease },
    serverNow: () => Date.now(),
  };
  return { name: config.clusters[0], kubernetes, isAutopilot: false, close } as unknown as ClusterConnection;
}
