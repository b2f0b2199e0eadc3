import { readConfig } from '../../src/config.ts';
import { parseAction } from '../../src/request/action.ts';
import { FailoverError } from '../../src/errors.ts';
import { toRecordName } from '../../src/state/record-format.ts';
import type { Verdict } from '../../src/verdict.ts';
import type { EmulatedCluster } from '../emulator/cluster.ts';
import { Emulator } from '../emulator/emulator.ts';
import { addSystemNamespace } from '../emulator/scenario.ts';
import { FunctionInstance } from './function-instance.ts';
import { Liar } from './liar.ts';
import { liesEndSeconds, maxLagSeconds } from './lie-stories.ts';
import type { Lie, LieStory, LiedAbout, Trouble } from './lie-stories.ts';
import { Truth } from './truth.ts';
import { createRandom, VirtualTime } from './virtual-time.ts';

const clusterName = 'projects/demo-project/locations/us-central1/clusters/demo';
const namespace = 'autometric-failover-system';
const start = Date.parse('2026-11-23T03:00:00Z');
const tickMs = 5_000;
const timeoutSeconds = 900;
/** What the way adds to the time limit. */
const moreSeconds: Partial<Record<LiedAbout, number>> = { maintenance: timeoutSeconds, gkes_repair: 3_600 };
/** What lasted so long at the end must be told. */
const lastingSeconds = 200;
/** A reconcile looks, and then writes. */
const lookMs = 20_000;

const statusLabel = 'cloud.google.com/report-and-replace-status';
const operationLabel = 'cloud.google.com/report-and-replace-operation';
const faultLabel = 'cloud.google.com/fault-behavior';
const reservationLabel = 'cloud.google.com/reservation-name';

/** What came of a story. */
export interface LiesResult {
  violations: string[];
  /** How the action was answered: `done`, or the code of its refusal. */
  answer: string;
  verdict: Verdict | undefined;
  story: string[];
}

/** Asks for a recovery, lies about it, and compares the verdict with the model of what is true. */
export async function runLies(story: LieStory): Promise<LiesResult> {
  const originalRandom = Math.random;
  Math.random = createRandom(story.seed);
  try {
    return await new LyingRun(story).run();
  } finally {
    Math.random = originalRandom;
  }
}

const gpuPool = 'gpu-a';

function poolOf(about: LiedAbout): string {
  const isMachine = ['machine_repair', 'reboot', 'maintenance', 'report', 'gkes_repair'].includes(about);
  return isMachine ? gpuPool : 'slice-a';
}

class LyingRun {
  readonly #story: LieStory;
  readonly #time = new VirtualTime(start);
  readonly #emulator: Emulator;
  readonly #cluster: EmulatedCluster;
  readonly #instance: FunctionInstance;
  readonly #liar: Liar;
  readonly #truth: Truth;
  readonly #nodePool: string;
  readonly #nodeName: string;
  readonly #told: string[] = [];
  readonly #violations: string[] = [];
  /** When the action was answered; lies and troubles count from then. */
  #zero: number | undefined;
  #verdict: { verdict: Verdict; at: number } | undefined;

  constructor(story: LieStory) {
    this.#story = story;
    this.#emulator = new Emulator({ now: () => this.#time.now, seed: story.seed });
    this.#cluster = createWorld(this.#emulator, story);
    this.#nodePool = poolOf(story.about);
    const names = this.#namesOf(this.#nodePool);
    this.#nodeName = names[0] ?? '';
    const now = () => this.#time.now;
    const isOneChipDead = (at = now()) => this.#findTrouble('one_chip_is_dead', at) !== undefined;
    const cluster = this.#cluster;
    this.#liar = new Liar({ cluster, now, find: (kind) => this.#findLie(kind), isOneChipDead });
    const node = this.#cluster.get('nodes', undefined, this.#nodeName);
    this.#prepareLabels();
    this.#bootSlowly();
    this.#truth = new Truth(
      { emulator: this.#emulator, cluster, now, isOneChipDead },
      story.about,
      this.#nodePool,
      this.#nodeName,
    );
    this.#liar.begin(
      node?.metadata.annotations?.['container.googleapis.com/instance_id'],
      new Date(start).toISOString(),
    );
    this.#instance = new FunctionInstance({
      time: this.#time,
      emulator: this.#emulator,
      token: this.#emulator.tokens.tokenFor(this.#emulator.tokens.account.email),
      skewMs: 0,
      weather: {
        latency: () => 5,
        fault: () => 'none',
        distort: (call, answer) => this.#liar.distort(call, answer),
      },
      onSend: () => undefined,
    });
    this.#tick();
  }

  async run(): Promise<LiesResult> {
    await this.#time.advanceTo(start + 60_000);
    const config = readConfig({
      CLUSTERS: clusterName,
      RECOVERY_TIMEOUT_SECONDS: String(timeoutSeconds),
      REPAIR_TIMEOUT_SECONDS: String(timeoutSeconds),
    });
    if (this.#story.about === 'gkes_repair') {
      this.#cluster.switches.hangAutoRepair(this.#nodePool, this.#nodeName);
      await this.#time.advanceTo(start + 90_000);
    }
    for (const trouble of this.#story.troubles) if (isAtOnce(trouble)) this.#begin(trouble, true);
    const action = parseAction(toBody(this.#story.about, this.#nodeName), config.clusters, 'generated');
    const answer = await this.#settled(this.#instance.invoke(action, config).then(() => 'done'));
    this.#note(`answered ${answer}`);
    if (answer !== 'done') return this.#conclude(answer);
    // It did nothing of which a verdict could be given.
    if (!this.#isOpen) return this.#conclude('nothing to verify');
    this.#zero = this.#time.now;
    if (this.#story.about === 'gkes_repair') this.#time.after(60_000, () => this.#letGkeRepair());
    for (const trouble of this.#story.troubles) {
      const { from, seconds } = trouble;
      const begin = () => this.#begin(trouble, isAtOnce(trouble));
      if (!isAtOnce(trouble)) this.#time.at(this.#zero + from * 1000, begin);
      this.#time.at(this.#zero + (from + seconds) * 1000, () => this.#end(trouble));
    }
    const limitSeconds = timeoutSeconds + (moreSeconds[this.#story.about] ?? 0);
    const until = this.#zero + (limitSeconds + 3 * this.#story.everySeconds) * 1000;
    while (this.#time.now < until && !this.#verdict) {
      await this.#time.advanceTo(this.#time.now + this.#story.everySeconds * 1000);
      this.#observe();
      const report = await this.#settled(
        this.#instance
          .reconcile(config, (line) => this.#checkLine(line))
          .then((all) => JSON.stringify(all[0]?.errors)),
      );
      if (report !== '[]') this.#violations.push(`reconcile answered errors ${report}`);
      this.#readVerdict();
    }
    this.#checkVerdict();
    return this.#conclude(answer);
  }

  #conclude(answer: string): LiesResult {
    return { violations: this.#violations, answer, verdict: this.#verdict?.verdict, story: this.#told };
  }

  /** @returns what came of it, or the code of the refusal */
  async #settled(pending: Promise<string>): Promise<string> {
    let settled: string | undefined;
    pending.then(
      (value) => (settled = value),
      (error: unknown) => {
        settled = error instanceof FailoverError ? error.code : `unexpected ${String(error)}`;
        if (!(error instanceof FailoverError)) this.#violations.push(settled);
      },
    );
    await this.#time.run(() => settled !== undefined);
    return settled ?? 'never answered';
  }

  #checkLine(line: string): void {
    const { stack_trace: stack } = JSON.parse(line) as { stack_trace?: string };
    if (stack !== undefined) this.#violations.push(`reconcile logged ${stack}`);
  }

  get #isOpen(): boolean {
    const lease = this.#cluster.get('leases', namespace, toRecordName('a'));
    return lease?.metadata.labels?.['autometric-failover/open'] === 'true';
  }

  #readVerdict(): void {
    if (this.#verdict) return;
    const lease = this.#cluster.get('leases', namespace, toRecordName('a'));
    const text = lease?.metadata.annotations?.['autometric-failover/verdict'];
    if (text === undefined) return;
    const verdict = JSON.parse(text) as Verdict;
    this.#verdict = { verdict, at: this.#time.now };
    this.#note(`verdict ${text}`);
  }

  /** The claims of the verdict, held against the model. */
  #checkVerdict(): void {
    this.#observe();
    if (!this.#verdict) {
      this.#violations.push('no verdict was given in time');
      return;
    }
    const { verdict, at } = this.#verdict;
    const text = JSON.stringify(verdict);
    const wrong = this.#findFalsehood(verdict, at);
    if (wrong !== undefined) this.#violations.push(`${verdict.verdict}, but ${wrong}: ${text}`);
  }

  #findFalsehood({ verdict, same_host: isSameHost }: Verdict, at: number): string | undefined {
    const { about } = this.#story;
    const since = at - maxLagSeconds * 1000 - lookMs;
    if (verdict === 'recovered' && !this.#truth.wasRunBack(since)) return 'no newer run was back';
    if (verdict === 'repaired' && !this.#truth.wasRepaired(since)) {
      return 'no machine was repaired, or the pool is not whole';
    }
    const isOnSameHost = isDeletion(about) && this.#truth.isOnSameHost;
    if (verdict === 'repaired' && isOnSameHost && isSameHost !== true) return 'it is on the same host';
    if (verdict === 'reported' && !this.#truth.isChanged) return 'GKE has reported no host';
    // Without a bootID from before, nobody can know whether it has booted again.
    if (!verdict.startsWith('not_') || (about === 'reboot' && this.#isBootUnknown())) return undefined;
    const isLasting =
      about === 'report' ? this.#truth.isChanged : this.#truth.isLasting(at - lastingSeconds * 1000);
    return isLasting ? `it was true for ${lastingSeconds} s` : undefined;
  }

  #isBootUnknown(): boolean {
    const { liesBefore, lies } = this.#story;
    return liesBefore && lies.some(({ kind, from }) => kind === 'boot_ids_are_missing' && from === 0);
  }

  #observe(): void {
    this.#emulator.settle();
    this.#bootSlowly();
    this.#liar.observe();
    this.#truth.observe();
  }

  /** Machines that came anew stay silent for a while. */
  #bootSlowly(): void {
    const machines = this.#emulator.fleet.list();
    const anew = machines.filter(({ id }) => !this.#machines.has(id));
    for (const { id } of machines) this.#machines.add(id);
    const slow = this.#findTrouble('machines_boot_slowly');
    for (const { name } of slow ? anew : []) {
      const revive = this.#kill(name);
      if (revive) this.#time.after(Math.min(slow?.seconds ?? 0, 90) * 1000, revive);
    }
  }

  #tick(): void {
    this.#time.after(tickMs, () => {
      this.#observe();
      this.#tick();
    });
  }

  #isNow({ from, seconds }: { from: number; seconds: number }, at = this.#time.now): boolean {
    if (this.#zero === undefined) return this.#story.liesBefore && from === 0;
    const passed = (at - this.#zero) / 1000;
    return passed >= from && passed < Math.min(from + seconds, liesEndSeconds);
  }

  #findLie(kind: Lie['kind']): Lie | undefined {
    return this.#story.lies.find((lie) => lie.kind === kind && this.#isNow(lie));
  }

  #findTrouble(kind: Trouble['kind'], at = this.#time.now): Trouble | undefined {
    return this.#story.troubles.find((trouble) => trouble.kind === kind && this.#isNow(trouble, at));
  }

  readonly #machines = new Set<string>();
  readonly #undo = new Map<Trouble, () => void>();

  #end(trouble: Trouble): void {
    this.#undo.get(trouble)?.();
    this.#observe();
  }

  #begin(trouble: Trouble, isBegun: boolean): void {
    if (isBegun && this.#undo.has(trouble)) return;
    this.#note(`${trouble.kind} begins`);
    const undo = this.#carryOut(trouble);
    if (undo) this.#undo.set(trouble, undo);
    this.#observe();
  }

  #carryOut(trouble: Trouble): (() => void) | void {
    const { switches } = this.#cluster;
    const pool = this.#nodePool;
    switch (trouble.kind) {
      case 'deletions_fail':
        return switches.failDeletions(pool);
      case 'chips_are_dead':
        return switches.withholdAccelerators(pool);
      case 'one_chip_is_dead':
      case 'machines_boot_slowly':
        return undefined;
      case 'hosts_stay':
        return switches.keepHosts(pool);
      case 'machines_are_withheld':
        return switches.withholdMachines(pool);
      case 'labels_are_ignored':
        return switches.ignoreLabels(pool);
      case 'reports_fail':
        return switches.failReports(pool);
      case 'no_room_elsewhere':
        return switches.fillPool('slice-b');
      case 'gke_repairs_it_too':
        return this.#replace();
      case 'label_is_taken':
        return this.#takeLabel();
      case 'node_dies':
        return this.#onNode(trouble, (name) => this.#kill(name));
      case 'guest_reboots':
        return this.#onNode(trouble, (name) => this.#rebootGuest(name));
      case 'node_object_is_deleted':
        return this.#onNode(trouble, (name) => this.#registerAgain(name));
      case 'run_fails':
        return this.#failRun();
    }
  }

  #onNode(
    { pool, node }: { pool: 'own' | 'other'; node: number },
    change: (name: string) => (() => void) | void,
  ): (() => void) | void {
    const names = this.#namesOf(pool === 'own' ? this.#nodePool : 'slice-b');
    const name = names[node % Math.max(names.length, 1)];
    return name === undefined ? undefined : change(name);
  }

  #isRunning(name: string): boolean {
    return this.#emulator.fleet.list().some((each) => each.name === name && each.status === 'RUNNING');
  }

  #kill(name: string): (() => void) | void {
    if (!this.#isRunning(name)) return;
    this.#cluster.killNode(name);
    return () => {
      const isThere = this.#cluster.get('nodes', undefined, name) !== undefined;
      if (this.#isRunning(name) && isThere) this.#cluster.reviveNode(name);
    };
  }

  #rebootGuest(name: string): void {
    if (!this.#isRunning(name)) return;
    this.#cluster.change('nodes', undefined, name, ({ status }) => {
      status.nodeInfo = { ...status.nodeInfo, bootID: `guest ${this.#time.now}` };
    });
  }

  /** Somebody deletes the Node object, and the kubelet of the same machine registers it again. */
  #registerAgain(name: string): void {
    const node = this.#cluster.get('nodes', undefined, name);
    if (!node || !this.#isRunning(name)) return;
    this.#cluster.remove('nodes', undefined, name);
    const metadata = { ...node.metadata, uid: '', resourceVersion: '', creationTimestamp: '' };
    this.#cluster.put('nodes', { ...node, metadata });
  }

  #replace(): void {
    if (this.#isRunning(this.#nodeName)) {
      this.#cluster.replaceInstance(this.#nodeName, this.#story.nodeObject);
    }
  }

  /** What GKE has begun comes to its end, unless the deletion of the machine fails it. */
  #letGkeRepair(): void {
    const { operations } = this.#cluster.work;
    const [operation] = operations.filter(
      ({ pool, endedAt }) => pool === this.#nodePool && endedAt === undefined,
    );
    if (!operation) return;
    if (!this.#findTrouble('deletions_fail')) this.#replace();
    this.#cluster.work.end(operation);
  }

  #takeLabel(): void {
    if (!this.#cluster.get('nodes', undefined, this.#nodeName)) return;
    this.#cluster.change('nodes', undefined, this.#nodeName, ({ metadata }) => {
      const { [faultLabel]: _, ...others } = metadata.labels ?? {};
      metadata.labels = others;
    });
  }

  #failRun(): void {
    const pod = this.#cluster.pods('default').find(({ status }) => status.phase === 'Running');
    if (pod) this.#cluster.finishPod('default', pod.metadata.name, 'Failed');
  }

  #prepareLabels(): void {
    const { lastWeek, about } = this.#story;
    if (about === 'maintenance') this.#cluster.switches.announceMaintenance(this.#nodePool);
    if (about !== 'report' || lastWeek === 'nothing') return;
    this.#cluster.change('nodes', undefined, this.#nodeName, ({ metadata }) => {
      metadata.labels = {
        ...metadata.labels,
        [statusLabel]: lastWeek === 'Error' ? 'Error' : 'OperationDone',
        ...(lastWeek === 'done_without_operation' ? {} : { [operationLabel]: 'operation-of-last-week' }),
      };
    });
  }

  #namesOf(pool: string): string[] {
    return this.#cluster
      .nodes(pool)
      .map(({ metadata }) => metadata.name)
      .sort();
  }

  #note(what: string): void {
    const seconds = Math.round((this.#time.now - (this.#zero ?? this.#time.now)) / 1000);
    this.#told.push(`${seconds} s: ${what}`);
  }
}

/** What must be broken before the action is carried out. */
function isAtOnce({ kind, from }: Trouble): boolean {
  const kinds = ['deletions_fail', 'chips_are_dead', 'hosts_stay', 'machines_are_withheld', 'reports_fail'];
  return kinds.includes(kind) || (from === 0 && ['labels_are_ignored', 'no_room_elsewhere'].includes(kind));
}

function isDeletion(about: LiedAbout): boolean {
  return about === 'slice_repair' || about === 'machine_repair' || about === 'gkes_repair';
}

function toBody(about: LiedAbout, node: string): Record<string, unknown> {
  const common = { id: 'a', requestor: 'lies', reason: 'random' };
  const restart = {
    type: 'cordon_nodepool_and_restart_jobset',
    node_pool: 'slice-a',
    jobset_name: 'train',
  };
  const repair = { type: 'repair_nodepool', node_name: node };
  const bodies: Record<LiedAbout, Record<string, unknown>> = {
    restart,
    recreation: restart,
    slice_repair: { type: 'cordon_and_repair_nodepool', node_pool: 'slice-a', node_name: node },
    machine_repair: repair,
    gkes_repair: repair,
    reboot: { ...repair, repair: 'reboot' },
    maintenance: { ...repair, repair: 'maintenance' },
    report: { ...repair, repair: 'report_faulty_host', fault: 'xid' },
  };
  return { ...common, ...bodies[about] };
}

function createWorld(emulator: Emulator, { nodeObject, backoffLimit, about }: LieStory): EmulatedCluster {
  const cluster = emulator.addCluster({ name: clusterName });
  addSystemNamespace(cluster);
  const machines = { nodeObject, nodes: 4 };
  for (const pool of ['slice-a', 'slice-b', 'slice-c']) {
    cluster.addTpuSlice(pool, { ...machines, topology: '4x4', repairDelaySeconds: 60 });
  }
  const repairDelaySeconds = isDeletion(about) ? 60 : 30;
  const labels = { [reservationLabel]: 'gpus' };
  cluster.addPool(gpuPool, { ...machines, gpu: true, nodes: 3, repairDelaySeconds, labels });
  cluster.addJobSet({
    name: 'train',
    exclusiveTopology: 'cloud.google.com/gke-nodepool',
    failurePolicy: about === 'recreation' ? null : { maxRestarts: 10 },
    replicatedJobs: [{ name: 'workers', parallelism: 4, backoffLimit }],
  });
  // The run begins on slice-a, and has slice-b left.
  emulator.settle();
  return cluster;
}
