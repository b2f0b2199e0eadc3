import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { createServer } from 'node:http';
import type { Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname } from 'node:path';
import { expect } from 'chai';
import { findFreePort } from './fixtures/free-port.ts';

const fullName = 'projects/ml-prod/locations/us-central1/clusters/train';
const cordon = {
  id: 'incident-7',
  requestor: 'alice@example.com',
  reason: 'HBM errors',
  type: 'cordon_nodepool',
  node_pool: 'pool-a',
};

describe('the function as functions-framework runs it', () => {
  /** Stands in for the metadata server and the Container API. */
  let upstream: Server;
  let upstreamUrl: URL;
  /** What the stand-in does with a request for a token, and with one for a cluster. */
  let respond: Record<'token' | 'cluster', (response: ServerResponse) => void>;
  const instances: ChildProcess[] = [];

  const giveToken = (response: ServerResponse) =>
    response
      .writeHead(200, { 'Metadata-Flavor': 'Google', 'Content-Type': 'application/json' })
      .end('{"access_token":"ya29.secret","expires_in":3600,"token_type":"Bearer"}');
  const findNoCluster = (response: ServerResponse) =>
    response
      .writeHead(404, { 'Content-Type': 'application/json' })
      .end('{"error":{"code":404,"message":"no","status":"NOT_FOUND"}}');

  before(async () => {
    upstream = createServer((request, response) => {
      if (request.url?.includes('/clusters/')) respond.cluster(response);
      else if (request.url?.includes('/token')) respond.token(response);
      else response.writeHead(200, { 'Metadata-Flavor': 'Google' }).end('default');
    });
    await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve));
    upstreamUrl = new URL(`http://127.0.0.1:${(upstream.address() as AddressInfo).port}/`);
  });

  after(async () => {
    for (const instance of instances) instance.kill('SIGKILL');
    upstream.closeAllConnections();
    await new Promise((resolve) => upstream.close(resolve));
  });

  it('answers running and new requests after SIGTERM, then exits with 0', async () => {
    const asked = [Promise.withResolvers<ServerResponse>(), Promise.withResolvers<ServerResponse>()];
    let count = 0;
    respond = { token: giveToken, cluster: (response) => asked[count++]?.resolve(response) };
    const instance = await serve();
    const first = instance.post(cordon);
    const firstLookup = await asked[0]?.promise;
    instance.process.kill('SIGTERM');
    await instance.hasLogged('SIGTERM: finishing the requests in flight');
    const second = instance.post({ ...cordon, id: 'incident-8' });
    const secondLookup = await asked[1]?.promise;
    if (firstLookup) findNoCluster(firstLookup);
    expect(await first).to.deep.equal({
      status: 404,
      body: { id: 'incident-7', error: `there is no cluster ${fullName}`, code: 'target_not_found' },
    });
    if (secondLookup) findNoCluster(secondLookup);
    expect(await second).to.deep.include({ status: 404 });
    expect(await instance.exit).to.deep.equal({ code: 0, signal: null });
    const own = instance.output().slice(instance.output().findIndex((line) => line.startsWith('URL: ')) + 1);
    expect(own.every((line) => line.startsWith('{"severity":"'))).to.equal(true);
  });

  // Counts the time of the timers that were set after SIGTERM and fired, each from when it was set: a busy machine runs them
  // late, but not more of them. One that was set before may fire first where the signal comes late.
  const tellsTimerTime = `
    import { writeSync } from 'node:fs';
    const { setTimeout: set } = globalThis;
    let passed = 0;
    let isTermed = false;
    globalThis.setTimeout = (run, ms = 0, ...rest) => {
      const due = isTermed ? passed + ms : 0;
      return set((...parameters) => {
        passed = Math.max(passed, due);
        run(...parameters);
      }, ms, ...rest);
    };
    const { emit } = process;
    process.emit = function (event, ...rest) {
      if (event === 'SIGTERM') isTermed = true;
      return emit.call(this, event, ...rest);
    };
    process.on('exit', () => writeSync(1, 'timers: ' + Math.round(passed) + ' ms after SIGTERM\\n'));`;

  it('fails a request that hangs within 10 s of SIGTERM, then exits with 0', async () => {
    const hangs = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    respond = { token: () => hangs[0]?.resolve(), cluster: () => hangs[1]?.resolve() };
    const instance = await serve({ NODE_OPTIONS: `--import "${toDataUrl(tellsTimerTime)}"` });
    const answer = instance.post(cordon);
    // The Container API is asked once the token is there: without one, both calls hang on it.
    await hangs[0]?.promise;
    instance.process.kill('SIGTERM');
    const { status, body } = await answer;
    expect({ status, code: body.code, id: body.id }).to.deep.equal({
      status: 504,
      code: 'upstream_timeout',
      id: 'incident-7',
    });
    expect(await instance.exit).to.deep.equal({ code: 0, signal: null });
    const told = /timers: (\d+) ms after SIGTERM/.exec(instance.output().join('\n'));
    expect(told, instance.output().join('\n')).not.to.equal(null);
    expect(Number(told?.[1])).to.be.below(10_000);
  });

  // An error that nobody can await is one after which nothing of the action is known any more.
  it('exits when an error is thrown outside every promise', async () => {
    respond = { token: () => undefined, cluster: () => undefined };
    const throwsOnceConnecting = `
      import http from 'node:http';
      import { syncBuiltinESMExports } from 'node:module';
      const { request } = http;
      http.request = (...parameters) => {
        setImmediate(() => { throw new Error('thrown outside every promise'); });
        return request(...parameters);
      };
      syncBuiltinESMExports();`;
    const instance = await serve({ NODE_OPTIONS: `--import "${toDataUrl(throwsOnceConnecting)}"` });
    expect(await instance.send(cordon)).to.have.property('status', 500);
    expect(await instance.exit).to.deep.equal({ code: 16, signal: null });
    expect(instance.output().join('\n')).to.contain('thrown outside every promise');
  });

  describe('does not start', () => {
    // Every setting that can be wrong by itself, all at once: each is to have its sentence.
    const wrong = {
      ALLOWED_ACTIONS: 'reboot',
      ALERT_ACTIONS: 'drain',
      ALLOWED_NAMESPACES: '*',
      COOLDOWN_SECONDS: 'an hour',
      MAX_POOLS_PER_HOUR: '0',
      MAX_ALERT_AGE_SECONDS: '1',
      ACTION_DEADLINE_SECONDS: '5',
      CORDON_CONCURRENCY: '-1',
      GKE_ENDPOINT: 'ip',
      CLOUDSDK_API_ENDPOINT_OVERRIDES_CONTAINER: 'container.example.com',
      CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE: 'http://compute.example.com/',
    };
    const credentials = { WEBHOOK_USERNAME: 'monitoring', WEBHOOK_PASSWORD: 'correct horse battery' };
    const refused: { name: string; environment: Record<string, string>; sentences: RegExp[] }[] = [
      {
        name: 'without CLUSTERS and with wrong settings',
        environment: wrong,
        sentences: [
          /CLUSTERS is not set: list the GKE clusters/,
          ...Object.keys(wrong).map((name) => new RegExp(`(: |; )${name} (has|must)`)),
        ],
      },
      {
        name: 'as a public webhook without credentials',
        environment: { CLUSTERS: fullName, FUNCTION_TARGET: 'failoverWebhook' },
        sentences: [/WEBHOOK_USERNAME is not set/, /WEBHOOK_PASSWORD is not set: set it from Secret Manager/],
      },
      {
        name: 'as a public webhook with a short password',
        environment: {
          CLUSTERS: fullName,
          FUNCTION_TARGET: 'failoverWebhook',
          ...credentials,
          WEBHOOK_PASSWORD: 'x',
        },
        sentences: [/WEBHOOK_PASSWORD must have at least 16 characters/],
      },
    ];
    let starts: ReturnType<typeof start>[];

    // They start at the same time, for starting is what takes time.
    before(() => {
      starts = refused.map(({ environment }) => start(environment));
    });

    for (const [index, { name, sentences }] of refused.entries()) {
      it(`${name}, and says in one line what to set`, async () => {
        const instance = starts[index];
        expect(await instance?.exit).to.deep.equal({ code: 1, signal: null });
        const output = instance?.output() ?? [];
        expect(output).to.have.lengthOf(1);
        const line = JSON.parse(output[0] ?? '') as { severity: string; event: string; message: string };
        expect(line).to.include({ severity: 'ERROR', event: 'failed' });
        expect(line.message).to.match(/^the function cannot start: /);
        for (const sentence of sentences) expect(line.message).to.match(sentence);
      });
    }
  });

  /** Starts the function as the platform does, but that the framework says when it listens. */
  function start(environment: Record<string, string>) {
    const child = spawn('node_modules/.bin/functions-framework', [], {
      env: {
        PATH: dirname(process.execPath),
        FUNCTION_TARGET: 'failover',
        FUNCTION_SIGNATURE_TYPE: 'http',
        FUNCTION_SOURCE: 'src/index.ts',
        ...environment,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    instances.push(child);
    const exit = new Promise<{ code: number | null; signal: string | null }>((resolve) =>
      child.once('close', (code, signal) => resolve({ code, signal })),
    );
    let text = '';
    const listeners = new Set<() => void>();
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8');
      stream.on('data', (chunk: string) => {
        text += chunk;
        for (const listener of listeners) listener();
      });
    }
    const hasLogged = (what: string) =>
      new Promise<void>((resolve) => {
        const look = () => {
          if (text.includes(what)) resolve();
        };
        listeners.add(look);
        look();
      });
    return { process: child, exit, hasLogged, output: () => text.split('\n').filter((line) => line !== '') };
  }

  /** Starts the function in front of the stand-in, and waits until it listens. */
  async function serve(settings: Record<string, string> = {}) {
    const port = await findFreePort();
    const instance = start({
      PORT: String(port),
      CLUSTERS: fullName,
      CLOUDSDK_API_ENDPOINT_OVERRIDES_CONTAINER: upstreamUrl.href,
      GCE_METADATA_HOST: upstreamUrl.host,
      METADATA_SERVER_DETECTION: 'assume-present',
      ...settings,
    });
    await instance.hasLogged('URL: ');
    const send = (body: unknown) =>
      fetch(`http://127.0.0.1:${port}/actions`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify(body),
      });
    return {
      ...instance,
      send,
      post: async (body: unknown) => {
        const response = await send(body);
        return {
          status: response.status,
          body: (await response.json()) as { id?: string; error?: string; code?: string },
        };
      },
    };
  }
});

function toDataUrl(module: string): string {
  return `data:text/javascript,${encodeURIComponent(module)}`;
}
