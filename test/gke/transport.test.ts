import { getEventListeners } from 'node:events';
import { constants, createSecureServer } from 'node:http2';
import type { Http2ServerResponse } from 'node:http2';
import { createServer as createHttpsServer } from 'node:https';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import type { JsonGeneralName } from '@peculiar/x509';
import { expect } from 'chai';
import { createConnectionPool, TimeoutError } from '../../src/gke/transport.ts';
import type { HttpRequest, TlsOptions } from '../../src/gke/transport.ts';
import { findFreePort } from '../fixtures/free-port.ts';

/** What a server below does with a request: answer at once, with a delay of its own choosing, or never. */
type Respond = (request: ServerRequest, response: ServerResponse) => void;
interface ServerRequest {
  method?: string | undefined;
  url?: string | undefined;
  headers: Record<string, string | string[] | undefined>;
  on(event: 'data', listener: (chunk: Buffer) => void): unknown;
  on(event: 'end' | 'close', listener: () => void): unknown;
}
interface ServerResponse {
  writeHead(status: number, headers?: Record<string, string>): unknown;
  write(chunk: string | Uint8Array, written?: () => void): unknown;
  end(text?: string): unknown;
}

describe('createConnectionPool', () => {
  const opened: { close: () => unknown }[] = [];
  let authority: Authority;
  let otherAuthority: Authority;

  before(async () => {
    [authority, otherAuthority] = await Promise.all([createAuthority(), createAuthority()]);
  });

  afterEach(async () => {
    await Promise.all(opened.splice(0).map((each) => each.close()));
  });

  it('sends method, path, headers and body, and reads status, headers and body', async () => {
    const { url, seen } = await serve((_request, response) => {
      response.writeHead(201, { 'Content-Type': 'application/json', 'X-Note': 'a' });
      response.end('{"ok":true}');
    });
    const transport = open({ ca: authority.pem });
    const answer = await transport({
      ...toRequest(`${url}/api/v1/nodes/a?fieldManager=f&force=true`),
      method: 'PATCH',
      headers: { 'Content-Type': 'application/apply-patch+yaml', Authorization: 'Bearer t' },
      body: '{"kind":"Node"}',
    });
    expect(answer).to.deep.include({ status: 201, body: '{"ok":true}' });
    expect(answer.headers).to.include({ 'content-type': 'application/json', 'x-note': 'a' });
    expect(answer.headers).to.have.property('date');
    expect(seen).to.deep.equal([
      {
        method: 'PATCH',
        url: '/api/v1/nodes/a?fieldManager=f&force=true',
        contentType: 'application/apply-patch+yaml',
        authorization: 'Bearer t',
        body: '{"kind":"Node"}',
      },
    ]);
  });

  for (const status of [302, 404, 500]) {
    it(`reads an answer of ${status} like any other, and follows no redirect`, async () => {
      const { url, seen } = await serve((_request, response) => {
        response.writeHead(status, { Location: '/elsewhere', 'Retry-After': '7' });
        response.end('no');
      });
      const answer = await open({ ca: authority.pem })(toRequest(url));
      expect(answer).to.deep.include({ status, body: 'no' });
      expect(answer.headers).to.include({ 'retry-after': '7' });
      expect(seen).to.have.lengthOf(1);
    });
  }

  // The Kubernetes client as it comes opens a TLS connection for each request.
  for (const [protocol, most] of [
    ['h2', 3],
    ['http/1.1', 32],
  ] as const) {
    it(`sends hundreds of requests over ${most} connections at most (${protocol})`, async () => {
      const { url, count } = await serve(answerOk, { protocol });
      const transport = open({ ca: authority.pem });
      const answers = await Promise.all(
        Array.from({ length: 300 }, (_, index) =>
          transport({ ...toRequest(`${url}/${index}`), method: 'PATCH', body: '{}' }),
        ),
      );
      expect(answers.every((answer) => answer.status === 200)).to.equal(true);
      expect(count().requests).to.equal(300);
      expect(count().connections).to.be.within(1, most);
    });

    it(`uses one connection for one request after the other (${protocol})`, async () => {
      const { url, count } = await serve(answerOk, { protocol });
      const transport = open({ ca: authority.pem });
      for (let index = 0; index < 10; index++) await transport(toRequest(`${url}/${index}`));
      expect(count().requests).to.equal(10);
      // The next request may come before the connection is known to be free.
      expect(count().connections).to.be.within(1, protocol === 'h2' ? 1 : 2);
    });

    it(`reads characters that come in pieces (${protocol})`, async () => {
      const text = JSON.stringify({ reason: '切换 «überhitzt» 🔥' });
      const { url } = await serve(
        (_request, response) => {
          response.writeHead(200);
          for (const byte of Buffer.from(text)) response.write(Buffer.from([byte]));
          response.end();
        },
        { protocol },
      );
      expect((await open({ ca: authority.pem })(toRequest(url))).body).to.equal(text);
    });

    it(`reads an answer of megabytes (${protocol})`, async () => {
      const { url } = await serve(
        (_request, response) => {
          response.writeHead(200);
          response.end('x'.repeat(9_000_000));
        },
        { protocol },
      );
      expect((await open({ ca: authority.pem })(toRequest(url))).body).to.have.lengthOf(9_000_000);
    });

    it(`reads an answer without a body (${protocol})`, async () => {
      const { url } = await serve(
        (_request, response) => {
          response.writeHead(204);
          response.end();
        },
        { protocol },
      );
      expect(await open({ ca: authority.pem })(toRequest(url))).to.include({ status: 204, body: '' });
    });

    it(`rejects when the connection is lost before the answer, and goes on over another (${protocol})`, async () => {
      const server = await serve(
        (request, response) => {
          if (request.url === '/lost') server.drop();
          else answerOk(request, response);
        },
        { protocol },
      );
      const { url, count } = server;
      const transport = open({ ca: authority.pem });
      const error = await failureOf(transport(toRequest(`${url}/lost`)));
      expect(error).to.include({ code: 'ECONNRESET' }).and.not.to.be.instanceOf(TimeoutError);
      expect((await transport(toRequest(url))).status).to.equal(200);
      expect(count().requests).to.equal(2);
    });

    // A cut list must not be taken for a short one.
    for (const length of [undefined, '100']) {
      for (const how of ['closed', 'reset'] as const) {
        it(`rejects when the connection is ${how} within the answer, ${length ? 'with' : 'without'} a length (${protocol})`, async () => {
          const server = await serve(
            (_request, response) => {
              response.writeHead(200, length ? { 'Content-Length': length } : {});
              response.write('{"items":[]}', () => setImmediate(() => server.drop(how)));
            },
            { protocol },
          );
          const error = await failureOf(open({ ca: authority.pem })(toRequest(server.url)));
          expect(error).to.be.instanceOf(Error).and.not.to.be.instanceOf(TimeoutError);
        });
      }
    }

    it(`closes its connections, also those with a request under way (${protocol})`, async () => {
      const arrived = Promise.withResolvers<void>();
      const { url, count } = await serve(() => arrived.resolve(), { protocol });
      const pool = openPool({ ca: authority.pem });
      const failing = failureOf(pool.transport(toRequest(url)));
      await arrived.promise;
      pool.close();
      expect(await failing).to.be.instanceOf(Error);
      expect(await failureOf(pool.transport(toRequest(url)))).to.be.instanceOf(Error);
      expect(count().requests).to.equal(1);
    });

    it(`rejects with a TimeoutError when no answer comes (${protocol})`, async () => {
      const { url } = await serve(() => undefined, { protocol });
      const error = await failureOf(open({ ca: authority.pem })({ ...toRequest(url), timeoutMs: 30 }));
      expect(error).to.be.instanceOf(TimeoutError).and.to.include({ message: 'no answer in 30 ms' });
    });

    it(`rejects with a TimeoutError when an answer does not end (${protocol})`, async () => {
      const { url } = await serve(
        (_request, response) => {
          response.writeHead(200);
          response.write('{"items":[');
        },
        { protocol },
      );
      const error = await failureOf(open({ ca: authority.pem })({ ...toRequest(url), timeoutMs: 60 }));
      expect(error).to.be.instanceOf(TimeoutError).and.to.include({ message: 'no answer in 60 ms' });
    });
  }

  it('opens another connection once a hundred requests are under way on each', async () => {
    const held: ServerResponse[] = [];
    const { url, count } = await serve((_request, response) => held.push(response));
    const transport = open({ ca: authority.pem });
    const answers = Array.from({ length: 250 }, (_, index) => transport(toRequest(`${url}/${index}`)));
    while (held.length < 250) await new Promise(setImmediate);
    for (const response of held) response.end('{}');
    await Promise.all(answers);
    expect(count()).to.deep.equal({ requests: 250, connections: 3 });
  });

  // A connection may be dead without saying so.
  it('goes on over another connection after a request has timed out', async () => {
    const { url, count } = await serve((request, response) => {
      if (request.url !== '/hang') answerOk(request, response);
    });
    const transport = open({ ca: authority.pem });
    await transport(toRequest(`${url}/first`));
    const hanging = failureOf(transport({ ...toRequest(`${url}/hang`), timeoutMs: 30 }));
    expect((await transport(toRequest(`${url}/a`))).status).to.equal(200);
    expect(count().connections).to.equal(1);
    expect(await hanging).to.be.instanceOf(TimeoutError);
    expect((await transport(toRequest(`${url}/b`))).status).to.equal(200);
    expect(count().connections).to.equal(2);
  });

  for (const protocol of ['h2', 'http/1.1'] as const) {
    it(`also closes connections that it no longer uses, with the requests that still run on them (${protocol})`, async () => {
      const arrived = Promise.withResolvers<void>();
      const { url } = await serve((request) => request.url === '/slow' && arrived.resolve(), { protocol });
      const pool = openPool({ ca: authority.pem });
      const slow = failureOf(pool.transport(toRequest(`${url}/slow`)));
      await arrived.promise;
      await failureOf(pool.transport({ ...toRequest(`${url}/hang`), timeoutMs: 30 }));
      const next = failureOf(pool.transport(toRequest(`${url}/next`)));
      pool.close();
      for (const error of [await slow, await next]) expect(error).to.include({ code: 'UND_ERR_DESTROYED' });
      // Nothing of it may end the process.
      await new Promise((resolve) => setTimeout(resolve, 20));
    });
  }

  // Its lock may be somebody else's by then.
  it('never sends a request that timed out while it waited for a connection', async () => {
    const { url, count } = await serve(answerOk);
    const line = createServer((socket) => {
      const behind = connect(Number(new URL(url).port), '127.0.0.1');
      // TLS is only spoken through this line once the first request was given up.
      void givenUp.promise.then(() => socket.pipe(behind).pipe(socket));
      for (const end of [socket, behind]) end.on('error', () => undefined);
    });
    const givenUp = Promise.withResolvers<void>();
    const through = `https://127.0.0.1:${await listen(line)}`;
    const transport = open({ ca: authority.pem });
    const request = { ...toRequest(`${through}/late`), method: 'DELETE', body: '{}' };
    expect(await failureOf(transport({ ...request, timeoutMs: 30 }))).to.be.instanceOf(TimeoutError);
    givenUp.resolve();
    expect((await transport(toRequest(`${through}/next`))).status).to.equal(200);
    expect(count().requests).to.equal(1);
  });

  it('aborts running requests when the instance shuts down, and sends nothing after that', async () => {
    const controller = new AbortController();
    const arrived = Promise.withResolvers<void>();
    const { url, count } = await serve(() => arrived.resolve());
    const transport = open({ ca: authority.pem }, controller.signal);
    const errors = [failureOf(transport(toRequest(`${url}/a`))), failureOf(transport(toRequest(`${url}/b`)))];
    await arrived.promise;
    controller.abort();
    errors.push(failureOf(transport(toRequest(`${url}/c`))));
    for (const error of await Promise.all(errors)) {
      expect(error)
        .to.be.instanceOf(TimeoutError)
        .and.to.include({ message: 'the instance is shutting down' });
    }
    expect(count().requests).to.be.within(1, 2);
  });

  it('leaves no listener on the shutdown signal', async () => {
    const { url } = await serve(answerOk);
    const { signal } = new AbortController();
    const pool = openPool({ ca: authority.pem }, signal);
    for (let index = 0; index < 3; index++) await pool.transport(toRequest(url));
    expect(getEventListeners(signal, 'abort')).to.have.lengthOf(1);
    pool.close();
    expect(getEventListeners(signal, 'abort')).to.have.lengthOf(0);
  });

  it('reports each request that gets no answer', async () => {
    const server = await serve((_request, response) => response.writeHead(500));
    let failures = 0;
    const pool = createConnectionPool({ ca: authority.pem }, new AbortController().signal, () => failures++);
    opened.push(pool);
    await failureOf(pool.transport({ ...toRequest(server.url), timeoutMs: 30 }));
    await failureOf(pool.transport(toRequest(`https://127.0.0.1:${await findFreePort()}`)));
    expect(failures).to.equal(2);
  });

  describe('canConnect', () => {
    it('opens the connection that the first request is sent over', async () => {
      const { url, count, hasConnected } = await serve(answerOk);
      const pool = openPool({ ca: authority.pem });
      expect(await pool.canConnect(url)).to.equal(true);
      await hasConnected(1);
      expect(count()).to.deep.equal({ requests: 0, connections: 1 });
      for (const path of ['/a', '/b']) {
        expect((await pool.transport(toRequest(url + path))).status).to.equal(200);
      }
      expect(count()).to.deep.equal({ requests: 2, connections: 1 });
    });

    it('opens another connection when the first was lost before the first request', async () => {
      const server = await serve(answerOk);
      const { url, count } = server;
      const pool = openPool({ ca: authority.pem });
      await pool.canConnect(url);
      await server.hasConnected(1);
      server.drop();
      await pollSockets();
      expect((await pool.transport(toRequest(url))).status).to.equal(200);
      expect(count()).to.deep.equal({ requests: 1, connections: 2 });
    });

    it('is false when nobody listens, and when the server has another certificate', async () => {
      const { url } = await serve(answerOk);
      expect(await openPool({}).canConnect(`https://127.0.0.1:${await findFreePort()}`)).to.equal(false);
      expect(await openPool({ ca: otherAuthority.pem }).canConnect(url)).to.equal(false);
    });
  });

  // Without a length, a server takes the body of a DELETE for the next request, and the leader pod is deleted without its
  // uid being looked at.
  for (const protocol of ['h2', 'http/1.1'] as const) {
    for (const method of ['DELETE', 'PATCH', 'POST', 'PUT']) {
      it(`sends the whole body of a ${method} (${protocol})`, async () => {
        const { url, seen } = await serve(answerOk, { protocol });
        const transport = open({ ca: authority.pem });
        const body = '{"preconditions":{"uid":"ü"}}';
        for (let index = 0; index < 2; index++) await transport({ ...toRequest(url), method, body });
        expect(seen).to.have.lengthOf(2);
        for (const each of seen) expect(each).to.include({ method, body });
      });
    }
  }

  it('rejects with the network’s error when nobody listens', async () => {
    const error = await failureOf(open({})(toRequest(`http://127.0.0.1:${await findFreePort()}`)));
    expect(error).to.include({ code: 'ECONNREFUSED' }).and.not.to.be.instanceOf(TimeoutError);
  });

  for (const [name, code] of [
    ['with an error', constants.NGHTTP2_INTERNAL_ERROR],
    ['as refused', constants.NGHTTP2_REFUSED_STREAM],
    ['without an error', constants.NGHTTP2_NO_ERROR],
  ] as const) {
    for (const path of ['/before', '/within']) {
      it(`rejects when the server resets a stream ${name}, ${path.slice(1)} its answer`, async () => {
        const { url } = await serve((_request, response) => {
          const { stream } = response as Http2ServerResponse;
          if (path === '/within') {
            response.writeHead(200, { 'Content-Length': '100' });
            response.write('{"items":[]}');
          }
          setImmediate(() => stream.close(code));
        });
        const transport = open({ ca: authority.pem });
        const error = await failureOf(transport(toRequest(url + path)));
        expect(error).to.be.instanceOf(Error).and.not.to.be.instanceOf(TimeoutError);
      });
    }
  }

  // Each call has to pass the lock's gate.
  for (const how of ['goes away', 'breaks the connection'] as const) {
    it(`does not by itself resend a request that a server that ${how} may have carried out`, async () => {
      const { url, count } = await serve((_request, response) => {
        const { id, session } = (response as Http2ServerResponse).stream;
        if (how === 'goes away') session?.goaway(constants.NGHTTP2_NO_ERROR, id);
        setImmediate(() => session?.destroy());
      });
      const transport = open({ ca: authority.pem });
      const request = { ...toRequest(url), method: 'DELETE', body: '{}' };
      expect(await failureOf(transport(request))).to.be.instanceOf(Error);
      await new Promise((resolve) => setTimeout(resolve, 50));
      expect(count().requests).to.equal(1);
    });
  }

  it('goes on over another connection once the server says that it goes away', async () => {
    const { url, count } = await serve((request, response) => {
      answerOk(request, response);
      if (request.url === '/last') (response as Http2ServerResponse).stream.session?.close();
    });
    const transport = open({ ca: authority.pem });
    expect((await transport(toRequest(`${url}/last`))).status).to.equal(200);
    expect((await transport(toRequest(`${url}/next`))).status).to.equal(200);
    expect(count()).to.deep.equal({ requests: 2, connections: 2 });
  });

  describe('with TLS', () => {
    it('trusts the CA that it was given', async () => {
      const { url } = await serve(answerOk);
      expect((await open({ ca: authority.pem })(toRequest(url))).status).to.equal(200);
    });

    for (const [name, trusted] of [
      ['another CA', () => ({ ca: otherAuthority.pem })],
      ["the system's roots", () => ({})],
    ] as const) {
      it(`sends nothing to a server whose certificate ${name} did not sign`, async () => {
        const { url, count } = await serve(answerOk);
        const error = await failureOf(open(trusted())(toRequest(url)));
        expect(error).to.be.instanceOf(Error);
        // By such a code the Kubernetes client knows that trying again is of no use.
        expect((error as { code?: string }).code).to.match(/CERT|SELF_SIGNED|UNABLE_TO_/);
        expect(count().requests).to.equal(0);
      });
    }

    it('sends nothing to a server whose certificate is for another name', async () => {
      const { url, count } = await serve(answerOk, { name: 'other.example.com' });
      const error = await failureOf(open({ ca: authority.pem })(toRequest(url)));
      expect(error).to.include({ code: 'ERR_TLS_CERT_ALTNAME_INVALID' });
      expect(count().requests).to.equal(0);
    });

    it('presents the certificate that it was given', async () => {
      const client = await authority.issue('alice');
      const server = createHttpsServer(
        {
          ...(await authority.issue('localhost')),
          ca: authority.pem,
          requestCert: true,
          rejectUnauthorized: true,
        },
        (_request, response) => response.end('ok'),
      );
      const url = `https://127.0.0.1:${await listen(server)}`;
      expect((await open({ ca: authority.pem, ...client })(toRequest(url))).status).to.equal(200);
      expect(await failureOf(open({ ca: authority.pem })(toRequest(url)))).to.be.instanceOf(Error);
    });
  });

  function openPool(tls: TlsOptions, shutDown = new AbortController().signal) {
    const pool = createConnectionPool(tls, shutDown);
    opened.push(pool);
    return pool;
  }

  function open(tls: TlsOptions, shutDown?: AbortSignal) {
    return openPool(tls, shutDown).transport;
  }

  /** Serves TLS with a certificate of the authority above, and counts what comes. */
  async function serve(
    respond: Respond,
    { protocol = 'h2', name = 'localhost' }: { protocol?: 'h2' | 'http/1.1'; name?: string } = {},
  ) {
    const seen: unknown[] = [];
    const count = { requests: 0, connections: 0 };
    const onRequest: Respond = (request, response) => {
      count.requests++;
      const chunks: Buffer[] = [];
      request.on('data', (chunk) => chunks.push(chunk));
      request.on('end', () => {
        seen.push({
          method: request.method,
          url: request.url,
          contentType: request.headers['content-type'],
          authorization: request.headers['authorization'],
          body: Buffer.concat(chunks).toString(),
        });
        respond(request, response);
      });
    };
    const certificate = await authority.issue(name);
    const server =
      protocol === 'h2'
        ? createSecureServer(certificate, onRequest as Parameters<typeof createSecureServer>[1])
        : createHttpsServer(certificate, onRequest as Parameters<typeof createHttpsServer>[1]);
    const sockets: Socket[] = [];
    server.on('connection', (socket: Socket) => sockets.push(socket));
    const connected = Array.from({ length: 5 }, () => Promise.withResolvers<void>());
    server.on('secureConnection', () => connected[++count.connections]?.resolve());
    return {
      url: `https://127.0.0.1:${await listen(server)}`,
      seen,
      count: () => ({ ...count }),
      hasConnected: (times: number) => connected[times]?.promise,
      /** Loses the connections, below TLS, where no protocol can say farewell. */
      drop(how: 'closed' | 'reset' = 'reset') {
        for (const socket of sockets.splice(0)) {
          if (how === 'reset') socket.resetAndDestroy();
          else socket.destroy();
        }
      },
    };
  }

  /** Listens on a port of its own until the end of the test. */
  async function listen(server: Server): Promise<number> {
    const sockets = new Set<{ destroy(): unknown }>();
    server.on('connection', (socket) => sockets.add(socket));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    opened.push({
      close: async () => {
        for (const socket of sockets) socket.destroy();
        await new Promise((resolve) => server.close(resolve));
      },
    });
    return (server.address() as AddressInfo).port;
  }
});

/** Lets the event loop read what has arrived, however slow the machine is: a timer could expire before it has. */
async function pollSockets(): Promise<void> {
  for (let turns = 0; turns < 20; turns++) await new Promise((resolve) => setImmediate(resolve));
}

function toRequest(url: string): HttpRequest {
  return {
    method: 'GET',
    url,
    headers: {},
    body: undefined,
    timeoutMs: 10_000,
  };
}

const answerOk: Respond = (_request, response) => {
  response.writeHead(200);
  response.end('{}');
};

interface Authority {
  pem: string;
  /** Makes a certificate for a name, and for 127.0.0.1 where it is localhost. */
  issue(name: string): Promise<{ key: string; cert: string }>;
}

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

/** Makes a CA of its own, as each cluster has one. */
async function createAuthority(): Promise<Authority> {
  // The package asks for decorators' metadata, which is not there and which certificates can do without.
  if (!('getMetadata' in Reflect)) {
    const none = () => undefined;
    Object.assign(Reflect, { getMetadata: none, getOwnMetadata: none, defineMetadata: none });
  }
  const x509 = await import('@peculiar/x509');
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const subject = `CN=test CA ${crypto.randomUUID()}`;
  const root = await x509.X509CertificateGenerator.createSelfSigned({
    name: subject,
    keys,
    signingAlgorithm: algorithm,
    extensions: [new x509.BasicConstraintsExtension(true, 1, true)],
  });
  return {
    pem: root.toString('pem'),
    async issue(name) {
      const own = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
      const names: JsonGeneralName[] = [{ type: 'dns', value: name }];
      if (name === 'localhost') names.push({ type: 'ip', value: '127.0.0.1' });
      const certificate = await x509.X509CertificateGenerator.create({
        subject: `CN=${name}`,
        issuer: subject,
        publicKey: own.publicKey,
        signingKey: keys.privateKey,
        signingAlgorithm: algorithm,
        extensions: [new x509.SubjectAlternativeNameExtension(names)],
      });
      const pkcs8 = Buffer.from(await crypto.subtle.exportKey('pkcs8', own.privateKey)).toString('base64');
      const key = `-----BEGIN PRIVATE KEY-----\n${pkcs8.replaceAll(/.{64}/g, '$&\n')}\n-----END PRIVATE KEY-----\n`;
      return { key, cert: certificate.toString('pem') };
    },
  };
}

async function failureOf(work: Promise<unknown>): Promise<unknown> {
  try {
    await work;
  } catch (error) {
    return error;
  }
  throw new Error('nothing failed');
}
