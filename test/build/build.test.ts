import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  copyFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
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
      startInstance(join(directory, 'dist/index.mjs'), directory, join(directory, 'dist/start.mjs')),
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
      .filter((name) => /\.[cm]js$/.test(name))
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

  it('logs nothing about the compile cache when it was used, and Node warns of nothing', () => {
    expect(built.output()).not.to.include('compile cache');
    expect(
      built
        .output()
        .split('\n')
        .filter((line) => line !== '' && !line.startsWith('{')),
    ).to.deep.equal([]);
  });

  it('reads a kubeconfig', async () => {
    const path = join(directory, 'kubeconfig.json');
    const nobody = await findFreePort();
    writeFileSync(
      path,
      JSON.stringify({
        clusters: [{ name: 'kind', cluster: { server: `https://127.0.0.1:${nobody}` } }],
        users: [{ name: 'me', user: { token: 'mine' } }],
        contexts: [{ name: 'kind', context: { cluster: 'kind', user: 'me' } }],
      }),
    );
    const local = await startInstance(
      join(directory, 'dist/index.mjs'),
      directory,
      join(directory, 'dist/start.mjs'),
      { KUBECONFIG: path, KUBECONFIG_CONTEXT: 'kind' },
    );
    const body = JSON.stringify({ ...cordon, dry_run: true, requestor: 'me', reason: 'ICI errors' });
    const headers = { 'content-type': 'application/json' };
    const response = await fetch(local.url, { method: 'POST', headers, body });
    await local.stop();
    expect(await response.text()).to.include('the Kubernetes API could not be reached');
  });

  it('answers the same when the start command is that of the package', async () => {
    const unlinked = await startInstance(join(directory, 'dist/index.mjs'), directory);
    const each = { name: 'a cordon', actions: [cordon], status: 200 };
    try {
      const [ofUnlinked, ofBuilt] = await Promise.all([play(unlinked, each), play(built, each)]);
      expect(ofUnlinked.answers).to.deep.equal(ofBuilt.answers);
      expect(ofUnlinked.log).to.deep.equal(ofBuilt.log);
    } finally {
      await unlinked.stop();
    }
    expect(unlinked.output()).not.to.include('compile cache');
  });

  // Both take longer than all that the function itself does.
  it("loads none of the framework's package, and not Node's own fetch", async () => {
    const hook = join(directory, 'loaded.cjs');
    const ask = `process.on('SIGUSR2', () => console.log(JSON.stringify({ loaded: [...process.moduleLoadList, ...Object.keys(require.cache)] })));`;
    writeFileSync(hook, ask);
    const fresh = await startInstance(
      join(directory, 'dist/index.mjs'),
      directory,
      join(directory, 'dist/start.mjs'),
      { NODE_OPTIONS: `--require ${hook}` },
    );
    const { answers } = await play(fresh, { name: 'a cordon', actions: [cordon], status: 200 });
    const loaded = await fresh.askLoaded();
    await fresh.stop();
    expect(answers[0]?.status).to.equal(200);
    expect(loaded).to.include('NativeModule http2');
    expect(loaded.filter((name) => name.includes('node_modules'))).to.deep.equal([]);
    expect(loaded).not.to.include('NativeModule internal/deps/undici/undici');
  });

  // F-390: Node's compile cache has the processor and the user in the name of its folder, and those of the build are others.
  it('uses the compiled code as another user, and with the limits that the buildpack sets', async function () {
    if (process.getuid?.() !== 0) this.skip();
    chmodSync(directory, 0o755);
    const other = await startInstance(
      join(directory, 'dist/index.mjs'),
      directory,
      join(directory, 'dist/start.mjs'),
      { NODE_OPTIONS: '--max-old-space-size=448', OTHER_USER: '65534' },
    );
    await other.stop();
    expect(other.output()).not.to.include('compile cache');
  });

  it('warns at start, and works, when the compiled code is of another source, damaged, or of another version of Node', async () => {
    const [cache = ''] = readdirSync(join(directory, 'dist')).filter((name) => name.endsWith('.cache'));
    const [path, source] = [cache, cache.replace(/\.cjs\..*/, '.cjs')].map((name) =>
      join(directory, 'dist', name),
    );
    const data = readFileSync(path ?? '');
    data.writeUInt8(data.readUInt8(100_000) ^ 1, 100_000);
    const code = readFileSync(source ?? '', 'utf8');
    const older = cache.replace(process.version, 'v22.0.0');
    const changes = [
      // Another source of the same length.
      () => writeFileSync(source ?? '', code.replace('use strict', 'use_strict')),
      () => {
        writeFileSync(source ?? '', code);
        writeFileSync(path ?? '', data);
      },
      () => renameSync(path ?? '', join(directory, 'dist', older)),
    ];
    for (const change of changes) {
      change();
      const slower = await startInstance(
        join(directory, 'dist/index.mjs'),
        directory,
        join(directory, 'dist/start.mjs'),
      );
      await slower.stop();
      const [line] = slower.output().split('\n');
      expect(JSON.parse(line ?? '')).to.deep.include({
        severity: 'WARNING',
        event: 'warning',
        compile_cache: {
          wanted: cache,
          found: readdirSync(join(directory, 'dist')).filter((name) => name.endsWith('.cache')),
        },
      });
      expect(line).to.include(
        'the compile cache was not used, so this instance started slower; deploy again',
      );
    }
  });
});

interface Instance {
  url: string;
  /** Where Google's APIs are for it. */
  googlePort: number;
  /** It has had an action, and has a token. */
  isWarm: boolean;
  output(): string;
  /** Which modules it has loaded, if it was started with what tells that. */
  askLoaded(): Promise<string[]>;
  stop(): Promise<void>;
}

/**
 * Starts the function as the buildpack does, with an address for Google's APIs at which nobody listens yet.
 *
 * @param command is where the start command leads to; the one of the framework's package unless given
 */
async function startInstance(
  module: string,
  directory: string,
  command = join(root, 'node_modules/.bin/functions-framework'),
  { OTHER_USER: user, ...more }: Record<string, string> = {},
): Promise<Instance> {
  const [port, googlePort] = [await findFreePort(), await findFreePort()];
  const google = `127.0.0.1:${googlePort}`;
  const { publicCaPath } = await serveEmulator(new Emulator()).then(async (server) => {
    const copy = join(directory, 'public-ca.pem');
    copyFileSync(server.publicCaPath, copy);
    await server.close();
    return { publicCaPath: copy };
  });
  let runtime = process.execPath;
  if (user !== undefined) {
    // Another user may not read the checkout, such as one in /root.
    runtime = join(directory, 'node');
    copyFileSync(process.execPath, runtime);
  }
  const child = spawn(runtime, [command], {
    cwd: directory,
    ...(user === undefined ? {} : { uid: Number(user) }),
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
      ...more,
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
  const askLoaded = async () => {
    child.kill('SIGUSR2');
    for (;;) {
      const line = output.split('\n').find((each) => each.startsWith('{"loaded"') && each.endsWith('}'));
      if (line) return (JSON.parse(line) as { loaded: string[] }).loaded;
      await sleep(10);
    }
  };
  return { url, googlePort, isWarm: false, output: () => output, askLoaded, stop: () => stop(child) };
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
  return { answers, requests: withoutRepetitions(requests.sort()), log };
}

/** A slow machine renews the pool's lock more often, and may try a call again. */
function withoutRepetitions(requests: string[]): string[] {
  return [...new Set(requests)];
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
