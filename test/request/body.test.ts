import { createServer } from 'node:http';
import type { Server } from 'node:http';
import { connect } from 'node:net';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { http } from '@google-cloud/functions-framework';
import { getTestServer } from '@google-cloud/functions-framework/testing';
import { expect } from 'chai';
import { keepRawBodies, readJsonBody, receiveBody } from '../../src/request/body.ts';
import { FailoverError } from '../../src/errors.ts';

/** What the function below answers: the value that was read, or the refusal, and the text that an id is looked for in. */
interface Reading {
  value?: unknown;
  code?: string;
  message?: string;
  text: string;
}

http('readBody', async (request, response) => {
  const body = await receiveBody(request, response, new AbortController().signal);
  const text = body.text.slice(0, 200);
  try {
    const value = readJsonBody(request, body);
    // Written out, 20,000 levels would overflow the stack of this test.
    response.json(request.get('x-depth-only') ? { text } : { value, text });
  } catch (error) {
    if (!(error instanceof FailoverError)) throw error;
    response.json({ code: error.code, message: error.message, text });
  }
});

describe('readJsonBody', () => {
  let server: Server;
  let port: number;

  before(async () => {
    keepRawBodies();
    keepRawBodies();
    server = getTestServer('readBody');
    port = await listen(server);
  });

  after(() => close(server));

  const json = 'application/json';
  const action = '{"id":"a-1","type":"cordon_nodepool"}';
  const parsed = { id: 'a-1', type: 'cordon_nodepool' };

  for (const type of [
    json,
    'application/json; charset=utf-8',
    'application/json;charset=UTF-8',
    'Application/JSON ; charset="utf-8" ',
  ]) {
    it(`parses JSON of type ${type}`, async () => {
      expect(await post(action, { 'Content-Type': type })).to.deep.equal({ value: parsed, text: action });
    });
  }

  it('takes a byte order mark, and text of any language', async () => {
    const { value } = await post('\uFEFF{"reason":"切换 🔥"}', { 'Content-Type': json });
    expect(value).to.deep.equal({ reason: '切换 🔥' });
  });

  // Whether they are an action is not decided here: the framework would have refused some of them with an HTML page.
  for (const text of ['null', '"text"', '17', '[]', 'true']) {
    it(`returns ${text}, which is JSON but no object`, async () => {
      expect(await post(text, { 'Content-Type': json })).to.deep.equal({
        value: JSON.parse(text) as unknown,
        text,
      });
    });
  }

  for (const { name, text } of [
    { name: 'cut JSON', text: '{"id":"a-1","type":"cordon_' },
    { name: 'a trailing comma', text: '{"id":"a-1",}' },
    { name: 'single quotes', text: "{'id':'a-1'}" },
    { name: 'two objects', text: '{"id":"a-1"}{"id":"a-2"}' },
    { name: 'plain text', text: 'cordon pool-a' },
    { name: 'NaN', text: '{"id":NaN}' },
    { name: 'a form', text: 'id=a-1&type=cordon_nodepool' },
  ]) {
    it(`refuses ${name}, and returns its text, which has the id`, async () => {
      const { message, ...rest } = await post(text, { 'Content-Type': json });
      expect(rest).to.deep.equal({ code: 'invalid_action', text });
      expect(message).to.match(/^the body is not JSON: /);
    });
  }

  for (const { name, text, field } of [
    { name: 'a field', text: '{"dry_run":true,"type":"x","dry_run":false}', field: 'dry_run' },
    {
      name: 'a field in another spelling',
      text: String.raw`{"dry_run":true,"dry\u005frun":false}`,
      field: 'dry_run',
    },
    { name: 'a field with the same value', text: '{"id":"a","id":"a"}', field: 'id' },
    { name: 'a field of an object within', text: '{"a":[{"b":{"c":1,"c":2}}]}', field: 'c' },
    { name: 'the empty field', text: '{"":1,"":2}', field: '' },
    { name: '__proto__', text: '{"__proto__":1,"__proto__":2}', field: '__proto__' },
    { name: 'a field with a quote in it', text: String.raw`{"a\"b":1,"x":"a\"b","a\"b":2}`, field: 'a"b' },
  ]) {
    // A template with dry_run at its top and another one below would run live, for the last one counts.
    it(`refuses ${name} that is given twice`, async () => {
      expect(await post(text, { 'Content-Type': json })).to.include({
        code: 'invalid_action',
        message: `field ${JSON.stringify(field)} is given twice`,
      });
    });
  }

  it('accepts the same name in several objects and as a value', async () => {
    const text = String.raw`{"a":{"a":"a"},"b":[{"a":1},{"a":2}],"c":"\"a\":1, {\"a\":","d":["a","a"],"e":"\\"}`;
    expect(await post(text, { 'Content-Type': json })).to.deep.equal({
      value: JSON.parse(text) as unknown,
      text,
    });
  });

  it('treats __proto__ as a field like any other', async () => {
    const { value } = await post('{"__proto__":{"dry_run":true}}', { 'Content-Type': json });
    expect(Object.keys(value as object)).to.deep.equal(['__proto__']);
    expect(({} as { dry_run?: boolean }).dry_run).to.equal(undefined);
  });

  for (const { name, headers } of [
    { name: 'with a Content-Type', headers: { 'Content-Type': json } },
    { name: 'with a Content-Type and a length', headers: { 'Content-Type': json, 'Content-Length': '0' } },
  ]) {
    // What `gcloud functions call` sends without --data.
    it(`refuses an empty body ${name}`, async () => {
      expect(await send(toRequest('', headers))).to.deep.equal({
        code: 'invalid_action',
        message: 'the body is empty; it must be a JSON object',
        text: '',
      });
    });
  }

  it('refuses a body of white space', async () => {
    expect((await post(' \n ', { 'Content-Type': json })).message).to.equal(
      'the body is empty; it must be a JSON object',
    );
  });

  for (const { name, body } of [
    { name: 'an empty body', body: '' },
    { name: 'a body', body: action },
  ]) {
    it(`refuses ${name} without a Content-Type, saying what to add`, async () => {
      expect(await send(toRequest(body, { 'Content-Length': String(body.length) }))).to.deep.equal({
        code: 'unsupported_media_type',
        message: 'the request has no Content-Type; send it with -H "Content-Type: application/json"',
        text: body,
      });
    });
  }

  for (const { name, type } of [
    { name: 'a form, which curl -d without a header sends', type: 'application/x-www-form-urlencoded' },
    { name: 'plain text', type: 'text/plain' },
    { name: 'bytes', type: 'application/octet-stream' },
    { name: 'another JSON', type: 'application/vnd.api+json' },
    { name: 'a CloudEvent', type: 'application/cloudevents+json' },
    { name: 'another charset', type: 'application/json; charset=latin1' },
    { name: 'a charset that nobody knows', type: 'application/json; charset=x' },
    { name: 'two types in one', type: 'application/json, text/plain' },
    { name: 'a type that goes on', type: 'application/jsonp' },
  ]) {
    it(`refuses ${name}, saying what to send`, async () => {
      expect(await post(action, { 'Content-Type': type })).to.deep.equal({
        code: 'unsupported_media_type',
        message: `Content-Type ${type} is not supported; send it with -H "Content-Type: application/json"`,
        text: action,
      });
    });
  }

  it('shows only the start of a long Content-Type', async () => {
    const { message } = await post(action, { 'Content-Type': `x/${'y'.repeat(5000)}` });
    expect(message).to.contain(`Content-Type x/${'y'.repeat(62)} is not supported`);
  });

  it('refuses a compressed body, and does not decompress it', async () => {
    const packed = gzipSync(Buffer.alloc(10_000_000, ' '));
    const started = process.memoryUsage().arrayBuffers;
    expect(await post(packed, { 'Content-Type': json, 'Content-Encoding': 'gzip' })).to.include({
      code: 'unsupported_media_type',
      message: 'Content-Encoding gzip is not supported; send the body plain',
    });
    expect(process.memoryUsage().arrayBuffers - started).to.be.below(9_000_000);
  });

  it('refuses an unknown encoding, and accepts identity', async () => {
    const refused = await post(action, { 'Content-Type': json, 'Content-Encoding': 'aes128gcm' });
    expect(refused.code).to.equal('unsupported_media_type');
    const plain = await post(action, { 'Content-Type': json, 'Content-Encoding': 'Identity' });
    expect(plain.value).to.deep.equal(parsed);
  });

  it('takes 256 KiB and refuses a byte more', async () => {
    const fill = (bytes: number) => `{"a":"${'x'.repeat(bytes - 8)}"}`;
    const taken = await post(fill(262_144), { 'Content-Type': json });
    expect(taken).to.have.property('value');
    expect(await post(fill(262_145), { 'Content-Type': json })).to.deep.equal({
      code: 'payload_too_large',
      message: 'the body is 262145 bytes; the limit is 262144',
      text: '',
    });
  });

  it('counts bytes, not characters', async () => {
    const { code } = await post(`{"a":"${'ü'.repeat(140_000)}"}`, { 'Content-Type': json });
    expect(code).to.equal('payload_too_large');
  });

  for (const type of [json, 'application/x-www-form-urlencoded', 'text/plain', undefined]) {
    it(`refuses a body of 3 MB ${type ? `of type ${type}` : 'without a type'}`, async () => {
      const { code } = await post('x'.repeat(3_000_000), type ? { 'Content-Type': type } : {});
      expect(code).to.equal('payload_too_large');
    });
  }

  for (const [open, shut] of [
    ['[', ']'],
    ['{"a":', '}'],
  ] as const) {
    it(`reads 20,000 levels of ${open}`, async () => {
      const text = `${open.repeat(20_000)}1${shut.repeat(20_000)}`;
      const answer = await post(text, { 'Content-Type': json, 'X-Depth-Only': '1' });
      expect(answer.text).to.equal(text.slice(0, 200));
    });
  }

  it('reads a body that comes in chunks', async () => {
    const halves = [action.slice(0, 9), action.slice(9)];
    const chunks = [...halves, ''].map((chunk) => `${chunk.length.toString(16)}\r\n${chunk}\r\n`);
    const head = toRequest('', { 'Content-Type': json, 'Transfer-Encoding': 'chunked' });
    expect((await send(head + chunks.join(''))).value).to.deep.equal(parsed);
  });

  // Failing to decode, the framework would answer with an HTML page and a stack.
  it('lets a path that cannot be decoded reach the function', async () => {
    const request = toRequest(action, { 'Content-Type': json, 'Content-Length': String(action.length) });
    expect((await send(request.replace('/actions', '/%E0%A4%A?x=%zz'))).value).to.deep.equal(parsed);
  });

  it('leaves requests to other servers in the process unchanged', async () => {
    const other = createServer((request, response) => {
      response.end(
        `${request.headers['content-type']} ${request.headers['content-encoding']} ${request.url}`,
      );
    });
    try {
      const response = await fetch(`http://127.0.0.1:${await listen(other)}/%zz`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/merge-patch+json', 'Content-Encoding': 'gzip' },
        body: 'x',
      });
      expect(await response.text()).to.equal('application/merge-patch+json gzip /%zz');
    } finally {
      await close(other);
    }
  });

  async function post(
    body: string | Uint8Array<ArrayBuffer>,
    headers: Record<string, string>,
  ): Promise<Reading> {
    // A string would be given a Content-Type by fetch.
    const bytes = typeof body === 'string' ? new TextEncoder().encode(body) : body;
    const response = await fetch(`http://127.0.0.1:${port}/actions`, {
      method: 'POST',
      headers,
      body: bytes,
    });
    expect(response.headers.get('content-type')).to.equal('application/json; charset=utf-8');
    return (await response.json()) as Reading;
  }

  async function send(raw: string): Promise<Reading> {
    const answer = await sendRaw(port, raw);
    return JSON.parse(answer.slice(answer.indexOf('\r\n\r\n'))) as Reading;
  }
});

function toRequest(body: string, headers: Record<string, string>): string {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `POST /actions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n${lines.join('')}\r\n${body}`;
}

/** Sends bytes as they are, which no client would, and reads what comes back. */
function sendRaw(port: number, raw: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(raw));
    let answer = '';
    socket.setEncoding('utf8');
    socket.on('data', (chunk) => (answer += chunk));
    socket.on('end', () => resolve(answer));
    socket.on('error', reject);
  });
}

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

async function close(server: Server): Promise<void> {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
}
