import { readConfig } from '../../src/config.ts';
import type { Config } from '../../src/config.ts';
import { FailoverError } from '../../src/errors.ts';
import { actOnAlert } from '../../src/failover/act-on-alert.ts';
import { failover } from '../../src/failover/failover.ts';
import type { Outcome } from '../../src/failover/failover.ts';
import { Ignored } from '../../src/ignored.ts';
import { createLog } from '../../src/log.ts';
import { decideApproval } from '../../src/reconcile/approve.ts';
import { reconcile } from '../../src/reconcile/reconcile.ts';
import type { ClusterReport } from '../../src/reconcile/report.ts';
import type { Action } from '../../src/request/action.ts';
import type { EmulatedCluster } from '../emulator/cluster.ts';
import { Emulator } from '../emulator/emulator.ts';
import { addSystemNamespace } from '../emulator/scenario.ts';
import { trainCluster } from '../fixtures/train-world.ts';
import type { SentCall } from './function-instance.ts';
import { Invariants } from './invariants.ts';
import type { InterleavedAction } from './interleaving.ts';
import { toAction } from './planned-action.ts';
import { StateKeys } from './state-keys.ts';
import { FunctionActor, PersonActor } from './turn-actor.ts';
import type { Actor, Stage } from './turn-actor.ts';

const start = Date.parse('2026-11-23T03:00:00Z');
const turnMs = 5;
const failoverNamespace = 'autometric-failover-system';

export interface TurnWorldOptions {
  /** Jobs of the JobSet, each on a slice of its own; 1 unless it is said. */
  replicas?: number;
  backoffLimit?: number;
  /** The pods of the run use this grace, in seconds; otherwise they end at once. */
  podGraceSeconds?: number;
  /** The controllers run after each write; else they run when time passes. */
  areControllersEager?: boolean;
  environment?: Record<string, string>;
  /** Slices that a person has cordoned before. */
  closedPools?: string[];
  /** Node objects, and so their cordons, survive the repair of their machines. */
  keepsNodes?: boolean;
  /** A node that is dead from the beginning, for more than a minute. */
  deadNode?: string;
}

/** What became of an invocation. */
export interface Ended {
  outcome?: Outcome;
  reports?: ClusterReport[];
  error?: Error;
}

/** Two small slices, or as many as the JobSet needs and one more, and the real pipeline, whose turns somebody else chooses. */
export class TurnWorld implements Stage {
  now = start;
  readonly emulator: Emulator;
  readonly cluster: EmulatedCluster;
  readonly config: Config;
  readonly areControllersEager: boolean;
  readonly invariants: Invariants;
  /** What happened, for a person to read. */
  readonly story: string[] = [];
  readonly keys = new StateKeys(start);
  readonly ended = new Map<Actor, Ended>();
  readonly #firstNodes: Map<string, { name: string; instanceId: string; zone: string }[]>;
  #invocations = 0;

  constructor({
    replicas = 1,
    backoffLimit = 0,
    podGraceSeconds,
    areControllersEager = false,
    environment = {},
    closedPools = [],
    deadNode,
    keepsNodes = false,
  }: TurnWorldOptions) {
    this.areControllersEager = areControllersEager;
    this.emulator = new Emulator({ now: () => this.now });
    this.cluster = this.emulator.addCluster({ name: trainCluster });
    addSystemNamespace(this.cluster);
    const pools = ['slice-a', 'slice-b', 'slice-c'].slice(0, replicas + 1);
    const nodeObject = keepsNodes ? 'survives' : 'reregistered';
    for (const pool of pools) this.cluster.addTpuSlice(pool, { topology: '2x4', nodeObject });
    const grace =
      podGraceSeconds === undefined
        ? {}
        : { terminationGracePeriodSeconds: podGraceSeconds, usesItsGrace: true };
    this.cluster.addJobSet({
      name: 'train',
      exclusiveTopology: 'cloud.google.com/gke-nodepool',
      replicatedJobs: [{ name: 'workers', replicas, parallelism: 2, backoffLimit, ...grace }],
    });
    this.emulator.settle();
    this.#firstNodes = this.#listFirstNodes(pools);
    for (const { metadata } of closedPools.flatMap((pool) => this.cluster.nodes(pool))) {
      this.cluster.cordonAs('kubectl', metadata.name, true);
    }
    const dead = deadNode === undefined ? undefined : this.#firstNodes.get(deadNode)?.[0];
    if (dead) {
      this.cluster.killNode(dead.name);
      this.#passTime(120_000);
    }
    this.config = readConfig({ CLUSTERS: trainCluster, ...environment });
    this.invariants = new Invariants({
      emulator: this.emulator,
      cluster: this.cluster,
      time: this,
      config: this.config,
    });
  }

  /** Plans an action; the same each time that it is asked for. */
  plan(id: string, planned: InterleavedAction): Action {
    return toAction(planned, id, { config: this.config, start, firstNodes: this.#firstNodes });
  }

  /** A request to the function. */
  request(action: Action, name = action.id): Actor {
    this.invariants.onAction(action);
    const actor: Actor = this.#createFunction(
      name,
      action.id,
      async (services, deadline) => {
        const log = createLog(() => undefined);
        const { incident } = action;
        const outcome = await (incident
          ? actOnAlert(
              { action: { ...action, incident }, clusters: this.config.clusters },
              deadline,
              services,
              log,
            )
          : failover(action, deadline, services, log));
        if (outcome.awaiting) {
          this.#tell(name, 'waits for approval');
          this.ended.set(actor, { outcome });
          return;
        }
        this.#tell(name, outcome.isReplay ? `again ${summarise(outcome)}` : summarise(outcome));
        this.invariants.onDone(action, outcome.steps);
        this.ended.set(actor, { outcome });
      },
      action,
    );
    return actor;
  }

  /** Somebody else than its asker looks at the plan of an action, and approves or rejects it. */
  decide(type: 'approve' | 'reject', action: Action, name: string = type): Actor {
    const { id } = action;
    const actor: Actor = this.#createFunction(
      name,
      id,
      async (services, deadline) => {
        const plan = this.#readPlan(id);
        if (type === 'approve') this.invariants.approvals.onApproval(id, plan);
        const decision = {
          type,
          id,
          plan,
          requestor: name,
          reason: undefined,
          clusters: this.config.clusters,
        };
        const caller = `${name}@example.com`;
        const log = createLog(() => undefined);
        const decided = await decideApproval({ ...decision, caller }, deadline, services, log);
        if ('rejected' in decided) {
          this.#tell(name, 'rejected');
          this.ended.set(actor, {});
          return;
        }
        this.#tell(name, decided.isReplay ? `again ${summarise(decided)}` : summarise(decided));
        this.invariants.onDone(action, decided.steps);
        this.ended.set(actor, { outcome: decided });
      },
      action,
    );
    return actor;
  }

  /** The hash of the plan that waits, or nonsense where none does. */
  #readPlan(id: string): string {
    const record = this.cluster
      .leases()
      .find(({ metadata }) => metadata.annotations?.['autometric-failover/id'] === id);
    const approval = record?.metadata.annotations?.['autometric-failover/approval'] ?? '{}';
    return (JSON.parse(approval) as { plan?: string }).plan ?? '0'.repeat(64);
  }

  /** A reconcile, as Cloud Scheduler asks for it. */
  reconcile(name: string): Actor {
    const actor: Actor = this.#createFunction(name, 'reconcile', async (services, deadline) => {
      const reports = await reconcile(
        deadline,
        services,
        createLog(() => undefined),
      );
      const [{ cluster: _, ...report } = { cluster: '' }] = reports;
      this.#tell(name, JSON.stringify(report));
      this.ended.set(actor, { reports });
    });
    return actor;
  }

  /** A person who pauses failover, and does not go on again. */
  pausingPerson(): Actor {
    return new PersonActor('person', [
      {
        label: 'pauses failover',
        happen: () => this.#setPaused('maintenance'),
      },
    ]);
  }

  /** A machine of a pool that dies. */
  dyingMachine(pool: string): Actor {
    const [{ name } = { name: '' }] = this.#firstNodes.get(pool) ?? [];
    const happen = () => {
      this.cluster.killNode(name);
      this.invariants.observe();
    };
    return new PersonActor('machine', [{ label: `of ${name} dies`, happen }]);
  }

  /** A person who cordons or uncordons the nodes of a pool, one after the other. */
  cordoningPerson(pool: string, isCordon: boolean): Actor {
    const nodes = this.#firstNodes.get(pool) ?? [];
    const kind = isCordon ? 'person_cordons' : 'person_uncordons';
    return new PersonActor(
      'person',
      nodes.map(({ name }) => ({
        label: `${isCordon ? 'cordons' : 'uncordons'} ${name}`,
        happen: () => {
          const node = this.cluster.get('nodes', undefined, name);
          // kubectl writes nothing where there is nothing to change.
          if (!node || (node.spec.unschedulable === true) === isCordon) return;
          this.invariants.onDisturbance(kind, pool, name);
          this.cluster.cordonAs('kubectl', name, isCordon);
          if (this.areControllersEager) this.settle();
        },
      })),
    );
  }

  onAnswer(...[actor, label, answer]: Parameters<Stage['onAnswer']>): void {
    this.keys.onAnswer(actor, label, answer);
  }

  /** The state of everything that decides what comes. */
  toKey(actors: Actor[]): string {
    const { emulator, cluster, now, invariants } = this;
    return this.keys.toKey({ emulator, cluster, now, calls: invariants.calls }, actors);
  }

  unpause(): void {
    this.#setPaused(undefined);
  }

  onCall(call: SentCall): void {
    this.now += turnMs;
    this.invariants.onSend(call);
  }

  onCarriedOut({ api, method, path }: SentCall): void {
    const isOfController = api === 'kubernetes' && /\/(leases|events)(\/|$)/.test(path);
    if (this.areControllersEager && method !== 'GET' && !isOfController) this.settle();
  }

  /** Lets time pass; the controllers run along. */
  pass(ms: number): void {
    this.#passTime(ms);
    this.invariants.observe();
  }

  settle(): void {
    this.emulator.settle();
    this.invariants.observe();
  }

  /** The locks of pools that have not expired. */
  listLocks(isExpiredToo = false): string[] {
    return this.cluster.leases().flatMap(({ metadata, spec }) => {
      if (!metadata.name.startsWith('pool-') || !spec?.holderIdentity) return [];
      const renewedAt = Date.parse(spec.renewTime ?? '');
      const isExpired = renewedAt + ((spec.leaseDurationSeconds ?? 0) + 10) * 1000 < this.now;
      return isExpired && !isExpiredToo ? [] : [`${metadata.name} is held by ${spec.holderIdentity}`];
    });
  }

  /** The ids of the actions whose records are open. */
  listOpen(): string[] {
    return this.cluster
      .leases()
      .filter(({ metadata }) => metadata.labels?.['autometric-failover/open'] === 'true')
      .map(({ metadata }) => metadata.annotations?.['autometric-failover/id'] ?? '?');
  }

  #createFunction(
    name: string,
    id: string,
    run: ConstructorParameters<typeof FunctionActor>[2],
    action?: Action,
  ): Actor {
    const invocation = this.#invocations++;
    const actor: Actor = new FunctionActor(this, { name, id, invocation }, async (services, deadline) => {
      try {
        await run(services, deadline);
      } catch (error) {
        this.#onError(name, error, action);
        this.ended.set(actor, { error: error as Error });
      }
    });
    return actor;
  }

  #onError(name: string, error: unknown, action: Action | undefined): void {
    if (error instanceof Ignored) {
      this.#tell(name, `ignored: ${error.message}`);
      if (action) this.invariants.onIgnored(action, error.message);
      return;
    }
    if (error instanceof FailoverError) this.#tell(name, `${error.code}: ${error.message}`);
    else this.invariants.violate('errors-are-chosen', `${name} threw ${String((error as Error).stack)}`);
  }

  #setPaused(why: string | undefined): void {
    const key = 'autometric-failover/paused';
    this.cluster.change('leases', failoverNamespace, 'cluster', ({ metadata }) => {
      const { [key]: _, ...others } = metadata.annotations ?? {};
      metadata.annotations = why === undefined ? others : { ...others, [key]: why };
    });
    this.invariants.limits.onPause(why === undefined ? undefined : this.now);
  }

  #passTime(ms: number): void {
    const until = this.now + ms;
    while (this.now < until) {
      this.now = Math.min(until, this.now + 15_000);
      this.emulator.settle();
    }
  }

  #listFirstNodes(pools: string[]): Map<string, { name: string; instanceId: string; zone: string }[]> {
    const machines = new Map(this.emulator.fleet.list().map((machine) => [machine.name, machine]));
    return new Map(
      pools.map((pool) => {
        const names = this.cluster.nodes(pool).map(({ metadata }) => metadata.name);
        const nodes = names.sort().map((name) => {
          const { id = '', zone = '' } = machines.get(name) ?? {};
          return { name, instanceId: id, zone };
        });
        return [pool, nodes];
      }),
    );
  }

  #tell(name: string, what: string): void {
    this.story.push(`${((this.now - start) / 1000).toFixed(3)} s ${name}: ${what}`);
  }
}

function summarise({ steps }: Outcome): string {
  return steps.map(({ step, outcome, ...rest }) => `${step} ${JSON.stringify(outcome ?? rest)}`).join('; ');
}
