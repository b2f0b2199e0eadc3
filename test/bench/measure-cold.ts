import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { EmulatorProcess } from './emulator-process.ts';
import { startFunction } from './function-process.ts';
import type { FunctionSpec } from './function-process.ts';
import { median } from './result.ts';
import type { Result } from './result.ts';

const root = join(import.meta.dirname, '../..');

/**
 * Measures a cold start: from the spawn of the buildpack's start command until the first action is answered, in turn with a bare
 * functions-framework that says hello, and one that only makes the calls that nobody can leave out.
 */
export async function measureCold(
  emulator: EmulatorProcess,
  source: string,
  runs: number,
  progress: (run: number) => void,
): Promise<Result[]> {
  const hello = writePackage('hello', helloSource);
  const calls = writePackage('calls', callsSource);
  const measured = { hello: newSamples(), calls: newSamples(), cordon: newSamples(), repair: newSamples() };
  try {
    for (let run = 0; run < runs; run++) {
      progress(run);
      await addSample(measured.hello, { source: hello, target: 'hello' }, {});
      const environment = await emulator.build({});
      await addSample(measured.calls, { source: calls, target: 'calls', environment }, {});
      for (const [kind, type] of [
        ['cordon', 'cordon_nodepool'],
        ['repair', 'cordon_and_repair_nodepool'],
      ] as const) {
        const environment = await emulator.build({});
        const action = { requestor: 'bench', reason: 'bench', type, node_pool: 'slice-a' };
        await addSample(measured[kind], { source, target: 'failover', environment }, action);
      }
    }
  } finally {
    for (const directory of [hello, calls]) rmSync(directory, { recursive: true });
  }
  const helloMs = median(measured.hello.ms);
  const callsMs = median(measured.calls.ms);
  const helloMb = median(measured.hello.mb);
  const cordonMs = median(measured.cordon.ms);
  const repairMs = median(measured.repair.ms);
  const coldMb = median(measured.cordon.mb);
  return [
    {
      name: 'cold-cordon',
      value: cordonMs,
      unit: 'ms',
      reference: helloMs,
      ratio: cordonMs / helloMs,
      goal: 'ratio <= 1.5',
      what: 'spawn → first cordon answered; against a bare functions-framework that says hello',
    },
    {
      name: 'cold-repair',
      value: repairMs,
      unit: 'ms',
      reference: helloMs,
      ratio: repairMs / helloMs,
      goal: 'ratio <= 1.65',
      what: 'spawn → first cordon and repair answered; against the same',
    },
    {
      name: 'cold-cordon-calls',
      value: cordonMs,
      unit: 'ms',
      reference: callsMs,
      ratio: cordonMs / callsMs,
      goal: null,
      what: 'spawn → first cordon answered; against a function without libraries that asks for token, cluster and one node, and answers',
    },
    {
      name: 'cold-rss',
      value: coldMb,
      unit: 'MB',
      reference: helloMb,
      ratio: coldMb / helloMb,
      goal: null,
      what: 'most memory until the first cordon was answered; against hello',
    },
  ];
}

interface Samples {
  ms: number[];
  mb: number[];
}

function newSamples(): Samples {
  return { ms: [], mb: [] };
}

async function addSample(samples: Samples, spec: FunctionSpec, body: unknown): Promise<void> {
  const started = await startFunction(spec);
  const answer = await started.post(body);
  samples.ms.push(started.elapsedMs());
  samples.mb.push(started.peakRssMb());
  await started.stop();
  if (answer.status !== 200) {
    throw new Error(`the action failed: ${JSON.stringify(answer.body)}\n${started.output()}`);
  }
}

/** The function that the framework's own guide begins with. */
const helloSource = `require('@google-cloud/functions-framework').http('hello', (request, response) => response.send('hello'));
`;

/** What no function that finds a cluster and asks it something can leave out, with Node's own client. */
const callsSource = `const http = require('node:http');
const https = require('node:https');
const { CLUSTERS, CLOUDSDK_API_ENDPOINT_OVERRIDES_CONTAINER: container, GCE_METADATA_HOST: metadata } = process.env;
const get = (client, url, options) => new Promise((resolve, reject) => {
  client.get(url, options, (response) => {
    let body = '';
    response.setEncoding('utf8').on('data', (chunk) => { body += chunk; });
    response.on('end', () => response.statusCode === 200 ? resolve(JSON.parse(body)) : reject(new Error(body)));
  }).on('error', reject);
});
require('@google-cloud/functions-framework').http('calls', async (request, response) => {
  const tokenUrl = 'http://' + metadata + '/computeMetadata/v1/instance/service-accounts/default/token';
  const { access_token: token } = await get(http, tokenUrl, { headers: { 'Metadata-Flavor': 'Google' } });
  const headers = { Authorization: 'Bearer ' + token };
  const cluster = await get(http, container + 'v1/' + CLUSTERS, { headers });
  const ca = Buffer.from(cluster.masterAuth.clusterCaCertificate, 'base64').toString();
  await get(https, 'https://' + cluster.endpoint + '/api/v1/nodes?limit=1', { headers, ca });
  response.send('done');
});
`;

/** Writes a function as a package of its own. @returns its directory */
function writePackage(name: string, source: string): string {
  const directory = mkdtempSync(join(tmpdir(), `${name}-`));
  writeFileSync(
    join(directory, 'package.json'),
    JSON.stringify({ name, version: '1.0.0', main: 'index.js' }),
  );
  writeFileSync(join(directory, 'index.js'), source);
  symlinkSync(join(root, 'node_modules'), join(directory, 'node_modules'));
  return directory;
}
