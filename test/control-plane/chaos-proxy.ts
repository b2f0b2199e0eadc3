/** Stands in front of the API server, speaks HTTP/2 as it does, notes each request and what came of it, and makes faults. */
import { constants, createSecureServer } from 'node:http2';
import type { IncomingHttpHeaders, Http2Session, ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { Agent, request } from 'undici';
import { createCertificateAuthority } from './certificates.ts';
import type { History } from './chaos-history.ts';
import type { RequestFault, Weather } from './chaos-weather.ts';
import { watchedPlurals } from './chaos-history.ts';
import type { KubernetesObject } from './kubernetes-client.ts';

export interface ChaosProxy {
  url: string;
  /** PEM: the proxy has an authority of its own. */
  ca: string;
  /** Breaks all connections, as a load balancer that goes does. */
  cutAll(): void;
  close(): Promise<void>;
}

/** Says which fault is made of which request. */
export type FaultSource = Pick<Weather, 'faultOf' | 'lateMs'>;

interface Upstream {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  text: string;
}

export async function serveChaosProxy(
  target: { url: string; ca: string },
  history: History,
  weather: FaultSource,
): Promise<ChaosProxy> {
  const authority = createCertificateAuthority('chaos-proxy');
  const { certificate, key } = authority.issue({ commonName: 'localhost' }, ['127.0.0.1', 'localhost']);
  const agent = new Agent({ connect: { ca: target.ca } });
  const sessions = new Map<Http2Session, number>();
  const server = createSecureServer({ cert: certificate, key, settings: { maxConcurrentStreams: 250 } });
  server.on('sessionError', () => {});
  server.on('session', (session) => {
    const number = history.number();
    sessions.set(session, number);
    history.note({ kind: 'session', session: number, port: session.socket.remotePort ?? 0 });
    session.on('close', () => sessions.delete(session));
  });

  const carryOut = async (
    { call, method, path }: { call: number; method: string; path: string },
    headers: IncomingHttpHeaders,
    body: Buffer,
  ): Promise<Upstream> => {
    const kept = Object.entries(headers).filter(
      ([name]) => !name.startsWith(':') && !['host', 'connection', 'content-length'].includes(name),
    );
    const answer = await request(new URL(path, target.url), {
      method: method as 'GET',
      dispatcher: agent,
      headers: Object.fromEntries(kept),
      ...(body.length > 0 && { body }),
    });
    const text = await answer.body.text();
    noteObjects(history, text);
    if (method === 'PATCH' && answer.statusCode === 200) noteCordon(history, path, body.toString(), text);
    history.note({ kind: 'carried_out', call, status: answer.statusCode });
    return { status: answer.statusCode, headers: answer.headers, text };
  };

  const serve = async (stream: ServerHttp2Stream, headers: IncomingHttpHeaders): Promise<void> => {
    const { session } = stream;
    const method = String(headers[':method']);
    const path = String(headers[':path']);
    const body = await readBody(stream);
    if (!session || body === undefined) return;
    const fault = weather.faultOf();
    const call = history.number();
    const by = { session: sessions.get(session) ?? 0 };
    history.note({
      kind: 'call',
      call,
      api: 'kubernetes',
      method,
      path,
      body: body.toString(),
      by,
      ...(fault && { fault }),
    });
    const isAfter = fault?.endsWith('_after') === true;
    const at = { stream, session, weather };
    if (fault && !isAfter && !(await meddle[fault](at))) return;
    const answer = await carryOut({ call, method, path }, headers, body);
    if (fault === 'twice_after') await carryOut({ call, method, path }, headers, body);
    if (fault && isAfter && !(await meddle[fault](at))) return;
    send(stream, answer);
  };

  server.on('stream', (stream, headers) => {
    stream.on('error', () => {});
    // The API server is gone, and so is whoever is connected to it.
    serve(stream, headers).catch(() => stream.session?.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const cutAll = (): void => {
    for (const session of sessions.keys()) session.destroy();
  };
  return {
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    ca: authority.certificate,
    cutAll,
    async close() {
      cutAll();
      await new Promise((resolve) => server.close(resolve));
      await agent.close();
    },
  };
}

/** Where a request is, and what is done to it there. @returns whether it goes on */
type Meddle = (at: {
  stream: ServerHttp2Stream;
  session: Http2Session;
  weather: FaultSource;
}) => boolean | Promise<boolean>;

const cut: Meddle = ({ session }) => {
  session.destroy();
  return false;
};
const reset: Meddle = ({ stream }) => {
  stream.close(constants.NGHTTP2_INTERNAL_ERROR);
  return false;
};
/** It is in a queue behind the connection, so it goes on although the client has given up. */
const wait: Meddle = async ({ weather }) => {
  await delay(weather.lateMs());
  return true;
};
const answerWith =
  (status: number, headers: Record<string, string> = {}): Meddle =>
  ({ stream }) => {
    const type = { 'content-type': 'application/json' };
    send(stream, { status, headers: { ...headers, ...type }, text: '{"kind":"Status"}' });
    return false;
  };

/** Before it is carried out, and before it is answered. */
const meddle: Record<RequestFault, Meddle> = {
  cut_before: cut,
  cut_after: cut,
  reset_before: reset,
  reset_after: reset,
  goaway_before: ({ stream, session }) => {
    session.goaway(constants.NGHTTP2_NO_ERROR, Math.max(0, (stream.id ?? 1) - 2));
    stream.close(constants.NGHTTP2_REFUSED_STREAM);
    session.close();
    return false;
  },
  goaway_after: ({ session }) => {
    // It waits for what is under way.
    session.close();
    return true;
  },
  late_request: wait,
  late_answer_after: wait,
  twice_after: () => true,
  refused_429: answerWith(429, { 'retry-after': '1' }),
  failed_503: answerWith(503),
  failed_500_after: answerWith(500),
  never_before: () => false,
  never_after: () => false,
};

function send(stream: ServerHttp2Stream, { status, headers, text }: Upstream): void {
  if (stream.destroyed || stream.closed) return;
  const kept = Object.entries(headers).filter(
    ([name]) => !['connection', 'transfer-encoding', 'content-length', 'keep-alive'].includes(name),
  );
  stream.respond({ ':status': status, ...Object.fromEntries(kept) });
  stream.end(text);
}

function readBody(stream: ServerHttp2Stream): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.on('end', () => resolve(Buffer.concat(chunks)));
    stream.on('close', () => resolve(undefined));
  });
}

/** What the function is about to know, so that it is judged by nothing older. */
function noteObjects(history: History, text: string): void {
  const parsed = parse(text);
  const items = parsed?.items ?? (parsed ? [parsed] : []);
  for (const item of items) {
    const kind = item.kind ?? parsed?.kind?.replace(/List$/, '');
    const plural = watchedPlurals.find((each) => each === `${kind?.toLowerCase()}s`);
    if (plural && item.metadata?.uid) history.noteObject(plural, item);
  }
}

/** The function asks for no more than the metadata of a node that it cordons. */
function noteCordon(history: History, path: string, sent: string, text: string): void {
  const answered = parse(text);
  const isCordon =
    /^\/api\/v1\/nodes\/[^/]+$/.test(path.split('?')[0] ?? '') && sent.includes('"unschedulable":true');
  if (!isCordon || answered?.kind !== 'PartialObjectMetadata') return;
  const { name, resourceVersion } = answered.metadata;
  history.note({ kind: 'cordoned', node: name, resourceVersion });
}

function parse(text: string): (KubernetesObject & { items?: KubernetesObject[] | null }) | undefined {
  try {
    return JSON.parse(text) as KubernetesObject;
  } catch {
    return undefined;
  }
}
