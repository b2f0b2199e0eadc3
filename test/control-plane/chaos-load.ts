/** What people and Cloud Monitoring send while things break: actions and alerts, each again until it is answered for good. */
import { setTimeout as delay } from 'node:timers/promises';
import { createNotification, toPush } from '../fixtures/notification.ts';
import { PushQueue } from '../fixtures/push-queue.ts';
import { createRandom } from '../simulation/virtual-time.ts';
import type { History } from './chaos-history.ts';
import { choose } from './chaos-lanes.ts';
import type { Lane } from './chaos-lanes.ts';
import type { ChaosPeople } from './chaos-people.ts';
import type { Answered, ChaosProcesses } from './chaos-processes.ts';

type Random = () => number;

const who = { requestor: 'alice', reason: 'chaos' };
const alertActions = ['cordon_nodepool_and_restart_jobset', 'cordon_and_repair_nodepool', 'cordon_nodepool'];
const clusterLabels = { project_id: 'test-project', location: 'us-central1', cluster_name: 'real' };

export class ChaosLoad {
  /** How each action and alert was answered in the end. */
  readonly outcomes = new Map<string, string>();
  readonly #seed: number;
  readonly #history: History;
  readonly #processes: ChaosProcesses;
  readonly #people: ChaosPeople;
  readonly #queue: PushQueue;
  readonly #bodies: { id: string; body: object; caller?: string }[] = [];
  readonly #answers = new Map<string, Record<string, unknown>>();
  readonly #underWay = new Set<Promise<void>>();
  #count = 0;

  constructor(options: {
    /** Draws the same actions in the same order, whatever happens between them. */
    seed: number;
    history: History;
    processes: ChaosProcesses;
    people: ChaosPeople;
  }) {
    this.#seed = options.seed;
    this.#history = options.history;
    this.#processes = options.processes;
    this.#people = options.people;
    this.#queue = new PushQueue({
      now: () => Date.now(),
      after: (ms, run) => void setTimeout(run, ms),
      instances: 2,
      concurrency: 8,
      deliver: (_, message) => this.#deliver(message),
    });
  }

  /** Begins one action or alert on one of the lanes. */
  begin(lanes: Lane[]): void {
    const number = this.#count++;
    const random = createRandom(this.#seed * 1000 + number);
    const lane = choose(lanes, random);
    if (!lane) return;
    const work = this.#choose(lane, `${lane.name}-n${number}`, random).finally(() =>
      this.#underWay.delete(work),
    );
    this.#underWay.add(work);
  }

  /** In fair weather: waits for what is under way, then sends each action again until it ends, or the time is over. */
  async end(withinMs: number): Promise<void> {
    const until = Date.now() + withinMs;
    await Promise.all(this.#underWay);
    while (!this.#queue.isDone && Date.now() < until) await delay(200);
    const left = this.#bodies.filter(({ id }) => !isEnd(this.outcomes.get(id)));
    await Promise.all(left.map((each) => this.#sendUntilEnded(each, { most: Infinity, until })));
  }

  /** Those that did not come to an end. */
  get unended(): string[] {
    return [...this.outcomes]
      .filter(([, outcome]) => !isEnd(outcome))
      .map(([id, outcome]) => `${id} (${outcome})`);
  }

  async #choose(lane: Lane, id: string, random: Random): Promise<void> {
    const draw = random();
    const pool = choose(lane.pools, random) ?? '';
    const repair = (type: string) => this.#repair(pool, type, random);
    if (draw < 0.22) return this.#act(id, { ...toRestart(lane, random), ...who }, random);
    if (draw < 0.4) return this.#act(id, await repair('cordon_and_repair_nodepool'), random);
    if (draw < 0.46) return this.#act(id, await repair('repair_nodepool'), random);
    if (draw < 0.5) return this.#act(id, { ...who, type: 'cordon_nodepool', node_pool: pool }, random);
    if (draw < 0.64) return this.#act(id, { ...who, type: 'uncordon_nodepool', node_pool: pool }, random);
    if (draw < 0.7) return this.#approved(id, await repair('cordon_and_repair_nodepool'), random);
    return this.#alert(lane, id, random);
  }

  async #repair(pool: string, type: string, random: Random): Promise<object> {
    const [first] = await this.#people.nodesOf(pool);
    return {
      ...who,
      type,
      node_pool: pool,
      ...(first !== undefined && { node_name: first }),
      ...(random() < 0.6 && type.startsWith('cordon') && { uncordon_when_repaired: true }),
    };
  }

  /** At times to two instances at once. */
  async #act(id: string, body: object, random: Random, caller?: string): Promise<void> {
    const sent = { id, body: { id, ...body }, ...(caller && { caller }) };
    this.#bodies.push(sent);
    const copies = random() < 0.15 ? 2 : 1;
    await Promise.all(Array.from({ length: copies }, () => this.#sendUntilEnded(sent, { most: 5 })));
  }

  /** One person asks, and another one approves the plan that was answered. */
  async #approved(id: string, body: object, random: Random): Promise<void> {
    await this.#act(id, { ...body, approval: 'required' }, random, 'asker@example.com');
    const { awaiting_approval: awaiting } = this.#answers.get(id) ?? {};
    const { plan } = (awaiting ?? {}) as { plan?: string };
    if (plan === undefined) return;
    await delay(random() * 5_000);
    const decision = { type: 'approve', id, plan, requestor: 'bob', reason: 'chaos' };
    this.#history.note({ kind: 'approval', action: id, plan });
    for (let tries = 0; tries < 5; tries += 1) {
      const answered = await this.#processes.send(
        { decision },
        { path: '/actions', body: decision, caller: 'approver@example.com' },
      );
      if (isEnd(describe(answered))) return;
      await delay(3_000);
    }
  }

  async #sendUntilEnded(
    { id, body, caller }: { id: string; body: object; caller?: string },
    { most, until = Infinity }: { most: number; until?: number },
  ): Promise<void> {
    for (let tries = 0; tries < most && Date.now() < until; tries += 1) {
      const answered = await this.#processes.send(
        { action: body },
        { path: '/actions', body, ...(caller && { caller }) },
      );
      const outcome = describe(answered);
      if (!isEnd(this.outcomes.get(id))) this.outcomes.set(id, outcome);
      if (answered.status === 202) this.#answers.set(id, answered.body);
      if (isEnd(outcome)) return;
      await delay(3_000 + Math.random() * 4_000);
    }
  }

  /** A node dies, and Cloud Monitoring says so for a while. */
  async #alert(lane: Lane, id: string, random: Random): Promise<void> {
    const node = await this.#people.killNode(lane, random);
    if (!node) return;
    const startedAt = Date.now();
    const labels = {
      failover_action: choose(alertActions, random) ?? '',
      ...(random() < 0.5 && { failover_on_close: 'uncordon_nodepool' }),
    };
    const common = { id, startedAt, labels, clusterLabels, resource: { node_name: node.name } };
    await delay(1_000 + random() * 4_000);
    this.outcomes.set(id, 'not acknowledged');
    this.#queue.publish(createNotification(common));
    await delay(8_000 + random() * 30_000);
    await node.revive();
    this.outcomes.set(`${id}.closed`, 'not acknowledged');
    this.#queue.publish(createNotification({ ...common, state: 'closed' }));
  }

  async #deliver({ payload, publishedAt, deliveries }: PushQueue['messages'][number]): Promise<number> {
    const body = toPush(payload, { publishedAt, deliveries });
    const answered = await this.#processes.send({ alert: body }, { path: '/alerts', body });
    const { incident } = payload as { incident: { incident_id: string; state: string } };
    const id = incident.state === 'closed' ? `${incident.incident_id}.closed` : incident.incident_id;
    this.outcomes.set(id, describe(answered));
    return answered.status ?? 503;
  }
}

function describe({ status, body }: Answered): string {
  if (status === undefined) return 'no answer';
  if (typeof body['code'] === 'string') return body['code'];
  if (body['ignored'] !== undefined) return 'ignored';
  return status === 200 ? 'done' : status === 202 ? 'awaits approval' : String(status);
}

/** The same request would be answered the same. */
function isEnd(outcome: string | undefined): boolean {
  const open = [
    'no answer',
    'not acknowledged',
    'action_in_progress',
    'upstream_failed',
    'upstream_timeout',
    'internal',
  ];
  return outcome !== undefined && !open.includes(outcome) && !/^5\d\d$/.test(outcome);
}

function toRestart({ jobSet }: Lane, random: Random): object {
  const hasFollowUp = random() < 0.4;
  return {
    type: 'cordon_nodepool_and_restart_jobset',
    jobset_name: jobSet,
    ...(hasFollowUp && { on_failure: 'cordon_and_repair_nodepool', uncordon_when_repaired: true }),
    ...(random() < 0.2 && { restart_grace_seconds: 2 }),
  };
}
