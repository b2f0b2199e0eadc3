import { Agent, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect } from 'chai';
import { sendHttp1 } from '../src/exchange.ts';
import type { HttpResponse } from '../src/transport.ts';

describe('sendHttp1', () => {
  // By itself Node sends the body of a DELETE without a length, so that a server takes it for the next request: the
  // leader pod would be deleted without its uid being looked at.
  for (const method of ['DELETE', 'PATCH', 'POST', 'PUT']) {
    it(`sends the whole body of a ${method}`, async () => {
      const bodies: string[] = [];
      const server = createServer((request, response) => {
        let body = '';
        request.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
        request.on('end', () => {
          bodies.push(body);
          response.end('{}');
        });
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/pods/a`);
      const agent = new Agent({ keepAlive: true, maxSockets: 1 });
      const body = '{"preconditions":{"uid":"ü"}}';
      const send = () =>
        new Promise<HttpResponse>((resolve, reject) => {
          const signal = new AbortController().signal;
          const request = { method, url: url.href, headers: {}, body, timeoutMs: 1000, signal };
          sendHttp1(agent, { request, url, resolve, reject });
        });
      try {
        expect((await send()).status).to.equal(200);
        expect((await send()).status).to.equal(200);
        expect(bodies).to.deep.equal([body, body]);
      } finally {
        agent.destroy();
        server.close();
      }
    });
  }
});
