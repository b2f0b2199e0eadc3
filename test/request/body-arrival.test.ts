import type { Server } from 'node:http';
import { connect } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { http } from '@google-cloud/functions-framework';
import { getTestServer } from '@google-cloud/functions-framework/testing';
import { expect } from 'chai';
import { createSystemClock } from '../../src/clock.ts';
import { readConfig } from '../../src/config.ts';
import { createHandler } from '../../src/handler.ts';
import type { Handler } from '../../src/handler.ts';
import { createLog } from '../../src/log.ts';
import { keepRawBodies, receiveBody } from '../../src/request/body.ts';
import type { Body } from '../../src/request/body.ts';

const webhook = { username: 'monitoring', password: 'correct horse battery' };
const basic = (text: string) => `Authorization: Basic ${Buffer.from(text).toString('base64')}`;
const right = basic('monitoring:correct horse battery');
const chunked = 'Transfer-Encoding: chunked';
const large = 'Content-Length: 33554432';
const heldBack = 'Expect: 100-continue';
const body = '{"id":"a-1","type":"nothing","requestor":"r","reason":"r"}';

let handler: Handler;
let arrived: PromiseWithResolvers<void>;
http('arrival', (request, response) => {
  arrived.resolve();
  return handler.handle(request, response);
});

/** What `receiveBody` returned last. */
let received: Body;
let shutDown: AbortController;
let waitMs: number | undefined;
http('impatient', async (request, response) => {
  arrived.resolve();
  received = await receiveBody(request, response, shutDown.signal, waitMs);
  response.send(received.refusal?.code ?? 'read');
});

describe('the body of a request', () => {
  const servers: Server[] = [];
  const ports: Record<string, number> = {};
  let lines: Record<string, unknown>[];

  before(async () => {
    keepRawBodies();
    for (const name of ['arrival', 'impatient']) {
      const server = getTestServer(name);
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      ports[name] = (server.address() as AddressInfo).port;
      servers.push(server);
    }
  });

  beforeEach(() => {
    arrived = Promise.withResolvers();
    waitMs = undefined;
    shutDown = new AbortController();
  });

  after(async () => {
    for (const server of servers) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  });

  describe('on the public webhook', () => {
    beforeEach(() => use({ webhook }));

    for (const { name, headers, content } of [
      { name: 'no credentials', headers: [large], content: '{"a' },
      { name: 'no credentials, in chunks', headers: [chunked], content: '3\r\n{"a\r\n' },
      { name: 'wrong credentials', headers: [large, basic('monitoring:guess')], content: '{"a' },
      {
        name: 'credentials of another scheme',
        headers: [large, right.replace('Basic', 'Bearer')],
        content: '{"a',
      },
      { name: 'a short body that does not come', headers: ['Content-Length: 40'], content: '{"a' },
    ]) {
      // F-122: thirty bodies that trickled held all the slots of three instances, and notifications were turned away.
      it(`is not waited for with ${name}, and its connection is closed`, async () => {
        const client = send(['POST /alerts', ...headers], content);
        expect(await client.status()).to.equal(401);
        expect(client.text()).to.include('WWW-Authenticate: Basic');
        await client.closed;
      });
    }

    for (const [line, status] of [
      ['POST /actions', 404],
      ['PUT /alerts', 405],
    ] as const) {
      it(`is not waited for by ${line}, whatever the credentials`, async () => {
        const client = send([line, large, right], '{"a');
        expect(await client.status()).to.equal(status);
        client.socket.destroy();
      });
    }

    it('is not asked for by 100 Continue before the credentials are right', async () => {
      const stranger = send(['POST /alerts', 'Content-Length: 60', heldBack]);
      expect(await stranger.status()).to.equal(401);
      expect(stranger.text()).not.to.include('100 Continue');
      const known = send(['POST /alerts', `Content-Length: ${body.length}`, heldBack, right]);
      await known.hasReceived('100 Continue');
      known.socket.write(body);
      await known.hasReceived('the body is not a Cloud Monitoring notification');
      known.socket.destroy();
      stranger.socket.destroy();
    });

    // Cloud Monitoring asks first without credentials, and then with them.
    it('may end after the answer, and the connection serves the next request', async () => {
      const long = ' '.repeat(200_000);
      const client = send(['POST /alerts', `Content-Length: ${long.length}`], long.slice(0, 9));
      expect(await client.status()).to.equal(401);
      client.socket.write(long.slice(9));
      const json = 'Content-Type: application/json';
      client.socket.write(request(['POST /alerts', right, 'Content-Length: 2', json], '{}'));
      await client.hasReceived('the body is not a Cloud Monitoring notification');
      client.socket.destroy();
    });
  });

  describe('of more than 256 KiB', () => {
    for (const { name, options, lead } of [
      { name: 'on the webhook', options: { webhook }, lead: ['POST /alerts', right] },
      { name: 'behind IAM', options: {}, lead: ['POST /actions'] },
    ]) {
      it(`is refused ${name} before any of it is read`, async () => {
        use(options);
        const client = send([...lead, 'Content-Length: 262145', heldBack]);
        expect(await client.status()).to.equal(413);
        expect(client.text()).to.include('the body is 262145 bytes; the limit is 262144');
        expect(client.text()).to.include('Connection: close');
        expect(client.text()).not.to.include('100 Continue');
        client.socket.destroy();
      });

      it(`is refused ${name} as soon as its chunks are more`, async () => {
        use(options);
        const chunk = `40000\r\n${' '.repeat(0x4_0000)}\r\n`;
        const client = send([...lead, chunked], `${chunk}1\r\n \r\n`);
        expect(await client.status()).to.equal(413);
        expect(client.text()).to.include('the body is too large; the limit is 262144');
        await client.closed;
      });
    }

    it('is taken in chunks of 256 KiB in all', async () => {
      use();
      const chunk = `20000\r\n${' '.repeat(0x2_0000)}\r\n`;
      const client = send(
        ['POST /actions', chunked, 'Content-Type: application/json'],
        `${chunk}${chunk}0\r\n\r\n`,
      );
      expect(await client.status()).to.equal(400);
      expect(client.text()).to.include('the body is empty');
      expect(client.text()).not.to.include('Connection: close');
      client.socket.destroy();
    });
  });

  describe('that does not come to its end', () => {
    it('is given up after a while', async () => {
      waitMs = 50;
      const client = send(['POST /', 'Content-Length: 9'], '{"a', 'impatient');
      await client.hasReceived('upstream_timeout');
      expect(received).to.deep.include({ text: '' });
      expect(received.refusal?.message).to.equal(
        'the body did not arrive in time, so nothing was done; send it again',
      );
      await client.closed;
    });

    it('is given up when the instance shuts down', async () => {
      const client = send(['POST /', 'Content-Length: 9'], '{"a', 'impatient');
      await arrived.promise;
      shutDown.abort();
      await client.hasReceived('upstream_timeout');
      client.socket.destroy();
    });

    it('does nothing when its connection breaks', async () => {
      use();
      const client = send(['POST /actions', 'Content-Length: 400', 'Content-Type: application/json'], body);
      await arrived.promise;
      client.socket.destroy();
      while (lines.length === 0) await new Promise(setImmediate);
      expect(lines).to.have.lengthOf(1);
      expect(lines[0]).to.include({
        severity: 'WARNING',
        event: 'refused',
        code: 'invalid_action',
        message: 'the connection broke before the whole body had come',
      });
    });
  });

  function use(options: { webhook?: typeof webhook } = {}): void {
    lines = [];
    const written = lines;
    handler = createHandler({
      services: {
        config: readConfig({ CLUSTERS: 'projects/ml-prod/locations/us-central1/clusters/train' }),
        clock: createSystemClock(),
        connect: async () => {
          throw new Error('nothing must be connected to');
        },
        prepareRepair: async () => undefined,
        readInstance: async () => {
          throw new Error('nothing must be read');
        },
        readGkeWork: async () => {
          throw new Error('nothing must be asked');
        },
        deleteInstance: async () => {
          throw new Error('nothing must be deleted');
        },
      },
      log: createLog((line) => written.push(JSON.parse(line) as Record<string, unknown>)),
      ...options,
    });
  }

  function request(lead: string[], content: string): string {
    const [line = '', ...headers] = lead;
    return [`${line} HTTP/1.1`, 'Host: localhost', ...headers, '', content].join('\r\n');
  }

  function send(lead: string[], content = '', server = 'arrival') {
    let text = '';
    const listeners = new Set<() => void>();
    const socket: Socket = connect(ports[server] ?? 0, '127.0.0.1', () =>
      socket.write(request(lead, content)),
    );
    const closed = new Promise<void>((resolve) => socket.on('close', () => resolve()));
    socket.setEncoding('utf8');
    socket.on('error', () => undefined);
    socket.on('data', (chunk: string) => {
      text += chunk;
      for (const listener of listeners) listener();
    });
    const hasReceived = (what: string) =>
      new Promise<void>((resolve, reject) => {
        const look = () => {
          if (text.includes(what)) resolve();
        };
        listeners.add(look);
        look();
        void closed.then(() => reject(new Error(`closed without ${what}: ${text}`)));
      });
    return {
      socket,
      closed,
      text: () => text,
      hasReceived,
      async status() {
        await hasReceived('}\n');
        return Number(text.split(' ')[1]);
      },
    };
  }
});
