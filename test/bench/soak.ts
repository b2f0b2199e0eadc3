// Sends 10,000 actions and alerts through one instance in half an hour, and fails if that leaves memory, sockets or listeners behind.
// `SOAK_MINUTES=3 npm run test:soak` sends a tenth of them. Writes soak.json and soak.svg.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, request as sendRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { buildFunction } from '../../deploy/build.ts';
import { moduleDefaults } from '../fixtures/module-defaults.ts';
import { createNotification } from '../fixtures/notification.ts';
import { startEmulatorProcess } from './emulator-process.ts';
import { startFunction } from './function-process.ts';
import { judgeSoak } from './soak-judgement.ts';
import type { Probe } from './soak-judgement.ts';
import { drawSoak } from './soak-chart.ts';

const minutes = Number(process.env['SOAK_MINUTES'] ?? 30);
if (!(minutes > 0)) throw new Error('SOAK_MINUTES must be a number of minutes');
const perRound = 10;
const rounds = Math.max(20, Math.round((1000 * minutes) / 30));
const gapMs = (minutes * 60_000) / rounds;
const atOnce = 6;
/** As many as keep every pool under its 100 attempts within a day. */
const pools = 40;

const root = join(import.meta.dirname, '../..');
const directory = mkdtempSync(join(tmpdir(), 'soak-'));
const probeFile = join(directory, 'probes.jsonl');
await buildFunction(join(root, 'dist'));
const emulator = await startEmulatorProcess();
const world = { slices: pools, spareSlices: atOnce, sliceNodes: 4, reconcileEveryMs: 250 };
const started = await startFunction({
  source: join(root, 'dist/index.mjs'),
  target: 'failover',
  environment: {
    ...(await emulator.build(world)),
    COOLDOWN_SECONDS: '0',
    MAX_POOLS_PER_HOUR: '100%',
    MAX_ATTEMPTS_PER_DAY: '100',
    NODE_OPTIONS: `${moduleDefaults.nodeOptions} --expose-gc --require ${join(import.meta.dirname, 'soak-probe.cjs')}`,
    SOAK_PROBE_FILE: probeFile,
    SOAK_PROBE_EVERY_MS: '1000',
  },
});

let agent = new Agent({ keepAlive: true });
const outcomes = new Map<string, number>();
let sent = 0;

await playRound(0);
const rested = await rest();
const startedAt = Date.now();
let next = 1;
await Promise.all(Array.from({ length: atOnce }, work));
const ended = await rest();
const probes = readProbes().filter(({ at }) => at >= startedAt);
const output = started.output();
await started.stop();
emulator.stop();
rmSync(directory, { recursive: true });

const result = judgeSoak({ probes, rested, ended, sent, minutes, outcomes, output });
writeFileSync(join(import.meta.dirname, 'soak.json'), `${JSON.stringify(result, undefined, 2)}\n`);
writeFileSync(join(import.meta.dirname, 'soak.svg'), drawSoak(result));
console.log(JSON.stringify({ ...result, curve: `${result.curve.length} points` }, undefined, 2));
if (result.faults.length > 0) process.exitCode = 1;

async function work(): Promise<void> {
  for (let round = next++; round < rounds; round = next++) {
    await sleep(Math.max(0, startedAt + round * gapMs - Date.now()));
    await playRound(round);
    if (round % 25 === 0) {
      // As the function's own sweep does within the hour, and so that the emulator's memory is not what ends the run.
      await emulator.forget(1000);
      process.stderr.write(`\r${sent} sent, ${Math.round((Date.now() - startedAt) / 1000)} s `);
    }
  }
}

/** What happens to one pool: by people, by alerts that come twice, by a close, and by a caller who is wrong. */
async function playRound(round: number): Promise<void> {
  const begun = Date.now();
  const pool = `slice-${round % pools}`;
  const action = { requestor: 'soak', reason: 'soak', node_pool: pool };
  const uncordon = { ...action, type: 'uncordon_nodepool' };
  const placements = await emulator.placements();
  const jobSet = placements.find((placement) => placement.pool === pool)?.jobSet;
  const restart = {
    ...action,
    id: `soak-${round}`,
    type: 'cordon_nodepool_and_restart_jobset',
    jobset_name: jobSet ?? `train-${round % pools}`,
  };
  const alert = (state: 'open' | 'closed') =>
    createNotification({
      id: `0.soak.${round}`,
      state,
      startedAt: begun,
      type: 'k8s_node_pool',
      resource: { node_pool_name: pool },
      labels: { failover_action: 'cordon_nodepool', failover_on_close: 'uncordon_nodepool' },
    });
  await post('restart', '/actions', restart);
  await post('restart again', '/actions', restart);
  await post('uncordon', '/actions', uncordon);
  await post('alert', '/alerts', alert('open'));
  await post('alert again', '/alerts', alert('open'));
  await post('close', '/alerts', alert('closed'));
  await post('dry run', '/actions', { ...action, type: 'cordon_and_repair_nodepool', dry_run: true });
  await post('repair', '/actions', { ...action, type: 'cordon_and_repair_nodepool' });
  await post('uncordon', '/actions', uncordon);
  await post('no such pool', '/actions', { ...action, type: 'cordon_nodepool', node_pool: 'slice-x' });
  sent += perRound;
  if (round % 5 === 0) await post('reconcile', '/reconcile', {});
  if (round % 10 === 0) await post('status', '/status', undefined);
}

/** Counts what came of it, such as `restart 200`. */
async function post(what: string, path: string, body: object | undefined): Promise<void> {
  const { status, code } = await send(path, body);
  const outcome = `${what} ${status}${code === undefined ? '' : ` ${code}`}`;
  outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
}

function send(path: string, body: object | undefined): Promise<{ status: number; code?: string }> {
  return new Promise((resolve, reject) => {
    const options = {
      agent,
      method: body === undefined ? 'GET' : 'POST',
      headers: { 'content-type': 'application/json' },
    };
    sendRequest(`${started.url}${path}`, options, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      response.on('end', () => {
        const { code } = (text.startsWith('{') ? JSON.parse(text) : {}) as { code?: string };
        resolve({ status: response.statusCode ?? 0, ...(code === undefined ? {} : { code }) });
      });
      response.on('error', reject);
    })
      .on('error', reject)
      .end(body && JSON.stringify(body));
  });
}

/** Closes the connections of this side, and waits until the function has had time to notice. @returns what it then holds */
async function rest(): Promise<Probe> {
  agent.destroy();
  agent = new Agent({ keepAlive: true });
  await sleep(6_000);
  const probe = readProbes().at(-1);
  if (!probe) throw new Error(`the function writes no probes:\n${started.output().slice(-2000)}`);
  return probe;
}

function readProbes(): Probe[] {
  const lines = readFileSync(probeFile, 'utf8').split('\n').filter(Boolean);
  return lines.map((line) => JSON.parse(line) as Probe);
}
