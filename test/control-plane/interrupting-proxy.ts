/** Stands in front of the API server, to stop a client at exactly one of its writes. */
import { createServer } from 'node:https';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Agent, request } from 'undici';
import { createCertificateAuthority } from './certificates.ts';

export interface InterruptingProxy {
  url: string;
  /** PEM: the proxy has an authority of its own. */
  ca: string;
  /** The writes that were let through since the count began, as `METHOD path`. */
  writes(): string[];
  /**
   * Counts from here. Answers once the n-th write has been carried out, and never lets the client know: whoever sent it
   * can be killed meanwhile. From then on nothing of a write comes through until the next count, so that nothing else
   * lands before the kill.
   */
  holdWrite(n: number): Promise<string>;
  /** Lets everything through again. */
  letThrough(): void;
  close(): Promise<void>;
}

/** Serves it on the loopback interface; tokens pass through as they are. */
export async function serveInterruptingProxy(target: {
  url: string;
  ca: string;
}): Promise<InterruptingProxy> {
  const authority = createCertificateAuthority('interrupting-proxy');
  const { certificate, key } = authority.issue({ commonName: 'localhost' }, ['127.0.0.1', 'localhost']);
  const agent = new Agent({ connect: { ca: target.ca } });
  let writes: string[] = [];
  let held: { n: number; tell: (write: string) => void } | undefined;

  const forward = async (incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> => {
    const { method = 'GET', url = '/', headers } = incoming;
    const body = await readBody(incoming);
    const isWrite = method !== 'GET';
    const number = isWrite ? writes.push(`${method} ${url.replace(/\?.*/, '')}`) : 0;
    const holding = isWrite ? held : undefined;
    if (holding && number > holding.n) return;
    const { host: _host, connection: _connection, 'content-length': _length, ...rest } = headers;
    const answer = await request(new URL(url, target.url), {
      method,
      dispatcher: agent,
      headers: rest,
      ...(body.length > 0 && { body }),
    });
    const text = await answer.body.bytes();
    if (holding && number === holding.n) return holding.tell(writes[number - 1] ?? '');
    const { 'transfer-encoding': _encoding, connection: _theirs, ...answered } = answer.headers;
    outgoing.writeHead(answer.statusCode, answered);
    outgoing.end(text);
  };
  const server = createServer({ cert: certificate, key }, (incoming, outgoing) => {
    forward(incoming, outgoing).catch(() => incoming.socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const begin = (hold: typeof held): void => {
    writes = [];
    held = hold;
  };
  return {
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    ca: authority.certificate,
    writes: () => [...writes],
    holdWrite: (n) => new Promise((tell) => begin({ n, tell })),
    letThrough: () => begin(undefined),
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await agent.close();
    },
  };
}

async function readBody(incoming: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
