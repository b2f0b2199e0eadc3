import type { Action } from '../../src/request/action.ts';
import { readConfig } from '../../src/config.ts';
import type { Config } from '../../src/config.ts';
import { FailoverError } from '../../src/errors.ts';
import { Ignored } from '../../src/ignored.ts';
import type { EmulatedCluster } from '../emulator/cluster.ts';
import { Emulator } from '../emulator/emulator.ts';
import { addSystemNamespace } from '../emulator/scenario.ts';
import { FunctionInstance } from './function-instance.ts';
import type { Fault, SentCall } from './function-instance.ts';
import { Disturbances, functionsAccount } from './disturbances.ts';
import { Invariants } from './invariants.ts';
import { gpuPool, nodesPerPool, pools } from './interleaving.ts';
import type { Disturbance, Interleaving, InterleavedAction } from './interleaving.ts';
import { toAction, toClose } from './planned-action.ts';
import type { FirstNode } from './planned-action.ts';
import { createRandom, VirtualTime } from './virtual-time.ts';

const clusterName = 'projects/demo-project/locations/us-central1/clusters/demo';
const start = Date.parse('2026-11-23T03:00:00Z');
/** As long as a lock lasts that nobody renews, and some more for a clock that is behind. */
const lockSeconds = 75;

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
    const config = readConfig({
      CLUSTERS: clusterName,
      MAX_POOLS_PER_HOUR: String(interleaving.maxPools ?? 4),
      ...interleaving.settings,
    });
    const firstNodes = listFirstNodes(cluster, emulator);
    const run = new Run({ time, start, random, emulator, cluster, config, interleaving, firstNodes });
    await run.stormyPart();
    await run.fairPart();
    if (interleaving.endsWithNewIncident) await run.newIncident();
    return { violations: run.invariants.conclude(), calls: run.invariants.calls, answers: run.answers };
  } finally {
    Math.random = originalRandom;
  }
}

function createWorld(emulator: Emulator, interleaving: Interleaving): EmulatedCluster {
  const cluster = emulator.addCluster({ name: clusterName });
  addSystemNamespace(cluster);
  const { replicas, backoffLimit, restartStrategy, podGraceSeconds } = interleaving;
  const grace =
    podGraceSeconds === undefined
      ? {}
      : { terminationGracePeriodSeconds: podGraceSeconds, usesItsGrace: true };
  for (const pool of pools) cluster.addTpuSlice(pool, { nodes: nodesPerPool, topology: '4x4' });
  cluster.addPool(gpuPool, { gpu: true, nodes: nodesPerPool });
  cluster.addJobSet({
    name: 'train',
    exclusiveTopology: 'cloud.google.com/gke-nodepool',
    failurePolicy: { maxRestarts: 10, ...(restartStrategy ? { restartStrategy } : {}) },
    replicatedJobs: [{ name: 'workers', replicas, parallelism: nodesPerPool, backoffLimit, ...grace }],
  });
  emulator.settle();
  return cluster;
}

function listFirstNodes(cluster: EmulatedCluster, { fleet }: Emulator): Map<string, FirstNode[]> {
  const machines = new Map(fleet.list().map((machine) => [machine.name, machine]));
  const toFirst = (name: string) => ({
    name,
    instanceId: machines.get(name)?.id ?? '',
    zone: machines.get(name)?.zone ?? '',
  });
  return new Map(
    [...pools, gpuPool].map((pool) => {
      const names = cluster.nodes(pool).map(({ metadata }) => metadata.name);
      return [pool, names.sort().map((name) => toFirst(name))];
    }),
  );
}

interface RunOptions {
  time: VirtualTime;
  start: number;
  random: () => number;
  emulator: Emulator;
  cluster: EmulatedCluster;
  config: Config;
  interleaving: Interleaving;
  firstNodes: Map<string, FirstNode[]>;
}

class Run {
  readonly answers: InterleavingResult['answers'] = [];
  readonly invariants: Invariants;
  readonly #disturbances: Disturbances;
  readonly #options: RunOptions;
  #isFair = false;
  #leasesConflictUntil = 0;
  /** From then on, no lock of an instance that died counts. */
  #locksFreeAt = 0;
  #instances: FunctionInstance[];

  constructor(options: RunOptions) {
    this.#options = options;
    this.invariants = new Invariants(options);
    this.#disturbances = new Disturbances({ ...options, invariants: this.invariants });
    for (const pool of options.interleaving.closedPools ?? []) this.#disturbances.cordon(pool);
    this.#instances = options.interleaving.skews.map((skewMs) => this.#createInstance(skewMs));
    this.#keepControllersRunning();
  }

  /** Requests, faults and disturbances as the interleaving has them. */
  async stormyPart(): Promise<void> {
    const { time, interleaving } = this.#options;
    const reconciles = interleaving.reconciles ?? [];
    let open = interleaving.requests.length + reconciles.length;
    for (const { at, instance } of reconciles) {
      const settled = () => void open--;
      time.at(start + at, () => void this.#reconcile(instance).then(settled, settled));
    }
    for (const request of interleaving.requests) {
      time.at(start + request.at, () => {
        const settled = () => void open--;
        this.#invoke(this.#toAction(request), request.instance).then(settled, settled);
      });
    }
    for (const disturbance of interleaving.disturbances) {
      time.at(start + disturbance.at, () => this.#disturb(disturbance));
    }
    // Invocations on crashed instances never end; what hangs longer than a function may run is dead too.
    const latest = start + 1_100_000;
    await time.run(() => open === 0 || time.now > latest);
    for (const instance of this.#instances) instance.crash();
    this.#locksFreeAt = time.now + lockSeconds * 1000;
  }

  /** In fair weather every action comes to an end, from whatever state it was left in. */
  async fairPart(): Promise<void> {
    const { time, interleaving } = this.#options;
    this.#isFair = true;
    this.#disturbances.liftAll();
    await time.advanceTo(time.now + interleaving.pauseMs);
    const fairSince = time.now;
    this.#instances = [this.#createInstance(0)];
    const sent = new Map(
      interleaving.requests.map((request) => {
        const action = this.#toAction(request);
        return [action.id, action];
      }),
    );
    if (!interleaving.endsByReconcile) {
      for (const action of sent.values()) await this.#bringToAnEnd(action);
    }
    if (interleaving.reconciles) await this.#settleAll();
    await time.advanceTo(time.now + 5_000);
    this.#checkLocks(fairSince);
  }

  /** Everybody has ended by now, and in fair weather nothing keeps anybody from giving a lock back. */
  #checkLocks(fairSince: number): void {
    for (const { metadata, spec } of this.#options.cluster.leases()) {
      const isHeld = metadata.name.startsWith('pool-') && spec?.holderIdentity;
      if (!isHeld || Date.parse(spec?.renewTime ?? '') < fairSince) continue;
      this.invariants.violate('lock-ends', `${metadata.name} is still held by ${spec?.holderIdentity}`);
    }
  }

  /**
   * A person has released slice-a, which is whole. Then an incident with failover_on_close must cordon it, and its close must
   * release it: nothing that was lost before may keep it cordoned.
   */
  async newIncident(): Promise<void> {
    const { time, cluster } = this.#options;
    const nodePool = 'slice-a';
    await time.advanceTo(time.now + 7_200_000);
    this.#disturbances.bringBack(nodePool);
    this.#disturbances.uncordon(nodePool);
    await time.advanceTo(time.now + 60_000);
    const incident = { startedAt: time.now - start, uncordonsOnClose: true, names: 'target' } as const;
    const planned = { type: 'cordon_nodepool', pool: nodePool, node: undefined, incident } as const;
    const opened = toAction(planned, 'new-incident', this.#options);
    await this.#bringToAnEnd(opened);
    const count = () => cluster.nodes(nodePool).filter(({ spec }) => spec.unschedulable).length;
    if (count() !== nodesPerPool) {
      this.invariants.violate('holds-hold', `a new incident cordons ${count()} nodes`);
    }
    await this.#bringToAnEnd(toClose(opened));
    if (count() > 0) {
      this.invariants.violate('holds-hold', `the close of a new incident leaves ${count()} nodes cordoned`);
    }
  }

  /** Reconciles each minute until nothing is open. Each open action has its time, and so has what follows from it. */
  async #settleAll(): Promise<void> {
    const { time, cluster, config } = this.#options;
    const { resumeWithinSeconds, recoveryTimeoutSeconds, repairTimeoutSeconds } = config;
    const longestSeconds = resumeWithinSeconds + recoveryTimeoutSeconds + repairTimeoutSeconds;
    // What is left to GKE has an hour more, because GKE drains a node for up to an hour.
    const isLeft = cluster.leases().some(({ metadata }) => isLeftToGke(metadata.annotations));
    const giveUpAt = time.now + 3 * (longestSeconds + (isLeft ? 3_600 : 0)) * 1000;
    const listOpen = () =>
      cluster.leases().filter(({ metadata }) => metadata.labels?.['autometric-failover/open'] === 'true');
    while (listOpen().length > 0) {
      if (time.now > giveUpAt) {
        const ids = listOpen().map(({ metadata }) => metadata.annotations?.['autometric-failover/id']);
        this.invariants.violate('actions-settle', `reconcile leaves ${ids.join(', ')} open`);
        return;
      }
      await time.advanceTo(time.now + 60_000);
      let isOver = false;
      const over = () => (isOver = true);
      this.#reconcile(0).then(over, over);
      await time.run(() => isOver);
    }
  }

  async #reconcile(instance: number): Promise<void> {
    const { time, config } = this.#options;
    const note = (answer: string) =>
      this.answers.push({ at: time.now - start, actionId: 'reconcile', answer });
    try {
      const [report] =
        (await this.#instances[instance]?.reconcile(config, (line) => this.#checkLine(line))) ?? [];
      note(JSON.stringify(report));
    } catch (error) {
      note(`unexpected: ${String(error)}`);
      this.invariants.violate('errors-are-chosen', `reconcile threw ${String(error)}`);
    }
  }

  /** A reconcile logs what nobody has chosen, and goes on. */
  #checkLine(line: string): void {
    const { stack_trace: stack } = JSON.parse(line) as { stack_trace?: string };
    if (stack !== undefined) this.invariants.violate('errors-are-chosen', `reconcile logged ${stack}`);
  }

  /** Sends an action until it is done or refused for good. Another one's mark keeps it waiting no longer than the cooldown. */
  async #bringToAnEnd(action: Action): Promise<void> {
    const { time, config } = this.#options;
    const giveUpAt = time.now + config.cooldownSeconds * 1000 + 60_000;
    for (;;) {
      let ended: { why?: Error } | undefined;
      const sentAt = time.now;
      this.#invoke(action, 0).then(
        () => (ended = {}),
        (why: Error) => (ended = { why }),
      );
      await time.run(() => ended !== undefined || time.now > sentAt + 300_000);
      if (!ended) {
        this.invariants.violate('actions-end', `${action.id} hangs in fair weather`);
        return;
      }
      const { why } = ended;
      const isWaiting =
        why instanceof FailoverError &&
        ((isBegunByAnother(why) && time.now < giveUpAt) || (isLocked(why) && time.now < this.#locksFreeAt));
      if (!isWaiting) {
        if (!isEnd(why)) {
          this.invariants.violate('actions-end', `${action.id} does not come to an end: ${why?.message}`);
        }
        return;
      }
      await time.advanceTo(time.now + Number(why.headers['Retry-After']) * 1000);
    }
  }

  #createInstance(skewMs: number): FunctionInstance {
    const { time, random, emulator, interleaving } = this.#options;
    const perMille = (share: number) => !this.#isFair && random() * 1000 < share;
    return new FunctionInstance({
      time,
      emulator,
      token: emulator.tokens.tokenFor(functionsAccount),
      skewMs,
      onSend: (call) => this.invariants.onSend(call),
      weather: {
        latency: () => (perMille(interleaving.slowPerMille) ? random() * 8_000 : 2 + random() * 30),
        fault: (call) => {
          if (!this.#isFair && time.now < this.#leasesConflictUntil && isLeaseUpdate(call)) {
            return 'refused_409';
          }
          const isFaulty =
            perMille(interleaving.faultsPerMille) ||
            (isDeletion(call) && perMille(interleaving.failedDeletionsPerMille ?? 0));
          return isFaulty ? (faults[Math.floor(random() * faults.length)] ?? 'none') : 'none';
        },
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
      if (outcome) this.invariants.onDone(action, outcome.steps);
    } catch (error) {
      if (error instanceof Ignored) {
        note(`ignored: ${error.message}`);
        this.invariants.onIgnored(action, error.message);
        throw error;
      }
      note(
        error instanceof FailoverError ? `${error.code}: ${error.message}` : `unexpected: ${String(error)}`,
      );
      if (!(error instanceof FailoverError)) {
        this.invariants.violate('errors-are-chosen', `${action.id} threw ${String(error)}`);
      }
      throw error;
    }
  }

  /** The action of a request, or the close of its incident; without an incident there is none to close. */
  #toAction({ action, isClose }: Pick<Interleaving['requests'][number], 'action' | 'isClose'>): Action {
    const { interleaving } = this.#options;
    const number = action % interleaving.actions.length;
    const planned = interleaving.actions[number] as InterleavedAction;
    const opened = toAction(planned, `action-${number}`, this.#options);
    return isClose && opened.incident ? toClose(opened) : opened;
  }

  /** In fair weather only people and machines go on: no instance dies, and nothing is refused. */
  #disturb(disturbance: Disturbance): void {
    if (this.#isFair && !('pool' in disturbance)) return;
    if (disturbance.kind === 'freeze') this.#instances[disturbance.instance]?.freeze(disturbance.ms);
    else if (disturbance.kind === 'crash') this.#crash(disturbance.instance);
    else if (disturbance.kind === 'clock_jumps') {
      this.#instances[disturbance.instance]?.setForward(disturbance.ms);
    } else if (disturbance.kind === 'leases_conflict') {
      this.#leasesConflictUntil = this.#options.time.now + disturbance.ms;
    } else this.#disturbances.happen(disturbance);
  }

  /** Another instance takes the place of one that died. */
  #crash(index: number): void {
    this.#instances[index]?.crash();
    this.#instances[index] = this.#createInstance(this.#options.interleaving.skews[index] ?? 0);
  }
}

function isLeftToGke(annotations: Record<string, string> = {}): boolean {
  return annotations['autometric-failover/plan']?.includes('"leftTo"') === true;
}

function isLeaseUpdate({ method, path }: SentCall): boolean {
  return method === 'PUT' && path.includes('/leases/');
}

function isDeletion({ api, method, path }: SentCall): boolean {
  return (
    api === 'compute' ||
    (method === 'DELETE' && path.includes('/pods/')) ||
    (method === 'PATCH' && path.includes('/jobs/'))
  );
}

/** An action is done, ignored, or refused so that sending it again cannot help. */
function isEnd(why: Error | undefined): boolean {
  if (why === undefined || why instanceof Ignored) return true;
  return why instanceof FailoverError && why.status < 500 && why.code !== 'action_in_progress';
}

/** A request that died holds the lock until it expires. */
function isLocked({ code, message }: FailoverError): boolean {
  return code === 'action_in_progress' && message.includes(' is still being carried out; ');
}

/** What another action has begun is known to end, and when. */
function isBegunByAnother({ code, message }: FailoverError): boolean {
  return code === 'action_in_progress' && message.includes(' was begun at ');
}

const faults: Fault[] = [
  'lost_before',
  'lost_after',
  'lost_after',
  'refused_429',
  'failed_500',
  'failed_503',
  'never',
];
