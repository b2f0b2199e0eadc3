import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { buildFunction } from '../../deploy/build.ts';
import type { EmulatedCluster } from '../emulator/cluster.ts';
import { Emulator } from '../emulator/emulator.ts';
import type { Fault } from '../emulator/faults.ts';
import { createDemoWorld, demoCluster } from '../emulator/scenario.ts';
import { serveEmulator } from '../emulator/server.ts';
import { findFreePort } from '../fixtures/free-port.ts';

const root = join(import.meta.dirname, '../..');

interface Case {
  name: string;
  prepare?: (cluster: EmulatedCluster, emulator: Emulator) => void;
  faults?: Fault[];
  actions: Record<string, unknown>[];
  /** What the last action is answered with, so that a case is about what it says. */
  status: number;
}

const cordon = { type: 'cordon_nodepool', node_pool: 'slice-a' };
const restart = { ...cordon, type: 'cordon_nodepool_and_restart_jobset', jobset_name: 'train' };
const repair = { ...cordon, type: 'cordon_and_repair_nodepool' };

/** An error as Google's front ends send it, with details that the clients decode. */
function googleError(code: number, status: string, reason: string): object {
  return {
    error: {
      code,
      status,
      message: `refused: ${reason}`,
      errors: [{ message: `refused: ${reason}`, domain: 'usageLimits', reason }],
      details: [
        {
          '@type': 'type.googleapis.com/google.rpc.ErrorInfo',
          reason,
          domain: 'googleapis.com',
          metadata: { a: 'b' },
        },
        { '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay: '1s' },
        { '@type': 'type.googleapis.com/google.container.v1.Unheard', of: ['it'] },
      ],
    },
  };
}

function failing(api: 'container' | 'compute', status: number, reason: string, times = 1): Fault {
  return { api, times, effect: { status, body: googleError(status, 'SOME_STATUS', reason) } };
}

const cases: Case[] = [
  {
    name: 'a token that the second call gets',
    faults: [{ api: 'metadata', effect: { status: 503 } }],
    actions: [cordon],
    status: 200,
  },
  {
    name: 'a cordon, again, and its undoing',
    actions: [cordon, cordon, { ...cordon, type: 'uncordon_nodepool' }],
    status: 200,
  },
  { name: 'a restart', actions: [restart], status: 200 },
  { name: 'a restart in a dry run', actions: [{ ...restart, dry_run: true }], status: 200 },
  {
    name: 'a restart by the deadline of its Job',
    prepare: (cluster) =>
      cluster.change('jobs', 'default', 'train-workers-0', ({ spec }) => void (spec.backoffLimit = 6)),
    actions: [restart],
    status: 200,
  },
  {
    name: 'a restart with a dead node',
    prepare(cluster, emulator) {
      const [node] = cluster.nodes('slice-a');
      cluster.killNode(node?.metadata.name ?? '');
      emulator.settle();
    },
    actions: [restart],
    status: 200,
  },
  {
    name: 'a restart of a JobSet that is not there',
    actions: [{ ...restart, jobset_name: 'absent' }],
    status: 404,
  },
  { name: 'a repair', actions: [repair], status: 200 },
  { name: 'a repair in a dry run', actions: [{ ...repair, dry_run: true }], status: 200 },
  { name: 'a repair twice', actions: [repair, { ...repair, type: 'repair_nodepool' }], status: 429 },
  {
    name: 'a repair on Autopilot',
    prepare: (cluster) => void (cluster.spec.isAutopilot = true),
    actions: [repair],
    status: 409,
  },
  { name: 'a pool that is not there', actions: [{ ...cordon, node_pool: 'absent' }], status: 404 },
  {
    name: 'a preflight check',
    actions: [{ ...cordon, preflight_checks: { expected_node_counts: true } }],
    status: 200,
  },
  {
    name: 'the DNS endpoint',
    prepare: (cluster) => void (cluster.spec.allowsExternalDns = true),
    actions: [cordon],
    status: 200,
  },
  {
    name: 'a cluster without an endpoint that may be used',
    prepare: (cluster) => void (cluster.spec.hasIpEndpoints = false),
    actions: [cordon],
    status: 502,
  },
  {
    name: 'Container API: 401',
    faults: [failing('container', 401, 'unauthenticated')],
    actions: [cordon],
    status: 502,
  },
  {
    name: 'Container API: 403',
    faults: [failing('container', 403, 'forbidden')],
    actions: [cordon],
    status: 502,
  },
  {
    name: 'Container API: 404',
    faults: [failing('container', 404, 'notFound')],
    actions: [cordon],
    status: 404,
  },
  {
    name: 'Container API: 429, then an answer',
    faults: [failing('container', 429, 'rateLimitExceeded')],
    actions: [cordon],
    status: 200,
  },
  {
    name: 'Container API: 500, then an answer',
    faults: [failing('container', 500, 'backendError')],
    actions: [cordon],
    status: 200,
  },
  {
    name: 'Container API: a page of HTML',
    faults: [{ api: 'container', effect: { status: 502, body: '<html>' } }],
    actions: [cordon],
    status: 200,
  },
  {
    name: 'Container API: no JSON',
    faults: [{ api: 'container', times: 1000, effect: 'malformed' }],
    actions: [cordon],
    status: 502,
  },
  {
    name: 'Container API: a reset',
    faults: [{ api: 'container', effect: 'reset_before' }],
    actions: [cordon],
    status: 200,
  },
  {
    name: 'Compute API: 403',
    faults: [failing('compute', 403, 'forbidden', 9)],
    actions: [repair],
    status: 502,
  },
  {
    name: 'Compute API: 403 for each deletion',
    faults: [{ ...failing('compute', 403, 'forbidden', 9), method: 'DELETE' }],
    actions: [repair],
    status: 502,
  },
  {
    name: 'Compute API: 403 for the id, then by name',
    faults: [{ ...failing('compute', 403, 'forbidden'), method: 'DELETE' }],
    actions: [repair],
    status: 200,
  },
  {
    name: 'Compute API: 403 for the rate, then an answer',
    faults: [failing('compute', 403, 'rateLimitExceeded')],
    actions: [repair],
    status: 200,
  },
  { name: 'Compute API: 400', faults: [failing('compute', 400, 'invalid')], actions: [repair], status: 502 },
  {
    name: 'Compute API: 400, for it is being made',
    faults: [failing('compute', 400, 'resourceNotReady')],
    actions: [repair],
    status: 200,
  },
  { name: 'Compute API: 404', faults: [failing('compute', 404, 'notFound')], actions: [repair], status: 200 },
  {
    name: 'Compute API: 503, then an answer',
    faults: [failing('compute', 503, 'backendError')],
    actions: [repair],
    status: 200,
  },
  {
    name: 'Compute API: a lost answer',
    faults: [{ api: 'compute', effect: 'reset_after' }],
    actions: [repair],
    status: 200,
  },
  {
    name: 'Kubernetes API: 403',
    faults: [{ api: 'kubernetes', effect: { status: 403, body: { kind: 'Status', reason: 'Forbidden' } } }],
    actions: [cordon],
    status: 502,
  },
];

describe('buildFunction', function () {
  let directory: string;
  let built: Instance;
  let source: Instance;

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'build-'));
    symlinkSync(join(root, 'node_modules'), join(directory, 'node_modules'));
    await buildFunction(join(directory, 'dist'), () => undefined);
    [built, source] = await Promise.all([
      startInstance(join(directory, 'dist/index.mjs'), directory),
      startInstance(join(root, 'src/index.ts'), directory),
    ]);
  });
  after(async () => {
    await Promise.all([built?.stop(), source?.stop()]);
    rmSync(directory, { recursive: true });
  });

  describe('makes a function that does the same as its source', () => {
    for (const each of cases) {
      it(each.name, async () => {
        const [ofBuilt, ofSource] = await Promise.all([play(built, each), play(source, each)]);
        expect(ofSource.answers.at(-1)?.status, JSON.stringify(ofSource.answers)).to.equal(each.status);
        expect(ofBuilt.answers).to.deep.equal(ofSource.answers);
        expect(ofBuilt.requests).to.deep.equal(ofSource.requests);
        expect(ofBuilt.log).to.deep.equal(ofSource.log);
      });
    }
  });

  it('leaves out gRPC and the parts of packages that are loaded but never used', () => {
    const code = readdirSync(join(directory, 'dist'))
      .filter((name) => name.endsWith('.mjs'))
      .map((name) => readFileSync(join(directory, 'dist', name), 'utf8'))
      .join('\n');
    for (const word of [
      'grpc.max_receive_message_length',
      'NodePoolAutoConfig',
      'BulkInsertInstanceResource',
      'V1DeploymentSpec',
    ]) {
      expect(code.includes(word), word).to.equal(false);
    }
  });

  it('logs nothing about the compile cache when it was used', () => {
    expect(built.output()).not.to.include('compile cache');
  });

  it('warns at start when another version of Node made the compile cache', async () => {
    rmSync(join(directory, 'dist/compile-cache'), { recursive: true });
    const slower = await startInstance(join(directory, 'dist/index.mjs'), directory);
    await slower.stop();
    const [line] = slower.output().split('\n');
    expect(JSON.parse(line ?? '')).to.deep.include({ severity: 'WARNING', event: 'warning' });
    expect(line).to.include('the compile cache was not used, so this instance started slower; deploy again');
  });
});

interface Instance {
  url: string;
  /** Where Google's APIs are for it. */
  googlePort: number;
  /** It has had an action, and has a token. */
  isWarm: boolean;
  output(): string;
  stop(): Promise<void>;
}

/** Starts the function as the buildpack does, with an address for Google's APIs at which nobody listens yet. */
async function startInstance(module: string, directory: string): Promise<Instance> {
  const [port, googlePort] = [await findFreePort(), await findFreePort()];
  const google = `127.0.0.1:${googlePort}`;
  const { publicCaPath } = await serveEmulator(new Emulator()).then(async (server) => {
    const copy = join(directory, 'public-ca.pem');
    copyFileSync(server.publicCaPath, copy);
    await server.close();
    return { publicCaPath: copy };
  });
  const child = spawn(join(root, 'node_modules/.bin/functions-framework'), [], {
    cwd: directory,
    env: {
      PATH: dirname(process.execPath),
      NODE_ENV: 'production',
      NODE_EXTRA_CA_CERTS: publicCaPath,
      K_SERVICE: 'failover',
      FUNCTION_TARGET: 'failover',
      FUNCTION_SIGNATURE_TYPE: 'http',
      FUNCTION_SOURCE: module,
      PORT: String(port),
      CLUSTERS: demoCluster,
      CLOUDSDK_CONFIG: join(directory, 'gcloud'),
      CLOUDSDK_API_ENDPOINT_OVERRIDES_CONTAINER: `http://${google}/`,
      CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE: `http://${google}/compute/v1/`,
      GCE_METADATA_HOST: google,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk: string) => (output += chunk));
  }
  const url = `http://127.0.0.1:${port}`;
  while (!(await fetch(`${url}/robots.txt`).catch(() => undefined))) {
    if (child.exitCode !== null) throw new Error(`${module} did not start: ${output}`);
    await sleep(20);
  }
  return { url, googlePort, isWarm: false, output: () => output, stop: () => stop(child) };
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  child.kill('SIGKILL');
  await once(child, 'exit');
}

/** What an instance answers, asks for and logs, without what differs between any two runs. */
interface Performance {
  answers: { status: number; body: unknown }[];
  requests: string[];
  log: unknown[];
}

const scopes = ['cloud-platform', 'userinfo.email'].map(
  (scope) => `https://www.googleapis.com/auth/${scope}`,
);

/** Has an instance carry a case out in a world of its own, which is the same for each. */
async function play(instance: Instance, { prepare, faults = [], actions }: Case): Promise<Performance> {
  const emulator = new Emulator();
  const cluster = createDemoWorld(emulator);
  // A warm instance still has the first token of the world before, which is the first of this one too.
  if (instance.isWarm) emulator.tokens.issueToken(scopes);
  instance.isWarm = true;
  prepare?.(cluster, emulator);
  for (const fault of faults) emulator.faults.add(fault);
  const server = await serveEmulator(emulator, { port: instance.googlePort });
  const logged = instance.output().length;
  const answers: Performance['answers'] = [];
  for (const [index, action] of actions.entries()) {
    const response = await fetch(`${instance.url}/actions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ id: `action-${index}`, requestor: 'me', reason: 'ICI errors', ...action }),
    });
    answers.push({ status: response.status, body: neutralise(await response.text()) });
  }
  await server.close();
  const requests = emulator.requests
    .filter(({ method }) => method !== 'GET')
    .map(({ api, method, path, query, body }) =>
      neutralise(JSON.stringify({ api, method, path, query, body })),
    );
  const log = instance
    .output()
    .slice(logged)
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => neutralise(line));
  // Patches are sent side by side.
  return { answers, requests: requests.sort(), log };
}

function neutralise(text: string): string {
  return text
    .replaceAll(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/g, 'TIME')
    .replaceAll(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, 'UUID')
    .replaceAll(/operation-\d+-[\da-f-]+/g, 'OPERATION')
    .replaceAll(/"duration_ms":\d+/g, '"duration_ms":0')
    .replaceAll(/"resourceVersion":"\d+"/g, '"resourceVersion":"N"')
    .replaceAll(/127\.0\.0\.1:\d+|localhost:\d+/g, 'HOST')
    .replaceAll(/again possible in \d+ s/g, 'again possible soon')
    .replaceAll(/"stack_trace":".*?[^\\]"/g, '"stack_trace":""');
}
