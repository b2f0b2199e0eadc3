// Loaded into a process of the function before it: says which request opened which connection to an API server, and marks each
// request to Google's APIs. Without that, a proxy cannot tell whose writes it sees. The function is as it is deployed.
import { AsyncLocalStorage } from 'node:async_hooks';
import { subscribe } from 'node:diagnostics_channel';
import type { ClientRequest, IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { deliveryHeader } from './chaos-delivery.ts';

const deliveries = new AsyncLocalStorage<string>();
/** The connection pools, by the function that opens their connections. */
const pools = new WeakMap<object, string>();
let count = 0;

subscribe('http.server.request.start', (message) => {
  const { headers } = (message as { request: IncomingMessage }).request;
  deliveries.enterWith(String(headers[deliveryHeader] ?? ''));
});

subscribe('undici:client:connected', (message) => {
  const { connector, socket } = message as { connector: object; socket: Socket };
  const delivery = deliveries.getStore();
  const pool = pools.get(connector) ?? `${process.pid}-${count++}`;
  pools.set(connector, pool);
  process.send?.({ connected: { port: socket.localPort, pool, delivery } });
});

subscribe('http.client.request.created', (message) => {
  const { request } = message as { request: ClientRequest };
  const delivery = deliveries.getStore();
  if (delivery !== undefined && !request.headersSent) request.setHeader(deliveryHeader, delivery);
});

subscribe('undici:request:create', (message) => {
  const { request } = message as {
    request: { origin: unknown; addHeader(name: string, value: string): void };
  };
  const delivery = deliveries.getStore();
  const isPlain = String(request.origin).startsWith('http://');
  if (delivery !== undefined && isPlain) request.addHeader(deliveryHeader, delivery);
});
