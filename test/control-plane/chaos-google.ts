/** Stands in front of the Container and Compute APIs, notes each request and what came of it, and makes faults. */
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { Emulator } from '../emulator/emulator.ts';
import type { HttpRequest, HttpResponse } from '../emulator/http.ts';
import { deliveryHeader } from './chaos-delivery.ts';
import type { History } from './chaos-history.ts';
import type { RequestFault, Weather } from './chaos-weather.ts';

const known: RequestFault[] = [
  'cut_before',
  'cut_after',
  'late_request',
  'late_answer_after',
  'twice_after',
  'failed_503',
  'failed_500_after',
  'never_before',
  'never_after',
];

/** @param onCompute called after each request to Compute */
export async function serveChaosGoogle(
  emulator: Emulator,
  history: History,
  weather: Weather,
  onCompute: () => void,
): Promise<{ url: string; close(): Promise<void> }> {
  const serve = async (incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks).toString();
    const { method = 'GET', url: path = '/' } = incoming;
    const api = path.startsWith('/compute/') ? 'compute' : 'container';
    const headers = Object.fromEntries(
      Object.entries(incoming.headers).map(([name, value]) => [name, String(value)]),
    );
    const sent: HttpRequest = { method, path, headers, body };
    const fault = weather.faultOf(known);
    const call = history.number();
    const by = { delivery: headers[deliveryHeader] ?? '' };
    history.note({ kind: 'call', call, api, method, path, body, by, ...(fault && { fault }) });
    const carryOut = (): HttpResponse => {
      const answer = api === 'compute' ? emulator.handleCompute(sent) : emulator.handleContainer(sent);
      history.note({ kind: 'carried_out', call, status: answer.status });
      if (api === 'compute') onCompute();
      return answer;
    };
    if (fault === 'cut_before') return void incoming.socket.destroy();
    if (fault === 'never_before') return;
    if (fault === 'failed_503') return fail(outgoing, 503);
    if (fault === 'late_request') await delay(weather.lateMs());
    const answer = carryOut();
    if (fault === 'twice_after') carryOut();
    if (fault === 'cut_after') return void incoming.socket.destroy();
    if (fault === 'never_after') return;
    if (fault === 'failed_500_after') return fail(outgoing, 500);
    if (fault === 'late_answer_after') await delay(weather.lateMs());
    outgoing.writeHead(answer.status, answer.headers);
    outgoing.end(answer.body);
  };
  const server = createServer((incoming, outgoing) => {
    serve(incoming, outgoing).catch(() => incoming.socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function fail(outgoing: ServerResponse, status: number): void {
  outgoing.writeHead(status, { 'content-type': 'application/json' });
  outgoing.end(JSON.stringify({ error: { code: status, message: 'a fault' } }));
}
