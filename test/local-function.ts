// Runs as a process of its own: the function as it is deployed, but on this machine's loopback interface only, which
// functions-framework's own start command cannot do.
import type { AddressInfo } from 'node:net';
import { getTestServer } from '@google-cloud/functions-framework/testing';
import '../src/index.ts';

const server = getTestServer(process.env['FUNCTION_TARGET'] ?? 'failover');
server.once('error', (error) => {
  console.error(`the function cannot listen: ${error.message}; choose another port with PORT=…`);
  process.exit(1);
});
server.listen(Number(process.env['PORT'] ?? 0), '127.0.0.1', () => {
  process.send?.({ port: (server.address() as AddressInfo).port });
});
// The function goes when the one that started it goes.
process.once('disconnect', () => process.exit(0));
