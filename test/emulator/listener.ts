import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { constants, createSecureServer } from 'node:http2';
import type { Http2SecureServer, Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import { ConnectionLost, NeverAnswered, toTextResponse } from './http.ts';
import type { HttpRequest, HttpResponse } from './http.ts';

/** A port of this machine. A function answers its requests, or tells it to break the connection. */
export interface Listener {
  port: number;
  /** Connections opened so far; with TLS, those whose handshake was done. */
  connections(): number;
  close(): Promise<void>;
}

export type Handle = (request: HttpRequest) => HttpResponse;

export interface ListenOptions {
  /** Any free one unless given. */
  port?: number;
  /** How long each answer takes. */
  delayMs?: number;
  /** PEM; plain HTTP/1.1 without it, otherwise HTTP/2 and HTTP/1.1 over TLS. */
  tls?: { certificate: string; key: string };
}

/** Listens on the loopback interface. */
export async function listen(handle: Handle, options: ListenOptions = {}): Promise<Listener> {
  const sockets = new Map<number | undefined, Socket>();
  const onRequest = (incoming: AnyRequest, outgoing: AnyResponse): void => {
    serve(handle, incoming, outgoing, sockets, options.delayMs).catch((error: unknown) => {
      console.error(error);
      incoming.socket.destroy();
    });
  };
  const server = options.tls ? createTlsServer(options.tls, onRequest) : createServer(onRequest);
  let count = 0;
  server.on(options.tls ? 'secureConnection' : 'connection', () => {
    count += 1;
  });
  server.on('connection', (socket: Socket) => {
    const { remotePort } = socket;
    sockets.set(remotePort, socket);
    socket.on('close', () => sockets.delete(remotePort));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port ?? 0, '127.0.0.1', resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    connections: () => count,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        // Idle clients would keep it open.
        for (const socket of sockets.values()) socket.destroy();
      }),
  };
}

type AnyRequest = IncomingMessage | Http2ServerRequest;
type AnyResponse = ServerResponse | Http2ServerResponse;

function createTlsServer(
  { certificate, key }: { certificate: string; key: string },
  onRequest: (incoming: AnyRequest, outgoing: AnyResponse) => void,
): Server | Http2SecureServer {
  const settings = { maxConcurrentStreams: 250 };
  const server = createSecureServer({ cert: certificate, key, allowHTTP1: true, settings }, onRequest);
  // A client that disconnects in the middle is not a failure of the emulator.
  server.on('sessionError', () => {});
  return server;
}

async function serve(
  handle: Handle,
  incoming: AnyRequest,
  outgoing: AnyResponse,
  sockets: Map<number | undefined, Socket>,
  delayMs = 0,
): Promise<void> {
  const body = await readBody(incoming);
  // The client gave up while it was sending.
  if (body === undefined) return;
  const response = answer(handle, incoming, body);
  if (response === 'never') return;
  if (response instanceof ConnectionLost) return breakConnection(incoming, response, sockets);
  const delay = (response.delayMs ?? 0) + delayMs;
  if (delay > 0) await new Promise((resolve) => setTimeout(resolve, delay).unref());
  send(incoming, outgoing, response);
}

function readBody(incoming: AnyRequest): Promise<string | undefined> {
  return new Promise((resolve) => {
    let body = '';
    incoming.setEncoding('utf8');
    incoming.on('data', (chunk: string) => (body += chunk));
    incoming.on('end', () => resolve(body));
    incoming.on('error', () => resolve(undefined));
    incoming.on('close', () => resolve(undefined));
  });
}

function answer(handle: Handle, incoming: AnyRequest, body: string): HttpResponse | ConnectionLost | 'never' {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(incoming.headers)) {
    if (value !== undefined && !name.startsWith(':')) {
      headers[name] = Array.isArray(value) ? value.join(', ') : value;
    }
  }
  try {
    return handle({ method: incoming.method ?? 'GET', path: incoming.url ?? '/', headers, body });
  } catch (error) {
    if (error instanceof NeverAnswered) return 'never';
    if (error instanceof ConnectionLost) return error;
    console.error(error);
    return toTextResponse(500, 'the emulator failed; its output says why\n');
  }
}

function send(incoming: AnyRequest, outgoing: AnyResponse, response: HttpResponse): void {
  if (outgoing.destroyed || outgoing.writableEnded) return;
  const writable = outgoing as ServerResponse;
  const length = response.stream ? {} : { 'content-length': String(Buffer.byteLength(response.body)) };
  writable.writeHead(response.status, { ...response.headers, ...length });
  if (!response.stream) {
    writable.end(incoming.method === 'HEAD' ? '' : response.body);
    return;
  }
  writable.flushHeaders?.();
  const stop = response.stream(
    (chunk) => void writable.write(chunk),
    () => void writable.end(),
  );
  writable.on('close', stop);
}

/** Looks like a broken network: an RST, or over HTTP/2 a reset of only the stream. A refusal ends the connection. */
function breakConnection(
  incoming: AnyRequest,
  { refused }: ConnectionLost,
  sockets: Map<number | undefined, Socket>,
): void {
  if ('stream' in incoming && !refused) incoming.stream.close(constants.NGHTTP2_INTERNAL_ERROR);
  // The TCP socket itself: one with TLS around it cannot be reset.
  else sockets.get(incoming.socket.remotePort)?.resetAndDestroy();
}
