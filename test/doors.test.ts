import type { Server } from 'node:http';
import { connect } from 'node:net';
import type { AddressInfo } from 'node:net';
import { http } from '@google-cloud/functions-framework';
import { getTestServer } from '@google-cloud/functions-framework/testing';
import { expect } from 'chai';
import { readNotification, unpack } from '../src/alert/notification.ts';
import { toAlert } from '../src/alert/alert.ts';
import { createSystemClock } from '../src/clock.ts';
import { readConfig } from '../src/config.ts';
import { FailoverError } from '../src/errors.ts';
import { createHandler } from '../src/handler.ts';
import type { Handler } from '../src/handler.ts';
import { createLog } from '../src/log.ts';
import { keepRawBodies } from '../src/request/body.ts';
import { createNotification, readCaptured, toPush } from './fixtures/notification.ts';
import { refusalOf } from './fixtures/refusal-of.ts';

const config = readConfig({ CLUSTERS: 'projects/demo-project/locations/us-central1/clusters/demo' });
const json = { 'Content-Type': 'application/json' };
const test = readCaptured('test');
const cordon = {
  id: 'a-1',
  type: 'cordon_nodepool',
  node_pool: 'slice-a',
  requestor: 'alice@example.com',
  reason: 'trying it out',
};
const worksText = 'a test notification; the channel works';
const misdirected = /^this is a notification of Cloud Monitoring, or a Pub\/Sub push; its path is \/alerts/;

let handler: Handler;
http('doors', (request, response) => handler.handle(request, response));

describe('the doors of the function', () => {
  let server: Server;
  let port: number;
  let lines: Record<string, unknown>[];
  let connections: number;

  before(async () => {
    keepRawBodies();
    server = getTestServer('doors');
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    port = (server.address() as AddressInfo).port;
  });

  beforeEach(() => {
    lines = [];
    connections = 0;
    handler = createHandler({
      services: {
        config,
        clock: createSystemClock(),
        connect: async () => {
          connections++;
          throw new FailoverError('paused', 'this is as far as an action goes here');
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
      log: createLog((line) => lines.push(JSON.parse(line) as Record<string, unknown>)),
    });
  });

  after(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  const push = toPush(test, { publishedAt: Date.now() });
  const event = {
    specversion: '1.0',
    id: '1',
    type: 'google.cloud.pubsub.topic.v1.messagePublished',
    source: '//pubsub.googleapis.com/projects/demo-project/topics/alerts',
    data: push,
  };

  describe('an alert at the path of actions', () => {
    for (const [name, body, path] of [
      ['a Pub/Sub push', push, '/'],
      ['a Pub/Sub push', push, '/actions'],
      [
        'a Pub/Sub push of an Eventarc trigger',
        push,
        '/?__GCP_CloudEventsMode=CUSTOM_PUBSUB_projects%2Fp%2Ftopics%2Ft',
      ],
      ['a push without data', { ...push, message: { messageId: '1' } }, '/'],
      ['a CloudEvent with a push', event, '/'],
      ['a bare notification', test, '/'],
    ] as const) {
      // F-124: a subscription without /alerts was told of an unknown field, again and again, until the alert expired.
      it(`is told where /alerts is, as an error and not acknowledged: ${name} to ${path.slice(0, 12)}`, async () => {
        const { status, body: answer } = await post(path, body);
        expect(status).to.equal(400);
        expect(answer.error).to.match(misdirected);
        expect(lines.at(-1)).to.include({ severity: 'ERROR', event: 'refused', code: 'invalid_action' });
        expect(connections).to.equal(0);
      });
    }

    it('is not what an action is taken for that has a field too many', async () => {
      const { body } = await post('/', { ...cordon, message: 'hello' });
      expect(body.error).to.match(/^unknown field "message"/);
      expect(lines.at(-1)).to.include({ severity: 'WARNING' });
    });
  });

  describe('a refusal at /alerts', () => {
    const message = { data: 'bm8=', messageId: '1' };
    const subscription = 'projects/demo-project/subscriptions/failover';
    for (const body of [
      { message, subscription },
      { message: { attributes: {} }, subscription },
      { message: {}, subscription, deliveryAttempt: 5 },
      { ...event, data: { message, subscription } },
    ]) {
      it(`is acknowledged for what has the shape of a push: ${JSON.stringify(body).slice(0, 60)}`, async () => {
        const { status, body: answer } = await post('/alerts', body);
        expect(status).to.equal(200);
        expect(answer.code).to.equal('invalid_action');
        expect(lines.at(-1)).to.include({ severity: 'ERROR', status: 200 });
      });
    }

    for (const body of [
      { message: 'deploy finished' },
      { message: 'deploy finished', subscription: 'gold' },
      { message, subscription: 'gold' },
      { message },
      { message: null, subscription },
      { message: [message], subscription },
      { subscription },
      { message, subscription: { name: subscription } },
      { specversion: '1.0', data: { bucket: 'b' } },
      { specversion: '1.0', data: null },
      { specversion: 1, data: { message, subscription } },
    ]) {
      // F-125: whatever had a field `message` was told 200, although nothing was done.
      it(`has its own status for anything else: ${JSON.stringify(body).slice(0, 60)}`, async () => {
        const { status, body: answer } = await post('/alerts', body);
        expect(status).to.equal(400);
        expect(answer.code).to.equal('invalid_action');
      });
    }
  });

  describe('an alert', () => {
    const types: (Record<string, string> | undefined)[] = [
      undefined,
      json,
      { 'Content-Type': 'application/json; charset=utf-8' },
      { 'Content-Type': 'application/cloudevents+json; charset=utf-8' },
    ];
    for (const headers of types) {
      for (const [name, body] of [
        ['bare', test],
        ['pushed', push],
        ['pushed as a CloudEvent', event],
      ] as const) {
        it(`is read ${name} with the Content-Type ${headers?.['Content-Type'] ?? 'left out'}`, async () => {
          const { status, body: answer } = await post('/alerts', body, headers ?? {});
          expect({ status, ignored: answer.ignored }).to.deep.equal({ status: 200, ignored: worksText });
        });
      }
    }

    it('is read at /alerts/, too', async () => {
      expect((await post('/alerts/', push)).body.ignored).to.equal(worksText);
    });

    it('is read with a byte order mark in front, outside and inside of the envelope', async () => {
      const data = Buffer.from(`\uFEFF${JSON.stringify(test)}`).toString('base64');
      const marked = { ...push, message: { data, messageId: '1' } };
      expect((await post('/alerts', marked)).body.ignored).to.equal(worksText);
      expect((await post('/alerts', `\uFEFF${JSON.stringify(push)}`)).body.ignored).to.equal(worksText);
    });

    it('is refused with a Content-Type that says otherwise', async () => {
      for (const type of [
        'text/plain',
        'application/x-www-form-urlencoded',
        'application/cloudevents-batch+json',
      ]) {
        expect(await post('/alerts', push, { 'Content-Type': type })).to.include({ status: 415 });
      }
    });

    it('is read with the parameter that Eventarc adds, and with no other', async () => {
      const own = '__GCP_CloudEventsMode=CE_PUBSUB_BINDING';
      expect((await post(`/alerts?${own}`, push)).body.ignored).to.equal(worksText);
      const { status, body } = await post(`/alerts?${own}&failover_dry_run=true`, push);
      expect(status).to.equal(400);
      expect(body.error).to.include('"failover_dry_run"');
      expect(lines.at(-1)).to.include({ severity: 'ERROR' });
    });
  });

  describe('a query string', () => {
    for (const [path, name] of [
      ['/actions?dry_run=true', 'dry_run'],
      ['/?dry_run=true', 'dry_run'],
      ['/actions/?dry_run', 'dry_run'],
      ['/actions?x=1&dry_run=true', 'x'],
      ['/actions??dry_run=true', 'dry_run'],
      ['/actions?%64ry_run=%zz', 'dry_run'],
      ['/actions?=1', ''],
    ] as const) {
      // F-126: somebody wrote `?dry_run=true`, and it ran live.
      it(`is refused, and nothing is done: ${path}`, async () => {
        const { status, body } = await post(path, cordon);
        expect(status).to.equal(400);
        expect(body).to.include({
          id: 'a-1',
          code: 'invalid_action',
          error: `the query string has ${JSON.stringify(name)}, but only the JSON body counts: put it there. Nothing was done`,
        });
        expect(connections).to.equal(0);
      });
    }

    it('may be empty', async () => {
      await post('/actions?', cordon);
      await post('/actions?&', cordon);
      expect(connections).to.equal(2);
    });
  });

  it('are open with a slash at the end', async () => {
    await post('/actions/', cordon);
    expect(connections).to.equal(1);
    for (const path of ['/actions//', '//', '//actions', '/alerts/x/', '/x/']) {
      expect(await sendRaw(`POST ${path} HTTP/1.1`), path).to.match(/^HTTP\/1.1 404 /);
    }
    expect(connections).to.equal(1);
  });

  it('tell a browser what to do', async () => {
    const response = await fetch(`http://127.0.0.1:${port}/alerts`);
    expect(response.status).to.equal(405);
    expect(response.headers.get('allow')).to.equal('POST');
    expect(((await response.json()) as { error: string }).error).to.equal(
      'GET is not allowed; send a POST: an action as JSON to /actions, or a notification of Cloud Monitoring to /alerts',
    );
  });

  async function post(path: string, body: unknown, headers: Record<string, string> = json) {
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    const response = await fetch(`http://127.0.0.1:${port}${path}`, {
      method: 'POST',
      headers,
      // A string would be given a Content-Type by fetch.
      body: new TextEncoder().encode(text),
    });
    return { status: response.status, body: (await response.json()) as Record<string, string> };
  }

  /** Sends a first line that fetch would tidy up. */
  function sendRaw(firstLine: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const socket = connect(port, '127.0.0.1', () =>
        socket.end(`${firstLine}\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`),
      );
      let text = '';
      socket.setEncoding('utf8');
      socket.on('data', (chunk) => (text += chunk));
      socket.on('error', reject);
      socket.on('end', () => resolve(text));
    });
  }
});

describe('an alert of a PromQL condition', () => {
  const read = async (type: string, resource: Record<string, string>) =>
    toAlert(
      readNotification(
        unpack(
          createNotification({
            startedAt: Date.now(),
            type,
            resource,
            condition: 'promql',
            clusterLabels: null,
          }),
        ),
      ),
      config,
      Date.now(),
    );

  // F-127: the advice was to add labels to the by clause, which lands in the labels of the metric.
  it('is told that its by clause is not read, and which resources name something', async () => {
    const { message } = await refusalOf(read('prometheus_target', { namespace: 'default' }));
    expect(message).to.match(/^resource type "prometheus_target" of a PromQL condition does not name a node/);
    expect(message).to.include('the labels of its by clause are not read');
    expect(message).to.include('a filter on a metric of k8s_node, k8s_node_pool,');
  });

  it('is not told to change its by clause where the resource has no labels', async () => {
    const { message } = await refusalOf(read('k8s_node', {}));
    expect(message).to.include('add resource.label.project_id');
    expect(message).to.include('a PromQL condition cannot keep it, so use one with a filter');
    expect(message).not.to.include('by clause');
  });
});
