import { constants, createSecureServer } from 'node:http2';
import type { Http2ServerResponse } from 'node:http2';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo, Server, Socket } from 'node:net';
import type { JsonGeneralName } from '@peculiar/x509';
import { expect } from 'chai';
import { createConnectionPool, TimeoutError } from '../src/transport.ts';
import type { HttpRequest, TlsOptions } from '../src/transport.ts';
import { findFreePort } from './fixtures/free-port.ts';

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
  const opened: { close: () => Promise<void> }[] = [];
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
    it(`reads an answer of ${status} like any other, and follows nothing`, async () => {
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
    ['h2', 4],
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
      // One more is what finds out that the server does not speak HTTP/2.
      expect(count().connections).to.be.within(1, protocol === 'h2' ? most : most + 1);
    });

    it(`uses one connection for one request after the other (${protocol})`, async () => {
      const { url, count } = await serve(answerOk, { protocol });
      const transport = open({ ca: authority.pem });
      for (let index = 0; index < 10; index++) await transport(toRequest(`${url}/${index}`));
      expect(count().requests).to.equal(10);
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
      const pool = createConnectionPool({ ca: authority.pem });
      const failing = failureOf(pool.transport(toRequest(url)));
      await arrived.promise;
      await pool.close();
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

  it('opens another connection once all are busy, and no more than four', async () => {
    const held: ServerResponse[] = [];
    const { url, count, hasConnected } = await serve((_request, response) => held.push(response));
    const transport = open({ ca: authority.pem });
    const answers: Promise<unknown>[] = [];
    for (let wave = 1; wave <= 6; wave++) {
      for (let index = 0; index < 40; index++) answers.push(transport(toRequest(`${url}/${index}`)));
      // The first wave makes the first connection busy, the second one has another one opened, and so on.
      await hasConnected(Math.min(wave, 4));
      while (held.length < 40 * wave) await new Promise(setImmediate);
    }
    for (const response of held) response.end('{}');
    await Promise.all(answers);
    expect(count()).to.deep.equal({ requests: 240, connections: 4 });
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

  it('stops a request when the instance shuts down', async () => {
    const controller = new AbortController();
    const { url } = await serve(() => controller.abort());
    const error = await failureOf(
      open({ ca: authority.pem })({ ...toRequest(url), signal: controller.signal }),
    );
    expect(error).to.be.instanceOf(TimeoutError).and.to.include({ message: 'the instance is shutting down' });
  });

  it('sends nothing after the shutdown', async () => {
    const { url, count } = await serve(answerOk);
    const error = await failureOf(
      open({ ca: authority.pem })({ ...toRequest(url), signal: AbortSignal.abort() }),
    );
    expect(error).to.be.instanceOf(TimeoutError).and.to.include({ message: 'the instance is shutting down' });
    expect(count().requests).to.equal(0);
  });

  it('leaves no listener behind on the signal that all requests share', async () => {
    const { url } = await serve(answerOk);
    const transport = open({ ca: authority.pem });
    const { signal } = new AbortController();
    const listeners = new Set<unknown>();
    const [add, remove] = [signal.addEventListener.bind(signal), signal.removeEventListener.bind(signal)];
    signal.addEventListener = (type: string, listener: () => void, options?: object) => {
      listeners.add(listener);
      add(type, listener, options);
    };
    signal.removeEventListener = (type: string, listener: () => void) => {
      listeners.delete(listener);
      remove(type, listener);
    };
    for (let index = 0; index < 3; index++) await transport({ ...toRequest(url), signal });
    expect(listeners).to.have.property('size', 0);
  });

  it('rejects with what the network says where nobody listens', async () => {
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

  function open(tls: TlsOptions) {
    const pool = createConnectionPool(tls);
    opened.push(pool);
    return pool.transport;
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

function toRequest(url: string): HttpRequest {
  return {
    method: 'GET',
    url,
    headers: {},
    body: undefined,
    timeoutMs: 10_000,
    signal: new AbortController().signal,
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
