import { effectsOf } from '../../src/action-type.ts';
import { parseAction } from '../../src/request/action.ts';
import type { Action } from '../../src/request/action.ts';
import { readConfig } from '../../src/config.ts';
import type { Config } from '../../src/config.ts';
import { FailoverError } from '../../src/errors.ts';
import type { EmulatedCluster } from '../emulator/cluster.ts';
import { Emulator } from '../emulator/emulator.ts';
import { addSystemNamespace } from '../emulator/scenario.ts';
import { FunctionInstance } from './function-instance.ts';
import type { Fault, SentCall } from './function-instance.ts';
import { Invariants } from './invariants.ts';
import { nodesPerPool, pools } from './interleaving.ts';
import type { Disturbance, Interleaving, InterleavedAction } from './interleaving.ts';
import { createRandom, VirtualTime } from './virtual-time.ts';

const clusterName = 'projects/demo-project/locations/us-central1/clusters/demo';
const start = Date.parse('2026-11-23T03:00:00Z');

/** What came of an interleaving. */
export interface InterleavingResult {
  /** What was broken, in a sentence each; empty when all is well. */
  violations: string[];
  /** Every request that was sent, for a look at a failure. */
  calls: SentCall[];
  answers: { at: number; actionId: string; answer: string }[];
}

/**
 * Runs an interleaving: the real pipeline in several instances over one emulator, in virtual time; then, in fair weather,
 * each action once more, which must come to an end; and says which invariants were broken.
 */
export async function runInterleaving(interleaving: Interleaving): Promise<InterleavingResult> {
  const time = new VirtualTime(start);
  const random = createRandom(interleaving.seed);
  const originalRandom = Math.random;
  Math.random = random;
  try {
    const emulator = new Emulator({ now: () => time.now, seed: interleaving.seed });
    const cluster = createWorld(emulator, interleaving);
    const config = readConfig({ CLUSTERS: clusterName, MAX_POOLS_PER_HOUR: '4' });
    const run = new Run({ time, random, emulator, cluster, config, interleaving });
    await run.stormyPart();
    await run.fairPart();
    return { violations: run.invariants.conclude(), calls: run.invariants.calls, answers: run.answers };
  } finally {
    Math.random = originalRandom;
  }
}

function createWorld(emulator: Emulator, interleaving: Interleaving): EmulatedCluster {
  const cluster = emulator.addCluster({ name: clusterName });
  addSystemNamespace(cluster);
  const { replicas, backoffLimit } = interleaving;
  for (const pool of pools) cluster.addTpuSlice(pool, { nodes: nodesPerPool, topology: '4x4' });
  cluster.addJobSet({
    name: 'train',
    exclusiveTopology: 'cloud.google.com/gke-nodepool',
    failurePolicy: { maxRestarts: 10 },
    replicatedJobs: [{ name: 'workers', replicas, parallelism: nodesPerPool, backoffLimit }],
  });
  emulator.settle();
  return cluster;
}

interface RunOptions {
  time: VirtualTime;
  random: () => number;
  emulator: Emulator;
  cluster: EmulatedCluster;
  config: Config;
  interleaving: Interleaving;
}

class Run {
  readonly answers: InterleavingResult['answers'] = [];
  readonly invariants: Invariants;
  readonly #options: RunOptions;
  #isFair = false;
  #instances: FunctionInstance[];

  constructor(options: RunOptions) {
    this.#options = options;
    this.invariants = new Invariants(options.emulator, options.cluster, options.time);
    this.#instances = options.interleaving.skews.map((skewMs) => this.#createInstance(skewMs));
    this.#keepControllersRunning();
  }

  /** Requests, faults and disturbances as the interleaving has them. */
  async stormyPart(): Promise<void> {
    const { time, interleaving } = this.#options;
    let open = interleaving.requests.length;
    for (const { at, action, instance } of interleaving.requests) {
      time.at(start + at, () => {
        const settled = () => void open--;
        this.#invoke(this.#toAction(action), instance).then(settled, settled);
      });
    }
    for (const disturbance of interleaving.disturbances) {
      time.at(start + disturbance.at, () => this.#disturb(disturbance));
    }
    // Invocations on crashed instances never end; what hangs longer than a function may run is dead too.
    const latest = start + 1_100_000;
    await time.run(() => open === 0 || time.now > latest);
    for (const instance of this.#instances) instance.crash();
  }

  /** In fair weather every action comes to an end, from whatever state it was left in. */
  async fairPart(): Promise<void> {
    const { time, interleaving } = this.#options;
    this.#isFair = true;
    await time.advanceTo(time.now + interleaving.pauseMs);
    this.#instances = [this.#createInstance(0)];
    const sent = [
      ...new Set(interleaving.requests.map(({ action }) => action % interleaving.actions.length)),
    ];
    for (const index of sent) {
      let isOver = false;
      const action = this.#toAction(index);
      const sentAt = time.now;
      this.#invoke(action, 0).then(
        () => (isOver = true),
        (error: unknown) => {
          isOver = true;
          const isRefusal =
            error instanceof FailoverError && error.status < 500 && error.code !== 'action_in_progress';
          if (!isRefusal) this.invariants.violate(`${action.id} does not come to an end: ${String(error)}`);
        },
      );
      await time.run(() => isOver || time.now > sentAt + 300_000);
      if (!isOver) this.invariants.violate(`${action.id} hangs in fair weather`);
    }
    await time.advanceTo(time.now + 5_000);
  }

  #createInstance(skewMs: number): FunctionInstance {
    const { time, random, emulator, interleaving } = this.#options;
    const perMille = (share: number) => !this.#isFair && random() * 1000 < share;
    return new FunctionInstance({
      time,
      emulator,
      token: emulator.tokens.tokenFor('failover@demo-project.iam.gserviceaccount.com'),
      skewMs,
      onSend: (call) => this.invariants.onSend(call),
      weather: {
        latency: () => (perMille(interleaving.slowPerMille) ? random() * 8_000 : 2 + random() * 30),
        fault: () =>
          perMille(interleaving.faultsPerMille)
            ? (faults[Math.floor(random() * faults.length)] ?? 'none')
            : 'none',
      },
    });
  }

  #keepControllersRunning(): void {
    const { time, emulator, interleaving } = this.#options;
    const tick = () => {
      let hasChanged = false;
      while (emulator.reconcile()) hasChanged = true;
      if (hasChanged) this.invariants.observe();
      time.after(interleaving.controllersMs, tick);
    };
    time.after(interleaving.controllersMs, tick);
  }

  async #invoke(action: Action, instance: number): Promise<void> {
    const { time, config } = this.#options;
    this.invariants.onAction(action);
    const note = (answer: string) => this.answers.push({ at: time.now - start, actionId: action.id, answer });
    try {
      const outcome = await this.#instances[instance]?.invoke(action, config);
      note(JSON.stringify(outcome));
    } catch (error) {
      note(
        error instanceof FailoverError ? `${error.code}: ${error.message}` : `unexpected: ${String(error)}`,
      );
      if (!(error instanceof FailoverError)) this.invariants.violate(`${action.id} threw ${String(error)}`);
      throw error;
    }
  }

  #toAction(index: number): Action {
    const { interleaving, config, cluster } = this.#options;
    const number = index % interleaving.actions.length;
    const planned = interleaving.actions[number] as InterleavedAction;
    const isRestart = effectsOf[planned.type].restart;
    const pool = planned.pool ?? (isRestart ? undefined : 'slice-a');
    const node =
      planned.node === undefined || pool === undefined ? undefined : nodeName(cluster, pool, planned.node);
    const body = {
      id: `action-${number}`,
      type: planned.type,
      requestor: 'interleaving',
      reason: 'random',
      node_pool: pool,
      node_name: node,
      jobset_name: isRestart ? 'train' : undefined,
    };
    return parseAction(JSON.parse(JSON.stringify(body)), config.clusters, 'generated');
  }

  #disturb(disturbance: Disturbance): void {
    const { cluster } = this.#options;
    if (disturbance.kind === 'freeze') this.#instances[disturbance.instance]?.freeze(disturbance.ms);
    else if (disturbance.kind === 'crash') this.#crash(disturbance.instance);
    else {
      const name = nodeName(cluster, disturbance.pool, disturbance.node);
      if (name !== undefined) this.#disturbNode(disturbance.kind, disturbance.pool, name);
    }
  }

  /** Another instance takes the place of one that died. */
  #crash(index: number): void {
    this.#instances[index]?.crash();
    this.#instances[index] = this.#createInstance(this.#options.interleaving.skews[index] ?? 0);
  }

  #disturbNode(kind: NodeDisturbance, pool: string, name: string): void {
    const { cluster, emulator } = this.#options;
    if (kind === 'person_takes_over') {
      this.#disturbNode('person_uncordons', pool, name);
      this.#disturbNode('person_cordons', pool, name);
      return;
    }
    const isCordoned = cluster.get('nodes', undefined, name)?.spec.unschedulable === true;
    // kubectl writes nothing where there is nothing to change, so such a cordon is nobody's.
    if (kind.startsWith('person_') && isCordoned === (kind === 'person_cordons')) return;
    const hasMachine = emulator.fleet.list().some((machine) => machine.name === name);
    if (kind === 'machine_replaced' && !hasMachine) return;
    this.invariants.onDisturbance(kind, pool, name);
    if (kind === 'node_dies') cluster.killNode(name);
    else if (kind === 'machine_replaced') cluster.replaceInstance(name);
    else cluster.cordonAs('kubectl', name, kind === 'person_cordons');
  }
}

type NodeDisturbance = Exclude<Disturbance['kind'], 'freeze' | 'crash'>;

const faults: Fault[] = [
  'lost_before',
  'lost_after',
  'lost_after',
  'refused_429',
  'failed_500',
  'failed_503',
  'never',
];

/** Names stay through repairs; a slice that is being re-created has none for a while. */
function nodeName(cluster: EmulatedCluster, pool: string, index: number): string | undefined {
  return cluster
    .nodes(pool)
    .map((node) => node.metadata.name)
    .sort()[index];
}
