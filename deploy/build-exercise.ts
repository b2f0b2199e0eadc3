// Starts the function that was built and sends it requests, so that V8 compiles what a first request needs, and keeps that.
// All addresses are of this process: it gives a token and a cluster, and refuses to be one.
import type * as loading from './build-load.ts';
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { rootCertificates } from 'node:tls';

const [directory = ''] = process.argv.slice(2);
const google = createServer((request, response) => {
  response.setHeader('Metadata-Flavor', 'Google');
  response.setHeader('Content-Type', 'application/json');
  response.end(JSON.stringify(request.url?.startsWith('/v1/') ? cluster() : token));
});
const token = { access_token: 'none', expires_in: 3600, token_type: 'Bearer' };
const address = `127.0.0.1:${await listen(google)}`;

// A port that is free now.
const free = createServer();
const port = await listen(free);
await new Promise((resolve) => free.close(resolve));

const clusters = 'projects/build/locations/build/clusters/build';
Object.assign(process.env, {
  CLUSTERS: clusters,
  CLOUDSDK_CONFIG: directory,
  CLOUDSDK_API_ENDPOINT_OVERRIDES_CONTAINER: `http://${address}/`,
  FUNCTION_SIGNATURE_TYPE: 'http',
  FUNCTION_SOURCE: join(directory, 'index.mjs'),
  FUNCTION_TARGET: 'failover',
  GCE_METADATA_HOST: address,
  NODE_ENV: 'production',
  PORT: String(port),
});
const { load } = (await import(pathToFileURL(join(directory, 'load.mjs')).href)) as typeof loading;
const whole = load(true);
whole.startFramework();

const url = `http://127.0.0.1:${port}`;
while (!(await fetch(`${url}/robots.txt`).catch(() => undefined))) await sleep(10);
const action = { requestor: 'build', reason: 'build', node_pool: 'build', jobset_name: 'build' };
await Promise.all([
  ...['cordon_nodepool', 'cordon_and_repair_nodepool', 'cordon_nodepool_and_restart_jobset'].map((type) =>
    post({ ...action, type }),
  ),
  post({}),
  fetch(url, { headers: { Accept: 'text/html' } }),
]);
whole.keepCompiled();
process.exit(0);

function post(body: unknown): Promise<Response> {
  const headers = { 'Content-Type': 'application/json' };
  return fetch(url, { method: 'POST', headers, body: JSON.stringify(body) });
}

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

/** The cluster's address is this server, which speaks no TLS. */
function cluster() {
  const clusterCaCertificate = Buffer.from(rootCertificates[0] ?? '').toString('base64');
  return { name: 'build', status: 'RUNNING', endpoint: address, masterAuth: { clusterCaCertificate } };
}
