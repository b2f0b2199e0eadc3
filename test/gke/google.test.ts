import { createServer } from 'node:http';
import type { Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { InstancesClient } from '@google-cloud/compute';
import { ClusterManagerClient } from '@google-cloud/container';
import { expect } from 'chai';
import { GoogleAuth, OAuth2Client } from 'google-auth-library';
import { readConfig } from '../../src/config.ts';
import { UpstreamError } from '../../src/errors.ts';
import { getGoogleAuth, toGoogleOptions, toUpstreamError, withinCall } from '../../src/gke/google.ts';
import { describeError } from '../../src/log.ts';

describe('getGoogleAuth', () => {
  const environment = { CLUSTERS: 'projects/ml-prod/locations/us-central1/clusters/train' };

  it('gives all clients of a configuration the same credentials', () => {
    const config = readConfig(environment);
    expect(getGoogleAuth(config)).to.equal(getGoogleAuth(config));
    expect(getGoogleAuth(readConfig(environment))).not.to.equal(getGoogleAuth(config));
  });

  it('names the project, because Google’s library would otherwise look it up', async () => {
    expect(await getGoogleAuth(readConfig(environment)).getProjectId()).to.equal('ml-prod');
  });
});

describe('toGoogleOptions', () => {
  for (const { endpoint, options } of [
    { endpoint: undefined, options: { fallback: true } },
    {
      endpoint: 'http://127.0.0.1:8001/',
      options: { fallback: true, apiEndpoint: '127.0.0.1', port: 8001, protocol: 'http' },
    },
    {
      endpoint: 'http://localhost/compute/v1/',
      options: { fallback: true, apiEndpoint: 'localhost', port: 80, protocol: 'http' },
    },
    {
      endpoint: 'https://container.example.com/',
      options: { fallback: true, apiEndpoint: 'container.example.com', port: 443, protocol: 'https' },
    },
  ]) {
    it(`speaks REST to ${endpoint ?? "Google's own endpoint"}`, () => {
      expect(toGoogleOptions(endpoint ? new URL(endpoint) : undefined)).to.deep.equal(options);
    });
  }
});

describe('toUpstreamError', () => {
  let server: Server;
  let respond: (response: ServerResponse) => void;
  let requests: string[];
  let call: Record<'container' | 'compute', (timeout?: number) => Promise<unknown>>;

  before(async () => {
    server = createServer((request, response) => {
      requests.push(`${request.method} ${request.url?.split('?', 1)[0]}`);
      respond(response);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const endpoint = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
    const authClient = new OAuth2Client();
    authClient.setCredentials({ access_token: 'ya29.secret-token', expiry_date: Date.now() + 3_600_000 });
    const options = () => ({
      auth: new GoogleAuth({ authClient, projectId: 'ml-prod' }),
      ...toGoogleOptions(endpoint),
    });
    const container = new ClusterManagerClient(options());
    const instances = new InstancesClient(options());
    const once = (timeout = 15_000) => ({ timeout, retry: null });
    call = {
      container: (timeout) =>
        container.getCluster({ name: 'projects/ml-prod/locations/l/clusters/c' }, once(timeout)),
      compute: (timeout) =>
        instances.delete(
          { project: 'ml-prod', zone: 'us-central1-a', instance: '42', requestId: 'r' },
          once(timeout),
        ),
    };
  });

  beforeEach(() => (requests = []));

  after(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  const toBody = (code: number, reason: string, status?: string) =>
    JSON.stringify({
      error: {
        code,
        message: `secret-free words, and Bearer abc.def`,
        errors: [{ reason, domain: 'd' }],
        status,
      },
      echoed: 'secret-in-body',
    });

  // As Google's own clients report it, over real HTTP.
  for (const api of ['container', 'compute'] as const) {
    for (const { name, status, body, expected } of [
      {
        name: 'a 404',
        status: 404,
        body: toBody(404, 'notFound', 'NOT_FOUND'),
        expected: { upstreamStatus: 404, upstreamReason: 'notFound', isRetryable: false },
      },
      {
        name: 'a 400 of a machine that is being made',
        status: 400,
        body: toBody(400, 'resourceNotReady'),
        expected: { upstreamStatus: 400, upstreamReason: 'resourceNotReady', isRetryable: false },
      },
      {
        name: 'a denial, with what lifts it',
        status: 403,
        body: toBody(403, 'forbidden', 'PERMISSION_DENIED'),
        expected: {
          upstreamStatus: 403,
          upstreamReason: 'forbidden',
          isRetryable: false,
          message: 'the Compute API answered 403 forbidden (CALL): grant it',
        },
      },
      {
        name: 'a 401, with what lifts it',
        status: 401,
        body: toBody(401, 'authError', 'UNAUTHENTICATED'),
        expected: {
          upstreamStatus: 401,
          isRetryable: false,
          message: 'the Compute API answered 401 authError (CALL): grant it',
        },
      },
      {
        // Compute says 403 to too many requests, which is no denial.
        name: 'an exhausted rate',
        status: 403,
        body: toBody(403, 'rateLimitExceeded'),
        expected: {
          upstreamStatus: 403,
          upstreamReason: 'rateLimitExceeded',
          isRetryable: true,
          message: 'the Compute API answered 403 rateLimitExceeded (CALL)',
        },
      },
      {
        name: 'an exhausted quota',
        status: 429,
        body: toBody(429, 'quotaExceeded', 'RESOURCE_EXHAUSTED'),
        expected: { upstreamStatus: 429, isRetryable: true },
      },
      {
        name: 'a 503',
        status: 503,
        body: toBody(503, 'backendError', 'UNAVAILABLE'),
        expected: { code: 'upstream_failed', upstreamStatus: 503, isRetryable: true },
      },
      {
        name: 'a 502 with a page of HTML',
        status: 502,
        body: '<html><title>Error 502</title>secret-in-body</html>',
        expected: { upstreamStatus: 502, upstreamReason: undefined, isRetryable: true },
      },
      {
        name: 'a 403 with a page of HTML',
        status: 403,
        body: '<html>secret-in-body</html>',
        expected: { upstreamStatus: 403, upstreamReason: undefined, isRetryable: false },
      },
      {
        name: 'a 500 without a body',
        status: 500,
        body: '',
        expected: { upstreamStatus: 500, upstreamReason: undefined, isRetryable: true },
      },
    ]) {
      it(`translates ${name} (${api}), and keeps the body out of answer and log`, async () => {
        respond = (response) => {
          response.writeHead(status, { 'Content-Type': 'application/json' });
          response.end(body);
        };
        const error = await failureOf(() => call[api]());
        expect(error).to.include({ code: 'upstream_failed', ...expected });
        expect(requests, 'it is retried elsewhere').to.have.lengthOf(1);
        const shown = JSON.stringify([error.message, describeError(error)]);
        expect(shown).not.to.contain('secret-in-body');
        expect(shown).not.to.contain('secret-token');
        expect(shown).not.to.contain('abc.def');
        expect(shown).to.contain(String(status));
      });
    }

    it(`keeps the API’s message for the log (${api})`, async () => {
      respond = (response) => response.writeHead(404).end(toBody(404, 'notFound', 'NOT_FOUND'));
      expect(JSON.stringify(describeError(await failureOf(() => call[api]())))).to.contain(
        'secret-free words',
      );
    });

    it(`translates a connection that is lost (${api})`, async () => {
      respond = (response) => response.socket?.destroy();
      expect(await failureOf(() => call[api]())).to.include({
        code: 'upstream_failed',
        upstreamStatus: undefined,
        isRetryable: true,
        message: 'the Compute API could not be reached, or broke the connection (CALL)',
      });
    });

    it(`translates an answer that never comes (${api})`, async () => {
      respond = () => undefined;
      expect(await failureOf(() => call[api](100))).to.include({
        code: 'upstream_timeout',
        upstreamStatus: undefined,
        isRetryable: true,
        message: 'the Compute API did not answer in time (CALL)',
      });
    });

    it(`translates an answer that is no JSON (${api})`, async () => {
      respond = (response) => response.writeHead(200, { 'Content-Type': 'application/json' }).end('{"cut":');
      expect(await failureOf(() => call[api]())).to.include({ code: 'upstream_failed', isRetryable: true });
    });
  }

  it('translates whatever else is thrown', () => {
    for (const thrown of [undefined, null, 'text', 5, new TypeError('x')]) {
      expect(toUpstreamError(thrown, 'Container API', 'GET x', 'advice')).to.include({
        code: 'upstream_failed',
        upstreamStatus: undefined,
        isRetryable: true,
      });
    }
  });

  it('translates an answer of the token endpoint, which another client makes', () => {
    const thrown = Object.assign(new Error('invalid_grant'), { status: 400, code: '400' });
    expect(toUpstreamError(thrown, 'metadata server', 'GET token', 'advice')).to.include({
      upstreamStatus: 400,
      isRetryable: false,
      message: 'the metadata server answered 400 (GET token)',
    });
  });

  /** What a failing call is translated to, as if it were a call to Compute. */
  async function failureOf(work: () => Promise<unknown>): Promise<UpstreamError> {
    try {
      await work();
    } catch (error) {
      return toUpstreamError(error, 'Compute API', 'CALL', 'grant it');
    }
    throw new Error('nothing failed');
  }
});

describe('withinCall', () => {
  const what = { api: 'Container API', call: 'GET x' } as const;
  const never = new Promise<never>(() => undefined);
  const { signal } = new AbortController();

  it('resolves and rejects as the work does', async () => {
    expect(await withinCall({ timeoutMs: 1000, signal }, what, Promise.resolve(5))).to.equal(5);
    const bug = new TypeError('x');
    expect(await failureOf(withinCall({ timeoutMs: 1000, signal }, what, Promise.reject(bug)))).to.equal(bug);
  });

  it('gives up after the time-out of the call', async () => {
    expect(await failureOf(withinCall({ timeoutMs: 5, signal }, what, never))).to.include({
      code: 'upstream_timeout',
      message: 'the Container API did not answer in time (GET x)',
      isRetryable: true,
    });
  });

  it('gives up when the instance shuts down, or has shut down', async () => {
    const controller = new AbortController();
    const failing = failureOf(withinCall({ timeoutMs: 60_000, signal: controller.signal }, what, never));
    controller.abort();
    expect(await failing)
      .to.be.instanceOf(UpstreamError)
      .and.to.include({ code: 'upstream_timeout' });
    const late = withinCall({ timeoutMs: 60_000, signal: controller.signal }, what, never);
    expect(await failureOf(late)).to.include({ code: 'upstream_timeout' });
  });

  async function failureOf(work: Promise<unknown>): Promise<unknown> {
    try {
      await work;
    } catch (error) {
      return error;
    }
    throw new Error('nothing failed');
  }
});
